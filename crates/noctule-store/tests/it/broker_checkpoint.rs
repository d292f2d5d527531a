//! A broker's log that is emptied from its front, on a disk that forgets: whenever the power goes,
//! what is found is what was promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use noctule_broker_core::{
    Message, Placement, Record, Reference, References, Restored, StoredMessage, StoredSession,
    StoredTerms, Timestamp,
};
use noctule_packet::{PacketId, QoS};
use noctule_store::broker::{self, Archive, CONTENT, Model, Opened, Queues, Settings, encode};
use noctule_store::{
    Batch, Cut, Disk, Log, LogSettings, LoggedState, Repair, RunSettings, SimulatedDisk,
    SliceLimits, StoreError,
};

use crate::broker_changes::{after, message, queued_run, subscription, terms};

/// Less than what the sessions' clients take.
const IN_FLIGHT_MAX: u16 = 3;

const SETTINGS: Settings = Settings {
    log: LogSettings { content: CONTENT, segment_bytes: 2_048, free_segments_max: 2 },
    runs: RunSettings { runs_max: 2, alive_percent_min: 60 },
    in_flight_max: IN_FLIGHT_MAX,
};

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
pub(crate) struct Story {
    chance: Chance,
    sessions: BTreeMap<u64, Known>,
    names: u64,
    unrouted: Vec<u64>,
    messages: u64,
}

impl Story {
    pub(crate) fn new(seed: u64) -> Self {
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
        let mut references = References::default();
        for session in self.sessions.keys().copied().collect::<Vec<_>>() {
            if self.chance.below(2) == 0 {
                continue;
            }
            let count = if self.chance.below(20) == 0 { 40 } else { self.chance.below(3) as u32 };
            let known = self.sessions.get_mut(&session)?;
            known.sequence += 1;
            known.queue.push(known.sequence);
            references.push(Reference {
                session,
                sequence: known.sequence,
                qos: QoS::ExactlyOnce,
                retain: false,
                identifiers: (1..=count).collect(),
                group: known.sequence.is_multiple_of(3).then(|| "$share/g/t".into()),
            });
        }
        let message = message(&payload, QoS::ExactlyOnce);
        Some(Record::Queued { publication, message, references })
    }

    fn queue_run(&mut self) -> Option<Record> {
        let session = self.any()?;
        let count = 1 + self.chance.below(3);
        let payloads: Vec<_> = (1..=count)
            .map(|number| format!("{}{}", self.messages + number, "-".repeat(20 * number as usize)))
            .collect();
        self.messages += count;
        let known = self.sessions.get_mut(&session)?;
        let first = known.sequence + 1;
        known.sequence += count;
        known.queue.extend(first..=known.sequence);
        Some(queued_run(session, first, &payloads.iter().map(|it| &**it).collect::<Vec<_>>()))
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
        Some(match self.chance.below(25) {
            0 => self.start(),
            24 => {
                let session = self.any()?;
                let known = self.sessions.get(&session)?;
                let first = known.queue.first().copied().unwrap_or(known.sequence);
                Record::MaySend { session, up_to: first + self.chance.below(40) }
            }
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
                let publication = self.unrouted.last().copied().unwrap_or(0);
                Record::Retained { publication, message }
            }
            7 => {
                let topic = format!("r/{}", self.chance.below(5)).into();
                let publication = self.unrouted.first().copied().unwrap_or(0);
                Record::RetainedRemoved { publication, topic }
            }
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
            19..=20 => self.queue_run()?,
            _ => self.queue(0)?,
        })
    }

    /// The places of what waits for each session, in order.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = (u64, &[u64])> {
        self.sessions.iter().map(|(session, known)| (*session, &*known.queue))
    }

    /// What is committed together.
    pub(crate) fn batch(&mut self) -> Vec<Record> {
        let count = 1 + self.chance.below(4);
        let mut records: Vec<Record> = (0..count).filter_map(|_| self.next()).collect();
        if self.sessions.is_empty() {
            records.push(self.start());
        }
        records
    }
}

pub(crate) fn open(disk: &SimulatedDisk) -> Result<Opened, StoreError> {
    let part = || Box::new(disk.clone());
    let state = LoggedState::open(part(), CONTENT, Repair::Refuse)?.0;
    broker::open(part(), part(), Box::new(state), SETTINGS, Repair::Refuse)
}

pub(crate) fn commit(log: &mut Log, records: &[Record]) -> Result<(), StoreError> {
    let mut batch = Batch::new();
    for record in records {
        batch.push(|out| assert!(encode(record, out))).expect("it is small");
    }
    log.commit(&mut batch)
}

pub(crate) fn queued(session: u64, sequence: u64) -> Record {
    sized(session, sequence, 50)
}

pub(crate) fn sized(session: u64, sequence: u64, bytes: usize) -> Record {
    let (qos, retain, identifiers) = (QoS::AtLeastOnce, false, Vec::new());
    let group = None;
    let references = Reference { session, sequence, qos, retain, identifiers, group }.into();
    Record::Queued { publication: 0, message: message(&"-".repeat(bytes), qos), references }
}

fn restored(model: Model) -> String {
    format!("{:?}", model.into_restored(&Placement::new([7; 16], 2)))
}

/// What is found, with everything that is not in memory read behind what is. How much that is.
fn found(opened: Opened) -> Result<(String, usize), String> {
    let (queues, mut away) = (opened.archive.queues(), 0);
    let mut shards = opened.model.into_restored(&Placement::new([7; 16], 2));
    for restored in shards.iter_mut().flatten() {
        if let Restored::Session(session) = restored {
            away += complete(session, &queues)?;
        }
    }
    Ok((format!("{shards:?}"), away))
}

/// Reads what a session has on disk alone.
fn complete(session: &mut StoredSession, queues: &Queues) -> Result<usize, String> {
    let Some(away) = session.away.take() else {
        assert_eq!(session.behind, []);
        return Ok(0);
    };
    let front = session.messages.len();
    let window = usize::from(session.terms.receive_maximum.min(IN_FLIGHT_MAX));
    // Nobody knows how far a connection was that says nothing of it.
    let is_known = session.sent < u64::MAX;
    if !is_known && front < window || is_known && away.from <= session.sent {
        return Err(format!("too little is in memory: {session:?} {away:?}"));
    }
    let is_before = |message: &StoredMessage| message.sequence < away.from;
    assert!(session.messages.iter().all(is_before) && away.from <= away.up_to);
    assert!(away.messages > 0 && away.bytes > 0, "{away:?}");
    let places = places(queues, session.terms.session, away.from);
    let limits = SliceLimits { messages: usize::MAX, bytes: usize::MAX };
    let slice =
        queues.read(session.terms.session, away.from, &limits).map_err(|it| it.to_string())?;
    assert!(slice.messages.iter().map(|message| message.sequence).eq(places));
    assert!(slice.messages.iter().all(|message| message.sequence <= away.up_to));
    session.messages.extend(slice.messages);
    session.messages.append(&mut session.behind);
    assert!(session.messages.is_sorted_by_key(|message| message.sequence));
    Ok(session.messages.len() - front)
}

/// Commits a story's batches, and empties the log as it goes. What was promised, and what was on
/// its way when the power went.
fn write(disk: &SimulatedDisk, seed: u64, batches: usize) -> (Vec<Record>, Vec<Record>) {
    let (mut promised, mut story) = (Vec::new(), Story::new(seed));
    let Ok(Opened { mut log, mut archive, .. }) = open(disk) else { return (promised, vec![]) };
    for _ in 0..batches {
        let records = story.batch();
        if commit(&mut log, &records).is_err() {
            return (promised, records);
        }
        promised.extend(records);
        if story.chance.below(20) == 0 && log.seal().is_err() {
            return (promised, vec![]);
        }
        let view = log.view();
        while let [oldest, _, ..] = view.sealed()[..] {
            if archive.take_in(&view, oldest).is_err() {
                return (promised, vec![]);
            }
            log.trim(oldest + 1);
            log.keep_up();
        }
        if archive.tend().is_err() {
            return (promised, vec![]);
        }
    }
    (promised, vec![])
}

/// What is wrong with what is found.
fn check(disk: &SimulatedDisk, promised: &[Record], coming: &[Record]) -> Option<String> {
    let found = match open(disk).map_err(|error| error.to_string()).and_then(found) {
        Ok((found, _)) => found,
        Err(error) => return Some(error),
    };
    let more = promised.iter().chain(coming);
    if found == restored(after(promised)) || found == restored(after(more)) {
        return None;
    }
    Some(format!("found {found}\nnot {}", restored(after(promised))))
}

/// The places that a session's queue has where it may stay, from one on.
pub(crate) fn places(queues: &Queues, session: u64, from: u64) -> Vec<u64> {
    let limits = SliceLimits { messages: 3, bytes: 200 };
    let (mut places, mut next) = (Vec::new(), from);
    loop {
        let slice = queues.read(session, next, &limits).expect("there is power");
        assert_eq!(slice.unreadable, [] as [String; 0]);
        assert!(slice.next > next || !slice.has_more);
        places.extend(slice.messages.iter().map(|message| message.sequence));
        next = slice.next;
        if !slice.has_more {
            return places;
        }
    }
}

#[test]
fn what_has_left_the_log_is_told_and_read_in_slices() {
    for seed in 0..20 {
        let (disk, mut story) = (SimulatedDisk::new(), Story::new(seed));
        let Opened { mut log, mut archive, .. } = open(&disk).expect("it is empty");
        let (queues, mut told) = (archive.queues(), BTreeMap::new());
        for _ in 0..300 {
            commit(&mut log, &story.batch()).expect("there is power");
            let view = log.view();
            for segment in view.sealed() {
                told.extend(archive.take_in(&view, segment).expect("there is power"));
                while archive.tend().expect("there is room") {}
                log.trim(segment + 1);
                log.keep_up();
            }
            for (session, known) in &story.sessions {
                let last = told.get(session).copied().unwrap_or(0);
                let found = places(&queues, *session, known.queue.first().copied().unwrap_or(1));
                let found: Vec<_> = found.iter().filter(|it| known.queue.contains(it)).collect();
                let waiting: Vec<_> = known.queue.iter().filter(|it| **it <= last).collect();
                assert_eq!(found, waiting, "seed {seed}, session {session}");
            }
        }
        assert_eq!(archive.take_unreadable(), [] as [String; 0]);
        assert!(told.len() > 3);
    }
}

/// Empties the log and tends the runs until there is nothing to do.
pub(crate) fn settle(log: &mut Log, archive: &mut Archive) {
    log.seal().expect("there is room");
    let view = log.view();
    for segment in view.sealed() {
        archive.take_in(&view, segment).expect("there is room");
        log.trim(segment + 1);
    }
    while archive.tend().expect("there is room") {}
    log.keep_up();
}

#[test]
fn a_store_of_which_everything_was_drained_gives_its_room_back() {
    let disk = SimulatedDisk::new();
    let Opened { mut log, mut archive, .. } = open(&disk).expect("it is empty");
    let session = 1 << 16;
    let started = Record::SessionStarted(Box::new(terms(session, "c", 60)));
    commit(&mut log, &[started]).expect("there is power");
    for sequence in 1..=1_000 {
        commit(&mut log, &[queued(session, sequence)]).expect("there is power");
        if sequence % 100 == 0 {
            settle(&mut log, &mut archive);
        }
    }
    let files = |ends| {
        let names = disk.names().expect("there is power");
        names.iter().filter(|name| name.ends_with(ends)).count()
    };
    assert!(disk.bytes() > 50_000 && files(".run") > 0, "{} bytes", disk.bytes());
    assert_eq!(places(&archive.queues(), session, 1).len(), 1_000);
    let next = PacketId::new(1_001).expect("it is small");
    let done = Record::Acknowledged { session, up_to: 1_000, next };
    commit(&mut log, &[done]).expect("there is power");
    for _ in 0..2 {
        settle(&mut log, &mut archive);
    }
    // The state is a log of its own; what the last segment says is how old the store is.
    assert_eq!((files(".run"), log.view().has_begun()), (0, false));
    assert!(disk.bytes() < 20_000, "{} bytes", disk.bytes());
    let segments = disk.names().expect("there is power");
    let segments = segments.iter().filter(|name| name.starts_with("log-")).count();
    assert!(segments <= 2, "{segments} segments");
    assert_eq!(places(&archive.queues(), session, 1), []);
}

/// Puts so many messages of so many bytes for a session into a run, and as many into another one.
pub(crate) fn fill_two_runs(opened: Opened, session: u64, count: u64, bytes: usize) {
    let Opened { mut log, mut archive, .. } = opened;
    let started = Record::SessionStarted(Box::new(terms(session, "c", 60)));
    commit(&mut log, &[started]).expect("there is power");
    for sequence in 1..=2 * count {
        commit(&mut log, &[sized(session, sequence, bytes)]).expect("there is power");
        if sequence % count == 0 {
            log.seal().expect("there is room");
            let view = log.view();
            for segment in view.sealed() {
                archive.take_in(&view, segment).expect("there is room");
                log.trim(segment + 1);
            }
        }
    }
    while archive.tend().expect("there is room") {}
}

/// A store with the first messages of a session in runs, and one more run behind it.
fn with_runs() -> SimulatedDisk {
    let disk = SimulatedDisk::new();
    fill_two_runs(open(&disk).expect("it is empty"), 1 << 16, 30, 3_000);
    disk
}

#[test]
fn a_session_gets_back_all_that_may_have_been_sent_to_it_and_no_more() {
    let disk = with_runs();
    let found = |disk: &SimulatedDisk| {
        let opened = open(disk).expect("it is readable");
        let mut shards = opened.model.into_restored(&Placement::new([7; 16], 1));
        match shards.remove(0).swap_remove(0) {
            Restored::Session(session) => {
                let away = session.away.map(|away| away.from);
                (session.was_connected, session.messages.len(), session.sent, away)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(found(&disk), (true, usize::from(IN_FLIGHT_MAX), u64::MAX, Some(4)));
    let session = 1 << 16;
    let mut opened = open(&disk).expect("it is readable");
    let say = |log: &mut Log, record| commit(log, &[record]).expect("there is power");
    say(&mut opened.log, Record::MaySend { session, up_to: 40 });
    assert_eq!(found(&disk.after(Cut::Nothing)), (true, 40, 40, Some(41)));
    // It stands in the state, too.
    settle(&mut opened.log, &mut opened.archive);
    assert_eq!(found(&disk.after(Cut::Nothing)), (true, 40, 40, Some(41)));
    // A connection that has ended says it better, and the next one for itself.
    let (expiry_interval, expires_at, will_at) = (60, None, None);
    let left = Record::SessionLeft { session, expiry_interval, expires_at, will_at, sent: 7 };
    say(&mut opened.log, left);
    assert_eq!(found(&disk.after(Cut::Nothing)), (false, 7, 7, Some(8)));
    let terms = StoredTerms { may_send: Some(59), ..terms(session, "c", 60) };
    say(&mut opened.log, Record::SessionStarted(Box::new(terms)));
    assert_eq!(found(&disk.after(Cut::Nothing)), (true, 59, 59, Some(60)));
}

#[test]
fn what_waits_in_a_shared_subscription_is_there_when_it_has_left_the_log() {
    let disk = SimulatedDisk::new();
    let Opened { mut log, mut archive, .. } = open(&disk).expect("it is empty");
    let (session, queue, filter) = (1 << 16, 2 << 16 | 1 << 15, "$share/g/t");
    let say = |log: &mut Log, record: Record| commit(log, &[record]).expect("there is power");
    let found = |disk: &SimulatedDisk| {
        let opened = open(&disk.after(Cut::Nothing)).expect("it is readable");
        let restored = opened.model.into_restored(&Placement::new([7; 16], 1)).remove(0);
        let (mut places, mut of_session) = (None, None);
        for one in restored {
            match one {
                Restored::SharedQueue(found) => {
                    assert_eq!((found.queue, &*found.filter), (queue, filter));
                    let waiting = found.messages.iter().map(|(place, _)| *place);
                    places = Some((waiting.collect::<Vec<_>>(), found.lost, found.last));
                }
                Restored::Session(found) => {
                    of_session = Some(found.messages.len() as u64);
                    assert!(found.messages.iter().all(|it| *it.message.payload == [b'-'; 50]));
                }
                _ => {}
            }
        }
        (places, of_session)
    };
    say(&mut log, Record::SessionStarted(Box::new(terms(session, "c", 60))));
    say(&mut log, Record::SharedQueue { queue, filter: filter.into(), last: None });
    for sequence in (1..=200).filter(|sequence| *sequence != 50) {
        say(&mut log, queued(queue, sequence));
    }
    let all: Vec<u64> = (1..=200).filter(|sequence| *sequence != 50).collect();
    assert_eq!(found(&disk), (Some((all.clone(), vec![50], 200)), Some(0)));
    settle(&mut log, &mut archive);
    assert!(run_names(&disk).len() == 1 && !log.view().has_begun());
    assert_eq!(found(&disk), (Some((all, vec![50], 200)), Some(0)));
    // Whatever becomes of messages that are in a run is known behind the next opening.
    let (message, qos) = (message(&"-".repeat(50), QoS::AtLeastOnce), QoS::AtLeastOnce);
    let (sequence, retain, identifiers, group) = (1, false, Vec::new(), None);
    let reference = Reference { session, sequence, qos, retain, identifiers, group };
    say(&mut log, Record::Moved { from: queue, sequence: 3, message, reference });
    for sequence in (1..=100).filter(|sequence| *sequence != 3) {
        say(&mut log, Record::Skipped { session: queue, sequence });
    }
    let rest = || Some(((101..=200).collect(), Vec::new(), 200));
    assert_eq!(found(&disk), (rest(), Some(1)));
    settle(&mut log, &mut archive);
    assert_eq!(found(&disk), (rest(), Some(1)));
    say(&mut log, Record::SharedQueue { queue, filter: filter.into(), last: Some(200) });
    (101..=200).for_each(|sequence| say(&mut log, Record::Skipped { session: queue, sequence }));
    assert_eq!(found(&disk), (None, Some(1)));
    settle(&mut log, &mut archive);
    assert_eq!((found(&disk), run_names(&disk).len()), ((None, Some(1)), 1));
}

fn run_names(disk: &SimulatedDisk) -> Vec<String> {
    let names = disk.names().expect("there is power").into_iter();
    let mut runs: Vec<_> = names.filter(|name| name.ends_with(".run")).collect();
    runs.sort();
    runs
}

#[test]
fn a_damaged_part_of_a_queue_is_told_by_whoever_reads_it_and_stepped_over() {
    let disk = with_runs();
    let run = run_names(&disk).swap_remove(0);
    // Behind what is read at the start.
    disk.damage(&run, |bytes| {
        let at = bytes.len() / 2;
        bytes[at] ^= 1;
    });
    let opened = open(&disk).expect("it is readable");
    assert!(opened.findings.is_intact(), "{}", opened.findings);
    let limits = SliceLimits { messages: usize::MAX, bytes: usize::MAX };
    let slice = opened.archive.queues().read(1 << 16, 1, &limits).expect("there is power");
    assert_eq!((slice.unreadable.len(), slice.has_more), (1, false), "{:?}", slice.unreadable);
    assert!((40..60).contains(&slice.messages.len()), "{}", slice.messages.len());
    assert_eq!(slice.messages.last().map(|last| last.sequence), Some(60));
}

#[test]
fn a_run_that_is_missing_or_anothers_is_told_and_a_newer_one_refused() {
    let (disk, other) = (with_runs(), with_runs());
    let run = run_names(&disk).swap_remove(0);
    let content = |disk: &SimulatedDisk, name: &str| {
        let mut content = Vec::new();
        disk.damage(name, |bytes| content.clone_from(bytes));
        content
    };
    let mut foreign = content(&other, &run);
    foreign[12] ^= 0x55;
    let mut missing = disk.after(Cut::Nothing);
    missing.remove(&run).expect("it is there");
    let opened = open(&missing).expect("the rest is readable");
    assert!(opened.findings.to_string().contains("its file is missing"), "{}", opened.findings);
    let changed = disk.after(Cut::Nothing);
    changed.damage(&run, |bytes| *bytes = foreign);
    let opened = open(&changed).expect("the rest is readable");
    assert!(opened.findings.to_string().contains("its header is damaged"), "{}", opened.findings);
    let newer = disk.after(Cut::Nothing);
    newer.damage(&run, |bytes| {
        bytes[8] = 2;
        let checksum = crc32(&bytes[..20]).to_le_bytes();
        bytes[20..24].copy_from_slice(&checksum);
    });
    let error = open(&newer).expect_err("it is newer");
    assert!(matches!(error, StoreError::NewerFormat { found: 2, known: 1, .. }), "{error}");
    assert_eq!(run_names(&newer), run_names(&disk), "nothing was removed");
}

/// CRC-32 of Ethernet and gzip.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        let fold = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 };
        (0..8).fold(crc ^ u32::from(*byte), fold)
    })
}

#[test]
fn twenty_times_of_what_waits_goes_through_a_directory_three_times_as_large() {
    const SESSIONS: u64 = 10;
    const WAITING: u64 = 200;
    let disk = SimulatedDisk::new();
    let state = LoggedState::open(Box::new(disk.clone()), CONTENT, Repair::Refuse);
    let log = LogSettings { segment_bytes: 32 * 1_024, ..SETTINGS.log };
    let settings = Settings { runs: RunSettings::default(), log, ..SETTINGS };
    let part = || Box::new(disk.clone());
    let opened = broker::open(
        part(),
        part(),
        Box::new(state.expect("it is empty").0),
        settings,
        Repair::Refuse,
    );
    let Opened { mut log, mut archive, .. } = opened.expect("it is empty");
    let sessions = || (1..=SESSIONS).map(|session| session << 16);
    let started = sessions().map(|session| terms(session, &session.to_string(), 60));
    let started: Vec<_> = started.map(|it| Record::SessionStarted(Box::new(it))).collect();
    commit(&mut log, &started).expect("there is power");
    let (mut disk_max, mut done) = (0, vec![0; SESSIONS as usize]);
    for sequence in 1..=21 * WAITING {
        let mut records: Vec<_> = sessions().map(|session| sized(session, sequence, 256)).collect();
        for (at, session) in sessions().enumerate() {
            // Some drain all the time, and others now and then.
            let pause = [1, 7, 50][at % 3];
            let up_to = sequence.saturating_sub(WAITING);
            if up_to > 0 && up_to % pause == 0 {
                done[at] = up_to;
                let next = PacketId::new(1 + (up_to % 65_535) as u16).expect("it is not 0");
                records.push(Record::Acknowledged { session, up_to, next });
            }
        }
        commit(&mut log, &records).expect("there is room");
        let view = log.view();
        while let [oldest, _, ..] = view.sealed()[..] {
            archive.take_in(&view, oldest).expect("there is room");
            log.trim(oldest + 1);
            log.keep_up();
        }
        archive.tend().expect("there is room");
        disk_max = disk_max.max(disk.bytes());
    }
    let live = SESSIONS * WAITING * 256;
    assert!(disk_max < 3 * live, "{disk_max} bytes for {live}");
    for (session, done) in sessions().zip(done) {
        let last = places(&archive.queues(), session, done + 1);
        assert!(last.is_sorted() && last.first() == Some(&(done + 1)), "{last:?}");
    }
}

#[test]
fn what_fails_on_its_way_into_the_state_is_not_written_as_a_run_again() {
    let disk = SimulatedDisk::new();
    let state_disk = SimulatedDisk::new();
    let state = LoggedState::open(Box::new(state_disk.clone()), CONTENT, Repair::Refuse);
    let state = Box::new(state.expect("it is empty").0);
    let part = || Box::new(disk.clone());
    let opened = broker::open(part(), part(), state, SETTINGS, Repair::Refuse);
    let Opened { mut log, mut archive, .. } = opened.expect("it is empty");
    let session = 1 << 16;
    let started = Record::SessionStarted(Box::new(terms(session, "c", 60)));
    commit(&mut log, &[started]).expect("there is power");
    let mut sequence = 0;
    while log.view().sealed().is_empty() {
        sequence += 1;
        commit(&mut log, &[queued(session, sequence)]).expect("there is power");
    }
    let view = log.view();
    let oldest = view.sealed()[0];
    let runs = || disk.names().expect("there is power").len();
    state_disk.fail_at(0, u64::MAX);
    let before = runs();
    for _ in 0..3 {
        assert!(archive.take_in(&view, oldest).is_err());
        assert_eq!(runs(), before + 1, "the run that is there stays the only one");
    }
    state_disk.fail_at(0, 0);
    let told = archive.take_in(&view, oldest).expect("it does again");
    assert_eq!(told.first().map(|told| told.0), Some(session));
    assert_eq!(places(&archive.queues(), session, 1).len() as u64, told[0].1);
    // And one that cannot be written leaves nothing.
    while view.sealed().len() < 2 {
        sequence += 1;
        commit(&mut log, &[queued(session, sequence)]).expect("there is power");
    }
    let before = (runs(), disk.bytes());
    disk.set_capacity(Some(before.1 + 100));
    let error = archive.take_in(&view, oldest + 1).expect_err("there is no room");
    assert!(error.is_full(), "{error}");
    assert_eq!((runs(), disk.bytes()), before);
    disk.set_capacity(None);
    archive.take_in(&view, oldest + 1).expect("there is room again");
}

#[test]
fn what_stands_is_the_same_however_much_of_it_has_left_the_log() {
    let mut away = 0;
    for seed in 0..40 {
        let disk = SimulatedDisk::new();
        let (promised, _) = write(&disk, seed, 400);
        assert!(promised.len() > 400);
        assert_eq!(check(&disk, &promised, &[]), None, "seed {seed}");
        let opened = open(&disk).expect("it is whole");
        assert!(opened.log.segments() <= 3, "{} segments", opened.log.segments());
        away += found(opened).expect("it is whole").1;
    }
    assert!(away > 40 * 10, "{away} messages were not in memory");
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_that_was_promised() {
    let whole = SimulatedDisk::new();
    write(&whole, 5, 250);
    let operations = whole.operations();
    for at in 0..operations {
        let disk = SimulatedDisk::new();
        disk.stop_at(at);
        let (promised, coming) = write(&disk, 5, 250);
        let cuts = [Cut::Nothing, Cut::Lost, Cut::Torn, Cut::Reordered, Cut::Random(at)];
        for cut in cuts {
            let found = check(&disk.after(cut), &promised, &coming);
            assert_eq!(found, None, "operation {at} of {operations}, {cut:?}");
        }
    }
}
