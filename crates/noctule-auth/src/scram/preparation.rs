//! What is done to names and passwords before they are hashed or compared.

use alloc::borrow::ToOwned;
use alloc::string::String;

/// How names and passwords become the characters that both sides compute with.
///
/// One password can be typed as different characters: an accent of its own or part of the letter, a
/// wide digit, a soft hyphen. SCRAM asks both sides for SASLprep (RFC 4013), which makes them one
/// and refuses what nobody can type reliably: control characters, mixed writing directions, and
/// whatever Unicode 3.2 had not assigned, which includes every emoji.
///
/// Some servers never prepare anything, and some fall back silently to the text as it is when
/// SASLprep refuses it. Here a refusal is an error, since a password that silently means something
/// else fails on the next device; who has to agree with such a server says so by
/// [`AsIs`](Self::AsIs). For printable ASCII the two are the same.
///
/// Without the crate feature `saslprep` (for targets without std) only printable ASCII passes
/// `SaslPrep`, which RFC 5802 allows as the alternative.
///
/// ```
/// use noctule_auth::ScramPreparation;
///
/// let soft_hyphen = "I\u{ad}X";
/// # #[cfg(feature = "saslprep")]
/// assert_eq!(ScramPreparation::SaslPrep.prepare(soft_hyphen).as_deref(), Some("IX"));
/// assert_eq!(ScramPreparation::AsIs.prepare(soft_hyphen).as_deref(), Some("I\u{ad}X"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScramPreparation {
    /// SASLprep with unassigned characters refused, as RFC 5802 asks.
    #[default]
    SaslPrep,
    /// The text as it is.
    AsIs,
}

impl ScramPreparation {
    /// The prepared text; none if it is not allowed, empty, or contains U+0000.
    ///
    /// Names in a table of users are prepared like this, so that a lookup finds them.
    ///
    /// ```
    /// use noctule_auth::ScramPreparation;
    ///
    /// assert_eq!(ScramPreparation::SaslPrep.prepare("alice").as_deref(), Some("alice"));
    /// assert_eq!(ScramPreparation::SaslPrep.prepare("\u{7}"), None);
    /// ```
    #[must_use]
    pub fn prepare(self, text: &str) -> Option<String> {
        let prepared = match self {
            Self::SaslPrep => saslprep(text)?,
            Self::AsIs => text.to_owned(),
        };
        let is_usable = !prepared.is_empty() && !prepared.contains('\0');
        is_usable.then_some(prepared)
    }
}

#[cfg(feature = "saslprep")]
fn saslprep(text: &str) -> Option<String> {
    stringprep::saslprep(text).ok().map(alloc::borrow::Cow::into_owned)
}

#[cfg(not(feature = "saslprep"))]
fn saslprep(text: &str) -> Option<String> {
    let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    is_printable.then(|| text.to_owned())
}
