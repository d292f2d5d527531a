//! A user who waits for an answer of the server, and takes no message meanwhile: once as much is
//! held as may be, nothing more is read, and the answer is not either. Whoever waits like that
//! would wait for ever, so after a while the session reads on: beyond the bound what has to be
//! acknowledged, and nothing of QoS 0, which may be lost.

use core::time::Duration;

use noctule_session::Timestamp;

use crate::event::Event;
use crate::session::ClientSession;

/// For how long nothing of what is held may be given back.
const PATIENCE: Duration = Duration::from_secs(2);

/// How many times the bound may be held then.
const EXCESS: usize = 4;

/// Whether anything moves.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stall {
    /// Since when reading stands still, or something was given back last.
    since: Option<Timestamp>,
    /// Whether the session reads on all the same.
    is_broken: bool,
}

impl ClientSession {
    /// Whether no more messages may be held.
    pub(crate) fn holds_enough(&self) -> bool {
        let times = if self.stall.is_broken { EXCESS } else { 1 };
        self.held_now() >= self.settings.limits.held_bytes_max.saturating_mul(times)
    }

    /// Whether a message that may be lost is.
    pub(crate) fn drops_at_most_once(&self) -> bool {
        self.stall.is_broken && self.held_now() >= self.settings.limits.held_bytes_max
    }

    fn held_now(&self) -> usize {
        self.held.bytes() + self.events.message_bytes
    }

    /// Bytes have been read, or not.
    pub(crate) fn note_stall(&mut self, now: Timestamp) {
        if self.held_now() < self.settings.limits.held_bytes_max {
            self.stall = Stall::default();
        } else {
            self.stall.since.get_or_insert(now);
        }
    }

    /// A message was given back.
    pub(crate) fn note_progress(&mut self, now: Timestamp) {
        if self.held_now() < self.settings.limits.held_bytes_max {
            self.stall = Stall::default();
        } else if self.stall.since.is_some() {
            self.stall.since = Some(now);
        }
    }

    /// When to read on, if somebody waits for an answer.
    pub(crate) fn stall_ends(&self) -> Option<Timestamp> {
        let is_awaited = self.sender.in_flight() > 0
            || self.requests.len() > 0
            || self.authentication.is_under_way;
        let since = self.stall.since.filter(|_| is_awaited && !self.stall.is_broken);
        since.map(|since| since + PATIENCE)
    }

    pub(crate) fn break_stall(&mut self, now: Timestamp) {
        self.stall.is_broken = true;
        self.clocks.reads_again(now, self.settings.ping_timeout);
        self.events.push(Event::Stalled { held_bytes: self.held.bytes() });
    }
}
