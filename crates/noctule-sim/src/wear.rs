//! Packet identifiers near their end: so many messages to some sessions that the broker's
//! identifiers for them are about to begin anew, before anything else happens.
//!
//! These messages do not pass through the network of the run: what is seen of them is that each one
//! arrives once, in order, under the next packet identifier.

use noctule_broker_core::{ConnectionId, Input, ListenerId};
use noctule_packet::{
    Ack, Connect, ConnectProperties, Framing, Packet, PacketId, Publish, PublishProperties, QoS,
    ReasonCode, Subscribe, SubscriptionList, SubscriptionOptions, TextRules, TopicFilter,
    TopicName, UserProperties, Version, split,
};

use crate::world::World;

/// How many identifiers are left when the run begins.
const LEFT: u16 = 30;

/// How many messages are sent at a time.
const BATCH: u16 = 500;

/// The topic that wears them out; nobody else uses it.
const TOPIC: &str = "w";

/// A connection without a network.
#[derive(Clone, Debug)]
struct Direct {
    shard: usize,
    id: ConnectionId,
    version: Version,
    /// How many messages it has got.
    got: u16,
}

impl World {
    /// Sends lasting sessions of one shard most of the messages that there are identifiers for.
    pub(crate) fn wear_packet_ids(&mut self) {
        let lasting = |at: &usize| self.clients[*at].habits.session_expiry > 1_000;
        let worn: Vec<usize> = (0..self.clients.len()).filter(lasting).collect();
        let Some(shard) = worn.first().map(|at| self.clients[*at].home) else { return };
        let at_home = |at: &usize| self.clients[*at].home == shard;
        let worn: Vec<usize> = worn.into_iter().filter(at_home).collect();
        let shard = usize::from(shard.0);
        let mut readers = Vec::new();
        for client in &worn {
            let known = &self.clients[*client];
            let (client_id, version) = (known.client_id.clone(), known.habits.version);
            let expiry = known.habits.session_expiry;
            let reader = self.open_directly(shard, (&client_id, version), expiry);
            self.say(&reader, &[subscribe()]);
            readers.push(reader);
        }
        let mut names = (0..).map(|at| format!("writer-{at}"));
        let placement = self.placement;
        let name = names.find(|name| usize::from(placement.client(name).0) == shard);
        let mut writer = self.open_directly(shard, (&name.unwrap_or_default(), Version::V5_0), 0);
        // Until every shard knows the subscription.
        self.run_until(self.now + 1_000);
        let mut sent = 0;
        while sent < u16::MAX - LEFT && self.oracle.is_content() {
            let batch = BATCH.min(u16::MAX - LEFT - sent);
            for number in sent..sent + batch {
                self.say(&writer, &[publish(number, &number.to_be_bytes())]);
            }
            self.listen(&mut writer);
            sent += batch;
            for reader in &mut readers {
                self.listen(reader);
                if reader.got != sent {
                    let what = format!("{} of {sent} messages came", reader.got);
                    self.oracle.find("[MQTT5-4.3.2-1]", what);
                }
            }
        }
        for reader in readers.iter().chain([&writer]) {
            self.input(shard, Input::Closed { connection: reader.id });
        }
        for client in worn {
            self.oracle.session_was_made(client, self.clients[client].habits.session_expiry);
        }
    }

    fn open_directly(
        &mut self,
        shard: usize,
        (client_id, version): (&str, Version),
        expiry: u32,
    ) -> Direct {
        // Nobody else gets this slot, and nothing that the shard says of it finds a connection.
        let slots = &mut self.shards[shard].slots;
        let id = ConnectionId { slot: slots.len() as u32, generation: 0 };
        slots.push((1, None));
        let (listener, peer) = (ListenerId(0), "directly".into());
        self.input(shard, Input::Opened { connection: id, listener, peer, moved: false });
        let connect = Connect {
            version,
            clean_start: false,
            keep_alive: 0,
            properties: ConnectProperties {
                session_expiry_interval: version.is_v5().then_some(expiry),
                ..Default::default()
            },
            client_id,
            will: None,
            user_name: None,
            password: None,
        };
        let direct = Direct { shard, id, version, got: 0 };
        self.say(&direct, &[Packet::from(connect)]);
        direct
    }

    fn say(&mut self, direct: &Direct, packets: &[Packet<'_>]) {
        let mut bytes = Vec::new();
        for packet in packets {
            if let Err(error) = packet.encode(direct.version, &mut bytes) {
                panic!("cannot encode {packet:?}: {error}");
            }
        }
        self.input(direct.shard, Input::Bytes { connection: direct.id, bytes: &bytes });
    }

    /// Takes what the shard has to say, and acknowledges messages.
    fn listen(&mut self, direct: &mut Direct) {
        let Some(outbound) = self.shards[direct.shard].shard.outbound(direct.id) else { return };
        let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
        outbound.advance(bytes.len());
        let mut rest = &bytes[..];
        let mut acks = Vec::new();
        while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
            rest = &rest[frame.length..];
            let packet = Packet::decode(&frame, direct.version, TextRules::Strict);
            if let Ok(Packet::Publish(publish)) = packet {
                let number = u16::from_be_bytes([publish.payload[0], publish.payload[1]]);
                let packet_id = publish.packet_id.map_or(0, PacketId::value);
                if number != direct.got || packet_id != direct.got + 1 {
                    let what = format!("message {number} came as {packet_id}, not {}", direct.got);
                    self.oracle.find("[MQTT5-4.6.0-5] [MQTT5-2.2.1-4]", what);
                }
                direct.got += 1;
                let packet_id = publish.packet_id.unwrap_or(PacketId::MIN);
                acks.push(Packet::Puback(Ack::new(packet_id, ReasonCode::Success)));
            }
        }
        if !acks.is_empty() {
            self.say(direct, &acks);
        }
    }
}

fn subscribe() -> Packet<'static> {
    let mut subscriptions = SubscriptionList::new();
    if let Ok(filter) = TopicFilter::new(TOPIC) {
        let qos = QoS::AtLeastOnce;
        subscriptions.push(&filter, SubscriptionOptions { qos, ..Default::default() });
    }
    Packet::Subscribe(Subscribe {
        packet_id: PacketId::MIN,
        subscription_identifier: None,
        user_properties: UserProperties::new(),
        subscriptions,
    })
}

fn publish(number: u16, payload: &[u8]) -> Packet<'_> {
    Packet::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicName::new(TOPIC).ok(),
        packet_id: PacketId::new(number + 1),
        properties: PublishProperties::default(),
        payload,
    })
}
