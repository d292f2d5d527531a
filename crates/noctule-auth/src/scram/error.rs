//! Why an exchange ended, for the program and for the peer.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use super::mechanism::ScramMechanism;

/// Why a SCRAM exchange failed. Never contains a secret, nor what the peer sent except numbers and
/// [`ScramServerError`].
///
/// ```
/// use noctule_auth::{ScramError, ScramMechanism, ScramServer};
///
/// let mut server = ScramServer::new(ScramMechanism::Sha256);
/// let error = server.on_client_first(b"p=tls-exporter,,n=alice,r=abc").unwrap_err();
/// assert_eq!(error, ScramError::ChannelBindingUnsupported);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ScramError {
    #[error("a message has {size} bytes, {maximum} are allowed")]
    MessageTooLong { size: usize, maximum: usize },
    #[error("a message is not well-formed UTF-8")]
    IllFormedUtf8,
    #[error("a message is malformed: {expected}")]
    Malformed { expected: &'static str },
    #[error("the peer insists on an extension of SCRAM that is not known here")]
    ExtensionsUnsupported,
    #[error("the client wants channel binding, which is not supported")]
    ChannelBindingUnsupported,
    #[error("the client repeats another channel-binding header than it sent: it was altered")]
    ChannelBindingMismatch,
    #[error("the nonce does not continue the one that was sent")]
    NonceMismatch,
    #[error("a nonce has 16 to 256 random bytes or printable characters without a comma")]
    UnusableNonce,
    #[error("the server asks for {offered} iterations, at least {minimum} are safe")]
    TooFewIterations { offered: u32, minimum: u32 },
    #[error("the server asks for {offered} iterations, at most {maximum} are computed")]
    TooManyIterations { offered: u32, maximum: u32 },
    #[error("a user name is empty, badly escaped, or has characters that are not allowed in one")]
    InvalidUsername,
    #[error("a password is empty or has characters that SASLprep does not allow")]
    InvalidPassword,
    #[error("the credentials are for {found}, the exchange is {expected}")]
    MechanismMismatch { expected: ScramMechanism, found: ScramMechanism },
    #[error("the client does not know the password, or there is no such user")]
    WrongProof,
    #[error("the server does not know the user's credentials: it is not the one it claims to be")]
    WrongServerSignature,
    #[error("the server refused: {0}")]
    RefusedByServer(ScramServerError),
    #[error("this step was taken already, or a previous one was not")]
    OutOfOrder,
}

impl ScramError {
    /// What a server sends as its last message instead of its signature, when it says anything.
    ///
    /// Without a decoy an unknown user would end the exchange earlier than a wrong password:
    /// [`ScramDecoy`](crate::ScramDecoy) keeps the two alike, here as well.
    ///
    /// ```
    /// use noctule_auth::ScramError;
    ///
    /// assert_eq!(ScramError::WrongProof.to_server_final(), b"e=invalid-proof");
    /// ```
    #[must_use]
    pub fn to_server_final(&self) -> Vec<u8> {
        let reason = match self {
            Self::IllFormedUtf8 => ScramServerError::InvalidEncoding,
            Self::ExtensionsUnsupported => ScramServerError::ExtensionsNotSupported,
            Self::ChannelBindingUnsupported => ScramServerError::ChannelBindingNotSupported,
            Self::ChannelBindingMismatch => ScramServerError::ChannelBindingsDontMatch,
            Self::InvalidUsername => ScramServerError::InvalidUsernameEncoding,
            Self::WrongProof => ScramServerError::InvalidProof,
            _ => ScramServerError::OtherError,
        };
        format!("e={reason}").into_bytes()
    }
}

/// The reason that a server gives in its last message.
///
/// ```
/// use noctule_auth::ScramServerError;
///
/// assert_eq!(ScramServerError::InvalidProof.to_string(), "invalid-proof");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ScramServerError {
    /// Something was not base64 or not UTF-8.
    #[error("invalid-encoding")]
    InvalidEncoding,
    /// A mandatory extension is not known.
    #[error("extensions-not-supported")]
    ExtensionsNotSupported,
    /// The password is wrong.
    #[error("invalid-proof")]
    InvalidProof,
    /// The channels at both ends are not the same one.
    #[error("channel-bindings-dont-match")]
    ChannelBindingsDontMatch,
    /// The client believes that the server cannot bind channels, but it can: a downgrade.
    #[error("server-does-support-channel-binding")]
    ServerDoesSupportChannelBinding,
    /// The server cannot bind channels.
    #[error("channel-binding-not-supported")]
    ChannelBindingNotSupported,
    /// The server does not know this kind of channel binding.
    #[error("unsupported-channel-binding-type")]
    UnsupportedChannelBindingType,
    /// There is no such user.
    #[error("unknown-user")]
    UnknownUser,
    /// The user name cannot be prepared.
    #[error("invalid-username-encoding")]
    InvalidUsernameEncoding,
    /// The server is short of something.
    #[error("no-resources")]
    NoResources,
    /// The server does not want to say.
    #[error("other-error")]
    OtherError,
    /// A reason that RFC 5802 does not list: its first 64 characters, shown with escapes.
    #[error("{0:?}")]
    Unlisted(String),
}

impl ScramServerError {
    const LISTED: [Self; 11] = [
        Self::InvalidEncoding,
        Self::ExtensionsNotSupported,
        Self::InvalidProof,
        Self::ChannelBindingsDontMatch,
        Self::ServerDoesSupportChannelBinding,
        Self::ChannelBindingNotSupported,
        Self::UnsupportedChannelBindingType,
        Self::UnknownUser,
        Self::InvalidUsernameEncoding,
        Self::NoResources,
        Self::OtherError,
    ];

    pub(crate) fn from_value(value: &str) -> Self {
        let listed = Self::LISTED.into_iter().find(|reason| format!("{reason}") == value);
        listed.unwrap_or_else(|| Self::Unlisted(value.chars().take(64).collect::<String>()))
    }
}
