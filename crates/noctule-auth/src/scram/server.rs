//! The server's side: check a proof against stored credentials, and prove to have them.

use core::{fmt, mem};

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

use super::attribute::text;
use super::credentials::ScramCredentials;
use super::error::ScramError;
use super::key::Key;
use super::limits::ScramLimits;
use super::mechanism::ScramMechanism;
use super::message::{AuthMessage, ClientFinal, ClientFirst};
use super::nonce::ScramNonce;
use super::preparation::ScramPreparation;

/// Who a client says it is, or, out of [`ScramAccepted`], who it is.
///
/// ```
/// use noctule_auth::{ScramMechanism, ScramServer};
///
/// let mut server = ScramServer::new(ScramMechanism::Sha256);
/// let claimed = server.on_client_first(b"n,a=plant=2C7,n=alice,r=0123456789abcdef")?;
/// assert_eq!(claimed.username(), "alice");
/// assert_eq!(claimed.authorization_id(), Some("plant,7"));
/// # Ok::<(), noctule_auth::ScramError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScramIdentity {
    username: String,
    authorization_id: Option<String>,
}

impl ScramIdentity {
    /// The prepared name of the user whose password it is. See [`ScramIdentity`] for an example.
    #[must_use]
    pub fn username(&self) -> &str {
        &self.username
    }

    /// On whose behalf the user wants to act, if it named anybody. Whether it may is not SCRAM's
    /// question: a program that has no such rules refuses whoever names another than itself. See
    /// [`ScramIdentity`] for an example.
    #[must_use]
    pub fn authorization_id(&self) -> Option<&str> {
        self.authorization_id.as_deref()
    }
}

/// A client that has proved its identity.
///
/// ```
/// use noctule_auth::ScramAccepted;
///
/// fn log(accepted: &ScramAccepted) -> String {
///     format!("{} has logged in", accepted.identity.username())
/// }
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ScramAccepted {
    /// Who it is.
    pub identity: ScramIdentity,
    /// The last message, by which the server proves itself. Without it the client must not believe
    /// that it talks to this server.
    pub server_final: Vec<u8>,
}

/// One exchange as seen by a server: [`on_client_first`](Self::on_client_first), then
/// [`challenge`](Self::challenge) when the credentials are there, then
/// [`on_client_final`](Self::on_client_final). Whatever fails ends the exchange.
///
/// ```
/// use noctule_auth::{ScramCredentials, ScramMechanism, ScramNonce, ScramServer};
///
/// // The example of RFC 7677.
/// let credentials = ScramCredentials::from_text(
///     "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
///      WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
///      wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
/// )?;
/// let mut server = ScramServer::new(ScramMechanism::Sha256);
/// server.on_client_first(b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")?;
/// let nonce = ScramNonce::from_text("%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0")?; // random
/// server.challenge(&credentials, nonce)?;
/// let accepted = server.on_client_final(
///     b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
///       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
/// )?;
/// assert_eq!(accepted.server_final, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ScramServer {
    mechanism: ScramMechanism,
    preparation: ScramPreparation,
    limits: ScramLimits,
    step: Step,
}

enum Step {
    Ready,
    Claimed {
        claim: Claim,
        client_nonce: String,
        client_first_bare: String,
    },
    Challenged {
        claim: Claim,
        nonce: String,
        auth_message: AuthMessage,
        stored_key: Key,
        server_key: Key,
    },
    Ended,
}

struct Claim {
    identity: ScramIdentity,
    /// What the client has to repeat, in base64.
    binding: String,
}

impl ScramServer {
    /// An exchange that has not begun.
    ///
    /// ```
    /// use noctule_auth::{ScramMechanism, ScramServer};
    ///
    /// let server = ScramServer::new(ScramMechanism::Sha512);
    /// assert!(format!("{server:?}").contains("ready"));
    /// ```
    #[must_use]
    pub fn new(mechanism: ScramMechanism) -> Self {
        Self {
            mechanism,
            preparation: ScramPreparation::default(),
            limits: ScramLimits::default(),
            step: Step::Ready,
        }
    }

    /// What to do to the user's name; SASLprep unless told otherwise.
    ///
    /// ```
    /// use noctule_auth::{ScramMechanism, ScramPreparation, ScramServer};
    ///
    /// let mut server = ScramServer::new(ScramMechanism::Sha256)
    ///     .with_preparation(ScramPreparation::AsIs);
    /// let claimed = server.on_client_first("n,,n=🦇,r=0123456789abcdef".as_bytes())?;
    /// assert_eq!(claimed.username(), "🦇");
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn with_preparation(mut self, preparation: ScramPreparation) -> Self {
        self.preparation = preparation;
        self
    }

    /// How much a client may send; a server has no use for the other limits.
    ///
    /// ```
    /// use noctule_auth::{ScramError, ScramLimits, ScramMechanism, ScramServer};
    ///
    /// let mut server = ScramServer::new(ScramMechanism::Sha256)
    ///     .with_limits(ScramLimits { max_message: 10, ..ScramLimits::default() });
    /// let error = server.on_client_first(b"n,,n=alice,r=0123456789abcdef").unwrap_err();
    /// assert_eq!(error, ScramError::MessageTooLong { size: 29, maximum: 10 });
    /// ```
    #[must_use]
    pub fn with_limits(mut self, limits: ScramLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Reads the client's first message, and says whose credentials are needed. Nothing is proved
    /// yet.
    ///
    /// # Errors
    ///
    /// Whatever can be wrong with the message.
    ///
    /// ```
    /// use noctule_auth::{ScramMechanism, ScramServer};
    ///
    /// let mut server = ScramServer::new(ScramMechanism::Sha256);
    /// let claimed = server.on_client_first(b"n,,n=alice,r=0123456789abcdef")?;
    /// assert_eq!(claimed.username(), "alice");
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    pub fn on_client_first(&mut self, message: &[u8]) -> Result<ScramIdentity, ScramError> {
        let Step::Ready = mem::replace(&mut self.step, Step::Ended) else {
            return Err(ScramError::OutOfOrder);
        };
        let first = ClientFirst::read(text(message, self.limits.max_message)?)?;
        let username = self.preparation.prepare(&first.username);
        let username = username.ok_or(ScramError::InvalidUsername)?;
        let identity = ScramIdentity { username, authorization_id: first.authorization_id };
        let binding = Base64::encode_string(first.gs2_header.as_bytes());
        self.step = Step::Claimed {
            claim: Claim { identity: identity.clone(), binding },
            client_nonce: first.nonce.to_owned(),
            client_first_bare: first.bare.to_owned(),
        };
        Ok(identity)
    }

    /// The server's first message, for a user with these credentials. For one who has none they
    /// come from a [`ScramDecoy`](crate::ScramDecoy).
    ///
    /// # Errors
    ///
    /// [`ScramError::MechanismMismatch`] if the credentials are for another mechanism,
    /// [`ScramError::OutOfOrder`] if no client has begun.
    ///
    /// ```
    /// use noctule_auth::{ScramDecoy, ScramMechanism, ScramNonce, ScramServer};
    ///
    /// let decoy = ScramDecoy::new(&[3; 32], 4096)?;
    /// let mut server = ScramServer::new(ScramMechanism::Sha256);
    /// let claimed = server.on_client_first(b"n,,n=mallory,r=0123456789abcdef")?;
    /// let credentials = decoy.credentials(ScramMechanism::Sha256, claimed.username());
    /// let nonce = ScramNonce::from_bytes(&[8; 18])?; // random
    /// let server_first = server.challenge(&credentials, nonce)?;
    /// assert!(server_first.starts_with(b"r=0123456789abcdef"));
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    pub fn challenge(
        &mut self,
        credentials: &ScramCredentials,
        nonce: ScramNonce,
    ) -> Result<Vec<u8>, ScramError> {
        let step = mem::replace(&mut self.step, Step::Ended);
        let Step::Claimed { claim, client_nonce, client_first_bare } = step else {
            return Err(ScramError::OutOfOrder);
        };
        let (expected, found) = (self.mechanism, credentials.mechanism);
        if expected != found {
            return Err(ScramError::MechanismMismatch { expected, found });
        }
        let nonce = format!("{client_nonce}{}", nonce.as_str());
        let salt = Base64::encode_string(&credentials.salt);
        let message = format!("r={nonce},s={salt},i={}", credentials.iterations);
        self.step = Step::Challenged {
            claim,
            nonce,
            auth_message: AuthMessage::new(&client_first_bare, &message),
            stored_key: credentials.stored_key.clone(),
            server_key: credentials.server_key.clone(),
        };
        Ok(message.into_bytes())
    }

    /// Checks the client's proof.
    ///
    /// # Errors
    ///
    /// [`ScramError::WrongProof`] if the password is wrong or the credentials were a decoy;
    /// otherwise what is wrong with the message. [`ScramError::to_server_final`] makes the answer,
    /// if there is one to be.
    ///
    /// ```
    /// use noctule_auth::{ScramDecoy, ScramError, ScramMechanism, ScramNonce, ScramServer};
    ///
    /// let decoy = ScramDecoy::new(&[3; 32], 4096)?;
    /// let mut server = ScramServer::new(ScramMechanism::Sha256);
    /// server.on_client_first(b"n,,n=mallory,r=0123456789abcdef")?;
    /// let credentials = decoy.credentials(ScramMechanism::Sha256, "mallory");
    /// server.challenge(&credentials, ScramNonce::from_text("0123456789ABCDEF")?)?;
    /// let message = b"c=biws,r=0123456789abcdef0123456789ABCDEF,\
    ///                 p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    /// assert_eq!(server.on_client_final(message).unwrap_err(), ScramError::WrongProof);
    /// # Ok::<(), ScramError>(())
    /// ```
    pub fn on_client_final(&mut self, message: &[u8]) -> Result<ScramAccepted, ScramError> {
        let step = mem::replace(&mut self.step, Step::Ended);
        let Step::Challenged { claim, nonce, auth_message, stored_key, server_key } = step else {
            return Err(ScramError::OutOfOrder);
        };
        let last = ClientFinal::read(text(message, self.limits.max_message)?)?;
        if last.binding != claim.binding {
            return Err(ScramError::ChannelBindingMismatch);
        }
        if last.nonce != nonce {
            return Err(ScramError::NonceMismatch);
        }
        let auth_message = auth_message.finish(last.without_proof);
        let client_signature = Key::hmac(self.mechanism, stored_key.as_bytes(), &[&auth_message]);
        let client_key = client_signature.xor(&last.proof);
        let is_proved = stored_key.is(Key::stored_key(self.mechanism, &client_key).as_bytes());
        // A proof with something behind its end would otherwise be as good as one without.
        if !is_proved || last.proof.len() != self.mechanism.hash_len() {
            return Err(ScramError::WrongProof);
        }
        let signature = Key::hmac(self.mechanism, server_key.as_bytes(), &[&auth_message]);
        let signature = Base64::encode_string(signature.as_bytes());
        let server_final = format!("v={signature}").into_bytes();
        Ok(ScramAccepted { identity: claim.identity, server_final })
    }
}

impl fmt::Debug for ScramServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Ready => "ready",
            Step::Claimed { .. } => "claimed",
            Step::Challenged { .. } => "challenged",
            Step::Ended => "ended",
        };
        f.debug_struct("ScramServer")
            .field("mechanism", &self.mechanism)
            .field("step", &format_args!("{step}"))
            .finish_non_exhaustive()
    }
}
