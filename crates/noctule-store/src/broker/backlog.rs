//! What of the runs a session gets back when a store is opened, and what stays there until its
//! client has come so far: so that what the start costs does not go by what waits.

use std::collections::HashMap;
use std::sync::Arc;

use noctule_broker_core::{Away, Message, Reference, StoredMessage};

use super::model::Model;
use super::opening::Findings;
use super::queues::Queues;
use super::session::Session;
use super::shared::SharedQueue;
use crate::error::StoreError;
use crate::run::{QueuePart, Runs, SliceLimits};

/// What is read of a run at a time.
const MESSAGES: usize = 10_000;
const BYTES: usize = 4 * 1_024 * 1_024;
const SLICE: SliceLimits = SliceLimits { messages: MESSAGES, bytes: BYTES };

/// Gives each session what it may have been sent out of the runs, and says what else they have.
pub(super) fn restore(
    runs: &mut Runs,
    queues: &Queues,
    model: &mut Model,
    in_flight_max: u16,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let Model { sessions, shared, .. } = &*model;
    runs.retain(|queue| {
        shared.contains_key(&queue) || sessions.get(&queue).is_some_and(Session::lasts)
    });
    for (name, queue) in &mut model.shared {
        runs.finish(*name, queue.up_to());
        read_shared(*name, queue, queues, findings)?;
    }
    let mut aways = HashMap::new();
    for (name, session) in &mut model.sessions {
        let mut done = session.progress.up_to();
        if session.has_forgotten {
            done = done.max(runs.last(*name).unwrap_or(0));
        }
        runs.finish(*name, done);
        // What stands in the log may be in a run later.
        queues.skip(*name, Some(&session.progress));
        let Some(up_to) = runs.last(*name) else { continue };
        let window = session.terms.receive_maximum.min(in_flight_max);
        let from = read_front(*name, session, queues, window, findings)?;
        if from <= up_to {
            read_unsent(*name, session, queues, from)?;
            aways.insert(*name, Away { from, up_to, messages: 0, bytes: 0 });
        }
    }
    runs.each_part(&mut |part| {
        if let Some(away) = aways.get_mut(&part.queue) {
            count(away, &part);
        }
    })?;
    for (name, away) in aways {
        findings.spilled += away.messages;
        if let Some(session) = model.sessions.get_mut(&name) {
            session.away = Some(away);
        }
    }
    Ok(())
}

/// Reads all that waits in a shared subscription, which is in memory.
fn read_shared(
    name: u64,
    queue: &mut SharedQueue,
    queues: &Queues,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let (mut next, mut has_more) = (queue.up_to().saturating_add(1), true);
    while has_more {
        let slice = queues.read(name, next, &SLICE)?;
        findings.unreadable.extend(slice.unreadable);
        findings.spilled += slice.messages.len() as u64;
        for StoredMessage { message, sequence, .. } in slice.messages {
            queue.queue(sequence, &message);
        }
        (next, has_more) = (slice.next, slice.has_more);
    }
    Ok(())
}

/// Reads what of a session's queue, from a place on, goes back to shared subscriptions: all that it
/// has of them there. What is unreadable is told when it is needed.
fn read_unsent(
    name: u64,
    session: &mut Session,
    queues: &Queues,
    mut next: u64,
) -> Result<(), StoreError> {
    let mut has_more = session.may_have_unsent_shared();
    while has_more {
        let slice = queues.read(name, next, &SLICE)?;
        for stored in slice.messages {
            if stored.group.is_some() {
                let (message, reference) = split(name, stored);
                session.note_unsent(&message, reference);
            }
        }
        (next, has_more) = (slice.next, slice.has_more);
    }
    Ok(())
}

/// Reads what a session may have been sent, and says up to where it has read.
fn read_front(
    name: u64,
    session: &mut Session,
    queues: &Queues,
    window: u16,
    findings: &mut Findings,
) -> Result<u64, StoreError> {
    let (mut next, mut read) = (session.progress.up_to().saturating_add(1), 0);
    loop {
        let wanted = session.wanted(window, next, read);
        if wanted == 0 {
            return Ok(next);
        }
        let limits = SliceLimits { messages: wanted.min(MESSAGES), ..SLICE };
        let slice = queues.read(name, next, &limits)?;
        findings.unreadable.extend(slice.unreadable);
        findings.spilled += slice.messages.len() as u64;
        read += slice.messages.len();
        for stored in slice.messages {
            let (message, reference) = split(name, stored);
            session.queue(&message, reference);
        }
        if !slice.has_more {
            return Ok(u64::MAX);
        }
        next = slice.next;
    }
}

fn split(session: u64, stored: StoredMessage) -> (Arc<Message>, Reference) {
    let StoredMessage { message, sequence, qos, retain, identifiers, group, .. } = stored;
    (message, Reference { session, sequence, qos, retain, identifiers, group })
}

/// Counts what a part has of a queue; of one that is begun what stands behind, as far as one can
/// guess.
fn count(away: &mut Away, part: &QueuePart) {
    if part.last < away.from {
        return;
    }
    let all = u128::from(part.last.saturating_sub(part.first)) + 1;
    let left = u128::from(part.last - away.from.max(part.first)) + 1;
    let share = |of: u64| u64::try_from((u128::from(of) * left).div_ceil(all)).unwrap_or(of);
    away.messages = away.messages.saturating_add(share(part.messages));
    away.bytes = away.bytes.saturating_add(share(part.bytes));
}
