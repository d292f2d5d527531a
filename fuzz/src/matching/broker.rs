//! A shard with a few clients that read and acknowledge everything at once.

use std::collections::VecDeque;

use noctule_broker_core::{
    ConnectionId, Effect, Effects, Gauges, Input, ListenerId, Reading, Settings, Shard,
    SharedStrategy, Timestamp,
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
    connection: ConnectionId,
    delivered: Vec<Delivered>,
    answers: VecDeque<Answer>,
}

#[derive(Debug)]
pub(crate) struct Broker {
    shard: Shard,
    effects: Effects,
    clients: Vec<Client>,
}

impl Broker {
    /// A broker with one client of each of these versions.
    pub(crate) fn new(strategy: SharedStrategy, versions: &[Version]) -> Self {
        let mut settings = Settings::default();
        settings.system_interval_seconds = 0;
        settings.shared_strategy = strategy;
        let mut broker =
            Self { shard: Shard::new(settings, NOW, 7), effects: Effects::new(), clients: vec![] };
        for (slot, version) in (0..).zip(versions) {
            let connection = ConnectionId { slot, generation: 0 };
            let (delivered, answers) = (Vec::new(), VecDeque::new());
            broker.clients.push(Client { version: *version, connection, delivered, answers });
        }
        for client in 0..versions.len() {
            broker.connect(client);
        }
        broker
    }

    fn connect(&mut self, client: usize) {
        let Client { version, connection, .. } = self.clients[client];
        let opened = Input::Opened { connection, listener: ListenerId(0), peer: "peer".into() };
        let _ = self.shard.on_input(NOW, opened, &mut self.effects);
        let client_id = format!("c{client}");
        let connect = Connect {
            version,
            clean_start: true,
            keep_alive: 0,
            properties: ConnectProperties::default(),
            client_id: &client_id,
            will: None,
            user_name: None,
            password: None,
        };
        self.send(client, &Packet::Connect(Box::new(connect)));
    }

    /// Ends a client's connection, and with it its session, and lets it come back.
    pub(crate) fn reconnect(&mut self, client: usize) {
        let connection = self.clients[client].connection;
        let _ = self.shard.on_input(NOW, Input::Closed { connection }, &mut self.effects);
        for effect in self.effects.drain() {
            // The end of a connection is always told, also to whoever brought it about.
            let own =
                matches!(effect, Effect::Close { connection: closed } if closed == connection);
            assert!(own || matches!(effect, Effect::Event(_)), "{effect:?}");
        }
        self.clients[client].connection.generation += 1;
        self.connect(client);
    }

    pub(crate) fn send(&mut self, client: usize, packet: &Packet<'_>) {
        self.pass_on(client, packet);
        self.settle();
    }

    fn pass_on(&mut self, client: usize, packet: &Packet<'_>) {
        let Client { version, connection, .. } = self.clients[client];
        let mut bytes = Vec::new();
        packet.encode(version, &mut bytes).expect("the model makes what its version has");
        let input = Input::Bytes { connection, bytes: &bytes };
        let consumed = self.shard.on_input(NOW, input, &mut self.effects);
        assert_eq!((consumed.bytes, consumed.reading), (bytes.len(), Reading::Drained));
    }

    /// Reads and acknowledges until nothing comes any more.
    fn settle(&mut self) {
        loop {
            for effect in self.effects.drain() {
                assert!(
                    matches!(effect, Effect::Event(_) | Effect::Resume { .. }),
                    "nothing is asked here, and nobody disconnected: {effect:?}"
                );
            }
            let due = self.shard.poll_timeout().is_some_and(|due| due <= NOW);
            if due {
                let _ = self.shard.on_input(NOW, Input::Timeout, &mut self.effects);
            }
            let mut quiet = !due;
            for client in 0..self.clients.len() {
                quiet &= !self.read(client);
            }
            if quiet && self.effects.is_empty() {
                return;
            }
        }
    }

    fn read(&mut self, client: usize) -> bool {
        let Client { version, connection, .. } = self.clients[client];
        let Some(outbound) = self.shard.outbound(connection) else { return false };
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
            let _ = self.shard.on_input(NOW, Input::Flushed { connection }, &mut self.effects);
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
                    self.pass_on(client, &Packet::Puback(ack));
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

    pub(crate) fn gauges(&self) -> Gauges {
        self.shard.gauges()
    }
}
