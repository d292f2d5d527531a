//! The client's side: prove to know a password, and check that the server knew its trace.

use core::{fmt, mem};

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

use super::attribute::{escape, text};
use super::error::ScramError;
use super::key::Key;
use super::limits::ScramLimits;
use super::mechanism::ScramMechanism;
use super::message::{AuthMessage, ScramChannelBinding, ServerFirst, gs2_header, server_final};
use super::nonce::ScramNonce;
use super::preparation::ScramPreparation;

/// One exchange as seen by a client: [`start`](Self::start), then
/// [`on_server_first`](Self::on_server_first), then [`on_server_final`](Self::on_server_final).
///
/// Whatever fails ends the exchange, and a new one needs a new nonce. Only when
/// [`is_verified`](Self::is_verified) says so has the server proved that it knows this user: a
/// connection that was accepted before that may be anybody's.
///
/// ```
/// use noctule_auth::{ScramClient, ScramMechanism, ScramNonce};
///
/// // The example of RFC 7677. A real nonce is random.
/// let nonce = ScramNonce::from_text("rOprNGfwEbeRWgbNEkqO")?;
/// let mut client = ScramClient::new(ScramMechanism::Sha256, "user", "pencil", nonce);
/// assert_eq!(client.start()?, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
///
/// let answer = client.on_server_first(
///     b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
/// )?;
/// assert!(answer.starts_with(b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p="));
///
/// client.on_server_final(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")?;
/// assert!(client.is_verified());
/// # Ok::<(), noctule_auth::ScramError>(())
/// ```
pub struct ScramClient {
    mechanism: ScramMechanism,
    username: String,
    authorization_id: Option<String>,
    preparation: ScramPreparation,
    binding: ScramChannelBinding,
    limits: ScramLimits,
    step: Step,
}

enum Step {
    Ready { password: Zeroizing<String>, nonce: ScramNonce },
    Started { password: Zeroizing<String>, nonce: ScramNonce, bare: String },
    Answered { signature: Key },
    Verified,
    Failed,
}

impl ScramClient {
    /// An exchange that has not begun.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramMechanism, ScramNonce};
    ///
    /// let nonce = ScramNonce::from_bytes(&[9; 18])?; // random
    /// let client = ScramClient::new(ScramMechanism::Sha512, "alice", "wonderland", nonce);
    /// assert!(!client.is_verified());
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn new(
        mechanism: ScramMechanism,
        username: &str,
        password: &str,
        nonce: ScramNonce,
    ) -> Self {
        Self {
            mechanism,
            username: username.to_owned(),
            authorization_id: None,
            preparation: ScramPreparation::default(),
            binding: ScramChannelBinding::default(),
            limits: ScramLimits::default(),
            step: Step::Ready { password: Zeroizing::new(password.to_owned()), nonce },
        }
    }

    /// Asks to act as somebody else than the user whose password it is.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramMechanism, ScramNonce};
    ///
    /// let nonce = ScramNonce::from_text("rOprNGfwEbeRWgbNEkqO")?;
    /// let mut client = ScramClient::new(ScramMechanism::Sha256, "user", "pencil", nonce)
    ///     .with_authorization_id("plant,7");
    /// assert_eq!(client.start()?, b"n,a=plant=2C7,n=user,r=rOprNGfwEbeRWgbNEkqO");
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn with_authorization_id(mut self, name: &str) -> Self {
        self.authorization_id = Some(name.to_owned());
        self
    }

    /// What to do to the name and the password; SASLprep unless told otherwise.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramMechanism, ScramNonce, ScramPreparation};
    ///
    /// let nonce = ScramNonce::from_bytes(&[9; 18])?; // random
    /// let mut client = ScramClient::new(ScramMechanism::Sha256, "alice", "🦇🦇🦇", nonce)
    ///     .with_preparation(ScramPreparation::AsIs);
    /// assert!(client.start().is_ok());
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn with_preparation(mut self, preparation: ScramPreparation) -> Self {
        self.preparation = preparation;
        self
    }

    /// What to say about channel binding; see [`ScramChannelBinding`] for an example.
    #[must_use]
    pub fn with_channel_binding(mut self, binding: ScramChannelBinding) -> Self {
        self.binding = binding;
        self
    }

    /// How much the server may ask for.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramLimits, ScramMechanism, ScramNonce};
    ///
    /// let nonce = ScramNonce::from_bytes(&[9; 18])?; // random
    /// let limits = ScramLimits { min_iterations: 10_000, ..ScramLimits::default() };
    /// let client = ScramClient::new(ScramMechanism::Sha256, "alice", "wonderland", nonce)
    ///     .with_limits(limits);
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn with_limits(mut self, limits: ScramLimits) -> Self {
        self.limits = limits;
        self
    }

    /// The first message.
    ///
    /// # Errors
    ///
    /// [`ScramError::InvalidUsername`] or [`ScramError::InvalidPassword`] if they cannot be
    /// prepared, [`ScramError::MessageTooLong`] if no server with the same limit would read it,
    /// [`ScramError::OutOfOrder`] if it was made before.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramError, ScramMechanism, ScramNonce};
    ///
    /// let nonce = ScramNonce::from_bytes(&[9; 18])?; // random
    /// let mut client = ScramClient::new(ScramMechanism::Sha256, "", "wonderland", nonce);
    /// assert_eq!(client.start(), Err(ScramError::InvalidUsername));
    /// # Ok::<(), ScramError>(())
    /// ```
    pub fn start(&mut self) -> Result<Vec<u8>, ScramError> {
        let Step::Ready { password, nonce } = mem::replace(&mut self.step, Step::Failed) else {
            return Err(ScramError::OutOfOrder);
        };
        let prepare = |text: &str| self.preparation.prepare(text);
        self.username = prepare(&self.username).ok_or(ScramError::InvalidUsername)?;
        let password = prepare(&password).ok_or(ScramError::InvalidPassword)?;
        let password = Zeroizing::new(password);
        if let Some(name) = &self.authorization_id {
            // What this name may look like is up to the server, except for what cannot be sent.
            ScramPreparation::AsIs.prepare(name).ok_or(ScramError::InvalidUsername)?;
        }
        let bare = format!("n={},r={}", escape(&self.username), nonce.as_str());
        let message = format!("{}{bare}", self.gs2_header()).into_bytes();
        let (size, maximum) = (message.len(), self.limits.max_message);
        if size > maximum {
            return Err(ScramError::MessageTooLong { size, maximum });
        }
        self.step = Step::Started { password, nonce, bare };
        Ok(message)
    }

    /// Answers the server's challenge. This computes the salted password, which takes the
    /// iterations' time: at the default limit about a second, at 4096 some milliseconds.
    ///
    /// # Errors
    ///
    /// Whatever can be wrong with the message, first of all [`ScramError::TooFewIterations`],
    /// [`ScramError::TooManyIterations`] and [`ScramError::NonceMismatch`]; and
    /// [`ScramError::RefusedByServer`] if it is no challenge but the end.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramError, ScramMechanism, ScramNonce};
    ///
    /// let nonce = ScramNonce::from_text("rOprNGfwEbeRWgbNEkqO")?;
    /// let mut client = ScramClient::new(ScramMechanism::Sha256, "user", "pencil", nonce);
    /// client.start()?;
    /// let weak = b"r=rOprNGfwEbeRWgbNEkqOabc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=1";
    /// let answer = client.on_server_first(weak);
    /// assert_eq!(answer, Err(ScramError::TooFewIterations { offered: 1, minimum: 4096 }));
    /// # Ok::<(), ScramError>(())
    /// ```
    pub fn on_server_first(&mut self, message: &[u8]) -> Result<Vec<u8>, ScramError> {
        let step = mem::replace(&mut self.step, Step::Failed);
        let Step::Started { password, nonce, bare } = step else {
            return Err(ScramError::OutOfOrder);
        };
        let server_first = text(message, self.limits.max_message)?;
        let challenge = ServerFirst::read(server_first)?;
        // The server's share must not be empty: without it a recorded exchange would fit again.
        let server_share = challenge.nonce.strip_prefix(nonce.as_str());
        if server_share.is_none_or(str::is_empty) {
            return Err(ScramError::NonceMismatch);
        }
        let (mechanism, iterations) = (self.mechanism, challenge.iterations);
        self.check_iterations(iterations)?;

        let salted = Key::salted_password(mechanism, &password, &challenge.salt, iterations);
        let client_key = Key::client_key(mechanism, &salted);
        let stored_key = Key::stored_key(mechanism, &client_key);
        let server_key = Key::server_key(mechanism, &salted);

        let binding = Base64::encode_string(self.gs2_header().as_bytes());
        let mut answer = format!("c={binding},r={}", challenge.nonce);
        let auth_message = AuthMessage::new(&bare, server_first).finish(&answer);
        let client_signature = Key::hmac(mechanism, stored_key.as_bytes(), &[&auth_message]);
        let proof = client_key.xor(client_signature.as_bytes());
        answer.push_str(",p=");
        answer.push_str(&Base64::encode_string(proof.as_bytes()));

        let signature = Key::hmac(mechanism, server_key.as_bytes(), &[&auth_message]);
        self.step = Step::Answered { signature };
        Ok(answer.into_bytes())
    }

    /// Checks the server's last message, in whichever packet it came.
    ///
    /// # Errors
    ///
    /// [`ScramError::WrongServerSignature`] if whoever answers does not know the user's
    /// credentials, [`ScramError::RefusedByServer`] if the server says why it refuses.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramError, ScramMechanism, ScramNonce, ScramServerError};
    ///
    /// let nonce = ScramNonce::from_text("rOprNGfwEbeRWgbNEkqO")?;
    /// let mut client = ScramClient::new(ScramMechanism::Sha256, "user", "pencil", nonce);
    /// client.start()?;
    /// client.on_server_first(b"r=rOprNGfwEbeRWgbNEkqOabc,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")?;
    /// let refused = ScramError::RefusedByServer(ScramServerError::InvalidProof);
    /// assert_eq!(client.on_server_final(b"e=invalid-proof"), Err(refused));
    /// # Ok::<(), ScramError>(())
    /// ```
    pub fn on_server_final(&mut self, message: &[u8]) -> Result<(), ScramError> {
        let Step::Answered { signature } = mem::replace(&mut self.step, Step::Failed) else {
            return Err(ScramError::OutOfOrder);
        };
        if !signature.is(&server_final(text(message, self.limits.max_message)?)?) {
            return Err(ScramError::WrongServerSignature);
        }
        self.step = Step::Verified;
        Ok(())
    }

    /// Whether the exchange is complete and the server has proved to know this user.
    ///
    /// ```
    /// use noctule_auth::{ScramClient, ScramMechanism, ScramNonce};
    ///
    /// let nonce = ScramNonce::from_bytes(&[9; 18])?; // random
    /// let mut client = ScramClient::new(ScramMechanism::Sha256, "alice", "wonderland", nonce);
    /// client.start()?;
    /// assert!(!client.is_verified());
    /// # Ok::<(), noctule_auth::ScramError>(())
    /// ```
    #[must_use]
    pub fn is_verified(&self) -> bool {
        matches!(self.step, Step::Verified)
    }

    fn gs2_header(&self) -> String {
        gs2_header(self.binding, self.authorization_id.as_deref())
    }

    fn check_iterations(&self, offered: u32) -> Result<(), ScramError> {
        let ScramLimits { min_iterations: minimum, max_iterations: maximum, .. } = self.limits;
        if offered < minimum {
            return Err(ScramError::TooFewIterations { offered, minimum });
        }
        if offered > maximum {
            return Err(ScramError::TooManyIterations { offered, maximum });
        }
        Ok(())
    }
}

impl fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = match self.step {
            Step::Ready { .. } => "ready",
            Step::Started { .. } => "started",
            Step::Answered { .. } => "answered",
            Step::Verified => "verified",
            Step::Failed => "failed",
        };
        f.debug_struct("ScramClient")
            .field("mechanism", &self.mechanism)
            .field("username", &self.username)
            .field("authorization_id", &self.authorization_id)
            .field("step", &format_args!("{step}"))
            .finish_non_exhaustive()
    }
}
