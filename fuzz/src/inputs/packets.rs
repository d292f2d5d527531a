//! Packets of clients: mostly right, and few enough different ones that they concern each other.

use noctule_packet::{
    Ack, Connect, ConnectProperties, Disconnect, FilterList, Packet, PacketId, PacketType, Publish,
    PublishProperties, QoS, ReasonCode, RetainHandling, Subscribe, SubscriptionList,
    SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, UserProperties, Version, Will,
    WillProperties,
};

use crate::choices::Choices;

pub(crate) const CLIENT_IDS: [&str; 4] = ["a", "b", "c", ""];
const TOPICS: [&str; 8] = ["a", "b", "a/b", "$x", "c/d/e", "/", "$SYS/x", "long/topic/name"];
const FILTERS: [&str; 16] = [
    "a",
    "#",
    "a/#",
    "+",
    "b",
    "a/b",
    "$x",
    "+/+",
    "$SYS/#",
    "c/d/e",
    "$share/g/a",
    "$share/g/#",
    "$share/h/a",
    "$share/g/+/b",
    "$share/g/b",
    "long/+/name",
];
const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
const INTERVALS: [Option<u32>; 4] = [None, Some(0), Some(2), Some(u32::MAX)];
const SIZES: [usize; 8] = [0, 1, 3, 30, 100, 300, 1_500, 9_000];
static PAYLOAD: [u8; 9_000] = [b'x'; 9_000];

pub(crate) fn connect(choices: &mut Choices<'_>) -> Vec<u8> {
    let bits = choices.byte();
    let version = match bits & 3 {
        0 => Version::V3_1_1,
        1 => Version::V3_1,
        _ => Version::V5_0,
    };
    let mut properties = ConnectProperties::default();
    if version.is_v5() {
        properties.session_expiry_interval = choices.pick(&INTERVALS);
        let some = choices.byte();
        properties.receive_maximum = Some(u16::from(some & 3)).filter(|maximum| *maximum > 0);
        properties.topic_alias_maximum = Some(u16::from(some >> 2 & 3));
        properties.maximum_packet_size =
            Some([40, 200, 2_000, u32::MAX][usize::from(some >> 4 & 3)]);
        properties.request_problem_information = Some(some & 64 == 0);
        properties.request_response_information = Some(some & 128 != 0);
    }
    let will = (bits & 16 != 0).then(|| will(choices, version));
    let connect = Connect {
        version,
        clean_start: bits & 4 != 0,
        keep_alive: u16::from(choices.byte() % 8),
        properties,
        client_id: choices.pick(&CLIENT_IDS),
        will,
        user_name: (bits & 32 != 0).then_some("user"),
        password: (bits & 96 == 96).then_some(b"secret"),
    };
    encoded(version, &Packet::Connect(Box::new(connect)))
}

fn will(choices: &mut Choices<'_>, version: Version) -> Will<'static> {
    let mut properties = WillProperties::default();
    if version.is_v5() {
        properties.will_delay_interval = choices.pick(&INTERVALS);
        properties.message_expiry_interval = choices.pick(&INTERVALS);
    }
    Will {
        qos: choices.pick(&QOS),
        retain: choices.flag(),
        properties,
        topic: topic(choices),
        payload: payload(choices),
    }
}

pub(crate) fn subscribe(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let mut subscriptions = SubscriptionList::new();
    let identifier = choices.byte();
    for _ in 0..=choices.below(3) {
        let filter = filter(choices);
        let bits = choices.byte();
        let mut options =
            SubscriptionOptions { qos: QOS[usize::from(bits % 3)], ..Default::default() };
        if version.is_v5() {
            options.no_local = bits & 4 != 0 && filter.share_name().is_none();
            options.retain_as_published = bits & 8 != 0;
            options.retain_handling = match bits >> 4 & 3 {
                0 | 1 => RetainHandling::SendAtSubscribe,
                2 => RetainHandling::SendIfNew,
                _ => RetainHandling::DoNotSend,
            };
        }
        subscriptions.push(&filter, options);
    }
    let subscribe = Subscribe {
        packet_id: packet_id(choices),
        subscription_identifier: Some(u32::from(identifier) * 77)
            .filter(|identifier| *identifier > 0 && version.is_v5()),
        user_properties: UserProperties::new(),
        subscriptions,
    };
    encoded(version, &Packet::Subscribe(subscribe))
}

pub(crate) fn unsubscribe(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let mut filters = FilterList::new();
    for _ in 0..=choices.below(3) {
        filters.push(&filter(choices));
    }
    let user_properties = UserProperties::new();
    let unsubscribe = Unsubscribe { packet_id: packet_id(choices), user_properties, filters };
    encoded(version, &Packet::Unsubscribe(unsubscribe))
}

pub(crate) fn publish(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let bits = choices.byte();
    let qos = QOS[usize::from(bits % 3)];
    let mut topic = Some(topic(choices));
    let mut properties = PublishProperties::default();
    if version.is_v5() {
        let some = choices.byte();
        properties.topic_alias = Some(u16::from(some & 3)).filter(|alias| *alias > 0);
        if some & 12 == 12 && properties.topic_alias.is_some() {
            topic = None;
        }
        properties.message_expiry_interval = INTERVALS[usize::from(some >> 4 & 3)];
        if some & 64 != 0 {
            // A number may stand for two pairs, or be one too many.
            for _ in 0..=some >> 7 {
                properties.user_properties.push("name", "value").expect("both are short");
            }
        }
    }
    let publish = Publish {
        dup: qos > QoS::AtMostOnce && bits & 128 != 0,
        qos,
        retain: bits & 64 != 0,
        topic,
        packet_id: (qos > QoS::AtMostOnce).then(|| packet_id(choices)),
        properties,
        payload: payload(choices),
    };
    encoded(version, &Packet::Publish(publish))
}

pub(crate) fn pubrel(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    encoded(version, &Packet::Pubrel(Ack::new(packet_id(choices), ReasonCode::Success)))
}

/// An acknowledgement for something that was perhaps never sent.
pub(crate) fn any_acknowledgement(choices: &mut Choices<'_>) -> Vec<u8> {
    let types = [PacketType::Puback, PacketType::Pubrec, PacketType::Pubrel, PacketType::Pubcomp];
    let packet_type = choices.pick(&types);
    let ack = Ack::new(packet_id(choices), ReasonCode::Success);
    let mut out = Vec::new();
    ack.encode_as(packet_type, Version::V5_0, &mut out).expect("success is for all of them");
    out
}

/// DISCONNECT, or a sign of life.
pub(crate) fn farewell(choices: &mut Choices<'_>, version: Version) -> Vec<u8> {
    let bits = choices.byte();
    if bits & 3 != 0 {
        return encoded(version, &Packet::Pingreq);
    }
    let mut disconnect = Disconnect::default();
    if version.is_v5() {
        disconnect.session_expiry_interval = INTERVALS[usize::from(bits >> 2 & 3)];
        if bits & 16 != 0 {
            disconnect.reason_code = ReasonCode::DisconnectWithWillMessage;
        }
    }
    encoded(version, &Packet::Disconnect(disconnect))
}

/// The answer that a client owes, perhaps with a reason to refuse.
pub(crate) fn acknowledgement(
    version: Version,
    packet_type: PacketType,
    packet_id: PacketId,
    reason_code: ReasonCode,
) -> Vec<u8> {
    let mut out = Vec::new();
    let ack = Ack::new(packet_id, reason_code);
    ack.encode_as(packet_type, version, &mut out).expect("the code is for this packet");
    out
}

fn topic(choices: &mut Choices<'_>) -> TopicName<'static> {
    TopicName::new(choices.pick(&TOPICS)).expect("all of them are")
}

fn filter(choices: &mut Choices<'_>) -> TopicFilter<'static> {
    TopicFilter::new(choices.pick(&FILTERS)).expect("all of them are")
}

fn payload(choices: &mut Choices<'_>) -> &'static [u8] {
    &PAYLOAD[..choices.pick(&SIZES)]
}

fn packet_id(choices: &mut Choices<'_>) -> PacketId {
    PacketId::new(1 + u16::from(choices.byte() % 6)).expect("more than 0")
}

fn encoded(version: Version, packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(version, &mut out).expect("only what the version has is asked for");
    out
}
