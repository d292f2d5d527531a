//! What a server keeps instead of a password.

use core::fmt;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;

use base64ct::{Base64, Encoding};
use thiserror::Error;
use zeroize::Zeroizing;

use super::attribute::{bytes, iterations};
use super::error::ScramError;
use super::key::Key;
use super::mechanism::ScramMechanism;
use super::preparation::ScramPreparation;

/// A user's credentials for one mechanism: enough to check a proof, not enough to make one.
///
/// They are secret nevertheless: with them passwords can be guessed at leisure, and somebody can
/// pretend to be the server. `Debug` leaves the keys out.
///
/// ```
/// use noctule_auth::{ScramCredentials, ScramMechanism, ScramPreparation};
///
/// let credentials = ScramCredentials::derive(
///     ScramMechanism::Sha256,
///     ScramPreparation::SaslPrep,
///     "pencil",
///     &[1; 16], // random
///     4096,
/// )?;
/// let line = credentials.to_text();
/// assert!(line.starts_with("SCRAM-SHA-256$4096:AQEBAQEBAQEBAQEBAQEBAQ==$"));
/// assert_eq!(ScramCredentials::from_text(&line).unwrap().to_text(), line);
/// # Ok::<(), noctule_auth::ScramError>(())
/// ```
#[derive(Clone)]
pub struct ScramCredentials {
    pub(crate) mechanism: ScramMechanism,
    pub(crate) salt: Box<[u8]>,
    pub(crate) iterations: u32,
    pub(crate) stored_key: Key,
    pub(crate) server_key: Key,
}

/// Why a text is not a user's credentials. Does not repeat the text, which is secret.
///
/// ```
/// use noctule_auth::{ScramCredentials, ScramCredentialsError};
///
/// let error = ScramCredentials::from_text("SCRAM-MD5$4096:c2FsdA==$a:b").unwrap_err();
/// assert_eq!(error, ScramCredentialsError::Mechanism);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ScramCredentialsError {
    #[error("credentials look like `SCRAM-SHA-256$iterations:salt$stored-key:server-key`")]
    Shape,
    #[error("the mechanism is none of SCRAM-SHA-1, SCRAM-SHA-256 and SCRAM-SHA-512")]
    Mechanism,
    #[error("the iterations are not a number from 4096 to 4294967295")]
    Iterations,
    #[error("the salt is not base64 of 8 to 256 bytes")]
    Salt,
    #[error("a key is not base64 with as many bytes as the mechanism's hash has")]
    Key,
}

impl ScramCredentials {
    /// The fewest iterations that credentials may have.
    ///
    /// ```
    /// assert_eq!(noctule_auth::ScramCredentials::MIN_ITERATIONS, 4096);
    /// ```
    pub const MIN_ITERATIONS: u32 = 4096;
    const MIN_SALT: usize = 8;
    const MAX_SALT: usize = 256;

    /// From a password, with a random salt of its own (16 bytes are usual). Takes the iterations'
    /// time.
    ///
    /// # Errors
    ///
    /// [`ScramError::InvalidPassword`] if the password cannot be prepared,
    /// [`ScramError::TooFewIterations`] below 4096, [`ScramError::Malformed`] if the salt has
    /// fewer than 8 or more than 256 bytes.
    ///
    /// ```
    /// use noctule_auth::{ScramCredentials, ScramError, ScramMechanism, ScramPreparation};
    ///
    /// let (mechanism, preparation) = (ScramMechanism::Sha512, ScramPreparation::SaslPrep);
    /// let weak = ScramCredentials::derive(mechanism, preparation, "pencil", &[1; 16], 1000);
    /// let error = ScramError::TooFewIterations { offered: 1000, minimum: 4096 };
    /// assert_eq!(weak.err(), Some(error));
    /// ```
    pub fn derive(
        mechanism: ScramMechanism,
        preparation: ScramPreparation,
        password: &str,
        salt: &[u8],
        iterations: u32,
    ) -> Result<Self, ScramError> {
        let password = preparation.prepare(password).ok_or(ScramError::InvalidPassword)?;
        let password = Zeroizing::new(password);
        let minimum = Self::MIN_ITERATIONS;
        if iterations < minimum {
            return Err(ScramError::TooFewIterations { offered: iterations, minimum });
        }
        if !is_usable_salt(salt) {
            return Err(ScramError::Malformed { expected: "a salt has 8 to 256 bytes" });
        }
        let salted = Key::salted_password(mechanism, &password, salt, iterations);
        let client_key = Key::client_key(mechanism, &salted);
        Ok(Self {
            mechanism,
            salt: salt.into(),
            iterations,
            stored_key: Key::stored_key(mechanism, &client_key),
            server_key: Key::server_key(mechanism, &salted),
        })
    }

    /// From `SCRAM-SHA-256$iterations:salt$stored-key:server-key`, with the last three in base64:
    /// the form in which PostgreSQL and others keep them, too.
    ///
    /// # Errors
    ///
    /// Says which part is wrong.
    ///
    /// ```
    /// use noctule_auth::{ScramCredentials, ScramMechanism};
    ///
    /// // The user of RFC 7677's example.
    /// let credentials = ScramCredentials::from_text(
    ///     "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    ///      WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
    ///      wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
    /// )?;
    /// assert_eq!(credentials.mechanism(), ScramMechanism::Sha256);
    /// # Ok::<(), noctule_auth::ScramCredentialsError>(())
    /// ```
    pub fn from_text(text: &str) -> Result<Self, ScramCredentialsError> {
        use ScramCredentialsError as Error;

        let mut parts = text.split('$');
        let (Some(name), Some(parameters), Some(keys), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Error::Shape);
        };
        let (count, salt) = parameters.split_once(':').ok_or(Error::Shape)?;
        let (stored_key, server_key) = keys.split_once(':').ok_or(Error::Shape)?;
        let mechanism = ScramMechanism::from_name(name).ok_or(Error::Mechanism)?;

        // What does not fit is no number here, whereas on the wire it is only too many.
        let iterations = iterations(count).ok().filter(|_| count.parse::<u32>().is_ok());
        let iterations = iterations.filter(|count| *count >= Self::MIN_ITERATIONS);
        let iterations = iterations.ok_or(Error::Iterations)?;
        let salt = bytes(salt).map_err(|_| Error::Salt)?;
        if !is_usable_salt(&salt) {
            return Err(Error::Salt);
        }
        let key = |value: &str| match bytes(value).map(Zeroizing::new) {
            Ok(key) if key.len() == mechanism.hash_len() => Ok(Key::from_bytes(&key)),
            _ => Err(Error::Key),
        };
        let (stored_key, server_key) = (key(stored_key)?, key(server_key)?);
        Ok(Self { mechanism, salt: salt.into(), iterations, stored_key, server_key })
    }

    /// The form that [`from_text`](Self::from_text) reads. It holds the keys: keep it where only
    /// the server reads it.
    ///
    /// ```
    /// use noctule_auth::{ScramCredentials, ScramMechanism, ScramPreparation};
    ///
    /// let (mechanism, preparation) = (ScramMechanism::Sha1, ScramPreparation::SaslPrep);
    /// let credentials =
    ///     ScramCredentials::derive(mechanism, preparation, "pencil", &[1; 16], 4096)?;
    /// assert!(credentials.to_text().starts_with("SCRAM-SHA-1$4096:"));
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "{}${}:{}${}:{}",
            self.mechanism,
            self.iterations,
            Base64::encode_string(&self.salt),
            Base64::encode_string(self.stored_key.as_bytes()),
            Base64::encode_string(self.server_key.as_bytes()),
        )
    }

    /// Whether this is the user's password, for clients that send it instead of proving it. Takes
    /// the iterations' time, whatever the answer.
    ///
    /// ```
    /// use noctule_auth::{ScramCredentials, ScramMechanism, ScramPreparation};
    ///
    /// let (mechanism, preparation) = (ScramMechanism::Sha256, ScramPreparation::SaslPrep);
    /// let credentials =
    ///     ScramCredentials::derive(mechanism, preparation, "pencil", &[1; 16], 4096)?;
    /// assert!(credentials.is_password(preparation, "pencil"));
    /// assert!(!credentials.is_password(preparation, "pen"));
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn is_password(&self, preparation: ScramPreparation, password: &str) -> bool {
        let prepared = preparation.prepare(password).map(Zeroizing::new);
        // One that cannot be prepared was never set: what is computed then is not looked at.
        let guess = prepared.as_ref().map_or("", |password| password.as_str());
        let salted = Key::salted_password(self.mechanism, guess, &self.salt, self.iterations);
        let client_key = Key::client_key(self.mechanism, &salted);
        let stored_key = Key::stored_key(self.mechanism, &client_key);
        self.stored_key.is(stored_key.as_bytes()) && prepared.is_some()
    }

    /// The mechanism that they are for, and for no other.
    ///
    /// ```
    /// use noctule_auth::{ScramCredentials, ScramMechanism, ScramPreparation};
    ///
    /// let (mechanism, preparation) = (ScramMechanism::Sha1, ScramPreparation::SaslPrep);
    /// let credentials =
    ///     ScramCredentials::derive(mechanism, preparation, "pencil", &[1; 16], 4096)?;
    /// assert_eq!(credentials.mechanism(), mechanism);
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn mechanism(&self) -> ScramMechanism {
        self.mechanism
    }

    /// How often the password was hashed.
    ///
    /// ```
    /// use noctule_auth::{ScramCredentials, ScramMechanism, ScramPreparation};
    ///
    /// let (mechanism, preparation) = (ScramMechanism::Sha1, ScramPreparation::SaslPrep);
    /// let credentials =
    ///     ScramCredentials::derive(mechanism, preparation, "pencil", &[1; 16], 5000)?;
    /// assert_eq!(credentials.iterations(), 5000);
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }
}

fn is_usable_salt(salt: &[u8]) -> bool {
    (ScramCredentials::MIN_SALT..=ScramCredentials::MAX_SALT).contains(&salt.len())
}

impl fmt::Debug for ScramCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredentials")
            .field("mechanism", &self.mechanism)
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}
