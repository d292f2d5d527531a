//! The properties of MQTT 5.0: one table of all, and how they are read and written.

mod read;
mod write;

use crate::PacketType;

pub(crate) use read::Properties;
pub(crate) use write::PropertyWriter;

/// The identifier of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are the specification's")]
pub enum PropertyId {
    PayloadFormatIndicator = 0x01,
    MessageExpiryInterval = 0x02,
    ContentType = 0x03,
    ResponseTopic = 0x08,
    CorrelationData = 0x09,
    SubscriptionIdentifier = 0x0B,
    SessionExpiryInterval = 0x11,
    AssignedClientIdentifier = 0x12,
    ServerKeepAlive = 0x13,
    AuthenticationMethod = 0x15,
    AuthenticationData = 0x16,
    RequestProblemInformation = 0x17,
    WillDelayInterval = 0x18,
    RequestResponseInformation = 0x19,
    ResponseInformation = 0x1A,
    ServerReference = 0x1C,
    ReasonString = 0x1F,
    ReceiveMaximum = 0x21,
    TopicAliasMaximum = 0x22,
    TopicAlias = 0x23,
    MaximumQos = 0x24,
    RetainAvailable = 0x25,
    UserProperty = 0x26,
    MaximumPacketSize = 0x27,
    WildcardSubscriptionAvailable = 0x28,
    SubscriptionIdentifiersAvailable = 0x29,
    SharedSubscriptionAvailable = 0x2A,
}

/// The data type of a property. Every byte that the specification defines is 0 or 1.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Flag,
    TwoByte,
    FourByte,
    Variable,
    Text,
    Binary,
    TextPair,
}

/// One property: what it is, where it may stand, where more than once.
#[derive(Clone, Copy, Debug)]
struct Row {
    property: PropertyId,
    kind: Kind,
    places: u16,
    many: u16,
}

/// The property section of the will has the bit of packet type 0, which does not exist.
const WILL: u16 = 1;
const CONNECT: u16 = place(PacketType::Connect);
const CONNACK: u16 = place(PacketType::Connack);
const PUBLISH: u16 = place(PacketType::Publish);
const SUBSCRIBE: u16 = place(PacketType::Subscribe);
const SUBACK: u16 = place(PacketType::Suback);
const UNSUBSCRIBE: u16 = place(PacketType::Unsubscribe);
const UNSUBACK: u16 = place(PacketType::Unsuback);
const DISCONNECT: u16 = place(PacketType::Disconnect);
const AUTH: u16 = place(PacketType::Auth);
const ACKS: u16 = place(PacketType::Puback)
    | place(PacketType::Pubrec)
    | place(PacketType::Pubrel)
    | place(PacketType::Pubcomp);
const EVERYWHERE: u16 = WILL
    | CONNECT
    | CONNACK
    | PUBLISH
    | ACKS
    | SUBSCRIBE
    | SUBACK
    | UNSUBSCRIBE
    | UNSUBACK
    | DISCONNECT
    | AUTH;

const fn place(packet_type: PacketType) -> u16 {
    1 << packet_type.value()
}

const fn once(property: PropertyId, kind: Kind, places: u16) -> Row {
    Row { property, kind, places, many: 0 }
}

const fn many(property: PropertyId, kind: Kind, places: u16, many: u16) -> Row {
    Row { property, kind, places, many }
}

#[rustfmt::skip]
const TABLE: [Row; 27] = {
    use PropertyId as P;
    [
        once(P::PayloadFormatIndicator, Kind::Flag, PUBLISH | WILL),
        once(P::MessageExpiryInterval, Kind::FourByte, PUBLISH | WILL),
        once(P::ContentType, Kind::Text, PUBLISH | WILL),
        once(P::ResponseTopic, Kind::Text, PUBLISH | WILL),
        once(P::CorrelationData, Kind::Binary, PUBLISH | WILL),
        many(P::SubscriptionIdentifier, Kind::Variable, PUBLISH | SUBSCRIBE, PUBLISH),
        once(P::SessionExpiryInterval, Kind::FourByte, CONNECT | CONNACK | DISCONNECT),
        once(P::AssignedClientIdentifier, Kind::Text, CONNACK),
        once(P::ServerKeepAlive, Kind::TwoByte, CONNACK),
        once(P::AuthenticationMethod, Kind::Text, CONNECT | CONNACK | AUTH),
        once(P::AuthenticationData, Kind::Binary, CONNECT | CONNACK | AUTH),
        once(P::RequestProblemInformation, Kind::Flag, CONNECT),
        once(P::WillDelayInterval, Kind::FourByte, WILL),
        once(P::RequestResponseInformation, Kind::Flag, CONNECT),
        once(P::ResponseInformation, Kind::Text, CONNACK),
        once(P::ServerReference, Kind::Text, CONNACK | DISCONNECT),
        once(P::ReasonString, Kind::Text, CONNACK | ACKS | SUBACK | UNSUBACK | DISCONNECT | AUTH),
        once(P::ReceiveMaximum, Kind::TwoByte, CONNECT | CONNACK),
        once(P::TopicAliasMaximum, Kind::TwoByte, CONNECT | CONNACK),
        once(P::TopicAlias, Kind::TwoByte, PUBLISH),
        once(P::MaximumQos, Kind::Flag, CONNACK),
        once(P::RetainAvailable, Kind::Flag, CONNACK),
        many(P::UserProperty, Kind::TextPair, EVERYWHERE, EVERYWHERE),
        once(P::MaximumPacketSize, Kind::FourByte, CONNECT | CONNACK),
        once(P::WildcardSubscriptionAvailable, Kind::Flag, CONNACK),
        once(P::SubscriptionIdentifiersAvailable, Kind::Flag, CONNACK),
        once(P::SharedSubscriptionAvailable, Kind::Flag, CONNACK),
    ]
};

/// The table's rows at the place of their identifier, so that finding one costs no search.
#[allow(clippy::indexing_slicing, reason = "runs at compile time: a wrong index does not compile")]
static BY_IDENTIFIER: [Option<Row>; 0x2B] = {
    let mut rows = [None; 0x2B];
    let mut index = 0;
    while index < TABLE.len() {
        rows[TABLE[index].property as usize] = Some(TABLE[index]);
        index += 1;
    }
    rows
};

fn row(identifier: u32) -> Option<&'static Row> {
    let index = usize::try_from(identifier).ok()?;
    BY_IDENTIFIER.get(index)?.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_property_stands_in_the_table_once() {
        for (index, row) in TABLE.iter().enumerate() {
            let found = super::row(row.property as u32).unwrap();
            assert_eq!(found.property, row.property, "row {index}");
            assert_eq!(row.many & !row.places, 0, "{:?} is many where it is not", row.property);
        }
        assert_eq!((0..=300).filter(|&identifier| row(identifier).is_some()).count(), TABLE.len());
    }
}
