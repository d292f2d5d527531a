//! How the text of `-F` is read: sequences that begin with `%`, `@` and `\`.

use std::iter::Peekable;
use std::str::Chars;

use jiff::Zoned;
use jiff::fmt::strtime;

use super::format::{Field, Format, Padding, Part};

/// Wider is nothing that anybody looks at.
const WIDTH_MAX: usize = 10_000;

/// What the help says about formats.
pub(crate) const FORMAT_HELP: &str = "\
Formats for -F:
  %t topic, %p payload, %l its bytes, %x and %X payload in hexadecimal, %q QoS, %r retain flag,
  %j everything as JSON, %J the same with a payload that is JSON itself, %I time as ISO 8601,
  %U seconds since 1970, %C content type, %D correlation data, %E message expiry interval,
  %F payload format indicator, %P user properties, %R response topic, %S subscription identifiers,
  %m packet identifier, %A topic alias, %f and %d the payload as a binary floating-point number of
  4 or 8 bytes, little-endian, %% a percent sign.
  Behind the %, 0 pads with zeros, - aligns to the left, and then may stand WIDTH or WIDTH.MAXIMUM;
  for %f and %d the MAXIMUM is the places of the fraction, for %x and %X the digits of a group, and
  a sign behind it stands between groups: %.2:x is 18:83.
  @ and a letter is what strftime(3) makes of it (@H:@M:@S); @N nanoseconds, @@ an at sign.
  \\\\ \\0 \\a \\e \\n \\r \\t \\v are single characters.";

impl std::str::FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(letter) = rest.next() {
            let part = match letter {
                '%' => match field(&mut rest)? {
                    Some(part) => part,
                    None => {
                        literal.push(b'%');
                        continue;
                    }
                },
                '@' => match rest.next() {
                    Some('@') => {
                        literal.push(b'@');
                        continue;
                    }
                    Some('N') => Part::Nanoseconds,
                    Some(letter) => time(letter)?,
                    None => return Err("an @ at the end: write @@ for the sign itself".to_owned()),
                },
                '\\' => {
                    literal.push(escaped(rest.next())?);
                    continue;
                }
                other => {
                    literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                    continue;
                }
            };
            if !literal.is_empty() {
                parts.push(Part::Literal(std::mem::take(&mut literal)));
            }
            parts.push(part);
        }
        if !literal.is_empty() {
            parts.push(Part::Literal(literal));
        }
        Ok(Self { parts })
    }
}

/// What stands behind a `%`; `None` is the sign itself.
fn field(rest: &mut Peekable<Chars<'_>>) -> Result<Option<Part>, String> {
    let mut padding = Padding::default();
    while let Some(flag) = rest.next_if(|letter| matches!(letter, '0' | '-')) {
        match flag {
            '0' => padding.with_zeros = true,
            _ => padding.is_left = true,
        }
    }
    padding.width = number(rest)?.unwrap_or(0);
    if rest.next_if_eq(&'.').is_some() {
        padding.width_max = Some(number(rest)?.unwrap_or(0));
    }
    if padding.width_max.is_some() {
        padding.separator = rest.next_if(char::is_ascii_punctuation);
    }
    let field = match rest.next() {
        Some('%') => return Ok(None),
        Some('A') => Field::TopicAlias,
        Some('C') => Field::ContentType,
        Some('D') => Field::CorrelationData,
        Some('d') => Field::Double,
        Some('E') => Field::MessageExpiryInterval,
        Some('F') => Field::PayloadFormatIndicator,
        Some('f') => Field::Float,
        Some('I') => Field::IsoTime,
        Some('j') => Field::Json,
        Some('J') => Field::JsonPayload,
        Some('l') => Field::PayloadLength,
        Some('m') => Field::PacketId,
        Some('P') => Field::UserProperties,
        Some('p') => Field::Payload,
        Some('q') => Field::QoS,
        Some('R') => Field::ResponseTopic,
        Some('r') => Field::Retain,
        Some('S') => Field::SubscriptionIdentifier,
        Some('t') => Field::Topic,
        Some('U') => Field::UnixTime,
        Some('x') => Field::LowerHex,
        Some('X') => Field::UpperHex,
        Some(other) => return Err(format!("there is no %{other}; see --help")),
        None => return Err("a % at the end: write %% for the sign itself".to_owned()),
    };
    match (padding.separator, field) {
        (None, _) | (Some(_), Field::LowerHex | Field::UpperHex) => {
            Ok(Some(Part::Field(field, padding)))
        }
        (Some(sign), _) => Err(format!("{sign} separates groups of %x and %X only; see --help")),
    }
}

fn number(rest: &mut Peekable<Chars<'_>>) -> Result<Option<usize>, String> {
    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    if digits.is_empty() {
        return Ok(None);
    }
    let number = digits.parse().ok().filter(|number| *number <= WIDTH_MAX);
    number.map(Some).ok_or_else(|| format!("the width {digits} is above {WIDTH_MAX}"))
}

/// What strftime has for a letter.
fn time(letter: char) -> Result<Part, String> {
    let format = format!("%{letter}");
    match strtime::format(&format, &Zoned::now()) {
        Ok(_) => Ok(Part::Time(format)),
        Err(_) => Err(format!("there is no @{letter}; see strftime(3)")),
    }
}

fn escaped(letter: Option<char>) -> Result<u8, String> {
    Ok(match letter {
        Some('\\') => b'\\',
        Some('0') => 0,
        Some('a') => 7,
        Some('e') => 27,
        Some('n') => b'\n',
        Some('r') => b'\r',
        Some('t') => b'\t',
        Some('v') => 11,
        Some(other) => return Err(format!("there is no \\{other}; see --help")),
        None => return Err("a \\ at the end: write \\\\ for the sign itself".to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_read_part_by_part() {
        let format: Format = "a%%b %010.5t@@@H\\n".parse().unwrap();
        let padding =
            Padding { with_zeros: true, width: 10, width_max: Some(5), ..Padding::default() };
        assert_eq!(
            format.parts,
            [
                Part::Literal(b"a%b ".to_vec()),
                Part::Field(Field::Topic, padding),
                Part::Literal(b"@".to_vec()),
                Part::Time("%H".to_owned()),
                Part::Literal(b"\n".to_vec()),
            ]
        );
    }

    #[test]
    fn what_is_no_format_is_told() {
        for text in [
            "%",
            "%z",
            "%.2:t",
            "%.2:",
            "@",
            "\\",
            "\\x",
            "%99999999999999999999t",
            "%10001p",
            "%-",
        ] {
            assert!(text.parse::<Format>().is_err(), "{text}");
        }
    }

    #[test]
    fn all_letters_of_strftime_that_people_use_are_there() {
        for letter in "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyYzZ".chars() {
            assert!(format!("@{letter}").parse::<Format>().is_ok(), "{letter}");
        }
    }
}
