//! Credentials for users that do not exist, so that nobody can ask which ones do.

use core::fmt;

use alloc::boxed::Box;

use super::credentials::ScramCredentials;
use super::error::ScramError;
use super::key::Key;
use super::mechanism::ScramMechanism;

/// Makes up credentials that no password fits.
///
/// A server that refuses an unknown user at once tells who is known. With a decoy the exchange goes
/// on as with a wrong password: the same messages, the same computations, and for each name a salt
/// that stays the same as long as the secret does. For that the decoy has to look like the real
/// users: with the same iterations, a salt as long, and for each mechanism that is offered. A user
/// who has credentials for another mechanism only is as good as unknown.
///
/// ```
/// use noctule_auth::{ScramDecoy, ScramMechanism};
///
/// // The secret is random and kept with the users, since after a restart salts must be the same.
/// let decoy = ScramDecoy::new(&[3; 32], 4096)?;
/// let mallory = decoy.credentials(ScramMechanism::Sha256, "mallory");
/// let again = decoy.credentials(ScramMechanism::Sha256, "mallory");
/// assert_eq!(mallory.to_text(), again.to_text());
/// # Ok::<(), noctule_auth::ScramError>(())
/// ```
#[derive(Clone)]
pub struct ScramDecoy {
    secret: Key,
    iterations: u32,
    salt_len: usize,
}

impl ScramDecoy {
    const MIN_SECRET: usize = 16;

    /// Decoys from a random secret of at least 16 bytes, with salts of 16 bytes.
    ///
    /// # Errors
    ///
    /// [`ScramError::Malformed`] if the secret is too short, [`ScramError::TooFewIterations`] below
    /// 4096.
    ///
    /// ```
    /// assert!(noctule_auth::ScramDecoy::new(&[3; 4], 4096).is_err());
    /// ```
    pub fn new(secret: &[u8], iterations: u32) -> Result<Self, ScramError> {
        let minimum = ScramCredentials::MIN_ITERATIONS;
        if iterations < minimum {
            return Err(ScramError::TooFewIterations { offered: iterations, minimum });
        }
        if secret.len() < Self::MIN_SECRET {
            let expected = "a decoy's secret has at least 16 bytes";
            return Err(ScramError::Malformed { expected });
        }
        Ok(Self { secret: Key::from_bytes(secret), iterations, salt_len: 16 })
    }

    /// Salts of another length: what the real users have, from 8 to 64 bytes.
    ///
    /// ```
    /// use noctule_auth::{ScramDecoy, ScramMechanism};
    ///
    /// let decoy = ScramDecoy::new(&[3; 32], 4096)?.with_salt_len(12);
    /// let text = decoy.credentials(ScramMechanism::Sha256, "mallory").to_text();
    /// let (start, end) = (text.find(':').unwrap(), text.rfind('$').unwrap());
    /// assert_eq!(end - start - 1, 16); // characters for 12 bytes
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn with_salt_len(mut self, len: usize) -> Self {
        self.salt_len = len.clamp(8, ScramMechanism::Sha512.hash_len());
        self
    }

    /// The decoy for a name as the client claimed it.
    ///
    /// ```
    /// use noctule_auth::{ScramDecoy, ScramMechanism};
    ///
    /// let decoy = ScramDecoy::new(&[3; 32], 4096)?;
    /// let mallory = decoy.credentials(ScramMechanism::Sha512, "mallory");
    /// assert_eq!(mallory.iterations(), 4096);
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn credentials(&self, mechanism: ScramMechanism, username: &str) -> ScramCredentials {
        // The name comes last, so that no name can run into another purpose.
        let derive = |with: ScramMechanism, purpose: &str| {
            let purpose = [purpose.as_bytes(), b"\0", mechanism.name().as_bytes(), b"\0"].concat();
            Key::hmac(with, self.secret.as_bytes(), &[&purpose, username.as_bytes()])
        };
        let salt = derive(ScramMechanism::Sha512, "salt");
        let salt: Box<[u8]> = salt.as_bytes().iter().take(self.salt_len).copied().collect();
        ScramCredentials {
            mechanism,
            salt,
            iterations: self.iterations,
            // No client key has this for its hash, as far as anybody can find out.
            stored_key: derive(mechanism, "stored key"),
            server_key: derive(mechanism, "server key"),
        }
    }

    /// The user's credentials if there are any for the mechanism, else the decoy, which is computed
    /// in both cases.
    ///
    /// ```
    /// use noctule_auth::{ScramDecoy, ScramMechanism};
    ///
    /// let decoy = ScramDecoy::new(&[3; 32], 4096)?;
    /// let found = None; // in the table of users
    /// let credentials = decoy.credentials_or(ScramMechanism::Sha256, "mallory", found);
    /// assert_eq!(credentials.mechanism(), ScramMechanism::Sha256);
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn credentials_or(
        &self,
        mechanism: ScramMechanism,
        username: &str,
        stored: Option<ScramCredentials>,
    ) -> ScramCredentials {
        let decoy = self.credentials(mechanism, username);
        stored.filter(|stored| stored.mechanism == mechanism).unwrap_or(decoy)
    }
}

impl fmt::Debug for ScramDecoy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramDecoy")
            .field("iterations", &self.iterations)
            .field("salt_len", &self.salt_len)
            .finish_non_exhaustive()
    }
}
