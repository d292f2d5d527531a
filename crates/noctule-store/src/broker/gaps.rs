//! What is missing of a session's queue, and the packet identifiers of what is left.
//!
//! Places follow one another, and so do packet identifiers. A place of which nothing is found was
//! lost to damage: its message, or what said that all up to there was done, when the message had
//! gone without a trace because of that. Up to where the queue may have been sent such a place has
//! had its packet identifier, so that the messages behind it keep theirs. Behind that it gets none,
//! which the store has to be told: later nobody could tell the one from the other.

use std::collections::BTreeMap;
use std::sync::Arc;

use noctule_broker_core::{Away, Message, Reference, Step, StoredMessage};
use noctule_packet::{ForwardedProperties, PacketId, QoS};

use super::progress::{Progress, ahead};
use super::shared::LOST_MAX;

/// No more packet identifiers than that are in use in a row.
const SPAN_MAX: u64 = 65_534;

/// What stands for a message that its receiver has, as far as anybody knows.
const STAND_IN: &str = "$SYS/received";

/// A message that waits, as it was recorded.
pub(super) type Queued = (Arc<Message>, Reference);

/// The first part of a queue.
#[derive(Debug)]
pub(super) struct Numbered {
    /// The packet identifier of the first message.
    pub(super) next: PacketId,
    /// Up to the last that may have been sent, each has the identifier behind that of the one
    /// before it: something stands for what is missing.
    pub(super) messages: Vec<StoredMessage>,
    /// Up to this place all have identifiers.
    pub(super) up_to: u64,
}

impl Numbered {
    /// Gives the first part of a queue its identifiers, of which all up to a place may have been
    /// sent. Without that place nobody knows what is missing.
    pub(super) fn new(
        progress: &Progress,
        queue: BTreeMap<u64, Queued>,
        sent: Option<u64>,
    ) -> Self {
        let ranks: Vec<u64> = match sent {
            Some(_) => progress.ranks(queue.keys().copied()).collect(),
            None => (1..=queue.len() as u64).collect(),
        };
        let mut queue: Vec<(u64, Queued)> = ranks.into_iter().zip(queue.into_values()).collect();
        let (begun, up_to) = (progress.begun() as u64, sent.unwrap_or(u64::MAX));
        let waiting = queue
            .split_off(queue.partition_point(|(rank, it)| *rank <= begun || place(it) <= up_to));
        let last = queue.last().map_or((0, 0), |(rank, it)| (*rank, place(it)));
        let (last, up_to) = (progress.ranks(sent).fold(last.0, u64::max), up_to.max(last.1));
        let done = done_for_sure(queue.iter().map(|(rank, _)| *rank), last);
        let messages = Vec::with_capacity(queue.len() + waiting.len());
        let mut found = Self { next: ahead(progress.next(), done), messages, up_to };
        // How far something was that has gone around says nothing of what has its identifier now.
        let steps = progress.steps().map(|step| if done == 0 { step } else { Step::Published });
        let mut queue = queue.into_iter().skip_while(|(rank, _)| *rank <= done).peekable();
        let ranks = done.saturating_add(1)..=last.min(done.saturating_add(SPAN_MAX));
        for (rank, step) in ranks.zip(steps) {
            match queue.next_if(|(at, _)| *at == rank) {
                Some((_, queued)) => found.messages.push(stored(queued, step)),
                None => found.leave_out(step),
            }
        }
        let rest = queue.chain(waiting);
        found.messages.extend(rest.map(|(_, queued)| stored(queued, Step::Published)));
        found
    }

    /// Keeps the place of a message that is missing. What its receiver has is released all the
    /// same: its identifier would never be free there.
    fn leave_out(&mut self, step: Step) {
        let step = if step == Step::Published { Step::Done } else { step };
        match self.messages.last() {
            None if step == Step::Done => self.next = ahead(self.next, 1),
            last => {
                let sequence = last.map_or(0, |last| last.sequence);
                self.messages.push(StoredMessage { step, ..stand_in(sequence) });
            }
        }
    }

    /// The places that are missing behind all that, when a part of the queue was not read and
    /// others stand behind that.
    pub(super) fn lost(
        &self,
        progress: &Progress,
        away: Option<&Away>,
        behind: impl Iterator<Item = u64>,
    ) -> Vec<u64> {
        let waiting = self.messages.iter().map(|message| message.sequence);
        let waiting = waiting.map(|place| (place, place));
        let away = away.map(|away| (away.from, away.up_to));
        let (mut next, mut lost) = (self.up_to.saturating_add(1), Vec::new());
        for (first, last) in waiting.chain(away).chain(behind.map(|place| (place, place))) {
            lost.extend(progress.wanted(next..first).take(LOST_MAX - lost.len()));
            next = next.max(last.saturating_add(1));
        }
        lost
    }
}

/// Less than all packet identifiers are in use in a row: up to which one all are done when
/// something is missing between those that stand farther before the last. What is missing was done,
/// and so is what stands before it.
fn done_for_sure(ranks: impl Iterator<Item = u64>, last: u64) -> u64 {
    let (mut done, mut before) = (0, 0);
    for rank in ranks.chain([last.saturating_add(1)]) {
        if last - done <= SPAN_MAX {
            break;
        }
        if rank > before + 1 {
            done = rank - 1;
        }
        before = rank;
    }
    done
}

fn place((_, reference): &Queued) -> u64 {
    reference.sequence
}

pub(super) fn stored((message, reference): Queued, step: Step) -> StoredMessage {
    let Reference { sequence, qos, retain, identifiers, group, .. } = reference;
    StoredMessage { message, sequence, qos, retain, identifiers, group, step }
}

fn stand_in(sequence: u64) -> StoredMessage {
    let (qos, retain) = (QoS::ExactlyOnce, false);
    let (topic, payload) = (STAND_IN.into(), b""[..].into());
    let properties = ForwardedProperties::empty();
    let message = Message { topic, payload, qos, retain, properties, expires_at: None };
    let (message, identifiers) = (Arc::new(message), Vec::new());
    let (group, step) = (None, Step::Done);
    StoredMessage { message, sequence, qos, retain, identifiers, group, step }
}
