//! Rates: how often something may happen, with a burst of one second's worth.

use noctule_session::Timestamp;

use crate::effect::Effects;
use crate::input::ConnectionId;
use crate::shard::Shard;
use crate::timers::Timer;

const NANOS: u64 = 1_000_000_000;

/// A rate that is not limited.
pub(crate) const UNLIMITED: u32 = u32::MAX;

/// When the next event would be due if all had come evenly; it may lie a second ahead.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    due_nanos: u64,
}

impl Rate {
    /// Notes `count` events at `now`, of which so many a second are allowed. When the rate is kept
    /// again, in milliseconds from `now`; 0 if it is kept.
    pub(crate) fn note(&mut self, now: Timestamp, count: u64, per_second: u32) -> u64 {
        if per_second == UNLIMITED {
            return 0;
        }
        let now_nanos = now.as_millis().saturating_mul(NANOS / 1_000);
        let each = NANOS / u64::from(per_second.max(1));
        self.due_nanos = self.due_nanos.max(now_nanos).saturating_add(each.saturating_mul(count));
        let allowed = now_nanos.saturating_add(NANOS);
        self.due_nanos.saturating_sub(allowed).div_ceil(NANOS / 1_000)
    }
}

impl Shard {
    /// Counts a PUBLISH against its client's rates. Whoever is too fast is read on a little later:
    /// nothing is lost by that.
    pub(crate) fn note_rate(&mut self, id: ConnectionId, bytes: usize) {
        let limits = &self.settings.limits;
        let (messages, per_second) = (limits.publish_rate_max, limits.publish_bytes_rate_max);
        if messages == UNLIMITED && per_second == UNLIMITED {
            return;
        }
        let now = self.now;
        let Some(connection) = self.connections.find_mut(id) else { return };
        let by_messages = connection.messages_rate.note(now, 1, messages);
        let by_bytes = connection.bytes_rate.note(now, bytes as u64, per_second);
        let wait = by_messages.max(by_bytes);
        if wait > 0 {
            connection.is_throttled = true;
            self.statistics.publish_throttled += 1;
            let at = now + core::time::Duration::from_millis(wait);
            self.timers.set(at, Timer::Throttle(id));
        }
    }

    /// A client that was too fast may be read again.
    pub(crate) fn on_throttle_over(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        if core::mem::take(&mut connection.is_throttled) && connection.parked.is_none() {
            self.resume(id, effects);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_of_burst_then_the_rate() {
        let mut rate = Rate::default();
        let start = Timestamp::from_millis(5_000);
        for _ in 0..10 {
            assert_eq!(rate.note(start, 1, 10), 0);
        }
        assert_eq!(rate.note(start, 1, 10), 100);
        assert_eq!(rate.note(start, 1, 10), 200);
        let later = Timestamp::from_millis(5_300);
        assert_eq!(rate.note(later, 1, 10), 0);
        assert_eq!(rate.note(later, 1, 10), 100);
        // Whoever was silent for long has no more than one second's worth.
        let much_later = Timestamp::from_millis(500_000);
        assert_eq!(rate.note(much_later, 10, 10), 0);
        assert_eq!(rate.note(much_later, 1, 10), 100);
    }

    #[test]
    fn no_limit_is_no_limit() {
        let mut rate = Rate::default();
        for _ in 0..1_000 {
            assert_eq!(rate.note(Timestamp::from_millis(0), u64::MAX, UNLIMITED), 0);
        }
    }
}
