//! Properties of all packets in all versions: what is written can be read, what is cut off cannot,
//! and no bytes make the decoder panic.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec;

use proptest::collection::vec as vec_of;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::{
    ConnackProperties, ConnectProperties, FilterList, Framing, PacketId, PublishProperties, QoS,
    ReasonCode, RetainHandling, SubscriptionList, SubscriptionOptions, TopicFilter, TopicName,
    UserProperties, Will, WillProperties, split,
};

const ALL: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];

/// Owned material that packets of any type borrow from.
#[derive(Clone, Debug)]
struct Material {
    texts: Vec<Option<String>>,
    binary: Vec<Option<Vec<u8>>>,
    numbers: Vec<Option<u32>>,
    flags: Vec<Option<bool>>,
    pairs: Vec<(String, String)>,
    filters: Vec<(String, u8)>,
    codes: Vec<u8>,
    packet_id: u16,
    qos: u8,
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z/ ]{0,8}", "[\u{a0}-\u{d7ff}]{0,4}", "[a-z]{120,140}"]
}

fn filter() -> impl Strategy<Value = String> {
    ("(\\$share/[a-z]{1,3}/)?", "([a-z]{0,2}|\\+)(/([a-z]{0,2}|\\+)){0,3}", "(/#)?")
        .prop_map(|(share, levels, last)| format!("{share}{levels}{last}"))
        .prop_filter("a filter", |text| TopicFilter::new(text).is_ok())
}

prop_compose! {
    fn material()(
        texts in vec_of(option::of(text()), 8),
        binary in vec_of(option::of(vec_of(any::<u8>(), 0..20)), 3),
        numbers in vec_of(option::of(1..=65_535_u32), 6),
        flags in vec_of(option::of(any::<bool>()), 8),
        pairs in vec_of((text(), text()), 0..4),
        filters in vec_of((filter(), 0..3_u8), 1..5),
        codes in vec_of(any::<u8>(), 1..5),
        packet_id in 1..=u16::MAX,
        qos in 0..3_u8,
    ) -> Material {
        Material { texts, binary, numbers, flags, pairs, filters, codes, packet_id, qos }
    }
}

impl Material {
    fn text(&self, index: usize) -> Option<&str> {
        self.texts[index].as_deref()
    }

    fn topic(&self, index: usize) -> Option<TopicName<'_>> {
        TopicName::new(self.text(index)?).ok()
    }

    fn binary(&self, index: usize) -> Option<&[u8]> {
        self.binary[index].as_deref()
    }

    fn short(&self, index: usize) -> Option<u16> {
        self.numbers[index].and_then(|number| u16::try_from(number).ok())
    }

    fn flag(&self, index: usize) -> bool {
        self.flags[index].unwrap_or_default()
    }

    fn user_properties(&self) -> UserProperties<'_> {
        let mut properties = UserProperties::new();
        for (name, value) in &self.pairs {
            properties.push(name, value).unwrap();
        }
        properties
    }

    fn packet_id(&self) -> PacketId {
        PacketId::new(self.packet_id).unwrap()
    }

    fn code(&self, packet_type: PacketType) -> ReasonCode {
        let allowed = (0..=u8::MAX).filter_map(ReasonCode::from_value);
        let allowed: Vec<_> = allowed.filter(|code| code.allowed_in(packet_type)).collect();
        allowed[usize::from(self.codes[0]) % allowed.len()]
    }

    fn codes(&self, packet_type: PacketType) -> Cow<'_, [ReasonCode]> {
        let code = |&value: &u8| Material { codes: vec![value], ..self.clone() }.code(packet_type);
        Cow::Owned(self.codes.iter().map(code).collect())
    }

    fn will(&self) -> Option<Will<'_>> {
        Some(Will {
            qos: QoS::from_level(self.qos)?,
            retain: self.flag(0),
            properties: WillProperties {
                will_delay_interval: self.numbers[0],
                payload_format_indicator: self.flags[1],
                message_expiry_interval: self.numbers[1],
                content_type: self.text(0),
                response_topic: self.topic(1),
                correlation_data: self.binary(0),
                user_properties: self.user_properties(),
            },
            topic: self.topic(2)?,
            payload: self.binary(1).unwrap_or_default(),
        })
    }

    fn connect(&self) -> Packet<'_> {
        let authentication_method = self.text(3);
        Packet::from(Connect {
            version: Version::V5_0,
            clean_start: self.flag(2),
            keep_alive: self.packet_id,
            properties: ConnectProperties {
                session_expiry_interval: self.numbers[2],
                receive_maximum: self.short(3),
                maximum_packet_size: self.numbers[4],
                topic_alias_maximum: self.short(5),
                request_response_information: self.flags[3],
                request_problem_information: self.flags[4],
                user_properties: self.user_properties(),
                authentication_method,
                authentication_data: authentication_method.and(self.binary(2)),
            },
            client_id: self.text(4).unwrap_or_default(),
            will: self.will(),
            user_name: self.text(5),
            password: self.binary(1),
        })
    }

    fn connack(&self) -> Packet<'_> {
        let reason_code = self.code(PacketType::Connack);
        let properties = ConnackProperties {
            session_expiry_interval: self.numbers[0],
            receive_maximum: self.short(1),
            maximum_qos: self.flags[0]
                .map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce }),
            retain_available: self.flags[1],
            maximum_packet_size: self.numbers[2],
            assigned_client_identifier: self.text(0),
            topic_alias_maximum: self.short(3),
            reason_string: self.text(1),
            wildcard_subscription_available: self.flags[2],
            subscription_identifiers_available: self.flags[3],
            shared_subscription_available: self.flags[4],
            server_keep_alive: self.short(4),
            response_information: self.text(2),
            server_reference: self.text(3),
            authentication_method: self.text(4),
            authentication_data: self.binary(0),
            user_properties: self.user_properties(),
        };
        let session_present = self.flag(5) && reason_code == ReasonCode::Success;
        Connack { session_present, reason_code, properties }.into()
    }

    fn publish(&self) -> Packet<'_> {
        let qos = QoS::from_level(self.qos).unwrap();
        let mut topic = self.topic(0);
        let topic_alias = self.short(0);
        if topic_alias.is_none() {
            topic = topic.or(TopicName::new("t").ok());
        }
        Packet::Publish(Publish {
            dup: self.flag(0) && qos != QoS::AtMostOnce,
            qos,
            retain: self.flag(1),
            topic,
            packet_id: (qos != QoS::AtMostOnce).then(|| self.packet_id()),
            properties: PublishProperties {
                payload_format_indicator: self.flags[2],
                message_expiry_interval: self.numbers[1],
                topic_alias,
                response_topic: self.topic(1),
                correlation_data: self.binary(0),
                user_properties: self.user_properties(),
                subscription_identifiers: self.numbers.iter().copied().flatten().collect(),
                content_type: self.text(2),
            },
            payload: self.binary(1).unwrap_or_default(),
        })
    }

    fn ack(&self, packet_type: PacketType) -> Ack<'_> {
        Ack {
            packet_id: self.packet_id(),
            reason_code: self.code(packet_type),
            reason_string: self.text(0),
            user_properties: self.user_properties(),
        }
    }

    fn subscribe(&self) -> Packet<'_> {
        let mut subscriptions = SubscriptionList::new();
        for (text, qos) in &self.filters {
            let filter = TopicFilter::new(text).unwrap();
            let options = SubscriptionOptions {
                qos: QoS::from_level(*qos).unwrap(),
                no_local: self.flag(0) && filter.share_name().is_none(),
                retain_as_published: self.flag(1),
                retain_handling: [
                    RetainHandling::SendAtSubscribe,
                    RetainHandling::SendIfNew,
                    RetainHandling::DoNotSend,
                ][usize::from(self.qos)],
            };
            subscriptions.push(&filter, options);
        }
        Packet::Subscribe(Subscribe {
            packet_id: self.packet_id(),
            subscription_identifier: self.numbers[0],
            user_properties: self.user_properties(),
            subscriptions,
        })
    }

    fn unsubscribe(&self) -> Packet<'_> {
        let mut filters = FilterList::new();
        for (text, _) in &self.filters {
            filters.push(&TopicFilter::new(text).unwrap());
        }
        let user_properties = self.user_properties();
        Packet::Unsubscribe(Unsubscribe { packet_id: self.packet_id(), user_properties, filters })
    }

    fn suback(&self) -> Packet<'_> {
        Packet::Suback(Suback {
            packet_id: self.packet_id(),
            reason_string: self.text(0),
            user_properties: self.user_properties(),
            reason_codes: self.codes(PacketType::Suback),
        })
    }

    fn unsuback(&self) -> Packet<'_> {
        Packet::Unsuback(Unsuback {
            packet_id: self.packet_id(),
            reason_string: self.text(0),
            user_properties: self.user_properties(),
            reason_codes: self.codes(PacketType::Unsuback),
        })
    }

    fn disconnect(&self) -> Packet<'_> {
        Packet::Disconnect(Disconnect {
            reason_code: self.code(PacketType::Disconnect),
            session_expiry_interval: self.numbers[0],
            reason_string: self.text(0),
            server_reference: self.text(1),
            user_properties: self.user_properties(),
        })
    }

    fn auth(&self) -> Packet<'_> {
        Packet::Auth(Auth {
            reason_code: self.code(PacketType::Auth),
            authentication_method: Some(self.text(0).unwrap_or_default()),
            authentication_data: self.binary(0),
            reason_string: self.text(1),
            user_properties: self.user_properties(),
        })
    }

    fn packet(&self, packet_type: PacketType) -> Packet<'_> {
        match packet_type {
            PacketType::Connect => self.connect(),
            PacketType::Connack => self.connack(),
            PacketType::Publish => self.publish(),
            PacketType::Puback => Packet::Puback(self.ack(packet_type)),
            PacketType::Pubrec => Packet::Pubrec(self.ack(packet_type)),
            PacketType::Pubrel => Packet::Pubrel(self.ack(packet_type)),
            PacketType::Pubcomp => Packet::Pubcomp(self.ack(packet_type)),
            PacketType::Subscribe => self.subscribe(),
            PacketType::Suback => self.suback(),
            PacketType::Unsubscribe => self.unsubscribe(),
            PacketType::Unsuback => self.unsuback(),
            PacketType::Pingreq => Packet::Pingreq,
            PacketType::Pingresp => Packet::Pingresp,
            PacketType::Disconnect => self.disconnect(),
            PacketType::Auth => self.auth(),
        }
    }
}

/// What a packet still says once an older version has left out what it does not know.
fn reduced(packet: Packet<'_>, version: Version) -> Option<Packet<'_>> {
    let mut packet = packet;
    match &mut packet {
        Packet::Connect(connect) => {
            connect.version = version;
            if version.is_v5() {
                return Some(packet);
            }
            connect.properties = ConnectProperties::default();
            if let Some(will) = &mut connect.will {
                will.properties = WillProperties::default();
            }
            if connect.user_name.is_none() {
                connect.password = None;
            }
        }
        _ if version.is_v5() => {}
        Packet::Connack(connack) => {
            let code = crate::ConnectReturnCode::from(connack.reason_code);
            let session_present = connack.session_present && version != Version::V3_1;
            *connack = Connack { session_present, reason_code: code.into(), ..Connack::default() };
        }
        Packet::Publish(publish) => {
            publish.topic?;
            publish.properties = PublishProperties::default();
        }
        Packet::Puback(ack) | Packet::Pubrec(ack) | Packet::Pubrel(ack) | Packet::Pubcomp(ack) => {
            *ack = Ack::new(ack.packet_id, ReasonCode::Success)
        }
        Packet::Subscribe(subscribe) => {
            subscribe.subscription_identifier = None;
            subscribe.user_properties = UserProperties::new();
            let mut subscriptions = SubscriptionList::new();
            for subscription in subscribe.subscriptions.iter() {
                let qos = subscription.options.qos;
                let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
                subscriptions.push(&subscription.filter, options);
            }
            subscribe.subscriptions = subscriptions;
        }
        Packet::Suback(suback) => {
            let code = |code: &ReasonCode| match code.is_error() {
                true => ReasonCode::UnspecifiedError,
                false => *code,
            };
            let codes: Vec<_> = suback.reason_codes.iter().map(code).collect();
            *suback = Suback::new(suback.packet_id, codes);
        }
        Packet::Unsubscribe(unsubscribe) => unsubscribe.user_properties = UserProperties::new(),
        Packet::Unsuback(unsuback) => *unsuback = Unsuback::new(unsuback.packet_id, vec![]),
        Packet::Disconnect(disconnect) => *disconnect = Disconnect::default(),
        Packet::Auth(_) => return None,
        Packet::Pingreq | Packet::Pingresp => {}
    }
    Some(packet)
}

fn decode(bytes: &[u8], version: Version) -> Result<Packet<'_>, DecodeError> {
    match split(bytes, u32::MAX)? {
        Framing::Complete(frame) => Packet::decode(&frame, version, TextRules::Strict),
        Framing::Partial { .. } => Err(DecodeError::Truncated),
    }
}

fn packet_type() -> impl Strategy<Value = PacketType> {
    (1..=15_u8).prop_map(|value| PacketType::from_value(value).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn what_is_written_can_be_read(material in material(), packet_type in packet_type()) {
        for version in ALL {
            let Some(packet) = reduced(material.packet(packet_type), version) else { continue };
            let mut out = vec![];
            prop_assert_eq!(packet.encode(version, &mut out), Ok(()));
            prop_assert_eq!(decode(&out, version), Ok(packet.clone()), "{:x?}", out);
            prop_assert_eq!(out[0] >> 4, packet_type.value());
            let mut again = vec![];
            prop_assert_eq!(decode(&out, version).unwrap().encode(version, &mut again), Ok(()));
            prop_assert_eq!(out, again);
        }
    }

    /// A stream cut anywhere is a part; a body cut anywhere and framed as whole does not read as
    /// the packet that it was.
    #[test]
    fn what_is_cut_off_is_noticed(material in material(), packet_type in packet_type()) {
        for version in ALL {
            let Some(packet) = reduced(material.packet(packet_type), version) else { continue };
            let mut out = vec![];
            packet.encode(version, &mut out).unwrap();
            for cut in 0..out.len() {
                match split(&out[..cut], u32::MAX) {
                    Ok(Framing::Partial { needed }) => {
                        prop_assert!(needed > cut && needed <= out.len());
                    }
                    other => prop_assert!(false, "{:?} at {}", other, cut),
                }
            }
            let Ok(Framing::Complete(frame)) = split(&out, u32::MAX) else { panic!() };
            for cut in 0..frame.body.len() {
                let body = &frame.body[..cut];
                let length = 1 + crate::wire::variable_length(cut) + cut;
                let decoded =
                    Packet::decode(&Frame { body, length, ..frame }, version, TextRules::Strict);
                prop_assert_ne!(decoded, Ok(packet.clone()), "{:x?}", body);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(first in any::<u8>(), body in vec_of(any::<u8>(), 0..60)) {
        let mut bytes = vec![first, body.len() as u8];
        bytes.extend_from_slice(&body);
        for version in ALL {
            let _ = decode(&body, version);
            if let Ok(packet) = decode(&bytes, version) {
                let mut out = vec![];
                prop_assert_eq!(packet.encode(version, &mut out), Ok(()), "{:?}", packet);
                prop_assert_eq!(decode(&out, version), Ok(packet.clone()));
                let _ = format!("{packet:?}");
            }
        }
    }

    /// Nearly right bytes reach further than random ones.
    #[test]
    fn no_changed_byte_makes_it_panic(
        material in material(),
        packet_type in packet_type(),
        position in any::<prop::sample::Index>(),
        value in any::<u8>(),
    ) {
        for version in ALL {
            let Some(packet) = reduced(material.packet(packet_type), version) else { continue };
            let mut out = vec![];
            packet.encode(version, &mut out).unwrap();
            let position = position.index(out.len());
            out[position] = value;
            for version in ALL {
                if let Ok(packet) = decode(&out, version) {
                    let mut again = vec![];
                    let encoded = packet.encode(version, &mut again);
                    prop_assert_eq!(encoded, Ok(()), "{:?} {:x?}", packet, out);
                    prop_assert_eq!(decode(&again, version), Ok(packet.clone()));
                }
            }
        }
    }
}

#[test]
fn versions_do_not_mix() {
    let mut out = vec![];
    let connect = Connect {
        version: Version::V3_1_1,
        clean_start: true,
        keep_alive: 0,
        properties: ConnectProperties::default(),
        client_id: "",
        will: None,
        user_name: None,
        password: None,
    };
    let packet = Packet::from(connect);
    assert_eq!(packet.encode(Version::V5_0, &mut out), Err(EncodeError::NotInVersion));
    packet.encode(Version::V3_1_1, &mut out).unwrap();
    let error = DecodeError::UnsupportedProtocolVersion { level: 4 };
    assert_eq!(decode(&out, Version::V5_0), Err(error));
    let auth = Packet::from(Auth::default());
    assert_eq!(auth.encode(Version::V3_1_1, &mut out), Err(EncodeError::NotInVersion));
}

#[test]
fn many_small_fields_cost_linear_time() {
    let filters = b"\x00\x01a".repeat(80_000);
    let mut out = vec![];
    crate::wire::put_packet(&mut out, 0xA2, |out| {
        out.extend_from_slice(&[0, 1]);
        out.extend_from_slice(&filters);
        Ok(())
    })
    .unwrap();
    let Ok(Packet::Unsubscribe(unsubscribe)) = decode(&out, Version::V3_1_1) else { panic!() };
    assert_eq!(unsubscribe.filters.iter().count(), 80_000);
    // Decoding borrows: the list is the bytes that came.
    let inside = unsubscribe.filters.iter().next().map(|filter| filter.as_str().as_ptr());
    assert!(inside.is_some_and(|pointer| out.as_ptr_range().contains(&pointer)));
}
