//! The grammar that all messages share: `letter=value` with commas between.

use base64ct::{Base64, Encoding};

use alloc::string::String;
use alloc::vec::Vec;

use super::error::ScramError;
use super::nonce::is_printable;

/// Letters with a meaning of their own, which no optional extension may take.
const RESERVED: &str = "aceimnprsv";

/// A message's text, if it is short enough and UTF-8.
pub(crate) fn text(message: &[u8], maximum: usize) -> Result<&str, ScramError> {
    let size = message.len();
    if size > maximum {
        return Err(ScramError::MessageTooLong { size, maximum });
    }
    core::str::from_utf8(message).map_err(|_| ScramError::IllFormedUtf8)
}

/// Reads attributes one behind the other.
pub(crate) struct Attributes<'a> {
    rest: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { rest: Some(text) }
    }

    /// The first attribute's letter, without reading it.
    pub(crate) fn peek(&self) -> Option<char> {
        self.rest?.chars().next()
    }

    /// The value of the next attribute, which has this letter.
    pub(crate) fn take(
        &mut self,
        letter: char,
        expected: &'static str,
    ) -> Result<&'a str, ScramError> {
        match self.next()? {
            Some((found, value)) if found == letter => Ok(value),
            // Wherever a mandatory extension stands, there is no going on without it.
            Some(('m', _)) => Err(ScramError::ExtensionsUnsupported),
            _ => Err(ScramError::Malformed { expected }),
        }
    }

    /// Reads what is left, which may only be optional extensions. They mean nothing here, but both
    /// sides compute with the message as a whole, so that nobody can add one underway.
    pub(crate) fn finish(mut self) -> Result<(), ScramError> {
        while let Some((letter, _)) = self.next()? {
            if letter == 'm' {
                return Err(ScramError::ExtensionsUnsupported);
            }
            if RESERVED.contains(letter) {
                let expected = "an attribute stands twice or at the wrong place";
                return Err(ScramError::Malformed { expected });
            }
        }
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(char, &'a str)>, ScramError> {
        let Some(rest) = self.rest else { return Ok(None) };
        let (attribute, rest) = match rest.split_once(',') {
            Some((attribute, rest)) => (attribute, Some(rest)),
            None => (rest, None),
        };
        self.rest = rest;
        let malformed = ScramError::Malformed { expected: "attributes are `letter=value`" };
        let Some((letter, value)) = attribute.split_once('=') else { return Err(malformed) };
        let mut letters = letter.chars();
        match (letters.next(), letters.next()) {
            (Some(letter), None) if letter.is_ascii_alphabetic() && is_value(value) => {
                Ok(Some((letter, value)))
            }
            _ => Err(malformed),
        }
    }
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && !value.contains('\0')
}

/// A nonce as a peer sent it.
pub(crate) fn nonce(value: &str) -> Result<&str, ScramError> {
    match is_printable(value) {
        true => Ok(value),
        false => Err(ScramError::Malformed { expected: "a nonce is printable ASCII" }),
    }
}

/// Bytes that were sent as base64, in the one way in which they can be written.
pub(crate) fn bytes(value: &str) -> Result<Vec<u8>, ScramError> {
    let malformed = ScramError::Malformed { expected: "bytes are base64 with padding" };
    Base64::decode_vec(value).map_err(|_| malformed)
}

/// A number of iterations: decimal, without sign and leading zeros. What is beyond `u32` is beyond
/// every limit as well, and so becomes the greatest number there is.
pub(crate) fn iterations(value: &str) -> Result<u32, ScramError> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(value.as_bytes(), [b'1'..=b'9', ..]);
    match is_number {
        true => Ok(value.parse().unwrap_or(u32::MAX)),
        false => Err(ScramError::Malformed { expected: "iterations are a positive number" }),
    }
}

/// A name with the two characters escaped that the grammar needs.
pub(crate) fn escape(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

/// A name without escapes.
pub(crate) fn unescape(value: &str) -> Result<String, ScramError> {
    let mut parts = value.split('=');
    let mut name = String::with_capacity(value.len());
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            _ => return Err(ScramError::InvalidUsername),
        };
        name.push(character);
        name.push_str(rest);
    }
    Ok(name)
}
