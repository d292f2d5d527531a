//! Topic aliases of one connection, in both directions; they end with the connection.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

/// The aliases that the peer has defined.
#[derive(Clone, Debug, Default)]
pub struct InboundAliases {
    topics: Vec<Option<Arc<str>>>,
    maximum: u16,
}

/// A PUBLISH whose alias means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AliasError {
    /// The alias is 0 or above the announced Topic Alias Maximum.
    OutOfRange {
        /// What was sent.
        alias: u16,
        /// What was announced.
        maximum: u16,
    },
    /// No topic was given with this alias before.
    Undefined {
        /// What was sent.
        alias: u16,
    },
}

impl fmt::Display for AliasError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { alias, maximum } => {
                write!(f, "topic alias {alias} is not between 1 and {maximum}")
            }
            Self::Undefined { alias } => write!(f, "topic alias {alias} stands for no topic"),
        }
    }
}

impl core::error::Error for AliasError {}

impl InboundAliases {
    /// No aliases, of which the peer may define `maximum`.
    pub const fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum }
    }

    /// Lets an alias stand for a topic from now on.
    pub fn define(&mut self, alias: u16, topic: &str) -> Result<(), AliasError> {
        let at = self.index(alias)?;
        if self.topics.len() <= at {
            self.topics.resize(at + 1, None);
        }
        if let Some(known) = self.topics.get_mut(at)
            && known.as_deref() != Some(topic)
        {
            *known = Some(topic.into());
        }
        Ok(())
    }

    /// The topic that an alias stands for.
    pub fn resolve(&self, alias: u16) -> Result<&Arc<str>, AliasError> {
        let at = self.index(alias)?;
        self.topics.get(at).and_then(Option::as_ref).ok_or(AliasError::Undefined { alias })
    }

    fn index(&self, alias: u16) -> Result<usize, AliasError> {
        // [MQTT5-3.3.2-8] [MQTT5-3.3.2-9] [MQTT5-3.2.2-17] [MQTT5-3.2.2-18]
        if alias == 0 || alias > self.maximum {
            return Err(AliasError::OutOfRange { alias, maximum: self.maximum });
        }
        Ok(usize::from(alias) - 1)
    }
}

/// The aliases that we have defined for the peer. One that is hardly used makes room for another
/// topic.
#[derive(Clone, Debug, Default)]
pub struct OutboundAliases {
    /// At place n the topic of alias n + 1, and when it was used last.
    topics: Vec<(Box<str>, u64)>,
    maximum: u16,
    /// Counts the topics that were looked for.
    clock: u64,
}

/// An alias is given to another topic when so many messages, times the number of aliases, went by
/// without it. A peer that gets more topics than it takes aliases for would otherwise get
/// definitions only, of which no one is used before it is void.
const PATIENCE: u64 = 16;

impl OutboundAliases {
    /// No aliases, of which the peer takes `maximum`; that is also how many are searched in turn,
    /// so it should be small.
    pub const fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum, clock: 0 }
    }

    /// Whether the peer takes any.
    pub const fn are_taken(&self) -> bool {
        self.maximum > 0
    }

    /// The alias that the peer knows for a topic, so that the topic name is left out.
    pub fn find(&mut self, topic: &str) -> Option<u16> {
        self.clock += 1;
        let at = self.topics.iter().position(|(known, _)| &**known == topic)?;
        if let Some((_, used)) = self.topics.get_mut(at) {
            *used = self.clock;
        }
        alias_at(at)
    }

    /// A new alias for a topic that has none, to be sent together with its name. `None` if the peer
    /// takes no more and all are in use.
    pub fn define(&mut self, topic: &str) -> Option<u16> {
        // [MQTT5-3.1.2-26] [MQTT5-3.1.2-27] [MQTT5-3.3.2-11]
        if self.topics.len() < usize::from(self.maximum) {
            self.topics.push((topic.into(), self.clock));
            return alias_at(self.topics.len() - 1);
        }
        let idle_since = self.clock.checked_sub(PATIENCE * u64::from(self.maximum))?;
        let oldest = self.topics.iter().enumerate().min_by_key(|(_, (_, used))| *used);
        let (at, _) = oldest.filter(|(_, (_, used))| *used <= idle_since)?;
        *self.topics.get_mut(at)? = (topic.into(), self.clock);
        alias_at(at)
    }
}

fn alias_at(at: usize) -> Option<u16> {
    u16::try_from(at + 1).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_packet::spec;

    #[test]
    fn no_alias_is_given_above_the_maximum() {
        spec!("MQTT5-3.1.2-26", "MQTT5-3.1.2-27", "MQTT5-3.3.2-11");
        for maximum in [0, 1, 3] {
            let mut aliases = OutboundAliases::new(maximum);
            for n in 0..1_000 {
                let topic = std::format!("t/{n}");
                assert_eq!(aliases.find(&topic), None);
                assert!(aliases.define(&topic).is_none_or(|alias| (1..=maximum).contains(&alias)));
            }
        }
    }

    #[test]
    fn an_alias_is_found_again_until_it_makes_room_for_another_topic() {
        let mut aliases = OutboundAliases::new(2);
        for (topic, alias) in [("a", 1), ("b", 2)] {
            assert_eq!((aliases.find(topic), aliases.define(topic)), (None, Some(alias)));
        }
        for _ in 0..31 {
            assert_eq!((aliases.find("a"), aliases.define("c")), (Some(1), None));
        }
        assert_eq!((aliases.find("c"), aliases.define("c")), (None, Some(2)));
        assert_eq!(
            [aliases.find("a"), aliases.find("b"), aliases.find("c")],
            [Some(1), None, Some(2)]
        );
    }
}
