//! Messages that came before the program has said who wants them: a session that goes on brings
//! them with its first connection, and the program has only begun to subscribe.
//!
//! Nobody waits behind them for long: as long as there is no filter at all, there is nobody to
//! wait; once there is one, the others follow soon, or never.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use noctule_packet::{TopicFilter, TopicName};
use noctule_session::Timestamp;

use crate::hub::mailbox::Item;

const MESSAGES_MAX: usize = 8_192;

/// How far the program has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Nobody has asked for anything.
    #[default]
    Silent,
    /// Somebody has, just now.
    Asked,
    /// Others may until then.
    Until(Timestamp),
    /// Who has not asked by now wants nothing of what came before.
    Over,
}

/// Messages of QoS 1 and 2 that no filter matches yet, and that are not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    items: VecDeque<Item>,
    bytes: usize,
    phase: Phase,
}

impl Kept {
    /// Whether somebody may still want what nobody has asked for.
    pub(crate) fn is_open(&self) -> bool {
        self.phase != Phase::Over
    }

    /// Keeps a message.
    pub(crate) fn put(&mut self, item: Item) {
        self.bytes += item.message.bytes();
        self.items.push_back(item);
    }

    /// The oldest message, if there are more than may be kept.
    pub(crate) fn overflow(&mut self, bytes_max: usize) -> Option<Item> {
        if self.items.len() <= MESSAGES_MAX && self.bytes <= bytes_max {
            return None;
        }
        let item = self.items.pop_front()?;
        self.bytes -= item.message.bytes();
        Some(item)
    }

    /// Somebody wants what a filter matches.
    pub(crate) fn take_matching(&mut self, filter: &TopicFilter<'_>) -> Vec<Item> {
        self.note_asked();
        if self.items.is_empty() {
            return Vec::new();
        }
        // Without its share name.
        let Ok(filter) = TopicFilter::new(filter.filter()) else { return Vec::new() };
        let (matching, others): (Vec<Item>, Vec<Item>) =
            mem::take(&mut self.items).into_iter().partition(|item| {
                TopicName::new(item.message.topic()).is_ok_and(|name| filter.matches(name))
            });
        self.items = others.into();
        self.bytes = self.items.iter().map(|item| item.message.bytes()).sum();
        matching
    }

    /// Somebody wants everything that nobody else does.
    pub(crate) fn take_all(&mut self) -> impl Iterator<Item = Item> + use<> {
        self.note_asked();
        self.bytes = 0;
        mem::take(&mut self.items).into_iter()
    }

    fn note_asked(&mut self) {
        if self.phase == Phase::Silent {
            self.phase = Phase::Asked;
        }
    }

    /// The clock, which those who ask do not have, and how long others may take.
    pub(crate) fn note_time(&mut self, now: Timestamp, patience: Duration) {
        if self.phase == Phase::Asked {
            self.phase = Phase::Until(now + patience);
        }
    }

    /// When nothing is kept any more.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Until(deadline) if !self.items.is_empty() => Some(deadline),
            _ => None,
        }
    }

    /// Whether that is now. What is left is for nobody.
    pub(crate) fn ends(&mut self, now: Timestamp) -> bool {
        let ends = matches!(self.phase, Phase::Until(deadline) if deadline <= now);
        if ends {
            self.phase = Phase::Over;
        }
        ends
    }
}
