//! Which topics are sent as a number.

use alloc::boxed::Box;
use noctule_session::OutboundAliases;

/// How topic aliases are chosen for what is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AliasPolicy {
    /// None are used.
    #[default]
    None,
    /// The user chooses with each publication; a topic that the server knows for the alias already
    /// is left out. An alias that the server does not take is refused.
    Manual,
    /// The same, but an alias that the server does not take is left out.
    Suggested,
    /// The topics that are used most have one. A number up to 16 is sensible: that many are
    /// searched for each message.
    Lru {
        /// How many at most, if the server takes as many.
        maximum: u16,
    },
}

/// What to send in place of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AliasChoice {
    /// The topic alone.
    Topic,
    /// The topic, and a number that stands for it from now on.
    Define(u16),
    /// A number that stands for the topic.
    Use(u16),
}

/// The aliases of one connection.
#[derive(Debug, Default)]
pub(crate) struct Aliases {
    policy: AliasPolicy,
    /// What the server takes.
    maximum: u16,
    lru: OutboundAliases,
    /// At place n the topic of alias n + 1, where the user chooses.
    manual: alloc::vec::Vec<Option<Box<str>>>,
}

impl Aliases {
    pub(crate) fn new(policy: AliasPolicy) -> Self {
        Self { policy, ..Self::default() }
    }

    /// A new connection, whose server takes 1 to `maximum`.
    pub(crate) fn reset(&mut self, maximum: u16) {
        self.maximum = maximum;
        self.manual.clear();
        if let AliasPolicy::Lru { maximum: wanted } = self.policy {
            self.lru = OutboundAliases::new(maximum.min(wanted));
        }
    }

    /// Whether there is nothing to ask.
    #[inline]
    pub(crate) fn are_unused(&self) -> bool {
        self.maximum == 0 || matches!(self.policy, AliasPolicy::None)
    }

    /// Whether the user may choose this alias.
    pub(crate) fn allows(&self, alias: u16) -> bool {
        // [MQTT5-3.3.2-9] [MQTT5-3.2.2-17] [MQTT5-3.2.2-18]
        match self.policy {
            AliasPolicy::Manual => (1..=self.maximum).contains(&alias),
            AliasPolicy::Suggested => alias > 0,
            AliasPolicy::None | AliasPolicy::Lru { .. } => false,
        }
    }

    /// Whether the user chooses the aliases.
    pub(crate) const fn are_manual(&self) -> bool {
        matches!(self.policy, AliasPolicy::Manual | AliasPolicy::Suggested)
    }

    /// What to send in place of a topic. Whatever it says must be sent.
    // [MQTT5-3.3.2-9] [MQTT5-3.3.2-11]
    pub(crate) fn choose(&mut self, topic: &str, wanted: Option<u16>) -> AliasChoice {
        match self.policy {
            _ if self.maximum == 0 => AliasChoice::Topic,
            AliasPolicy::None => AliasChoice::Topic,
            AliasPolicy::Manual | AliasPolicy::Suggested => match wanted {
                Some(alias) if alias <= self.maximum => self.choose_manual(topic, alias),
                _ => AliasChoice::Topic,
            },
            AliasPolicy::Lru { .. } => match self.lru.find(topic) {
                Some(alias) => AliasChoice::Use(alias),
                None => self.lru.define(topic).map_or(AliasChoice::Topic, AliasChoice::Define),
            },
        }
    }

    fn choose_manual(&mut self, topic: &str, alias: u16) -> AliasChoice {
        let Some(at) = usize::from(alias).checked_sub(1) else { return AliasChoice::Topic };
        if self.manual.len() <= at {
            self.manual.resize(at + 1, None);
        }
        match self.manual.get_mut(at) {
            Some(Some(known)) if **known == *topic => AliasChoice::Use(alias),
            Some(place) => {
                *place = Some(topic.into());
                AliasChoice::Define(alias)
            }
            None => AliasChoice::Topic,
        }
    }
}
