//! What shards have to keep on its way to the store: gathered now and then, committed a little
//! later as by a thread of its own, and told to the shards when it is durable.

use std::time::Duration;

use noctule_broker_core::{Input, Record};

use crate::store_fault::StoreFault;
use crate::world::{Happening, World};

/// What nobody waits for goes along with something that comes within so many milliseconds.
const RIDE: u64 = 50;

/// The broker has told something that may not be durable yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unsettled {
    pub(crate) client: usize,
    pub(crate) is_end: bool,
    pub(crate) shard: usize,
    /// What has to be durable; nothing while the shard's turn lasts.
    pub(crate) records: Option<u64>,
}

impl World {
    /// A shard wants a record kept.
    pub(crate) fn keep(&mut self, shard: usize, record: &Record, is_urgent: bool) {
        let records = self.shards[shard].records;
        self.trace(|| format!("shard {shard} keeps {records}: {record:?}"));
        let Some(power) = &mut self.power else { return };
        power.storage.append(shard, record);
        if power.storage.fault == Some(StoreFault::AcknowledgeUnsynced) {
            power.storage.claim(shard, records);
            self.answer_later(shard, Input::Persisted { records });
        }
        let delay =
            if is_urgent { self.random.between(0, self.profile.answer_delay / 2) } else { RIDE };
        self.gather_within(delay);
        // The store may begin with what there is at any time, also while its shard is not done.
        if records.is_multiple_of(5) {
            self.gather_now();
        }
    }

    fn gather_now(&mut self) {
        let now = self.now;
        if let Some(power) = &mut self.power
            && !power.is_committing
        {
            power.gathers_at = Some(now);
            self.gather();
        }
    }

    fn gather_within(&mut self, delay: u64) {
        let at = self.now + delay;
        let Some(power) = &mut self.power else { return };
        if !power.is_committing && power.gathers_at.is_none_or(|known| at < known) {
            power.gathers_at = Some(at);
            self.schedule_at(at, Happening::Gather);
        }
    }

    pub(crate) fn gather(&mut self) {
        let Some(power) = &mut self.power else { return };
        if power.is_committing || power.gathers_at != Some(self.now) {
            return;
        }
        power.gathers_at = None;
        power.is_committing = true;
        if let Err(error) = power.storage.gather() {
            self.oracle.find("[store]", format!("records do not fit: {error}"));
        }
        let delay = self.random.between(0, self.profile.answer_delay / 2);
        self.schedule(delay, Happening::Commit);
    }

    pub(crate) fn commit(&mut self) {
        let now = self.now;
        let Some(power) = &mut self.power else { return };
        power.is_committing = false;
        let wall = now + power.wall_ahead;
        power.storage.clock.set(Duration::from_millis(now), Duration::from_millis(wall));
        let stamp = (power.storage.age(), wall);
        let is_empty = power.storage.is_frame_empty();
        if !is_empty {
            power.stamps.push(stamp);
        }
        let is_early = power.storage.fault == Some(StoreFault::AcknowledgeUnsynced);
        let committed = power.storage.commit();
        let emptied = committed.and_then(|()| {
            // What it has promised it keeps, also if the power goes thereupon.
            for shard in 0..self.shards.len() {
                let Some(power) = &self.power else { break };
                let records = power.storage.durable(shard);
                if records > self.shards[shard].durable && !is_early {
                    self.shards[shard].durable = records;
                    self.answer_later(shard, Input::Persisted { records });
                }
            }
            let Some(power) = &mut self.power else { return Ok(Vec::new()) };
            if !is_empty {
                power.stamps = vec![stamp];
            }
            self.trace(|| "all that was gathered is durable".to_owned());
            let Some(power) = &mut self.power else { return Ok(Vec::new()) };
            power.storage.empty_log()
        });
        match emptied {
            Ok(spilled) => self.tell_spilled(&spilled),
            Err(error) => return self.on_store_error(&error),
        }
        let has_posted = self.power.as_ref().is_some_and(|power| power.storage.has_posted());
        if has_posted {
            self.gather_within(0);
        }
    }

    /// Lets all shards know what is in runs: whose sessions these are, each knows for itself.
    fn tell_spilled(&mut self, segments: &[Vec<(u64, u64)>]) {
        self.situations.segments_emptied += segments.len() as u64;
        for (session, up_to) in segments.iter().flatten().copied() {
            for shard in 0..self.shards.len() {
                self.answer_later(shard, Input::Spilled { session, up_to });
            }
        }
    }

    /// Reads a part of a queue, of which its shard hears later.
    pub(crate) fn read_queue(&mut self, shard: usize, session: u64, from: u64, bytes_max: u64) {
        self.trace(|| format!("shard {shard} reads the queue of {session} from {from}"));
        let Some(power) = &self.power else { return };
        match power.storage.read_queue(session, from, bytes_max) {
            Ok(slice) if slice.unreadable.is_empty() => {
                self.situations.queues_read += 1;
                let next = slice.has_more.then_some(slice.next);
                let messages = slice.messages;
                self.answer_later(shard, Input::QueueRead { session, from, messages, next });
            }
            found => self.oracle.find("[store]", format!("a queue cannot be read: {found:?}")),
        }
    }

    /// The broker has told something of a client: a connection's end, or its session's.
    pub(crate) fn note_unsettled(&mut self, client: usize, shard: usize, is_end: bool) {
        if let Some(power) = &mut self.power {
            power.unsettled.push(Unsettled { client, is_end, shard, records: None });
        }
    }

    /// A shard's turn is over, and with it everything is recorded that it has told.
    pub(crate) fn settle_later(&mut self, shard: usize) {
        let records = self.shards[shard].records;
        let Some(power) = &mut self.power else { return };
        let storage = &power.storage;
        power.unsettled.retain(|told| {
            told.records.is_none_or(|records| records > storage.durable(told.shard))
        });
        for told in power.unsettled.iter_mut().filter(|told| told.shard == shard) {
            told.records.get_or_insert(records);
        }
    }
}
