//! Topic patterns with names: what a route listens to, and what it reads out of a topic.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use noctule_packet::{TopicError, TopicFilter};

/// A topic filter whose wildcards have names: `{site}` stands for one level, `{rest=**}` for all
/// that follow, none included. `+` and `#` stand for the same without a name, and a share name may
/// come before.
///
/// ```
/// use noctule_client_core::Pattern;
///
/// let pattern = Pattern::new("plant/{site}/{unit=**}").unwrap();
/// assert_eq!(pattern.filter(), "plant/+/#");
/// let captures = pattern.captures("plant/north/boiler/3").unwrap();
/// assert_eq!((captures.get("site"), captures.get("unit")), (Some("north"), Some("boiler/3")));
/// assert!(pattern.captures("plan/north").is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    filter: Box<str>,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Level {
    Exactly(Box<str>),
    One(Option<Box<str>>),
    Rest(Option<Box<str>>),
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PatternError {
    /// The topic filter that it stands for is none.
    Filter {
        /// What it stands for.
        filter: String,
        /// What is wrong with that.
        source: TopicError,
    },
    /// A brace is where none may be.
    Brace {
        /// The level.
        level: String,
    },
    /// Two wildcards have the same name.
    Twice {
        /// The name.
        name: String,
    },
    /// Something follows what stands for all that follows.
    NotLast {
        /// The level.
        level: String,
    },
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter { filter, source } => write!(f, "{filter:?} is no topic filter: {source}"),
            Self::Brace { level } => {
                write!(f, "{level:?}: a level is either a name in braces or has none")
            }
            Self::Twice { name } => write!(f, "the name {name:?} comes twice"),
            Self::NotLast { level } => write!(f, "nothing may follow {level:?}"),
        }
    }
}

impl core::error::Error for PatternError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Filter { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// What the names of a pattern stand for in one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captures(Vec<(Box<str>, Box<str>)>);

impl Captures {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| &**known == name).map(|(_, text)| &**text)
    }

    /// All names and what they stand for, in the order of the pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (&**name, &**text))
    }
}

impl Pattern {
    /// The pattern in this text.
    ///
    /// # Errors
    ///
    /// If a brace is out of place, a name comes twice, or it stands for no topic filter.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let (share, rest) = split_share(text);
        let mut filter = share.to_owned();
        let mut levels: Vec<Level> = Vec::new();
        for (at, level) in rest.split('/').enumerate() {
            if matches!(levels.last(), Some(Level::Rest(_))) {
                return Err(PatternError::NotLast { level: level_before(rest, at) });
            }
            let parsed = parse(level)?;
            if let Some(name) = parsed.name()
                && levels.iter().any(|level| level.name() == Some(name))
            {
                return Err(PatternError::Twice { name: name.to_owned() });
            }
            if at > 0 {
                filter.push('/');
            }
            filter.push_str(match &parsed {
                Level::Exactly(text) => text,
                Level::One(_) => "+",
                Level::Rest(_) => "#",
            });
            levels.push(parsed);
        }
        match TopicFilter::new(&filter) {
            Ok(_) => Ok(Self { filter: filter.into(), levels }),
            Err(source) => Err(PatternError::Filter { filter, source }),
        }
    }

    /// The topic filter that it stands for, with the share name.
    pub fn filter(&self) -> &str {
        &self.filter
    }

    /// What the names stand for in a topic, if it matches.
    pub fn captures(&self, topic: &str) -> Option<Captures> {
        let mut captures = Captures::default();
        let mut note = |name: &Option<Box<str>>, text: &str| {
            if let Some(name) = name {
                captures.0.push((name.clone(), text.into()));
            }
        };
        let mut rest = Some(topic);
        for level in &self.levels {
            if let Level::Rest(name) = level {
                note(name, rest.unwrap_or_default());
                return Some(captures);
            }
            let (first, behind) = match rest?.split_once('/') {
                Some((first, behind)) => (first, Some(behind)),
                None => (rest?, None),
            };
            match level {
                Level::Exactly(text) if **text != *first => return None,
                Level::One(name) => note(name, first),
                Level::Exactly(_) | Level::Rest(_) => {}
            }
            rest = behind;
        }
        rest.is_none().then_some(captures)
    }
}

impl Level {
    fn name(&self) -> Option<&str> {
        match self {
            Self::Exactly(_) => None,
            Self::One(name) | Self::Rest(name) => name.as_deref(),
        }
    }
}

/// What stands before the filter of a shared subscription, and the filter.
fn split_share(text: &str) -> (&str, &str) {
    let behind_name = text
        .strip_prefix("$share/")
        .and_then(|rest| rest.find('/').map(|at| "$share/".len() + at + 1));
    behind_name.and_then(|at| text.split_at_checked(at)).unwrap_or(("", text))
}

fn parse(level: &str) -> Result<Level, PatternError> {
    match level {
        "+" => return Ok(Level::One(None)),
        "#" => return Ok(Level::Rest(None)),
        _ => {}
    }
    let wrong = || PatternError::Brace { level: level.to_owned() };
    let Some(inner) = level.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else {
        let is_plain = !level.contains(['{', '}']);
        return if is_plain { Ok(Level::Exactly(level.into())) } else { Err(wrong()) };
    };
    let (name, is_rest) = match inner.strip_suffix("=**") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let is_name = !name.is_empty()
        && name.chars().all(|letter| letter.is_alphanumeric() || matches!(letter, '_' | '-'));
    if !is_name {
        return Err(wrong());
    }
    let name = Some(name.into());
    Ok(if is_rest { Level::Rest(name) } else { Level::One(name) })
}

fn level_before(text: &str, at: usize) -> String {
    text.split('/').nth(at.saturating_sub(1)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::string::ToString;
    use std::vec;

    use noctule_packet::TopicName;

    use super::*;

    #[test]
    fn names_are_read_out_of_topics() {
        for (pattern, topic, expected) in [
            ("a/{x}/b", "a/1/b", Some(vec![("x", "1")])),
            ("a/{x}/b", "a//b", Some(vec![("x", "")])),
            ("a/{x}/b", "a/1/c", None),
            ("a/{x}", "a/1/2", None),
            ("a/{x}", "a", None),
            ("{x}/{y}", "1/2", Some(vec![("x", "1"), ("y", "2")])),
            ("a/{x=**}", "a/1/2", Some(vec![("x", "1/2")])),
            ("a/{x=**}", "a", Some(vec![("x", "")])),
            ("a/{x=**}", "a/", Some(vec![("x", "")])),
            ("{x=**}", "a/b", Some(vec![("x", "a/b")])),
            ("a/+/{y}/#", "a/1/2/3", Some(vec![("y", "2")])),
            ("$share/g/a/{x}", "a/1", Some(vec![("x", "1")])),
            ("a", "a", Some(vec![])),
        ] {
            let parsed = Pattern::new(pattern).unwrap();
            let captures = parsed.captures(topic);
            let found = captures.as_ref().map(|captures| captures.iter().collect::<Vec<_>>());
            assert_eq!(found, expected, "{pattern} {topic}");
            let filter = TopicFilter::new(parsed.filter()).unwrap();
            let matches = filter.matches(TopicName::new(topic).unwrap());
            assert_eq!(matches, expected.is_some(), "the filter says the same: {pattern} {topic}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_told() {
        for (pattern, expected) in [
            ("a/{x}b", "\"{x}b\": a level is either a name in braces or has none"),
            ("a/{}", "\"{}\": a level is either a name in braces or has none"),
            ("a/{x y}", "\"{x y}\": a level is either a name in braces or has none"),
            ("{x}/{x}", "the name \"x\" comes twice"),
            ("{x=**}/b", "nothing may follow \"{x=**}\""),
            ("#/b", "nothing may follow \"#\""),
        ] {
            assert_eq!(Pattern::new(pattern).unwrap_err().to_string(), expected, "{pattern}");
        }
        for pattern in ["", "a/b+", "$share/g/"] {
            let error = Pattern::new(pattern).unwrap_err();
            assert!(matches!(error, PatternError::Filter { .. }), "{pattern} {error}");
        }
    }
}
