//! Topic aliases of one connection, in both directions; they end with the connection.

use alloc::boxed::Box;
use alloc::vec::Vec;

/// The aliases that the peer has defined.
#[derive(Clone, Debug, Default)]
pub struct InboundAliases {
    topics: Vec<Option<Box<str>>>,
    maximum: u16,
}

/// A PUBLISH whose alias means nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AliasError {
    /// The alias is 0 or above the announced Topic Alias Maximum.
    #[error("topic alias {alias} is not between 1 and {maximum}")]
    OutOfRange {
        /// What was sent.
        alias: u16,
        /// What was announced.
        maximum: u16,
    },
    /// No topic was given with this alias before.
    #[error("topic alias {alias} stands for no topic")]
    Undefined {
        /// What was sent.
        alias: u16,
    },
}

impl InboundAliases {
    /// No aliases, of which the peer may define `maximum`.
    pub const fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum }
    }

    /// Lets an alias stand for a topic from now on.
    // [MQTT5-3.3.2-8] [MQTT5-3.3.2-9] [MQTT5-3.3.2-10]
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
    pub fn resolve(&self, alias: u16) -> Result<&str, AliasError> {
        let at = self.index(alias)?;
        self.topics.get(at).and_then(Option::as_deref).ok_or(AliasError::Undefined { alias })
    }

    fn index(&self, alias: u16) -> Result<usize, AliasError> {
        if alias == 0 || alias > self.maximum {
            return Err(AliasError::OutOfRange { alias, maximum: self.maximum });
        }
        Ok(usize::from(alias) - 1)
    }
}

/// The aliases that we have defined for the peer; the one not used for longest makes room.
#[derive(Clone, Debug, Default)]
pub struct OutboundAliases {
    /// At place n the topic of alias n + 1.
    topics: Vec<(Box<str>, u64)>,
    maximum: u16,
    clock: u64,
}

/// How a topic is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The alias to send.
    pub alias: u16,
    /// Whether the peer knows it already, so that the topic name is left out.
    pub known: bool,
}

impl OutboundAliases {
    /// No aliases, of which the peer takes `maximum`; that is also how many are searched in turn,
    /// so it should be small.
    // [MQTT5-3.1.2-26] [MQTT5-3.1.2-27]
    pub const fn new(maximum: u16) -> Self {
        Self { topics: Vec::new(), maximum, clock: 0 }
    }

    /// The alias for a topic, `None` if the peer takes none.
    pub fn assign(&mut self, topic: &str) -> Option<Assigned> {
        self.clock += 1;
        let found = self.topics.iter().position(|(known, _)| &**known == topic);
        let at = match found {
            Some(at) => at,
            None if self.topics.len() < usize::from(self.maximum) => {
                self.topics.push((topic.into(), 0));
                self.topics.len() - 1
            }
            None => {
                let oldest = self.topics.iter().enumerate().min_by_key(|(_, (_, used))| *used);
                oldest.map(|(at, _)| at)?
            }
        };
        let entry = self.topics.get_mut(at)?;
        if found.is_none() {
            entry.0 = topic.into();
        }
        entry.1 = self.clock;
        Some(Assigned { alias: u16::try_from(at + 1).ok()?, known: found.is_some() })
    }
}
