//! A small server that does everything right, for tests that cut its connections: it keeps a
//! session if it is told to, and knows what it was sent and what was acknowledged.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use noctule_packet::{
    Ack, Connack, Framing, Packet, PacketId, Publish, QoS, ReasonCode, Suback, TextRules,
    TopicName, Unsuback, Version, split,
};

/// How far a message to the client has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Sent,
    Released,
}

/// The server and its end of the connection.
#[derive(Debug)]
pub(crate) struct Server {
    version: Version,
    pub(crate) keeps_sessions: bool,
    has_session: bool,
    is_connected: bool,
    unread: Vec<u8>,
    /// Whole packets for the client.
    pub(crate) down: VecDeque<Vec<u8>>,
    /// The payloads that were published, each as often as it was.
    pub(crate) got: Vec<String>,
    received: BTreeSet<PacketId>,
    outgoing: VecDeque<(PacketId, QoS, String, Step)>,
    next_id: u16,
    /// Whether messages for the client went with a session.
    pub(crate) has_lost_messages: bool,
    pub(crate) subscriptions: BTreeMap<String, QoS>,
}

impl Server {
    pub(crate) fn new(version: Version, keeps_sessions: bool) -> Self {
        Self {
            version,
            keeps_sessions,
            has_session: false,
            is_connected: false,
            unread: Vec::new(),
            down: VecDeque::new(),
            got: Vec::new(),
            received: BTreeSet::new(),
            outgoing: VecDeque::new(),
            next_id: 1,
            has_lost_messages: false,
            subscriptions: BTreeMap::new(),
        }
    }

    /// The connection is gone.
    pub(crate) fn cut(&mut self) {
        self.is_connected = false;
        self.unread.clear();
        self.down.clear();
        if !self.keeps_sessions {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.has_lost_messages |= !self.outgoing.is_empty();
        self.has_session = false;
        self.received.clear();
        self.outgoing.clear();
        self.subscriptions.clear();
    }

    /// How many messages the client has not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.outgoing.len()
    }

    /// Publishes to the client, if it has a session.
    pub(crate) fn publish(&mut self, qos: QoS, payload: &str) -> bool {
        if !self.has_session {
            return false;
        }
        let packet_id = PacketId::new(self.next_id).expect("not 0");
        self.next_id += 1;
        self.outgoing.push_back((packet_id, qos, payload.into(), Step::Sent));
        if self.is_connected {
            self.send_publish(packet_id, qos, payload, false);
        }
        true
    }

    fn send_publish(&mut self, packet_id: PacketId, qos: QoS, payload: &str, dup: bool) {
        self.send(&Packet::Publish(Publish {
            dup,
            qos,
            topic: TopicName::new("down").ok(),
            packet_id: Some(packet_id),
            payload: payload.as_bytes(),
            ..Publish::default()
        }));
    }

    fn send(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("the server writes good packets");
        self.down.push_back(bytes);
    }

    /// Bytes have arrived from the client.
    pub(crate) fn receive(&mut self, bytes: &[u8]) {
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut rest = &unread[..];
        while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
            let packet = Packet::decode(&frame, self.version, TextRules::Strict);
            self.on_packet(&packet.expect("the client writes good packets"));
            rest = &rest[frame.length..];
        }
        self.unread = rest.to_vec();
    }

    fn on_packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connect(connect) => self.on_connect(connect.clean_start),
            Packet::Publish(publish) => self.on_publish(publish),
            Packet::Puback(ack) | Packet::Pubcomp(ack) => {
                self.outgoing.retain(|(packet_id, ..)| *packet_id != ack.packet_id);
            }
            Packet::Pubrec(ack) => {
                for (packet_id, _, _, step) in &mut self.outgoing {
                    if *packet_id == ack.packet_id {
                        *step = Step::Released;
                    }
                }
                self.send(&Packet::Pubrel(Ack::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::Pubrel(ack) => {
                self.received.remove(&ack.packet_id);
                self.send(&Packet::Pubcomp(Ack::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::Subscribe(subscribe) => {
                let mut codes = Vec::new();
                for it in subscribe.subscriptions.iter() {
                    self.subscriptions.insert(it.filter.as_str().into(), it.options.qos);
                    codes.push(ReasonCode::granted(it.options.qos));
                }
                self.send(&Packet::Suback(Suback::new(subscribe.packet_id, codes)));
            }
            Packet::Unsubscribe(unsubscribe) => {
                let codes = vec![ReasonCode::Success; unsubscribe.filters.len()];
                for filter in unsubscribe.filters.iter() {
                    self.subscriptions.remove(filter.as_str());
                }
                self.send(&Packet::Unsuback(Unsuback::new(unsubscribe.packet_id, codes)));
            }
            Packet::Pingreq => self.send(&Packet::Pingresp),
            Packet::Disconnect(_) => {}
            other => panic!("{other:?}"),
        }
    }

    fn on_connect(&mut self, clean_start: bool) {
        self.is_connected = true;
        if clean_start {
            self.forget();
        }
        let session_present = std::mem::replace(&mut self.has_session, true);
        self.send(&Packet::Connack(Connack { session_present, ..Connack::default() }));
        for (packet_id, qos, payload, step) in self.outgoing.clone() {
            match step {
                Step::Sent => self.send_publish(packet_id, qos, &payload, true),
                Step::Released => {
                    self.send(&Packet::Pubrel(Ack::new(packet_id, ReasonCode::Success)));
                }
            }
        }
    }

    fn on_publish(&mut self, publish: &Publish<'_>) {
        let payload = String::from_utf8_lossy(publish.payload).into_owned();
        let Some(packet_id) = publish.packet_id else {
            self.got.push(payload);
            return;
        };
        let ack = Ack::new(packet_id, ReasonCode::Success);
        if publish.qos == QoS::AtLeastOnce {
            self.got.push(payload);
            return self.send(&Packet::Puback(ack));
        }
        if self.received.insert(packet_id) {
            self.got.push(payload);
        }
        self.send(&Packet::Pubrec(ack));
    }
}
