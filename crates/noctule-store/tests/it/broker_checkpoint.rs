//! A broker's log that is emptied from its front, on a disk that forgets: whenever the power goes,
//! what is found is what was promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use noctule_broker_core::{Message, Placement, Record, Reference, Timestamp};
use noctule_packet::{PacketId, QoS};
use noctule_store::broker::{self, CONTENT, Model, Opened, encode};
use noctule_store::{Batch, Cut, LogSettings, LoggedState, Repair, SimulatedDisk, StoreError};

use crate::broker_changes::{after, message, subscription, terms};

/// A small generator of chance.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) % limit
    }
}

/// A session as its shard knows it.
#[derive(Default)]
struct Known {
    sequence: u64,
    /// What is not done, in order.
    queue: Vec<u64>,
    next: u16,
}

/// What a broker has to say.
struct Story {
    chance: Chance,
    sessions: BTreeMap<u64, Known>,
    names: u64,
    unrouted: Vec<u64>,
    messages: u64,
}

impl Story {
    fn new(seed: u64) -> Self {
        let (sessions, unrouted) = (BTreeMap::new(), Vec::new());
        Self { chance: Chance(seed), sessions, names: 0, unrouted, messages: 0 }
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names << 16
    }

    fn any(&mut self) -> Option<u64> {
        let at = self.chance.below(self.sessions.len().max(1) as u64) as usize;
        self.sessions.keys().nth(at).copied()
    }

    fn start(&mut self) -> Record {
        let session = self.name();
        self.sessions.insert(session, Known { next: 1, ..Known::default() });
        Record::SessionStarted(Box::new(terms(session, &format!("c{session}"), 60)))
    }

    fn queue(&mut self, publication: u64) -> Option<Record> {
        self.messages += 1;
        let payload = format!("{}{}", self.messages, "-".repeat(self.chance.below(60) as usize));
        let mut references = Vec::new();
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            if self.chance.below(2) == 0 {
                continue;
            }
            let count = if self.chance.below(20) == 0 { 40 } else { self.chance.below(3) as u32 };
            let known = self.sessions.get_mut(&session)?;
            known.sequence += 1 + self.chance.below(2);
            known.queue.push(known.sequence);
            references.push(Reference {
                session,
                sequence: known.sequence,
                qos: QoS::ExactlyOnce,
                retain: false,
                identifiers: (1..=count).collect(),
            });
        }
        let message = message(&payload, QoS::ExactlyOnce);
        Some(Record::Queued { publication, message, references })
    }

    fn acknowledge(&mut self, all: bool) -> Option<Record> {
        let session = self.any()?;
        let known = self.sessions.get_mut(&session)?;
        let count = match known.queue.len() as u64 {
            0 => return None,
            waiting if all => waiting,
            waiting => 1 + self.chance.below(waiting),
        };
        let up_to = known.queue.drain(..count as usize).next_back()?;
        known.next += count as u16;
        let next = PacketId::new(known.next)?;
        Some(Record::Acknowledged { session, up_to, next })
    }

    fn next(&mut self) -> Option<Record> {
        Some(match self.chance.below(24) {
            0 => self.start(),
            1 if self.sessions.len() > 3 => {
                let session = self.any()?;
                self.sessions.remove(&session);
                Record::SessionEnded { session }
            }
            2 => {
                let filter = format!("f/{}", self.chance.below(9));
                let session = self.any()?;
                Record::Subscribed { session, subscription: subscription(&filter) }
            }
            3 => {
                let filter = format!("f/{}", self.chance.below(9)).into();
                Record::Unsubscribed { session: self.any()?, filter }
            }
            4 => {
                let session = self.any()?;
                let sequence = self.sessions.get_mut(&session)?.queue.pop()?;
                Record::Skipped { session, sequence }
            }
            5 => {
                let session = self.any()?;
                let known = self.sessions.get(&session)?;
                let at = self.chance.below(known.queue.len().max(1) as u64) as u16;
                let packet_id = PacketId::new(known.next + at)?;
                if known.queue.is_empty() {
                    return None;
                }
                Record::Pubrec { session, packet_id }
            }
            6 => {
                let topic = format!("r/{}", self.chance.below(5));
                let retained = (*message("kept", QoS::AtLeastOnce)).clone();
                let message = Arc::new(Message { topic: (*topic).into(), ..retained });
                Record::Retained { message }
            }
            7 => Record::RetainedRemoved { topic: format!("r/{}", self.chance.below(5)).into() },
            8 => {
                let (publication, session) = (self.name(), self.any()?);
                self.unrouted.push(publication);
                let packet_id = PacketId::new(1 + self.chance.below(9) as u16)?;
                let message = message("unrouted", QoS::ExactlyOnce);
                Record::Received { session, packet_id, publication, message }
            }
            9 => self.queue(self.unrouted.last().copied()?)?,
            10 if self.unrouted.len() > 2 => {
                Record::Routed { publication: self.unrouted.remove(0) }
            }
            11 => {
                let packet_id = PacketId::new(1 + self.chance.below(9) as u16)?;
                Record::Released { session: self.any()?, packet_id }
            }
            12 => {
                let expires_at = Some(Timestamp::from_millis(1 + self.chance.below(1_000)));
                let (session, expiry_interval) = (self.any()?, 60);
                let (will_at, sent) = (None, self.sessions.get(&session)?.sequence);
                Record::SessionLeft { session, expiry_interval, expires_at, will_at, sent }
            }
            13..=15 => self.acknowledge(true)?,
            16..=18 => self.acknowledge(false)?,
            _ => self.queue(0)?,
        })
    }

    /// What is committed together.
    fn batch(&mut self) -> Vec<Record> {
        let count = 1 + self.chance.below(4);
        let mut records: Vec<Record> = (0..count).filter_map(|_| self.next()).collect();
        if self.sessions.is_empty() {
            records.push(self.start());
        }
        records
    }
}

fn open(disk: &SimulatedDisk) -> Result<Opened, StoreError> {
    let part = || Box::new(disk.clone());
    let state = LoggedState::open(part(), CONTENT, Repair::Refuse)?.0;
    let settings =
        LogSettings { segment_bytes: 2_048, free_segments_max: 2, ..LogSettings::default() };
    broker::open(part(), part(), Box::new(state), settings, Repair::Refuse)
}

fn restored(model: Model) -> String {
    format!("{:?}", model.into_restored(&Placement::new([7; 16], 2)))
}

/// Commits a story's batches, and empties the log as it goes. What was promised, and what was on
/// its way when the power went.
fn write(disk: &SimulatedDisk, seed: u64, batches: usize) -> (Vec<Record>, Vec<Record>) {
    let (mut promised, mut story) = (Vec::new(), Story::new(seed));
    let Ok(Opened { mut log, mut archive, .. }) = open(disk) else { return (promised, vec![]) };
    for _ in 0..batches {
        let records = story.batch();
        let mut batch = Batch::new();
        for record in &records {
            batch.push(|out| assert!(encode(record, out))).expect("it is small");
        }
        if log.commit(&mut batch).is_err() {
            return (promised, records);
        }
        promised.extend(records);
        let view = log.view();
        while let [oldest, _, ..] = view.sealed()[..] {
            if archive.take_in(&view, oldest).is_err() {
                return (promised, vec![]);
            }
            log.trim(oldest + 1);
            log.keep_up();
        }
    }
    (promised, vec![])
}

/// What is wrong with what is found.
fn check(disk: &SimulatedDisk, promised: &[Record], coming: &[Record]) -> Option<String> {
    let found = match open(disk) {
        Ok(opened) => restored(opened.model),
        Err(error) => return Some(error.to_string()),
    };
    let more = promised.iter().chain(coming);
    if found == restored(after(promised)) || found == restored(after(more)) {
        return None;
    }
    Some(format!("found {found}\nnot {}", restored(after(promised))))
}

#[test]
fn what_stands_is_the_same_however_much_of_it_has_left_the_log() {
    for seed in 0..40 {
        let disk = SimulatedDisk::new();
        let (promised, _) = write(&disk, seed, 400);
        assert!(promised.len() > 400);
        assert_eq!(check(&disk, &promised, &[]), None, "seed {seed}");
        let log = open(&disk).expect("it is whole").log;
        assert!(log.segments() <= 3, "{} segments", log.segments());
    }
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_promised() {
    let whole = SimulatedDisk::new();
    write(&whole, 5, 60);
    let operations = whole.operations();
    for at in 0..operations {
        let disk = SimulatedDisk::new();
        disk.stop_at(at);
        let (promised, coming) = write(&disk, 5, 60);
        let cuts = [Cut::Nothing, Cut::Lost, Cut::Torn, Cut::Reordered, Cut::Random(at)];
        for cut in cuts {
            let found = check(&disk.after(cut), &promised, &coming);
            assert_eq!(found, None, "operation {at} of {operations}, {cut:?}");
        }
    }
}
