//! Which characters a UTF-8 encoded string may contain.

use crate::DecodeError;

/// How strictly strings are judged.
///
/// Ill-formed UTF-8, surrogates and U+0000 are refused under both rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TextRules {
    /// Refuses control characters (U+0001 to U+001F, U+007F to U+009F) and non-characters too.
    #[default]
    Strict,
    /// Takes whatever the specification does not forbid outright.
    Lenient,
}

impl TextRules {
    /// The string in these bytes, or why it is none.
    ///
    /// A byte order mark is a character like any other: it stays.
    pub fn check(self, bytes: &[u8]) -> Result<&str, DecodeError> {
        // [MQTT5-1.5.4-1] [MQTT311-1.5.3-1] [MQTT31-2.5-1] Surrogates are ill-formed in UTF-8.
        // [MQTT5-1.5.4-3] [MQTT311-1.5.3-3] Nothing is stripped: the text is the bytes.
        let text = simdutf8::basic::from_utf8(bytes).map_err(|_| DecodeError::IllFormedUtf8)?;
        // Without an early exit the loop becomes vector code; strings are short and mostly fine.
        let printable = bytes.iter().fold(true, |fine, &byte| fine & (0x20..0x7F).contains(&byte));
        if !printable {
            self.check_characters(text)?;
        }
        Ok(text)
    }

    #[cold]
    fn check_characters(self, text: &str) -> Result<(), DecodeError> {
        for character in text.chars() {
            if character == '\0' {
                // [MQTT5-1.5.4-2] [MQTT311-1.5.3-2]
                return Err(DecodeError::NullCharacter);
            }
            if self == TextRules::Strict && (character.is_control() || is_non_character(character))
            {
                return Err(DecodeError::DisallowedCharacter);
            }
        }
        Ok(())
    }
}

/// U+FDD0 to U+FDEF and the last two code points of every plane.
fn is_non_character(character: char) -> bool {
    let code_point = u32::from(character);
    (0xFDD0..=0xFDEF).contains(&code_point) || code_point & 0xFFFE == 0xFFFE
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn check(bytes: &[u8], strict: Result<(), DecodeError>, lenient: Result<(), DecodeError>) {
        assert_eq!(TextRules::Strict.check(bytes).map(|_| ()), strict, "{bytes:x?} strict");
        assert_eq!(TextRules::Lenient.check(bytes).map(|_| ()), lenient, "{bytes:x?} lenient");
    }

    #[test]
    fn ill_formed_utf8_is_always_refused() {
        spec!("MQTT5-1.5.4-1", "MQTT311-1.5.3-1", "MQTT31-2.5-1");
        let ill_formed = Err(DecodeError::IllFormedUtf8);
        for bytes in [
            &[0xED, 0xA0, 0x80][..], // U+D800
            &[0xED, 0xBF, 0xBF],     // U+DFFF
            &[0xC0, 0x80],           // U+0000, over-long
            &[0xC1, 0xBF],
            &[0xF4, 0x90, 0x80, 0x80], // above U+10FFFF
            &[0xE2, 0x82],             // cut off
            &[0x80],
            b"abc\xFF",
        ] {
            check(bytes, ill_formed, ill_formed);
        }
    }

    #[test]
    fn the_null_character_is_always_refused() {
        spec!("MQTT5-1.5.4-2", "MQTT311-1.5.3-2");
        let null = Err(DecodeError::NullCharacter);
        for bytes in [&b"\0"[..], b"abc\0", b"\0abc", "\u{e4}\0".as_bytes()] {
            check(bytes, null, null);
        }
    }

    #[test]
    fn a_byte_order_mark_stays() {
        spec!("MQTT5-1.5.4-3", "MQTT311-1.5.3-3");
        assert_eq!(TextRules::Strict.check(b"\xEF\xBB\xBFa"), Ok("\u{FEFF}a"));
        assert_eq!(TextRules::Strict.check(b"a\xEF\xBB\xBF"), Ok("a\u{FEFF}"));
    }

    #[test]
    fn control_characters_and_non_characters_are_a_setting() {
        let refused = Err(DecodeError::DisallowedCharacter);
        for text in [
            "\u{1}",
            "a\u{1F}",
            "\u{7F}",
            "\u{80}",
            "\u{9F}",
            "\u{FDD0}",
            "\u{FDEF}",
            "\u{FFFE}",
            "\u{FFFF}",
            "\u{1FFFE}",
            "\u{10FFFF}",
        ] {
            check(text.as_bytes(), refused, Ok(()));
        }
        for text in ["", " ", "~", "\u{A0}", "\u{FDCF}", "\u{FDF0}", "\u{FFFD}", "A\u{2A6D4}"] {
            check(text.as_bytes(), Ok(()), Ok(()));
        }
    }
}
