//! Percent-encoding (RFC 3986): what a URL writes as `%2F` and means as `/`.

/// A `%` that two hexadecimal digits do not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadEscape;

/// Turns every `%XX` into its byte and leaves all else.
pub(crate) fn decode(text: &str) -> Result<Vec<u8>, BadEscape> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let high = bytes.next().and_then(hex_digit).ok_or(BadEscape)?;
        let low = bytes.next().and_then(hex_digit).ok_or(BadEscape)?;
        decoded.push(high << 4 | low);
    }
    Ok(decoded)
}

/// Writes everything but letters, digits and `-._~` as `%XX`, and also leaves what is in `kept`.
pub(crate) fn encode(bytes: &[u8], kept: &[u8]) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(DIGITS[usize::from(byte >> 4)]);
            encoded.push(DIGITS[usize::from(byte & 0xf)]);
        }
    }
    encoded
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode("a%2Fb%40%c3%BC"), Ok("a/b@ü".into()));
        for text in ["%", "%2", "a%2", "%zz", "%2g", "%%20"] {
            assert_eq!(decode(text), Err(BadEscape), "{text}");
        }
    }

    #[test]
    fn what_was_encoded_decodes_to_itself() {
        let every_byte: Vec<u8> = (0..=255).collect();
        assert_eq!(decode(&encode(&every_byte, b"/")), Ok(every_byte));
        assert_eq!(encode(b"/run/a b", b"/"), "/run/a%20b");
    }
}
