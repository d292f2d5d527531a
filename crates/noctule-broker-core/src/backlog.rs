//! Queues that are longer than memory: what stands behind all that waits in memory.
//!
//! ```text
//!   in flight | waits | away: in the store only | behind: in memory until the store has spilled it
//! ```
//! When the store has put messages where they may stay, the queue forgets them, but for what its
//! client takes next. As soon as nothing waits in front of it, the next slice is read back.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::ops::Range;

use noctule_packet::QoS;

use crate::effect::{Effect, Effects};
use crate::placement::Placement;
use crate::registry::SessionKey;
use crate::restore::delivery_of;
use crate::restored::{Away, StoredMessage};
use crate::session::{Delivery, Kept, Session};
use crate::shard::Shard;

/// How many bytes of messages are read back at a time, and left in front for a client that is
/// there.
const SLICE_BYTES: u64 = 64 * 1024;

/// More places of a slice without a message than that come from damage beyond measure.
const LOST_MAX: usize = 1 << 20;

/// What waits in the store, and behind that in memory.
#[derive(Debug)]
pub(crate) struct Backlog {
    away: Away,
    behind: VecDeque<(Delivery, QoS)>,
    /// Up to which place the slice counts that is being read.
    reading: Option<u64>,
}

impl Backlog {
    pub(crate) fn new(away: Away) -> Self {
        Self { away, behind: VecDeque::new(), reading: None }
    }

    /// The place of the first message.
    pub(crate) const fn from(&self) -> u64 {
        self.away.from
    }

    pub(crate) fn len(&self) -> u64 {
        self.away.messages + self.behind.len() as u64
    }

    /// Puts a message behind all others.
    pub(crate) fn push(&mut self, delivery: Delivery, qos: QoS) {
        self.behind.push_back((delivery, qos));
    }

    /// One more message is in the store only, behind those that are already.
    fn forget(&mut self, sequence: u64, bytes: u64) {
        self.away.up_to = sequence;
        self.away.messages += 1;
        self.away.bytes += bytes;
    }

    /// Takes what is behind, as far as the store has it: a message of a shared subscription may
    /// have to go to another member, and what stands behind it keeps its order.
    fn take_spilled(&mut self, sequence: u64, up_to: u64) -> Option<Delivery> {
        let (first, _) = self.behind.front()?;
        let is_spilled = sequence <= up_to && first.group().is_none();
        is_spilled.then(|| self.behind.pop_front()).flatten().map(|(delivery, _)| delivery)
    }
}

impl Session {
    pub(crate) fn backlog(&self) -> Option<&Backlog> {
        self.kept.as_deref()?.backlog.as_deref()
    }

    pub(crate) fn backlog_mut(&mut self) -> Option<&mut Backlog> {
        self.kept.as_deref_mut()?.backlog.as_deref_mut()
    }

    /// What stands in the store only counts as waiting.
    pub(crate) fn restore_backlog(&mut self, away: Away) {
        self.queued_bytes += away.bytes;
        if let Some(kept) = &mut self.kept {
            kept.backlog = Some(Box::new(Backlog::new(away)));
        }
    }

    /// Takes everything that waits in memory and that `leaves` says yes to, in order.
    pub(crate) fn take_waiting(
        &mut self,
        mut leaves: impl FnMut(&Delivery) -> bool,
    ) -> Vec<(Delivery, QoS)> {
        let mut taken = self.sender.take_waiting(&mut leaves);
        if let Some(backlog) = self.backlog_mut() {
            let behind = core::mem::take(&mut backlog.behind);
            let (leaving, staying) =
                behind.into_iter().partition::<VecDeque<_>, _>(|(delivery, _)| leaves(delivery));
            backlog.behind = staying;
            taken.extend(leaving);
        }
        taken
    }

    /// The store has put everything up to a place where it may stay: forgets what of that its
    /// client does not take next. Returns how many bytes are free.
    fn put_away(&mut self, up_to: u64) -> u64 {
        if !self.is_stored() || self.sender.waiting() == 0 && self.backlog().is_none() {
            return 0;
        }
        let held = self.held_bytes;
        self.begin_backlog(up_to);
        self.put_away_front();
        let Some(kept) = self.kept.as_deref_mut() else { return 0 };
        let Some(mut backlog) = kept.backlog.take() else { return 0 };
        while let Some((first, _)) = backlog.behind.front()
            && let sequence = kept.sequence_of(first)
            && let Some(delivery) = backlog.take_spilled(sequence, up_to)
        {
            let bytes = delivery.message.bytes() as u64;
            backlog.forget(sequence, bytes);
            self.held_bytes -= bytes;
        }
        kept.backlog = Some(backlog);
        held - self.held_bytes
    }

    /// Begins a backlog with what waits behind a slice, if the store has that.
    fn begin_backlog(&mut self, up_to: u64) {
        let Some(kept) = self.kept.as_deref().filter(|kept| kept.backlog.is_none()) else { return };
        let room = if self.connection.is_some() { SLICE_BYTES } else { 0 };
        if self.queued_bytes <= room {
            return;
        }
        let mut bytes = 0;
        let stays = |(delivery, _): &(&Delivery, QoS)| {
            bytes += delivery.message.bytes() as u64;
            bytes <= room
        };
        let count = self.sender.iter_waiting().take_while(stays).count();
        let Some((first, _)) = self.sender.iter_waiting().nth(count) else { return };
        let from = kept.sequence_of(first);
        if from > up_to || first.group().is_some() {
            return;
        }
        let away = Away { from, up_to: from.saturating_sub(1), messages: 0, bytes: 0 };
        let behind = self.sender.take_waiting_behind(count);
        if let Some(kept) = &mut self.kept {
            kept.backlog = Some(Box::new(Backlog { behind, ..Backlog::new(away) }));
        }
    }

    /// Forgets what was read for a client that has gone since.
    fn put_away_front(&mut self) {
        let is_shared = |(delivery, _): (&Delivery, QoS)| delivery.group().is_some();
        let away = self.connection.is_none() && self.backlog().is_some();
        if !away || self.sender.iter_waiting().any(is_shared) {
            return;
        }
        let front = self.sender.take_waiting_behind(0);
        let Some(kept) = self.kept.as_deref_mut() else { return };
        let first = front.front().map(|(delivery, _)| kept.sequence_of(delivery));
        let (Some(backlog), Some(from)) = (kept.backlog.as_deref_mut(), first) else { return };
        (backlog.away.from, backlog.reading) = (from, None);
        for (delivery, _) in front {
            let bytes = delivery.message.bytes() as u64;
            backlog.away.messages += 1;
            backlog.away.bytes += bytes;
            self.held_bytes -= bytes;
        }
    }

    /// A message of the backlog was read and waits in memory.
    fn take_back(&mut self, stored: StoredMessage, placement: &Placement) {
        let sequence = stored.sequence;
        self.take_out(stored, placement);
        if let Some(backlog) = self.backlog_mut() {
            backlog.away.from = sequence.saturating_add(1);
        }
    }

    /// A message waits in memory from now on, wherever it stands in the backlog.
    pub(crate) fn take_out(&mut self, stored: StoredMessage, placement: &Placement) {
        let (delivery, qos) = delivery_of(stored, placement);
        let bytes = delivery.message.bytes() as u64;
        let Some(backlog) = self.backlog_mut() else { return };
        let away = &mut backlog.away;
        // How much there is in the store may be an estimate.
        let counted = bytes.min(away.bytes);
        away.bytes -= counted;
        away.messages = away.messages.saturating_sub(1);
        self.queued_bytes = self.queued_bytes.saturating_sub(counted) + bytes;
        self.held_bytes += bytes;
        self.queued_shared += u32::from(delivery.group().is_some());
        self.sender.enqueue(delivery, qos);
    }

    /// The store has nothing more of the queue before this place.
    fn pass(&mut self, place: u64) {
        let Some(kept) = self.kept.as_deref_mut() else { return };
        let Some(mut backlog) = kept.backlog.take() else { return };
        backlog.away.from = backlog.away.from.max(place);
        if backlog.away.from <= backlog.away.up_to {
            kept.backlog = Some(backlog);
        } else {
            self.queued_bytes = self.queued_bytes.saturating_sub(backlog.away.bytes);
            for (delivery, qos) in backlog.behind {
                self.sender.enqueue(delivery, qos);
            }
        }
        self.trim_gone();
    }

    /// A message has left its place without having been sent.
    pub(crate) fn note_gone(&mut self, place: u64) {
        if let Some(kept) = &mut self.kept {
            kept.gone.insert(place);
        }
        self.trim_gone();
    }

    fn is_gone(&self, place: u64) -> bool {
        self.kept.as_deref().is_some_and(|kept| kept.gone.contains(&place))
    }

    /// Of places where nothing is stored those whose messages have not left them, as far as is
    /// known here.
    fn missing(&self, places: Range<u64>) -> impl Iterator<Item = u64> {
        places.filter(|place| !self.is_gone(*place))
    }

    /// Forgets the places of messages that have left where nothing is read any more. What was read
    /// and waits may be put away again.
    fn trim_gone(&mut self) {
        let up_to = self.sent_up_to();
        let Some(kept) = &mut self.kept else { return };
        while kept.gone.first().is_some_and(|first| *first <= up_to) {
            kept.gone.pop_first();
        }
    }
}

impl Kept {
    /// Which slice is to be read next, if there is one and none is being read.
    fn next_slice(&mut self) -> Option<Effect> {
        let backlog = self.backlog.as_deref_mut()?;
        if backlog.reading.is_some() {
            return None;
        }
        backlog.reading = Some(backlog.away.up_to);
        Some(Effect::ReadQueue {
            session: self.name,
            from: backlog.away.from,
            bytes_max: SLICE_BYTES,
        })
    }
}

impl Shard {
    /// The store has put a session's messages up to a place where they may stay.
    pub(crate) fn on_spilled(&mut self, session: u64, up_to: u64, effects: &mut Effects) {
        let Some(key) = self.records.session(session) else { return };
        if let Some(session) = self.registry.session_mut(key) {
            let freed = session.put_away(up_to);
            self.memory.shrink(freed);
            self.draw_horizon_back(key, effects);
        }
    }

    /// A client has gone: what was read back for it, and was not sent, is in the store.
    pub(crate) fn put_away_unsent(&mut self, key: SessionKey) {
        if let Some(session) = self.registry.session_mut(key) {
            let held = session.held_bytes;
            session.put_away_front();
            self.memory.shrink(held - session.held_bytes);
        }
    }

    /// Reads the next slice of a queue of which nothing waits in memory any more. Where memory is
    /// short, what is in flight has to be done with before.
    pub(crate) fn read_on(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let is_held_back = session.sender.in_flight() > 0 && self.memory.shortage().is_some();
        if session.sender.waiting() > 0 || is_held_back {
            return;
        }
        if let Some(slice) = session.kept.as_deref_mut().and_then(Kept::next_slice) {
            effects.push(slice);
        }
    }

    /// A slice of a queue was read.
    pub(crate) fn on_queue_read(
        &mut self,
        session: u64,
        from: u64,
        messages: Vec<StoredMessage>,
        next: Option<u64>,
        effects: &mut Effects,
    ) {
        let Some(key) = self.records.session(session) else { return };
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(backlog) = session.backlog_mut().filter(|known| known.from() == from) else {
            return;
        };
        let Some(up_to) = backlog.reading.take() else { return };
        let held = session.held_bytes;
        // What is stored behind that has been in memory all the time.
        let end = next.filter(|next| *next <= up_to).unwrap_or(up_to.saturating_add(1));
        let (mut expected, mut lost) = (from, Vec::new());
        for stored in messages {
            let place = stored.sequence;
            if !(from..=up_to).contains(&place) {
                continue;
            }
            let room = LOST_MAX.saturating_sub(lost.len());
            lost.extend(session.missing(expected..place).take(room));
            expected = place.saturating_add(1);
            if !session.is_gone(place) {
                session.take_back(stored, &self.settings.placement);
            }
        }
        let room = LOST_MAX.saturating_sub(lost.len());
        lost.extend(session.missing(expected..end).take(room));
        session.pass(end);
        if let Some(kept) = &mut session.kept {
            kept.durable = kept.durable.max(up_to);
        }
        session.count_stored(&mut self.stored);
        let grown = session.held_bytes - held;
        self.memory.grow(grown);
        self.record_lost(key, lost, effects);
        self.drop_expired(key, effects);
        if self.put_away_unwanted(key, up_to, effects) {
            return;
        }
        // If all of it has expired, so may what stands behind it.
        self.read_on(key, effects);
        self.pump(key, effects);
    }

    /// Forgets what was read for a client that has gone since, if it has not expired. Of a queue
    /// that is full it stays, as it makes room when it expires.
    fn put_away_unwanted(&mut self, key: SessionKey, up_to: u64, effects: &mut Effects) -> bool {
        let is_absent =
            self.registry.session(key).is_some_and(|session| session.connection.is_none());
        if !is_absent {
            return false;
        }
        self.give_back_unsent(key, effects);
        let is_full = self.queue_outgrown(key, SLICE_BYTES).is_some();
        let Some(session) = self.registry.session_mut(key) else { return false };
        let is_unwanted = session.sender.waiting() > 0 && !is_full;
        if is_unwanted {
            self.memory.shrink(session.put_away(up_to));
        }
        is_unwanted
    }
}
