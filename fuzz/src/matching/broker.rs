//! Shards with a few clients that read and acknowledge everything at once.

use std::collections::VecDeque;

use noctule_broker_core::{
    ConnectionId, Effect, Effects, Gauges, Input, ListenerId, Placement, Settings, Shard, ShardId,
    ShardMessage, SharedStrategy, Timestamp,
};
use noctule_packet::{
    Ack, Connect, ConnectProperties, Framing, Packet, ReasonCode, TextRules, TopicName, Version,
    split,
};

use super::model::Terms;

const NOW: Timestamp = Timestamp::from_millis(1_000);

/// One PUBLISH that arrived.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Delivered {
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) terms: Terms,
}

/// What a client was sent, besides messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// SUBACK or UNSUBACK.
    Codes(Vec<ReasonCode>),
    /// PUBACK.
    Published(ReasonCode),
}

#[derive(Debug)]
struct Client {
    version: Version,
    home: usize,
    connection: ConnectionId,
    /// Sent, and not consumed by the shard.
    sent: Vec<u8>,
    delivered: Vec<Delivered>,
    answers: VecDeque<Answer>,
}

#[derive(Debug)]
pub(crate) struct Broker {
    shards: Vec<Shard>,
    effects: Effects,
    /// What one shard says to another, with both their numbers.
    carried: VecDeque<(ShardId, ShardId, ShardMessage)>,
    clients: Vec<Client>,
}

impl Broker {
    /// A broker with one client of each of these versions.
    pub(crate) fn new(shards: u16, strategy: SharedStrategy, versions: &[Version]) -> Self {
        let placement = Placement::new([1; 16], shards);
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        settings.shared_strategy = strategy;
        settings.placement = placement;
        let shard = |number| {
            let mut settings = settings.clone();
            settings.shard = ShardId(number);
            Shard::new(settings, NOW, 7 + u64::from(number))
        };
        let client = |(slot, version): (u32, &Version)| Client {
            version: *version,
            home: usize::from(placement.client(&client_id(slot)).0),
            connection: ConnectionId { slot, generation: 0 },
            sent: Vec::new(),
            delivered: Vec::new(),
            answers: VecDeque::new(),
        };
        let mut broker = Self {
            shards: (0..shards).map(shard).collect(),
            effects: Effects::new(),
            carried: VecDeque::new(),
            clients: (0..).zip(versions).map(client).collect(),
        };
        for client in 0..versions.len() {
            broker.connect(client);
        }
        broker
    }

    fn connect(&mut self, client: usize) {
        let Client { version, home, connection, .. } = self.clients[client];
        let (listener, peer) = (ListenerId(0), "peer".into());
        self.input(home, Input::Opened { connection, listener, peer, moved: false });
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: ConnectProperties::default(),
            client_id: &client_id(connection.slot),
            will: None,
            user_name: None,
            password: None,
        };
        self.send(client, &Packet::Connect(Box::new(connect)));
    }

    /// Ends a client's connection, and with it its session, and lets it come back.
    pub(crate) fn reconnect(&mut self, client: usize) {
        let Client { home, connection, .. } = self.clients[client];
        self.input(home, Input::Closed { connection });
        self.clients[client].connection.generation += 1;
        self.settle();
        self.connect(client);
    }

    pub(crate) fn send(&mut self, client: usize, packet: &Packet<'_>) {
        self.push(client, packet);
        self.settle();
        assert!(self.clients.iter().all(|client| client.sent.is_empty()), "something is stuck");
    }

    fn push(&mut self, client: usize, packet: &Packet<'_>) {
        let to = &mut self.clients[client];
        let encoded = packet.encode(to.version, &mut to.sent);
        encoded.expect("the model makes what its version has");
        self.pass_on(client);
    }

    fn pass_on(&mut self, client: usize) {
        let Client { home, connection, .. } = self.clients[client];
        let sent = std::mem::take(&mut self.clients[client].sent);
        let input = Input::Continue { connection, bytes: &sent };
        let consumed = self.shards[home].on_input(NOW, input, &mut self.effects);
        self.clients[client].sent = sent[consumed.bytes..].to_vec();
        self.apply_effects(home);
    }

    fn input(&mut self, shard: usize, input: Input<'_>) {
        let _ = self.shards[shard].on_input(NOW, input, &mut self.effects);
        self.apply_effects(shard);
    }

    fn apply_effects(&mut self, shard: usize) {
        let from = ShardId(u16::try_from(shard).expect("there are few"));
        let mut resumed = Vec::new();
        for effect in std::mem::take(&mut self.effects).drain() {
            match effect {
                Effect::ToShard { to, message } => self.carried.push_back((from, to, message)),
                Effect::Event(_) => {}
                Effect::Resume { connection } => resumed.push(connection),
                // The end of a connection is told also to whoever brought it about.
                Effect::Close { connection } => {
                    let client = &self.clients[connection.slot as usize];
                    let gone = self.shards[client.home].outbound(connection).is_none();
                    assert!(gone, "{connection:?} is disconnected");
                }
                other => panic!("nothing is asked here: {other:?}"),
            }
        }
        // What is said to other shards keeps its order: what follows from going on comes behind.
        for connection in resumed {
            let client = connection.slot as usize;
            if self.clients[client].connection == connection {
                self.pass_on(client);
            }
        }
    }

    /// Reads, acknowledges and carries until nothing comes any more.
    fn settle(&mut self) {
        loop {
            let mut quiet = self.carried.is_empty();
            while let Some((from, to, message)) = self.carried.pop_front() {
                self.input(usize::from(to.0), Input::FromShard { from, message });
            }
            for shard in 0..self.shards.len() {
                if self.shards[shard].poll_timeout().is_some_and(|due| due <= NOW) {
                    self.input(shard, Input::Timeout);
                    quiet = false;
                }
            }
            for client in 0..self.clients.len() {
                quiet &= !self.read(client);
            }
            if quiet && self.carried.is_empty() {
                return;
            }
        }
    }

    fn read(&mut self, client: usize) -> bool {
        let Client { version, home, connection, .. } = self.clients[client];
        let Some(outbound) = self.shards[home].outbound(connection) else { return false };
        let bytes = outbound.chunks().collect::<Vec<_>>().concat();
        outbound.advance(bytes.len());
        let mut rest = &bytes[..];
        while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
            let packet = Packet::decode(&frame, version, TextRules::Strict);
            self.take(client, packet.expect("the broker writes what can be read"));
            rest = &rest[frame.length..];
        }
        assert!(rest.is_empty(), "a part of a packet is left: {rest:x?}");
        if !bytes.is_empty() {
            self.input(home, Input::Flushed { connection });
        }
        !bytes.is_empty()
    }

    fn take(&mut self, client: usize, packet: Packet<'_>) {
        let to = &mut self.clients[client];
        match packet {
            Packet::Connack(connack) => assert_eq!(connack.reason_code, ReasonCode::Success),
            Packet::Suback(suback) => {
                to.answers.push_back(Answer::Codes(suback.reason_codes.into_owned()));
            }
            Packet::Unsuback(unsuback) => {
                to.answers.push_back(Answer::Codes(unsuback.reason_codes.into_owned()));
            }
            Packet::Puback(ack) => to.answers.push_back(Answer::Published(ack.reason_code)),
            Packet::Publish(publish) => {
                let mut identifiers = publish.properties.subscription_identifiers.clone();
                identifiers.sort_unstable();
                let terms = Terms { qos: publish.qos, retain: publish.retain, identifiers };
                let topic = publish.topic.as_ref().map_or("", TopicName::as_str).to_owned();
                to.delivered.push(Delivered { topic, payload: publish.payload.to_vec(), terms });
                if let Some(packet_id) = publish.packet_id {
                    let ack = Ack::new(packet_id, ReasonCode::Success);
                    self.push(client, &Packet::Puback(ack));
                }
            }
            other => panic!("the broker sends {other:?}"),
        }
    }

    pub(crate) fn version(&self, client: usize) -> Version {
        self.clients[client].version
    }

    /// What has arrived since the last call, in no particular order.
    pub(crate) fn delivered(&mut self, client: usize) -> Vec<Delivered> {
        let mut delivered = std::mem::take(&mut self.clients[client].delivered);
        delivered.sort_unstable();
        delivered
    }

    /// The only answer that has arrived since the last call.
    pub(crate) fn answer(&mut self, client: usize) -> Option<Answer> {
        let answer = self.clients[client].answers.pop_front();
        assert!(self.clients.iter().all(|client| client.answers.is_empty()));
        answer
    }

    /// The gauges of every shard.
    pub(crate) fn gauges(&self) -> Vec<Gauges> {
        self.shards.iter().map(Shard::gauges).collect()
    }
}

fn client_id(slot: u32) -> String {
    format!("c{slot}")
}
