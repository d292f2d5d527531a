//! A broker's conversations as chance has them: what is made of their records is what happened,
//! whether all of them are read, or the state of the first ones and then the others.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use noctule_broker_core::{
    AS_RETAINED, Message, Placement, QueuedRun, Record, Reference, References, Restored, Source,
    Step, StoredSubscription, StoredTerms, Timestamp, Will,
};
use noctule_packet::{
    ForwardedProperties, PacketId, PlainPublish, QoS, SubscriptionOptions, TopicName, Version,
};
use noctule_store::broker::{CONTENT, Changes, Model, decode, encode};
use noctule_store::{LoggedState, Repair, SimulatedDisk, State};
use proptest::collection::vec;
use proptest::prelude::*;

pub(crate) fn message(payload: &str, qos: QoS) -> Arc<Message> {
    Arc::new(Message {
        topic: "t".into(),
        payload: payload.as_bytes().into(),
        qos,
        retain: false,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    })
}

/// Messages as [`message`] has them, for one session.
pub(crate) fn queued_run(session: u64, first: u64, payloads: &[&str]) -> Record {
    let (mut packets, version) = (Vec::new(), Version::V3_1_1);
    for payload in payloads {
        let plain = PlainPublish::new(TopicName::new("t").expect("a topic"), payload.as_bytes());
        plain.encode(version, Some(PacketId::MIN), &mut packets);
    }
    let (count, packets) = (payloads.len() as u32, packets.into());
    Record::QueuedRun(QueuedRun { session, first, count, version, packets })
}

pub(crate) fn terms(session: u64, client_id: &str, expiry_interval: u32) -> StoredTerms {
    StoredTerms {
        session,
        client_id: client_id.into(),
        user_name: None,
        version: Version::V5_0,
        expiry_interval,
        receive_maximum: 10,
        may_send: None,
        will: None,
    }
}

pub(crate) fn will(qos: QoS) -> Box<Will> {
    let Message { topic, payload, qos, retain, properties, .. } = (*message("gone", qos)).clone();
    let (message_expiry_interval, delay_interval) = (None, 5);
    let will =
        Will { topic, payload, qos, retain, properties, message_expiry_interval, delay_interval };
    Box::new(will)
}

pub(crate) fn subscription(filter: &str) -> StoredSubscription {
    let options = SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() };
    StoredSubscription { filter: filter.into(), options, identifier: None, is_owed: false }
}

pub(crate) fn empty_state() -> LoggedState {
    let disk = Box::new(SimulatedDisk::new());
    LoggedState::open(disk, CONTENT, Repair::Refuse).expect("it is empty").0
}

/// What was written, as it is read.
fn read_back(record: &Record) -> Record {
    let mut bytes = Vec::new();
    assert!(encode(record, &mut bytes));
    decode(&bytes).expect("it is a record")
}

pub(crate) fn after<'a>(records: impl IntoIterator<Item = &'a Record>) -> Model {
    let mut model = Model::default();
    records.into_iter().for_each(|record| model.apply(read_back(record)));
    model
}

/// Writes what records change in a state, a part at a time.
pub(crate) fn checkpoint(state: &mut dyn State, records: &[Record], part: usize) {
    for part in records.chunks(part) {
        let mut changes = Changes::new(state).expect("it can be read");
        part.iter().for_each(|record| changes.apply(record).expect("it can be read"));
        let batch = changes.finish().expect("it is small");
        state.apply(&batch).expect("it can be written");
    }
}

/// Begins with a state, and with what of the first records stands elsewhere.
pub(crate) fn begun(state: &dyn State, first: &[Record]) -> Model {
    let unreadable = |found| panic!("{found:?}");
    let mut model = Model::from_state(state, unreadable).expect("it can be read");
    let mut unrouted = BTreeMap::new();
    for record in first {
        match record {
            Record::Queued { .. } | Record::QueuedRun(_) => model.apply(record.clone()),
            Record::Moved { message, reference, .. } => {
                let (message, references) = (Arc::clone(message), reference.clone().into());
                model.apply(Record::Queued { publication: 0, message, references });
            }
            Record::Received { session, packet_id, publication, message } => {
                let source = Source::Packet(*packet_id);
                unrouted.insert(*publication, (*session, source, Arc::clone(message)));
            }
            Record::WillDue { session, publication, owner, message } => {
                let source = Source::Will(owner.clone());
                unrouted.insert(*publication, (*session, source, Arc::clone(message)));
            }
            Record::Routed { publication } => drop(unrouted.remove(publication)),
            Record::Retained { publication, .. } | Record::RetainedRemoved { publication, .. } => {
                model.apply(got(*publication, AS_RETAINED));
            }
            _ => {}
        }
    }
    for (publication, (session, source, message)) in unrouted {
        model.unrouted(publication, session, source, message);
    }
    model
}

/// Somebody has got a publication, and does not wait for it.
fn got(publication: u64, session: u64) -> Record {
    let (sequence, qos, identifiers) = (0, QoS::ExactlyOnce, Vec::new());
    let reference = Reference { session, sequence, qos, retain: false, identifiers, group: None };
    let message = message("", qos);
    Record::Queued { publication, message, references: reference.into() }
}

pub(crate) fn placement() -> Placement {
    Placement::new([7; 16], 3)
}

fn shown(model: Model) -> Vec<String> {
    let shards = model.into_restored(&placement());
    shards.iter().flatten().map(|restored| format!("{restored:?}")).collect()
}

/// A message on its way to a session.
#[derive(Debug)]
struct Waiting {
    sequence: u64,
    qos: QoS,
    packet_id: Option<PacketId>,
    step: Step,
}

/// A session as its broker knows it.
#[derive(Debug)]
struct Known {
    client: u8,
    expiry_interval: u32,
    sequence: u64,
    next: PacketId,
    releases: u64,
    queue: VecDeque<Waiting>,
    received: BTreeMap<u16, u64>,
    filters: BTreeSet<String>,
}

/// A broker that does what chance says.
#[derive(Debug, Default)]
struct Broker {
    sessions: BTreeMap<u64, Known>,
    unrouted: BTreeSet<u64>,
    names: u64,
    records: Vec<Record>,
}

fn following(packet_id: PacketId) -> PacketId {
    PacketId::new(packet_id.value().wrapping_add(1)).unwrap_or(PacketId::MIN)
}

impl Broker {
    fn say(&mut self, record: Record) {
        self.records.push(record);
    }

    fn name(&mut self) -> u64 {
        self.names += 1;
        self.names << 16 | u64::from(self.names.is_multiple_of(3))
    }

    fn start(&mut self, client: u8, expiry_interval: u32, chance: u8) {
        let client_id = format!("client-{client}");
        let known = self.sessions.iter().find(|(_, known)| known.client == client);
        let known = known.map(|(name, known)| (*name, known.expiry_interval > 0));
        let goes_on = known.filter(|(_, lasts)| *lasts && chance.is_multiple_of(2));
        if let Some((name, _)) = known.filter(|_| goes_on.is_none()) {
            self.sessions.remove(&name);
            self.say(Record::SessionEnded { session: name });
        }
        let session = goes_on.map_or_else(|| self.name(), |(name, _)| name);
        let will =
            (expiry_interval == 0 || chance.is_multiple_of(3)).then(|| will(QoS::ExactlyOnce));
        let terms = StoredTerms { will, ..terms(session, &client_id, expiry_interval) };
        self.say(Record::SessionStarted(Box::new(terms)));
        if let Some(known) = self.sessions.get_mut(&session) {
            known.expiry_interval = expiry_interval;
            if expiry_interval == 0 {
                known.queue.clear();
                known.received.clear();
                known.filters.clear();
            }
            return;
        }
        let mut next = PacketId::MIN;
        if chance > 200 && expiry_interval > 0 {
            // It has been there for long.
            next = PacketId::new(u16::MAX - 2).expect("not 0");
            self.say(Record::Acknowledged { session, up_to: 0, next });
        }
        let known = Known {
            client,
            expiry_interval,
            sequence: 0,
            next,
            releases: 0,
            queue: VecDeque::new(),
            received: BTreeMap::new(),
            filters: BTreeSet::new(),
        };
        self.sessions.insert(session, known);
    }

    /// One that lasts.
    fn pick(&self, chance: u8) -> Option<u64> {
        let lasting = self.sessions.iter().filter(|(_, known)| known.expiry_interval > 0);
        let lasting: Vec<u64> = lasting.map(|(name, _)| *name).collect();
        lasting.get(usize::from(chance).checked_rem(lasting.len())?).copied()
    }

    fn queue(&mut self, chance: u8, qos: QoS) {
        let mut names: Vec<u64> =
            (0..=chance % 3).filter_map(|more| self.pick(chance / 3 + more)).collect();
        names.sort_unstable();
        names.dedup();
        let unrouted = self.unrouted.last().copied().filter(|_| chance > 128);
        let mut references = References::default();
        for session in names {
            let Some(known) = self.sessions.get_mut(&session) else { continue };
            known.sequence += 1;
            let sequence = known.sequence;
            known.queue.push_back(Waiting {
                sequence,
                qos,
                packet_id: None,
                step: Step::Published,
            });
            references.push(Reference {
                session,
                sequence,
                qos,
                retain: false,
                identifiers: Vec::new(),
                group: sequence.is_multiple_of(3).then(|| "$share/g/t".into()),
            });
        }
        if !references.is_empty() {
            let publication = unrouted.unwrap_or(0);
            let message = message(&chance.to_string(), qos);
            self.say(Record::Queued { publication, message, references });
        }
    }

    fn queue_run(&mut self, session: u64, chance: u8) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let (first, payload) = (known.sequence + 1, chance.to_string());
        let count = 1 + u64::from(chance % 3);
        known.sequence += count;
        known.queue.extend((first..first + count).map(|sequence| Waiting {
            sequence,
            qos: QoS::AtLeastOnce,
            packet_id: None,
            step: Step::Published,
        }));
        let payloads = vec![&*payload; count as usize];
        self.say(queued_run(session, first, &payloads));
    }

    fn transmit(&mut self, session: u64) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let mut next = known.next;
        for waiting in &mut known.queue {
            let packet_id = *waiting.packet_id.get_or_insert(next);
            next = following(packet_id);
            if waiting.step == Step::Published && packet_id == known.next {
                known.next = next;
                return;
            }
        }
    }

    /// The client acknowledges one of those that it has got.
    fn answer(&mut self, session: u64, chance: u8) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let sent = known.queue.iter().filter(|waiting| waiting.packet_id.is_some()).count();
        let Some(at) = usize::from(chance).checked_rem(sent) else { return };
        let Some(waiting) = known.queue.get_mut(at) else { return };
        let packet_id = waiting.packet_id.expect("it was sent");
        match (waiting.step, waiting.qos) {
            (Step::Published, QoS::ExactlyOnce) => {
                waiting.step = Step::Released(known.releases);
                known.releases += 1;
                self.say(Record::Pubrec { session, packet_id });
            }
            (Step::Published, _) => waiting.step = Step::Done,
            (Step::Released(_), _) => {
                waiting.step = Step::Done;
                self.say(Record::Pubcomp { session, packet_id });
            }
            (Step::Done, _) => {}
        }
    }

    fn mark(&mut self, session: u64) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        while known.queue.front().is_some_and(|first| first.step == Step::Done) {
            known.queue.pop_front();
        }
        let first = known.queue.front();
        if first.is_some_and(|first| matches!(first.step, Step::Released(_))) {
            return;
        }
        let next = first.and_then(|first| first.packet_id).unwrap_or(known.next);
        let up_to = first.map_or(known.sequence, |first| first.sequence - 1);
        self.say(Record::Acknowledged { session, up_to, next });
    }

    fn skip(&mut self, session: u64) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let Some(at) = known.queue.iter().position(|waiting| waiting.packet_id.is_none()) else {
            return;
        };
        let Some(Waiting { sequence, .. }) = known.queue.remove(at) else { return };
        self.say(Record::Skipped { session, sequence });
    }

    fn receive(&mut self, session: u64, chance: u8) {
        let publication = self.name();
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let packet_id = u16::from(chance % 8) + 1;
        if known.received.contains_key(&packet_id) {
            return;
        }
        known.received.insert(packet_id, publication);
        self.unrouted.insert(publication);
        let packet_id = PacketId::new(packet_id).expect("not 0");
        let message = message(&format!("published {chance}"), QoS::ExactlyOnce);
        self.say(Record::Received { session, packet_id, publication, message });
    }

    fn release(&mut self, session: u64) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        if let Some((packet_id, _)) = known.received.pop_first() {
            let packet_id = PacketId::new(packet_id).expect("not 0");
            self.say(Record::Released { session, packet_id });
        }
    }

    fn change_filters(&mut self, session: u64, chance: u8) {
        let Some(known) = self.sessions.get_mut(&session) else { return };
        let filter = format!("f/{}", chance % 4);
        if chance < 128 {
            known.filters.insert(filter.clone());
            self.say(Record::Subscribed { session, subscription: subscription(&filter) });
        } else {
            known.filters.remove(&filter);
            self.say(Record::Unsubscribed { session, filter: filter.into() });
        }
    }

    fn go_on(&mut self, (what, who, chance): (u8, u8, u8)) {
        match what {
            0 => self.start(who % 4, u32::from(chance % 4) * 20, chance),
            1 => {
                let topic = format!("r/{}", who % 3);
                let message = Message {
                    topic: topic.as_str().into(),
                    ..(*message("r", QoS::AtMostOnce)).clone()
                };
                let unrouted = self.unrouted.last().filter(|_| chance.is_multiple_of(2));
                let publication = unrouted.copied().unwrap_or(0);
                let record = if chance < 128 {
                    Record::Retained { publication, message: Arc::new(message) }
                } else {
                    Record::RetainedRemoved { publication, topic: topic.into() }
                };
                return self.say(record);
            }
            2 => {
                if let Some(publication) = self.unrouted.pop_first() {
                    self.say(Record::Routed { publication });
                }
                return;
            }
            3..6 => {
                return self
                    .queue(chance, if who < 128 { QoS::AtLeastOnce } else { QoS::ExactlyOnce });
            }
            _ => {}
        }
        let Some(session) = self.pick(who) else { return };
        match what {
            6 => self.queue_run(session, chance),
            7..11 => self.transmit(session),
            11..17 => self.answer(session, chance),
            17..19 => self.mark(session),
            19 => self.skip(session),
            20 => self.receive(session, chance),
            21 => self.release(session),
            22 => self.change_filters(session, chance),
            23 => {
                let expires_at = Some(Timestamp::from_millis(u64::from(chance)));
                let will_at = expires_at.filter(|_| chance.is_multiple_of(2));
                let expiry_interval = self.sessions[&session].expiry_interval;
                let sent = self.sessions[&session].sequence;
                self.say(Record::SessionLeft {
                    session,
                    expiry_interval,
                    expires_at,
                    will_at,
                    sent,
                });
            }
            24 if chance < 64 => {
                self.sessions.remove(&session);
                self.say(Record::SessionEnded { session });
            }
            _ => {}
        }
    }

    /// What a model says of the sessions is what happened to them.
    fn check(&self, model: Model) {
        let mut restored = BTreeMap::new();
        let (mut unrouted, mut last) = (BTreeSet::new(), 0);
        for found in model.into_restored(&placement()).into_iter().flatten() {
            match found {
                Restored::Session(session) => drop(restored.insert(session.terms.session, session)),
                Restored::Unrouted { publication, .. } => drop(unrouted.insert(publication)),
                Restored::End { last_name } => last = last_name,
                _ => {}
            }
        }
        assert_eq!(unrouted, self.unrouted);
        assert!(self.sessions.keys().chain(&unrouted).all(|name| *name <= last));
        assert!(restored.keys().eq(self.sessions.keys()));
        for (name, known) in &self.sessions {
            let stored = &restored[name];
            assert_eq!(stored.terms.expiry_interval, known.expiry_interval);
            let filters = stored.subscriptions.iter().map(|found| found.filter.to_string());
            assert!(filters.eq(known.filters.iter().cloned()));
            let received = stored.received.iter().map(|packet_id| packet_id.value());
            assert!(received.eq(known.received.keys().copied()));
            let mut packet_id = stored.next;
            let mut found = BTreeMap::new();
            for message in &stored.messages {
                assert!(stored.sequence >= message.sequence);
                found.insert(message.sequence, (packet_id, message.step));
                packet_id = following(packet_id);
            }
            for waiting in &known.queue {
                let Some((packet_id, step)) = found.remove(&waiting.sequence) else {
                    assert_eq!(waiting.step, Step::Done, "{waiting:?} of {stored:?}");
                    continue;
                };
                assert_eq!(waiting.packet_id.unwrap_or(packet_id), packet_id, "{waiting:?}");
                match (waiting.step, step) {
                    // Its PUBACK is known only together with those before it.
                    (Step::Done, Step::Published) => assert_eq!(waiting.qos, QoS::AtLeastOnce),
                    (expected, step) => assert_eq!(step, expected, "{waiting:?}"),
                }
            }
            // What is done and was not recorded yet.
            let done = |(_, step): &(PacketId, Step)| matches!(step, Step::Done | Step::Published);
            assert!(found.values().all(done), "{found:?}");
        }
    }
}

fn conversation() -> impl Strategy<Value = Vec<(u8, u8, u8)>> {
    let begin = vec((Just(0), any::<u8>(), any::<u8>()), 2..5);
    let go_on = vec((0_u8..25, any::<u8>(), any::<u8>()), 0..300);
    (begin, go_on).prop_map(|(mut begin, mut go_on)| {
        begin.append(&mut go_on);
        begin
    })
}

proptest! {
    #[test]
    fn what_is_made_of_all_records_is_what_happened(chances in conversation()) {
        let mut broker = Broker::default();
        chances.into_iter().for_each(|chance| broker.go_on(chance));
        broker.check(after(&broker.records));
    }

    #[test]
    fn a_state_and_the_records_behind_it_say_the_same_as_all(
        chances in conversation(),
        cut in 0.0..1.0,
        part in 1_usize..50,
    ) {
        let mut broker = Broker::default();
        chances.into_iter().for_each(|chance| broker.go_on(chance));
        let (first, rest) = broker.records.split_at((broker.records.len() as f64 * cut) as usize);
        let mut state = empty_state();
        checkpoint(&mut state, first, part);
        let mut model = begun(&state, first);
        rest.iter().for_each(|record| model.apply(record.clone()));
        prop_assert_eq!(shown(model), shown(after(&broker.records)));
    }

    /// However often a state was written on the way, it has the same in it, and nothing else.
    #[test]
    fn a_state_does_not_depend_on_when_it_was_written(
        chances in conversation(),
        parts in (1_usize..50, 1_usize..50),
    ) {
        let mut broker = Broker::default();
        chances.into_iter().for_each(|chance| broker.go_on(chance));
        let content = |part| {
            let (mut state, mut found) = (empty_state(), Vec::new());
            checkpoint(&mut state, &broker.records, part);
            let visit = &mut |key: &[u8], value: &[u8]| found.push((key.to_vec(), value.to_vec()));
            state.scan(b"", visit).expect("it can be read");
            found
        };
        prop_assert_eq!(content(parts.0), content(parts.1));
    }

    #[test]
    fn a_part_that_is_read_twice_says_nothing_new(
        chances in conversation(),
        place in 0.0..1.0,
        length in 1_usize..60,
    ) {
        let mut broker = Broker::default();
        chances.into_iter().for_each(|chance| broker.go_on(chance));
        let start = (broker.records.len() as f64 * place) as usize;
        let end = (start + length).min(broker.records.len());
        let twice = broker.records[..end].iter().chain(&broker.records[start..]);
        prop_assert_eq!(shown(after(twice)), shown(after(&broker.records)));
    }
}
