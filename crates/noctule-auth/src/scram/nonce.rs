//! What makes each exchange different from all others.

use alloc::borrow::ToOwned;
use alloc::string::String;

use base64ct::{Base64, Encoding};

use super::error::ScramError;

/// One side's share of the nonce: random, and for one exchange, which is why it is not `Clone`.
///
/// ```
/// use noctule_auth::{ScramError, ScramNonce};
///
/// // Random bytes in practice. 18 of them have no padding in base64.
/// assert!(ScramNonce::from_bytes(&[5; 18]).is_ok());
/// assert_eq!(ScramNonce::from_bytes(&[5; 8]).err(), Some(ScramError::UnusableNonce));
/// ```
#[derive(Debug)]
pub struct ScramNonce(String);

impl ScramNonce {
    /// The fewest bytes, or printable characters, that a nonce of our own may have.
    ///
    /// ```
    /// assert_eq!(noctule_auth::ScramNonce::MIN_LEN, 16);
    /// ```
    pub const MIN_LEN: usize = 16;
    /// The most bytes, or printable characters, that a nonce of our own may have.
    ///
    /// ```
    /// assert_eq!(noctule_auth::ScramNonce::MAX_LEN, 256);
    /// ```
    pub const MAX_LEN: usize = 256;

    /// From random bytes, which are sent as base64.
    ///
    /// # Errors
    ///
    /// [`ScramError::UnusableNonce`] if there are too few or too many.
    ///
    /// ```
    /// use noctule_auth::ScramNonce;
    ///
    /// assert!(ScramNonce::from_bytes(&[5; 24]).is_ok());
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ScramError> {
        match is_usable_len(bytes.len()) {
            true => Ok(Self(Base64::encode_string(bytes))),
            false => Err(ScramError::UnusableNonce),
        }
    }

    /// From random printable text, for who has a format of its own.
    ///
    /// # Errors
    ///
    /// [`ScramError::UnusableNonce`] if it is too short or too long, or has a comma, a space or
    /// anything beyond printable ASCII.
    ///
    /// ```
    /// use noctule_auth::ScramNonce;
    ///
    /// assert!(ScramNonce::from_text("0123456789abcdef").is_ok());
    /// assert!(ScramNonce::from_text("01234567,9abcdef").is_err());
    /// ```
    pub fn from_text(text: &str) -> Result<Self, ScramError> {
        match is_usable_len(text.len()) && is_printable(text) {
            true => Ok(Self(text.to_owned())),
            false => Err(ScramError::UnusableNonce),
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_usable_len(len: usize) -> bool {
    (ScramNonce::MIN_LEN..=ScramNonce::MAX_LEN).contains(&len)
}

/// Whether each character may stand in a nonce.
pub(crate) fn is_printable(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}
