//! A client session and the server's end of its connection: what the client writes is decoded, and
//! what the server says is encoded, so that a test reads like a transcript.

use std::time::Duration;

use noctule_client_core::{
    ClientSession, Event, OperationId, Outcome, Publication, RequestOutcome, Settings, Status,
    SubscribeRequest, Timestamp, TransportEnd,
};
use noctule_packet::{
    Ack, Connack, ConnackProperties, Framing, Packet, PacketId, PacketType, Publish, QoS,
    ReasonCode, Suback, Subscription, SubscriptionOptions, TextRules, TopicFilter, TopicName,
    Version, split,
};

pub(crate) const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];

pub(crate) fn id(value: u16) -> PacketId {
    PacketId::new(value).expect("not 0")
}

/// A client session, its clock and the server's view of the connection.
pub(crate) struct World {
    pub(crate) session: ClientSession,
    pub(crate) now: Timestamp,
    /// What the client has written and the server has not read.
    sent: Vec<u8>,
}

/// Settings for a client of this version with a session that stays.
pub(crate) fn lasting(version: Version) -> Settings {
    let mut settings = brief(version);
    settings.connect.session_expiry_interval = 3_600;
    settings
}

/// Settings for a client of this version whose session ends with each connection.
pub(crate) fn brief(version: Version) -> Settings {
    let mut settings = Settings { version, lowest_version: version, ..Settings::default() };
    settings.connect.client_id = "client".into();
    settings
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        let session = ClientSession::new(settings).expect("the settings are good");
        Self::of(session)
    }

    pub(crate) fn of(session: ClientSession) -> Self {
        Self { session, now: Timestamp::from_millis(1_000), sent: Vec::new() }
    }

    /// A client that is connected, and whose events up to then are taken.
    pub(crate) fn online(settings: Settings) -> Self {
        let mut world = Self::new(settings);
        world.connect(false);
        world.events();
        world
    }

    /// A connection that the server accepts.
    pub(crate) fn connect(&mut self, session_present: bool) {
        self.connect_with(session_present, ConnackProperties::default());
    }

    pub(crate) fn connect_with(
        &mut self,
        session_present: bool,
        properties: ConnackProperties<'_>,
    ) {
        self.up();
        let first = self.packets();
        assert!(first.len() == 1 && first[0].starts_with("CONNECT"), "{first:?}");
        self.say(&Packet::Connack(Connack {
            session_present,
            reason_code: ReasonCode::Success,
            properties,
        }));
        assert_eq!(self.session.status(), Status::Online);
    }

    /// A transport is up, and nothing was said yet by the server.
    pub(crate) fn up(&mut self) {
        self.sent.clear();
        self.session.transport_up(self.now);
    }

    pub(crate) fn cut(&mut self) {
        self.session.transport_down(self.now, TransportEnd::Failed);
        self.sent.clear();
    }

    /// Time passes; what falls due on the way happens when it is due.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.session.on_timeout(self.now);
            self.flush();
        }
        self.now = end;
    }

    /// Everything that the client has to say reaches the server.
    pub(crate) fn flush(&mut self) {
        while !self.session.outbound().is_empty() {
            let bytes = self.session.outbound().to_vec();
            self.sent.extend_from_slice(&bytes);
            self.session.written(self.now, bytes.len());
        }
    }

    /// The bytes that the client has written since the last look.
    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        self.flush();
        std::mem::take(&mut self.sent)
    }

    /// The packets that the client has written since the last look, in short.
    pub(crate) fn packets(&mut self) -> Vec<String> {
        let bytes = self.bytes();
        let mut rest = &bytes[..];
        let mut packets = Vec::new();
        while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
            let version = self.session.version();
            let packet = Packet::decode(&frame, version, TextRules::Strict);
            packets.push(brief_of(&packet.expect("the client writes good packets")));
            rest = &rest[frame.length..];
        }
        assert!(rest.is_empty(), "half a packet: {rest:x?}");
        packets
    }

    /// The server says something; the client takes all of it.
    pub(crate) fn say(&mut self, packet: &Packet<'_>) {
        let bytes = self.encoded(packet);
        self.say_bytes(&bytes);
    }

    pub(crate) fn encoded(&self, packet: &Packet<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        packet.encode(self.session.version(), &mut bytes).expect("the server writes good packets");
        bytes
    }

    pub(crate) fn say_bytes(&mut self, bytes: &[u8]) {
        assert_eq!(self.session.receive(self.now, bytes), bytes.len());
    }

    pub(crate) fn ack(&mut self, packet_type: PacketType, packet_id: u16) {
        self.ack_with(packet_type, packet_id, ReasonCode::Success);
    }

    pub(crate) fn ack_with(&mut self, packet_type: PacketType, packet_id: u16, code: ReasonCode) {
        let ack = Ack::new(id(packet_id), code);
        self.say(&match packet_type {
            PacketType::Puback => Packet::Puback(ack),
            PacketType::Pubrec => Packet::Pubrec(ack),
            PacketType::Pubrel => Packet::Pubrel(ack),
            PacketType::Pubcomp => Packet::Pubcomp(ack),
            other => panic!("{other} is no acknowledgement"),
        });
    }

    pub(crate) fn suback(&mut self, packet_id: u16, codes: &[ReasonCode]) {
        self.say(&Packet::Suback(Suback::new(id(packet_id), codes.to_vec())));
    }

    /// The server publishes; a packet identifier of 0 is none.
    pub(crate) fn message(&mut self, qos: QoS, packet_id: u16, topic: &str, payload: &[u8]) {
        self.say(&Packet::Publish(Publish {
            qos,
            packet_id: PacketId::new(packet_id),
            topic: Some(TopicName::new(topic).expect("a topic")),
            payload,
            ..Publish::default()
        }));
    }

    pub(crate) fn publish(&mut self, qos: QoS, payload: &str) -> OperationId {
        let topic = TopicName::new("t").expect("a topic");
        let publication = Publication::new(topic, payload.as_bytes()).qos(qos);
        self.session.publish(self.now, &publication).expect("it is accepted")
    }

    pub(crate) fn subscribe(&mut self, filters: &[&str], qos: QoS) -> OperationId {
        let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
        let filters: Vec<Subscription<'_>> = filters
            .iter()
            .map(|filter| Subscription { filter: TopicFilter::new(filter).expect("good"), options })
            .collect();
        let request = SubscribeRequest::new(&filters);
        self.session.subscribe(self.now, &request).expect("it is accepted")
    }

    /// What has happened since the last look.
    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.next_event()).collect()
    }

    /// How publications have ended since the last look, in order.
    pub(crate) fn outcomes(&mut self) -> Vec<(u64, Outcome)> {
        let of = |event| match event {
            Event::Published { operation, outcome, .. } => Some((operation.value(), outcome)),
            _ => None,
        };
        self.events().into_iter().filter_map(of).collect()
    }

    /// How requests have ended since the last look, in order.
    pub(crate) fn answers(&mut self) -> Vec<(u64, RequestOutcome)> {
        let of = |event| match event {
            Event::Subscribed { operation, outcome, .. }
            | Event::Unsubscribed { operation, outcome, .. } => Some((operation.value(), outcome)),
            _ => None,
        };
        self.events().into_iter().filter_map(of).collect()
    }

    /// The payloads that have arrived since the last look, in order.
    pub(crate) fn payloads(&mut self) -> Vec<String> {
        let of = |event| match event {
            Event::Message { message, .. } => {
                Some(String::from_utf8_lossy(message.payload()).into_owned())
            }
            _ => None,
        };
        self.events().into_iter().filter_map(of).collect()
    }
}

/// A packet in a few characters: its name, identifier, payload, and what else is worth a look.
pub(crate) fn brief_of(packet: &Packet<'_>) -> String {
    let code = |reason: ReasonCode| match reason {
        ReasonCode::Success => String::new(),
        reason => format!(" {:#04x}", reason.value()),
    };
    match packet {
        Packet::Connect(connect) => {
            format!("CONNECT {}", if connect.clean_start { "clean" } else { "resume" })
        }
        Packet::Publish(publish) => {
            let dup = if publish.dup { " dup" } else { "" };
            let topic = publish.topic.map_or("", |topic| topic.as_str());
            let payload = String::from_utf8_lossy(publish.payload);
            let id = publish.packet_id.map_or(String::new(), |id| format!(" {id}"));
            let alias = publish.properties.topic_alias;
            let alias = alias.map_or(String::new(), |alias| format!(" alias {alias}"));
            format!("PUBLISH{id} {topic}:{payload}{dup}{alias}")
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            format!("{} {}{}", packet.packet_type(), ack.packet_id, code(ack.reason_code))
        }
        Packet::Subscribe(subscribe) => {
            let filters: Vec<&str> =
                subscribe.subscriptions.iter().map(|it| it.filter.as_str()).collect();
            format!("SUBSCRIBE {} {}", subscribe.packet_id, filters.join(" "))
        }
        Packet::Unsubscribe(unsubscribe) => {
            let filters: Vec<&str> = unsubscribe.filters.iter().map(|it| it.as_str()).collect();
            format!("UNSUBSCRIBE {} {}", unsubscribe.packet_id, filters.join(" "))
        }
        Packet::Disconnect(disconnect) => format!("DISCONNECT{}", code(disconnect.reason_code)),
        Packet::Auth(auth) => format!("AUTH{}", code(auth.reason_code)),
        other => other.packet_type().to_string(),
    }
}
