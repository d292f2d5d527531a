//! Up to which place a queue may be sent: what the store knows of a session with a connection.
//!
//! How far its client is done is recorded behind its acknowledgements, so that after a crash the
//! store is behind. What it has not heard of must not come again under another packet identifier,
//! or as if it had never been sent; and it cannot give back everything, as a queue may be long. So
//! it knows a horizon beyond which nothing is sent, which moves ahead of the client, but not beyond
//! what is in memory: a start reads back all that may have been sent.

use crate::effect::Effects;
use crate::registry::SessionKey;
use crate::session::{Kept, Session};
use crate::shard::Shard;
use crate::stored::Record;

/// How far a horizon is beyond the client's window: as many messages may be in memory at a start,
/// and what is acknowledged during some commits has to fit.
const AHEAD: u64 = 1_024;

/// How much nearer it comes before it is moved. The record rides along with others, so that no
/// disk is troubled with it alone.
const STEP: u64 = AHEAD / 2;

/// How near it comes before it is moved without waiting for others.
const STEP_MAX: u64 = AHEAD / 4 * 3;

/// It is not moved ahead of what was sent while so many packet identifiers in a row are in use:
/// PUBREC and PUBCOMP are recorded with nothing else, and no identifier must come twice between
/// what the store knows to be done and the horizon.
const SPAN_MAX: u16 = 32_768;

impl Kept {
    /// Whether the next place is not beyond the horizon, if the queue has places at all.
    pub(crate) const fn may_send_next(&self) -> bool {
        self.sequence < self.horizon || !self.has_queue()
    }

    /// The last place in front of what stands in the store alone, if anything does.
    fn last_in_memory(&self) -> Option<u64> {
        Some(self.backlog.as_deref()?.from().saturating_sub(1))
    }

    /// Whether the horizon is on its way to the store, and is waited for.
    const fn hurries(&self) -> bool {
        self.hurried_horizon > self.horizon
    }
}

impl Session {
    /// Where the horizon should be as a connection begins: never beyond what is in memory, or comes
    /// from now on. A start reads back whatever may have been sent.
    fn first_horizon(&self) -> u64 {
        let Some(kept) = self.kept.as_deref() else { return 0 };
        let window = self.sender.receive_maximum().min(SPAN_MAX);
        let span = self.sender.span();
        // What has just come from memory gets its places, from 1 on, behind this.
        let sent = self.sent_up_to().max(span as u64);
        let sent = sent.max(kept.done.saturating_add(window.into()));
        let ahead = if span > usize::from(SPAN_MAX) { 0 } else { AHEAD };
        let wanted = sent.saturating_add(ahead);
        kept.last_in_memory().map_or(wanted, |last| wanted.min(last))
    }

    /// Where the horizon should be: no nearer than it is said to be already.
    fn next_horizon(&self) -> u64 {
        let known = self.kept.as_deref().map_or(0, |kept| kept.next_horizon);
        self.first_horizon().max(known)
    }

    /// Says where the horizon of a connection is, behind so many records. Nothing is sent on that
    /// before it is durable.
    pub(crate) fn begin_horizon(&mut self, recorded: u64) -> u64 {
        let up_to = self.first_horizon();
        if let Some(kept) = &mut self.kept {
            (kept.horizon, kept.next_horizon) = (up_to, up_to);
            (kept.hurried_horizon, kept.horizon_behind) = (0, recorded);
        }
        up_to
    }

    /// The place of what is sent next for the first time, if nothing is repeated before.
    fn next_on_connection(&self) -> Option<(&Kept, u64)> {
        self.connection.filter(|_| !self.sender.has_repetitions())?;
        let kept = self.kept.as_deref()?;
        Some((kept, kept.sequence_of(self.sender.peek_waiting()?)))
    }
}

impl Shard {
    /// Whether the message that is to be sent next is beyond the horizon, which is moved then.
    pub(crate) fn waits_for_horizon(&mut self, key: SessionKey, effects: &mut Effects) -> bool {
        let session = self.registry.session(key).filter(|session| session.is_stored());
        let next = session.and_then(Session::next_on_connection);
        let Some((kept, _)) = next.filter(|(kept, place)| *place > kept.horizon) else {
            return false;
        };
        if !kept.hurries() {
            self.move_horizon(key, true, effects);
        }
        true
    }

    /// Moves the horizon in time for a client that goes on as it does.
    pub(crate) fn move_horizon_along(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let wanted = session.next_horizon();
        let is_online = session.connection.is_some();
        let Some(kept) = session.queue_kept().filter(|_| is_online) else { return };
        let is_late = wanted >= kept.horizon.saturating_add(STEP_MAX) && !kept.hurries();
        if is_late || wanted >= kept.next_horizon.saturating_add(STEP) {
            self.move_horizon(key, is_late, effects);
        }
    }

    fn move_horizon(&mut self, key: SessionKey, is_urgent: bool, effects: &mut Effects) {
        // The store has to know what is done before it is told to expect more.
        self.record_done(key, effects);
        let Some(session) = self.registry.session_mut(key) else { return };
        let (up_to, span) = (session.next_horizon(), session.sender.span());
        let Some(kept) = session.queue_kept() else { return };
        let known = if is_urgent { kept.horizon } else { kept.next_horizon };
        if up_to <= known || span > usize::from(SPAN_MAX) {
            return;
        }
        kept.next_horizon = up_to;
        let record = Record::MaySend { session: kept.name, up_to };
        if is_urgent {
            kept.hurried_horizon = up_to;
            self.record(record, effects);
        } else {
            self.record_leisurely(record, effects);
        }
        self.records.await_horizon(key, up_to);
    }

    /// Messages have left memory for the store: those that it said may be sent were not, and are
    /// not to be read back at a start as if they were.
    pub(crate) fn draw_horizon_back(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let is_online = session.connection.is_some();
        let Some(kept) = session.kept.as_deref_mut().filter(|_| is_online) else { return };
        let last = kept.last_in_memory();
        let Some(up_to) = last.filter(|last| *last < kept.next_horizon) else { return };
        (kept.horizon, kept.next_horizon) = (kept.horizon.min(up_to), up_to);
        (kept.hurried_horizon, kept.horizon_behind) = (0, self.records.handed_out());
        let record = Record::MaySend { session: kept.name, up_to };
        self.record_leisurely(record, effects);
        // One that was on its way, and waited for, does not count any more.
        self.waits_for_horizon(key, effects);
    }

    /// The store knows where the horizon is, by so many records, unless it was drawn back since.
    pub(crate) fn on_horizon_durable(
        &mut self,
        key: SessionKey,
        (up_to, recorded): (u64, u64),
        effects: &mut Effects,
    ) {
        if let Some(session) = self.registry.session_mut(key)
            && let Some(kept) = &mut session.kept
            && recorded > kept.horizon_behind
        {
            kept.horizon = kept.horizon.max(up_to);
            self.pump(key, effects);
        }
    }
}
