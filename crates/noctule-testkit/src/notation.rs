//! A short notation for bytes that no encoder would write.

/// The bytes that a notation stands for. Separated by white space:
///
/// - hexadecimal digits, two for each byte: `10`, `0001`, `c0ffee`
/// - `'text'`: the text's bytes
/// - `s'text'`: the same behind its length in two bytes, as strings stand in packets
/// - `v300`: a decimal number as a variable byte integer
///
/// ```
/// use noctule_testkit::bytes;
///
/// assert_eq!(bytes("c0 00"), [0xC0, 0x00]);
/// assert_eq!(bytes("0004 'MQTT' 05"), [0, 4, b'M', b'Q', b'T', b'T', 5]);
/// assert_eq!(bytes("s'MQTT'"), bytes("0004 'MQTT'"));
/// assert_eq!(bytes("v300"), [0xAC, 0x02]);
/// ```
///
/// # Panics
///
/// When the notation is not understood.
#[track_caller]
pub fn bytes(notation: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = notation.trim_start();
    while !rest.is_empty() {
        rest = match rest.strip_prefix("s'") {
            Some(text) => {
                let (text, after) = quoted(text, notation);
                let length = u16::try_from(text.len()).expect("a string of at most 65,535 bytes");
                out.extend_from_slice(&length.to_be_bytes());
                out.extend_from_slice(text.as_bytes());
                after
            }
            None => match rest.strip_prefix('\'') {
                Some(text) => {
                    let (text, after) = quoted(text, notation);
                    out.extend_from_slice(text.as_bytes());
                    after
                }
                None => number(rest, notation, &mut out),
            },
        }
        .trim_start();
    }
    out
}

/// A whole packet: its first byte, the remaining length that fits, and a body in the notation of
/// [`bytes`].
///
/// ```
/// use noctule_testkit::{bytes, packet_bytes};
///
/// assert_eq!(packet_bytes(0x82, "0001 s'a' 00"), bytes("82 06 0001 0001 'a' 00"));
/// ```
///
/// # Panics
///
/// When the notation is not understood.
#[track_caller]
pub fn packet_bytes(first_byte: u8, body: &str) -> Vec<u8> {
    let body = bytes(body);
    let mut out = vec![first_byte];
    let length = u32::try_from(body.len()).expect("a body that a remaining length can tell");
    variable_byte_integer(length, &mut out);
    out.extend_from_slice(&body);
    out
}

/// The text up to the closing quote, and what stands behind it.
#[track_caller]
fn quoted<'a>(text: &'a str, notation: &str) -> (&'a str, &'a str) {
    match text.split_once('\'') {
        Some(parts) => parts,
        None => panic!("a quote is not closed in {notation:?}"),
    }
}

/// Appends the number that `rest` begins with and returns what stands behind it.
#[track_caller]
fn number<'a>(rest: &'a str, notation: &str, out: &mut Vec<u8>) -> &'a str {
    let (token, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    if let Some(value) = token.strip_prefix('v').and_then(|value| value.parse().ok()) {
        variable_byte_integer(value, out);
        return after;
    }
    let digits: Option<Vec<u32>> = token.chars().map(|digit| digit.to_digit(16)).collect();
    match digits {
        Some(digits) if digits.len() % 2 == 0 => {
            out.extend(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8));
        }
        _ => panic!("{token:?} is neither bytes in hexadecimal nor vNUMBER, in {notation:?}"),
    }
    after
}

/// Appends seven bits a byte, the lowest first.
fn variable_byte_integer(mut value: u32, out: &mut Vec<u8>) {
    loop {
        let low = (value & 0x7F) as u8;
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_token_stands_for_its_bytes() {
        for (notation, expected) in [
            ("", &[][..]),
            ("  ", &[]),
            ("00 fF\n10", &[0x00, 0xFF, 0x10]),
            ("0a0b", &[0x0A, 0x0B]),
            ("'a b'", b"a b"),
            ("s''", &[0, 0]),
            ("s'é' 00", &[0, 2, 0xC3, 0xA9, 0]),
            ("v0 v127 v128", &[0, 127, 0x80, 1]),
            ("v268435455", &[0xFF, 0xFF, 0xFF, 0x7F]),
        ] {
            assert_eq!(bytes(notation), expected, "{notation:?}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for notation in ["0", "001", "xy", "'open", "v", "v1x", "s"] {
            let result = std::panic::catch_unwind(|| bytes(notation));
            assert!(result.is_err(), "{notation:?} gave {result:?}");
        }
    }

    #[test]
    fn the_remaining_length_fits_the_body() {
        let body = "00".repeat(200);
        let packet = packet_bytes(0x30, &body);
        assert_eq!(packet[..3], [0x30, 0xC8, 0x01]);
        assert_eq!(packet.len(), 203);
        assert_eq!(packet_bytes(0xC0, ""), [0xC0, 0x00]);
    }
}
