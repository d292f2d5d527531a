//! Values of settings: what may be written for each, and how it is read.

use std::fmt;

/// What a setting holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    Flag(bool),
    List(Vec<String>),
    Number(u64),
    Text(String),
}

/// What may be written for a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `true` or `false`.
    Flag,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number of bytes, also with the suffix KiB, MiB or GiB.
    Bytes { min: u64, max: u64 },
    /// A number of things.
    Count { min: u64, max: u64 },
    /// Whole seconds.
    Seconds { min: u64, max: u64 },
    /// The path of a directory.
    Directory,
    /// A text that fits a string of the protocol.
    Text,
    /// Texts; a flag for it can be given more than once.
    List,
}

/// The longest string that MQTT can say.
const TEXT_BYTES_MAX: usize = 65_535;

const SUFFIXES: [(&str, u32); 3] = [("KiB", 10), ("MiB", 20), ("GiB", 30)];

impl Kind {
    /// Reads a value as it stands on the command line. The error says what is allowed.
    pub(crate) fn parse(self, text: &str) -> Result<Value, String> {
        let value = match self {
            Self::Flag => text.parse().ok().map(Value::Flag),
            Self::Choice(words) => words.contains(&text).then(|| Value::Text(text.to_owned())),
            Self::Bytes { .. } => bytes(text).map(Value::Number),
            Self::Count { .. } | Self::Seconds { .. } => text.parse().ok().map(Value::Number),
            Self::Directory | Self::Text => Some(Value::Text(text.to_owned())),
            Self::List => Some(Value::List(vec![text.to_owned()])),
        };
        value.filter(|value| self.is_in_range(value)).ok_or_else(|| self.to_string())
    }

    /// Accepts a value that has the right type already. The error says what is allowed.
    pub(crate) fn check(self, value: Value) -> Result<Value, String> {
        match (self, value) {
            (_, Value::Text(text)) if self != Self::List => self.parse_quoted(&text),
            (Self::Flag, value @ Value::Flag(_)) | (Self::List, value @ Value::List(_)) => {
                Ok(value)
            }
            (
                Self::Bytes { .. } | Self::Count { .. } | Self::Seconds { .. },
                value @ Value::Number(_),
            ) if self.is_in_range(&value) => Ok(value),
            // A word such as 2 needs no quotation marks.
            (Self::Choice(_), Value::Number(number)) => self.parse(&number.to_string()),
            _ => Err(self.to_string()),
        }
    }

    /// A text in a file: for a size it may have a suffix, for a flag or a count it is no value.
    fn parse_quoted(self, text: &str) -> Result<Value, String> {
        match self {
            Self::Bytes { .. } | Self::Choice(_) | Self::Directory | Self::Text => self.parse(text),
            Self::Flag | Self::Count { .. } | Self::Seconds { .. } | Self::List => {
                Err(self.to_string())
            }
        }
    }

    fn is_in_range(self, value: &Value) -> bool {
        match (self, value) {
            (
                Self::Bytes { min, max } | Self::Count { min, max } | Self::Seconds { min, max },
                Value::Number(number),
            ) => (min..=max).contains(number),
            (Self::Directory, Value::Text(text)) => !text.is_empty() && !text.contains('\0'),
            (Self::Text, Value::Text(text)) => text.len() <= TEXT_BYTES_MAX && !text.contains('\0'),
            _ => true,
        }
    }

    /// The word for it in help texts.
    pub(crate) const fn value_name(self) -> &'static str {
        match self {
            Self::Flag => "true|false",
            Self::Choice(_) => "WORD",
            Self::Bytes { .. } => "BYTES",
            Self::Count { .. } => "COUNT",
            Self::Seconds { .. } => "SECONDS",
            Self::Directory => "DIR",
            Self::Text => "TEXT",
            Self::List => "ADDRESS",
        }
    }
}

impl fmt::Display for Kind {
    /// What is allowed, behind the word "expected".
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => formatter.write_str("true or false"),
            Self::Choice(words) => write!(formatter, "one of {}", words.join(", ")),
            Self::Bytes { min, max } => {
                write!(formatter, "a size from {min} to {max} bytes, such as 65536 or 64KiB")
            }
            Self::Count { min, max } => write!(formatter, "a number from {min} to {max}"),
            Self::Seconds { min, max } => {
                write!(formatter, "a number of seconds from {min} to {max}")
            }
            Self::Directory => formatter.write_str("the path of a directory"),
            Self::Text => {
                write!(formatter, "a text of at most {TEXT_BYTES_MAX} bytes without U+0000")
            }
            Self::List => formatter.write_str("a list of texts"),
        }
    }
}

impl fmt::Display for Value {
    /// As it stands in a configuration file.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => flag.fmt(formatter),
            Self::List(texts) => write!(formatter, "{texts:?}"),
            Self::Number(number) => number.fmt(formatter),
            Self::Text(text) => write!(formatter, "{text:?}"),
        }
    }
}

fn bytes(text: &str) -> Option<u64> {
    for (suffix, shift) in SUFFIXES {
        if let Some(number) = text.strip_suffix(suffix) {
            return number.trim_end().parse::<u64>().ok()?.checked_mul(1 << shift);
        }
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_a_suffix() {
        fn check(text: &str, expected: Option<u64>) {
            assert_eq!(bytes(text), expected, "{text}");
        }
        check("0", Some(0));
        check("65536", Some(65_536));
        check("64KiB", Some(65_536));
        check("16 MiB", Some(16 << 20));
        check("1GiB", Some(1 << 30));
        check("1KB", None);
        check("-1", None);
        check("", None);
        check("99999999999999999999", None);
        check("18446744073709551615GiB", None);
    }

    #[test]
    fn a_value_out_of_range_is_answered_with_the_range() {
        let kind = Kind::Count { min: 1, max: 9 };
        assert_eq!(kind.parse("9"), Ok(Value::Number(9)));
        assert_eq!(kind.parse("10"), Err("a number from 1 to 9".to_owned()));
        assert_eq!(kind.parse("many"), Err("a number from 1 to 9".to_owned()));
        assert_eq!(kind.check(Value::Number(0)), Err("a number from 1 to 9".to_owned()));
    }

    #[test]
    fn a_file_value_of_another_type_is_refused() {
        fn check(kind: Kind, value: Value, expected: bool) {
            assert_eq!(kind.check(value.clone()).is_ok(), expected, "{kind:?} {value:?}");
        }
        let text = |text: &str| Value::Text(text.to_owned());
        check(Kind::Flag, Value::Flag(true), true);
        check(Kind::Flag, text("true"), false);
        check(Kind::Count { min: 0, max: 9 }, text("1"), false);
        check(Kind::Bytes { min: 0, max: 9999 }, text("1KiB"), true);
        check(Kind::Bytes { min: 0, max: 9999 }, Value::Flag(true), false);
        check(Kind::Choice(&["a", "b"]), text("b"), true);
        check(Kind::Choice(&["a", "b"]), text("c"), false);
        check(Kind::Choice(&["0", "1"]), Value::Number(1), true);
        check(Kind::Choice(&["0", "1"]), Value::Number(2), false);
        check(Kind::List, text("a"), false);
    }
}
