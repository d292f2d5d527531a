//! User properties: pairs of strings that pass through in their wire form.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::property::PropertyId;
use crate::wire::{Reader, put_text};
use crate::{EncodeError, TextRules};

/// The user properties of a packet, in order, in their validated wire form.
///
/// ```
/// use noctule_packet::UserProperties;
///
/// let mut properties = UserProperties::new();
/// properties.push("unit", "celsius").unwrap();
/// properties.push("unit", "kelvin").unwrap();
/// assert!(properties.iter().eq([("unit", "celsius"), ("unit", "kelvin")]));
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserProperties<'a> {
    encoded: Cow<'a, [u8]>,
    count: usize,
}

impl<'a> UserProperties<'a> {
    /// No user properties.
    pub const fn new() -> Self {
        UserProperties { encoded: Cow::Borrowed(&[]), count: 0 }
    }

    /// Bytes that were read and found good, with the number of pairs in them.
    pub(crate) const fn of_wire(encoded: Cow<'a, [u8]>, count: usize) -> Self {
        UserProperties { encoded, count }
    }

    /// Appends a pair. The same name may stand several times.
    pub fn push(&mut self, name: &str, value: &str) -> Result<(), EncodeError> {
        let encoded: &mut Vec<u8> = self.encoded.to_mut();
        let start = encoded.len();
        encoded.push(PropertyId::UserProperty as u8);
        let written = put_text(encoded, name).and_then(|()| put_text(encoded, value));
        match written {
            Ok(()) => self.count += 1,
            Err(_) => encoded.truncate(start),
        }
        written
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        let mut reader = Reader::new(&self.encoded);
        // The bytes are good, so the first failure is the end.
        core::iter::from_fn(move || {
            reader.byte().ok()?;
            let name = reader.text(TextRules::Lenient).ok()?;
            let value = reader.text(TextRules::Lenient).ok()?;
            Some((name, value))
        })
    }

    /// How many pairs there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The pairs as they stand in a packet, each with its property identifier.
    pub fn as_encoded(&self) -> &[u8] {
        &self.encoded
    }
}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;

    #[test]
    fn pairs_come_back_in_order() {
        let mut properties = UserProperties::new();
        assert!(properties.is_empty());
        for (name, value) in [("b", "1"), ("a", ""), ("", "2"), ("b", "1")] {
            properties.push(name, value).unwrap();
        }
        assert!(properties.iter().eq([("b", "1"), ("a", ""), ("", "2"), ("b", "1")]));
        assert_eq!(properties.len(), 4);
        assert_eq!(properties.as_encoded().get(..7), Some(&b"\x26\0\x01b\0\x011"[..]));
    }

    #[test]
    fn a_string_that_no_peer_takes_changes_nothing() {
        let long: String = "x".repeat(65_536);
        let mut properties = UserProperties::new();
        for (name, value, error) in [
            (&*long, "", EncodeError::StringTooLong),
            ("", &*long, EncodeError::StringTooLong),
            ("a\0", "", EncodeError::InvalidValue),
            ("", "\0", EncodeError::InvalidValue),
        ] {
            assert_eq!(properties.push(name, value), Err(error));
        }
        assert_eq!(properties, UserProperties::new());
    }
}
