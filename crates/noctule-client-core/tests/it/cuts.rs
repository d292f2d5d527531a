//! Connections that are cut at any step: each operation ends exactly once and truthfully, nothing
//! is lost, order is kept, and QoS 2 is exactly once while the session lasts.

use std::collections::{BTreeMap, BTreeSet};

use noctule_client_core::{
    Acknowledged, AcknowledgementMode, ClientSession, Doubt, Event, Outcome, Record, Settings,
    Status, TransportEnd, compact,
};
use noctule_packet::{QoS, ReasonCode, Version};
use proptest::prelude::*;

use crate::server::Server;
use crate::world::{VERSIONS, World, lasting};

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Act {
    Publish(QoS),
    Subscribe,
    ServerPublishes(QoS),
    /// One packet reaches the server, or all of them.
    Up(usize),
    /// A packet reaches the client, cut into pieces of so many bytes.
    Down(usize),
    Cut,
    Reconnect,
    /// The process ends and another one goes on with what was stored.
    Restart,
    /// A packet arrives, the user publishes, and the process dies in the middle of its turn.
    Die(Death),
}

/// Where in a turn a process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    BeforeRecords,
    BehindRecords,
    BehindBytes,
}

/// Client and server, and what a test knows of both.
struct Pair {
    world: World,
    server: Server,
    settings: Settings,
    /// What the client has written and the server has not got.
    up: Vec<u8>,
    unread: Vec<u8>,
    published: BTreeMap<u64, (QoS, String)>,
    ended: BTreeMap<u64, Outcome>,
    /// What had ended for good when a process died that had not told it yet.
    untold: BTreeSet<u64>,
    subscribed: Vec<u64>,
    subscribe_ended: Vec<u64>,
    sent_down: Vec<(QoS, String)>,
    arrived: Vec<String>,
    records: Vec<Record>,
    session_losses: u32,
    restarts: u32,
}

impl Pair {
    fn new(version: Version, keeps_sessions: bool, is_manual: bool) -> Self {
        let mut settings = Settings { is_durable: true, ..lasting(version) };
        if is_manual {
            settings.acknowledgement = AcknowledgementMode::Manual;
        }
        Self {
            world: World::new(settings.clone()),
            server: Server::new(version, keeps_sessions),
            settings,
            up: Vec::new(),
            unread: Vec::new(),
            published: BTreeMap::new(),
            ended: BTreeMap::new(),
            untold: BTreeSet::new(),
            subscribed: Vec::new(),
            subscribe_ended: Vec::new(),
            sent_down: Vec::new(),
            arrived: Vec::new(),
            records: Vec::new(),
            session_losses: 0,
            restarts: 0,
        }
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Publish(qos) => {
                let payload = format!("{}", self.published.len());
                let operation = self.world.publish(qos, &payload);
                self.published.insert(operation.value(), (qos, payload));
            }
            Act::Subscribe => {
                let operation = self.world.subscribe(&["down"], QoS::ExactlyOnce);
                self.subscribed.push(operation.value());
            }
            Act::ServerPublishes(qos) => {
                let payload = format!("d{}", self.sent_down.len());
                if self.server.publish(qos, &payload) {
                    self.sent_down.push((qos, payload));
                }
            }
            Act::Up(count) => {
                self.turn();
                let count = count.min(self.up.len());
                let bytes: Vec<u8> = self.up.drain(..count).collect();
                self.server.receive(&bytes);
            }
            Act::Down(size) => self.down(size),
            Act::Cut => self.cut(),
            Act::Reconnect => self.connect(),
            Act::Restart => {
                self.turn();
                self.restart();
            }
            Act::Die(death) => self.die(death),
        }
        self.turn();
    }

    fn connect(&mut self) {
        if self.world.session.status() == Status::Offline {
            self.world.session.transport_up(self.world.now);
        }
    }

    fn cut(&mut self) {
        self.world.session.transport_down(self.world.now, TransportEnd::Failed);
        self.up.clear();
        self.unread.clear();
        self.server.cut();
    }

    fn die(&mut self, death: Death) {
        if let Some(packet) = self.server.down.pop_front() {
            self.unread.extend_from_slice(&packet);
            let consumed = self.world.session.receive(self.world.now, &self.unread);
            self.unread.drain(..consumed);
        }
        if death != Death::BeforeRecords {
            self.records.extend(self.world.session.take_records());
        }
        if death == Death::BehindBytes {
            self.up.extend_from_slice(self.world.session.outbound());
            let bytes = std::mem::take(&mut self.up);
            self.server.receive(&bytes);
        }
        self.restart();
    }

    fn restart(&mut self) {
        self.up.clear();
        self.unread.clear();
        self.server.cut();
        let mut records = std::mem::take(&mut self.records);
        for record in &records {
            if let Record::Finished { operation } = record
                && !self.ended.contains_key(&operation.value())
            {
                self.untold.insert(operation.value());
            }
        }
        if self.restarts.is_multiple_of(2) {
            records = compact(&self.settings, records);
        }
        let from_bytes = |record: Record| {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            Record::decode(&bytes).expect("a record is read again")
        };
        let records: Vec<Record> = records.into_iter().map(from_bytes).collect();
        // What was stored is what the next process begins with, and stores again.
        let now = self.world.now;
        let session = ClientSession::restore(self.settings.clone(), now, records.clone());
        self.world = World::of(session.expect("the settings are good"));
        self.world.now = now;
        self.records = records;
        self.restarts += 1;
        // Requests end with their process.
        self.subscribe_ended = self.subscribed.clone();
        // Each process has receipts for all that those before it have left, and for nothing else.
        let restored = self.world.session.take_restored();
        let restored: Vec<u64> = restored.iter().map(|it| it.operation.value()).collect();
        let is_open = |it: &&u64| !self.ended.contains_key(it) && !self.untold.contains(it);
        let open: Vec<u64> = self.published.keys().filter(is_open).copied().collect();
        assert_eq!(restored, open, "restored, and without an end");
    }

    fn down(&mut self, size: usize) {
        let Some(packet) = self.server.down.pop_front() else { return };
        for piece in packet.chunks(size.max(1)) {
            self.unread.extend_from_slice(piece);
            let consumed = self.world.session.receive(self.world.now, &self.unread);
            self.unread.drain(..consumed);
        }
    }

    /// A driver's turn: records, bytes, events.
    fn turn(&mut self) {
        loop {
            self.records.extend(self.world.session.take_records());
            let bytes = self.world.session.outbound().to_vec();
            let events = self.world.events();
            if bytes.is_empty() && events.is_empty() {
                break;
            }
            self.up.extend_from_slice(&bytes);
            self.world.session.written(self.world.now, bytes.len());
            for event in events {
                self.note(event);
            }
        }
        assert_ne!(self.world.session.status(), Status::Closing, "the server did nothing wrong");
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Published { operation, outcome, .. } => {
                let before = self.ended.insert(operation.value(), outcome);
                assert!(before.is_none() && !self.untold.contains(&operation.value()));
            }
            Event::Subscribed { operation, .. } => {
                assert!(!self.subscribe_ended.contains(&operation.value()));
                self.subscribe_ended.push(operation.value());
            }
            Event::Message { message, token } => {
                self.arrived.push(String::from_utf8_lossy(message.payload()).into_owned());
                if let Some(token) = token {
                    let now = self.world.now;
                    let done = self.world.session.acknowledge(now, token, ReasonCode::Success);
                    assert!(matches!(done, Ok(Acknowledged::Done | Acknowledged::Stale)));
                }
            }
            Event::SessionLost => self.session_losses += 1,
            _ => {}
        }
    }

    /// Connects and lets everything happen that is under way.
    fn settle(&mut self) {
        self.connect();
        for _ in 0..10_000 {
            self.turn();
            if self.up.is_empty() && self.server.down.is_empty() {
                return;
            }
            self.act(Act::Up(usize::MAX));
            self.act(Act::Down(usize::MAX));
        }
        panic!("client and server never come to rest");
    }

    /// What must hold whatever has happened.
    fn check(&mut self) {
        self.settle();
        assert_eq!(self.world.session.status(), Status::Online);
        assert_eq!((self.world.session.queued(), self.world.session.in_flight()), (0, 0));
        assert_eq!((self.world.session.held_bytes(), self.server.unacknowledged()), (0, 0));
        assert_eq!(self.world.session.pending_requests(), 0);
        assert_eq!(self.subscribe_ended.len(), self.subscribed.len());
        let count = |got: &[String], payload: &str| got.iter().filter(|it| *it == payload).count();
        for (operation, (qos, payload)) in &self.published {
            let times = count(&self.server.got, payload);
            let Some(outcome) = self.ended.get(operation) else {
                // A process that died could not tell. What it knew was good, or is known still.
                assert!(self.untold.contains(operation), "every operation ends");
                let is_right = match qos {
                    QoS::AtMostOnce => times <= 1,
                    QoS::AtLeastOnce => times >= 1,
                    QoS::ExactlyOnce => times == 1,
                };
                let is_lost = self.session_losses > 0 || !self.server.keeps_sessions;
                assert!(is_right || (is_lost && *qos == QoS::ExactlyOnce), "{payload}: {times}");
                continue;
            };
            match (qos, outcome) {
                (QoS::AtMostOnce, _) => assert!(times <= 1),
                (QoS::AtLeastOnce, Outcome::Delivered { .. }) => assert!(times >= 1, "lost"),
                (QoS::ExactlyOnce, Outcome::Delivered { .. }) => assert_eq!(times, 1, "QoS 2"),
                (QoS::ExactlyOnce, Outcome::Indeterminate { why: Doubt::SessionLost }) => {
                    assert!(times <= 1 && self.session_losses + self.restarts > 0);
                }
                (_, outcome) => panic!("{qos:?} {payload}: {outcome:?}"),
            }
        }
        let of_level = |level| {
            let wanted = self.published.values().filter(move |(qos, _)| *qos == level);
            wanted.map(|(_, payload)| payload.clone()).collect::<Vec<_>>()
        };
        for level in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            check_order(&of_level(level), &self.server.got);
        }
        for (qos, payload) in &self.sent_down {
            let times = count(&self.arrived, payload);
            // Nothing was acknowledged that nobody was told, whenever a process has died.
            assert!(self.server.has_lost_messages || times >= 1, "{payload} did not arrive");
            assert!(*qos != QoS::ExactlyOnce || times <= 1, "{payload} arrived {times} times");
        }
    }
}

/// The first arrivals of what was sent stand in the order in which it was sent.
fn check_order(sent: &[String], got: &[String]) {
    let first = |payload: &String| got.iter().position(|it| it == payload);
    let firsts: Vec<usize> = sent.iter().filter_map(first).collect();
    assert!(firsts.is_sorted(), "{sent:?} came as {got:?}");
}

fn script() -> Vec<Act> {
    let mut acts = vec![Act::Reconnect];
    let levels = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
    for round in 0..3 {
        acts.push(Act::Subscribe);
        acts.extend(levels.map(Act::Publish));
        acts.extend([Act::Up(17), Act::Down(3)]);
        acts.extend(levels.into_iter().skip(1).map(Act::ServerPublishes));
        acts.extend([Act::Down(1), Act::Publish(levels[round]), Act::Up(usize::MAX)]);
        acts.extend([Act::Down(9), Act::Up(5), Act::Down(2), Act::Up(usize::MAX), Act::Down(1)]);
    }
    acts
}

fn run(acts: &[Act], version: Version, keeps_sessions: bool, is_manual: bool) {
    // A 3.1 server that forgets a session cannot say so; it must not.
    let keeps_sessions = keeps_sessions || version == Version::V3_1;
    let mut pair = Pair::new(version, keeps_sessions, is_manual);
    for act in acts {
        pair.act(*act);
    }
    pair.check();
}

/// P-03 and P-20: one and two cuts at all steps of a script.
#[test]
fn nothing_is_lost_wherever_the_connection_is_cut() {
    let script = script();
    for version in VERSIONS {
        for (keeps_sessions, is_manual) in [(true, false), (true, true), (false, false)] {
            run(&script, version, keeps_sessions, is_manual);
            for first in 0..script.len() {
                let mut acts = script.clone();
                acts.splice(first..first, [Act::Cut, Act::Reconnect]);
                run(&acts, version, keeps_sessions, is_manual);
                for second in (first + 2..acts.len()).step_by(3) {
                    let mut acts = acts.clone();
                    acts.splice(second..second, [Act::Cut, Act::Reconnect]);
                    run(&acts, version, keeps_sessions, is_manual);
                }
            }
        }
    }
}

/// The same with a process that dies between records, bytes and events.
#[test]
fn nothing_is_lost_wherever_in_its_turn_the_process_dies() {
    let script = script();
    for version in VERSIONS {
        for keeps_sessions in [true, false] {
            for death in [Death::BeforeRecords, Death::BehindRecords, Death::BehindBytes] {
                for at in 0..script.len() {
                    let mut acts = script.clone();
                    acts.splice(at..at, [Act::Die(death), Act::Reconnect]);
                    run(&acts, version, keeps_sessions, at % 2 == 0);
                }
            }
        }
    }
}

/// The same with the end of the process.
#[test]
fn nothing_is_lost_wherever_the_process_ends() {
    let script = script();
    for version in VERSIONS {
        for keeps_sessions in [true, false] {
            for first in 0..script.len() {
                for second in (first + 2..script.len()).step_by(5) {
                    let mut acts = script.clone();
                    acts.splice(second..second, [Act::Cut, Act::Reconnect]);
                    acts.splice(first..first, [Act::Restart, Act::Reconnect]);
                    run(&acts, version, keeps_sessions, false);
                }
            }
        }
    }
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let qos = (0..3_u8).prop_map(|level| QoS::from_level(level).unwrap());
    let act = prop_oneof![
        4 => qos.prop_map(Act::Publish),
        1 => Just(Act::Subscribe),
        2 => (1..3_u8).prop_map(|level| Act::ServerPublishes(QoS::from_level(level).unwrap())),
        4 => (1..40_usize).prop_map(Act::Up),
        4 => (1..10_usize).prop_map(Act::Down),
        1 => Just(Act::Cut),
        2 => Just(Act::Reconnect),
    ];
    prop::collection::vec(act, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn nothing_is_lost_whatever_happens(
        acts in acts(),
        version in 0..3_usize,
        keeps_sessions: bool,
        is_manual: bool,
    ) {
        run(&acts, VERSIONS[version], keeps_sessions, is_manual);
    }
}
