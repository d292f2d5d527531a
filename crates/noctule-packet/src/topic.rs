//! Topic names, topic filters and share names: parsed once, so that invalid ones cannot exist.

use alloc::string::String;
use core::fmt;

use memchr::{memchr, memchr2, memchr3};

/// The longest topic in bytes: what two length bytes can say.
const TOPIC_BYTES_MAX: usize = 65_535;

/// Why a text is not a topic name, a topic filter or a share name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TopicError {
    /// There is no character at all.
    Empty,
    /// More bytes than two length bytes can say.
    TooLong,
    /// The text contains U+0000.
    NullCharacter,
    /// A topic name contains `+` or `#`.
    WildcardInName,
    /// `#` stands elsewhere than alone in the last level.
    MultiLevelWildcard,
    /// `+` shares its level with other characters.
    SingleLevelWildcard,
    /// The name between `$share/` and the next `/` is empty or contains a wildcard.
    ShareName,
    /// Nothing follows after `$share/NAME/`.
    ShareWithoutFilter,
}

impl fmt::Display for TopicError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::TooLong => "it has more than 65,535 bytes",
            Self::NullCharacter => "it contains U+0000",
            Self::WildcardInName => "a topic name contains a wildcard",
            Self::MultiLevelWildcard => "'#' is not alone in the last level",
            Self::SingleLevelWildcard => "'+' is not alone in its level",
            Self::ShareName => "the share name is empty or contains '/', '+' or '#'",
            Self::ShareWithoutFilter => "no topic filter follows the share name",
        })
    }
}

impl core::error::Error for TopicError {}

impl TopicError {
    /// The normative statement that the text breaks.
    pub const fn statement(self) -> &'static str {
        match self {
            TopicError::Empty => "MQTT5-4.7.3-1",
            TopicError::TooLong => "MQTT5-4.7.3-3",
            TopicError::NullCharacter => "MQTT5-4.7.3-2",
            TopicError::WildcardInName => "MQTT5-4.7.0-1",
            TopicError::MultiLevelWildcard => "MQTT5-4.7.1-1",
            TopicError::SingleLevelWildcard => "MQTT5-4.7.1-2",
            TopicError::ShareName => "MQTT5-4.8.2-1",
            TopicError::ShareWithoutFilter => "MQTT5-4.8.2-2",
        }
    }
}

fn check_length(text: &str) -> Result<(), TopicError> {
    match text.len() {
        // [MQTT5-4.7.3-1] [MQTT311-4.7.3-1] [MQTT31-3.8-5]
        0 => Err(TopicError::Empty),
        1..=TOPIC_BYTES_MAX => Ok(()),
        // [MQTT5-4.7.3-3] [MQTT311-4.7.3-3]
        _ => Err(TopicError::TooLong),
    }
}

/// The name of the topic that a message is published to.
///
/// ```
/// use noctule_packet::{TopicError, TopicName};
///
/// let name = TopicName::new("house/kitchen/light").unwrap();
/// assert!(name.levels().eq(["house", "kitchen", "light"]));
/// assert_eq!(TopicName::new("house/#"), Err(TopicError::WildcardInName));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName<'a>(&'a str);

impl<'a> TopicName<'a> {
    /// The topic name in this text.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_length(text)?;
        if let Some(position) = memchr3(b'+', b'#', 0, text.as_bytes()) {
            // [MQTT5-4.7.3-2] [MQTT311-4.7.3-2]
            let null = text.as_bytes().get(position) == Some(&0);
            // [MQTT5-4.7.0-1] [MQTT311-4.7.1-1] [MQTT5-3.3.2-2] [MQTT311-3.3.2-2]
            return Err(if null { TopicError::NullCharacter } else { TopicError::WildcardInName });
        }
        Ok(TopicName(text))
    }

    /// The whole name.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }

    /// The parts between the slashes; empty ones count.
    pub fn levels(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.0.split('/')
    }

    /// Whether both are one and the same text in memory.
    pub fn is_same(&self, other: TopicName<'_>) -> bool {
        core::ptr::eq(self.0, other.0)
    }

    /// Whether the name belongs to the server: filters that begin with a wildcard do not match it.
    pub fn is_system(&self) -> bool {
        self.0.starts_with('$')
    }
}

impl fmt::Debug for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

impl fmt::Display for TopicName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A topic name that is kept, to be compared with the next one; its memory is used again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptTopicName(String);

impl KeptTopicName {
    /// Keeps another name in place of the last one.
    pub fn set(&mut self, name: TopicName<'_>) {
        self.0.clear();
        self.0.push_str(name.as_str());
    }

    /// Keeps none.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The name, if one is kept.
    pub fn name(&self) -> Option<TopicName<'_>> {
        // A topic name is never empty.
        (!self.0.is_empty()).then_some(TopicName(&self.0))
    }
}

/// The name of a group that shares a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareName<'a>(&'a str);

impl<'a> ShareName<'a> {
    /// The share name in this text.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        if text.len() > TOPIC_BYTES_MAX {
            return Err(TopicError::TooLong);
        }
        if memchr(0, text.as_bytes()).is_some() {
            return Err(TopicError::NullCharacter);
        }
        // [MQTT5-4.8.2-1] [MQTT5-4.8.2-2]
        if text.is_empty() || memchr3(b'/', b'+', b'#', text.as_bytes()).is_some() {
            return Err(TopicError::ShareName);
        }
        Ok(ShareName(text))
    }

    /// The name.
    pub const fn as_str(&self) -> &'a str {
        self.0
    }
}

/// What a client subscribes to: a topic with wildcards, possibly shared with others.
///
/// ```
/// use noctule_packet::{TopicFilter, TopicName};
///
/// let filter = TopicFilter::new("$share/readers/house/+/light").unwrap();
/// assert_eq!(filter.share_name().unwrap().as_str(), "readers");
/// assert_eq!(filter.filter(), "house/+/light");
/// assert!(filter.matches(TopicName::new("house/kitchen/light").unwrap()));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicFilter<'a> {
    text: &'a str,
    filter: &'a str,
    share_name: Option<ShareName<'a>>,
    wildcard: bool,
}

const SHARE_PREFIX: &str = "$share/";

impl<'a> TopicFilter<'a> {
    /// The topic filter in this text.
    pub fn new(text: &'a str) -> Result<Self, TopicError> {
        check_length(text)?;
        // [MQTT5-4.7.3-2] [MQTT311-4.7.3-2]
        if memchr(0, text.as_bytes()).is_some() {
            return Err(TopicError::NullCharacter);
        }
        let first_wildcard = memchr2(b'+', b'#', text.as_bytes());
        if first_wildcard.is_some() {
            check_multi_level(text)?;
        }
        let (share_name, filter) = match text.strip_prefix(SHARE_PREFIX) {
            None => (None, text),
            Some(shared) => {
                let (name, filter) = shared.split_once('/').unwrap_or((shared, ""));
                let name = ShareName::new(name)?;
                if filter.is_empty() {
                    return Err(TopicError::ShareWithoutFilter);
                }
                (Some(name), filter)
            }
        };
        if first_wildcard.is_some() {
            check_single_level(filter)?;
        }
        // A share name has no wildcard, so one that is there stands in the filter.
        Ok(TopicFilter { text, filter, share_name, wildcard: first_wildcard.is_some() })
    }

    /// The whole text, as it stands in SUBSCRIBE.
    pub const fn as_str(&self) -> &'a str {
        self.text
    }

    /// The group that shares this subscription, if it is shared.
    pub const fn share_name(&self) -> Option<ShareName<'a>> {
        self.share_name
    }

    /// What topic names are compared with: the text without `$share/NAME/`.
    pub const fn filter(&self) -> &'a str {
        self.filter
    }

    /// The parts of [`filter`](Self::filter) between the slashes; empty ones count.
    pub fn levels(&self) -> impl Iterator<Item = &'a str> + Clone + use<'a> {
        self.filter.split('/')
    }

    /// Whether there is a `+` or `#`.
    pub const fn has_wildcard(&self) -> bool {
        self.wildcard
    }

    /// Whether a message published to this topic belongs to the subscription.
    ///
    /// Levels are compared byte by byte, nothing is normalised.
    pub fn matches(&self, topic: TopicName<'_>) -> bool {
        if !self.wildcard {
            // [MQTT5-4.7.3-4] [MQTT311-4.7.3-4]
            return self.filter == topic.as_str();
        }
        // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
        if topic.is_system() && self.filter.starts_with(['+', '#']) {
            return false;
        }
        let mut names = topic.levels();
        for level in self.levels() {
            // `#` stands for its parent too, so it matches before the next name is asked for.
            if level == "#" {
                return true;
            }
            match names.next() {
                Some(name) if level == "+" || level == name => {}
                _ => return false,
            }
        }
        names.next().is_none()
    }
}

fn check_multi_level(text: &str) -> Result<(), TopicError> {
    // [MQTT5-4.7.1-1] [MQTT311-4.7.1-2] [MQTT31-3.8-4]
    let bytes = text.as_bytes();
    match memchr(b'#', bytes) {
        None => Ok(()),
        Some(position) if position + 1 == bytes.len() => match bytes {
            [b'#'] | [.., b'/', b'#'] => Ok(()),
            _ => Err(TopicError::MultiLevelWildcard),
        },
        Some(_) => Err(TopicError::MultiLevelWildcard),
    }
}

fn check_single_level(filter: &str) -> Result<(), TopicError> {
    // [MQTT5-4.7.1-2] [MQTT311-4.7.1-3]
    let shared_level = |level: &str| level.len() > 1 && memchr(b'+', level.as_bytes()).is_some();
    if filter.split('/').any(shared_level) {
        return Err(TopicError::SingleLevelWildcard);
    }
    Ok(())
}

impl fmt::Debug for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text, f)
    }
}

impl fmt::Display for TopicFilter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

#[cfg(test)]
#[path = "topic_tests.rs"]
mod tests;
