//! Servers that do what they must not: a typed error, an end, and nothing worse.

use noctule_client_core::{
    CleanStart, Ended, Event, Fault, ProtocolError, Settings, Status, TransportEnd, Validation,
};
use noctule_packet::{
    Ack, Connack, Connect, DecodeError, Packet, PacketType, Publish, PublishProperties, QoS,
    ReasonCode, Suback, TopicName, Unsuback, Version, spec,
};
use noctule_session::SenderError;

use crate::world::{VERSIONS, World, brief, id, lasting};

/// What ended the connection.
fn ended(world: &mut World) -> Ended {
    world.flush();
    assert!(world.session.wants_close(), "{:?}", world.session.status());
    world.session.transport_down(world.now, TransportEnd::Closed);
    let of = |event| match event {
        Event::Disconnected { ended, .. } => Some(ended),
        _ => None,
    };
    world.events().into_iter().find_map(of).expect("a connection that ends is told")
}

fn check(settings: Settings, packet: &Packet<'_>, expected: ProtocolError) {
    let version = settings.version;
    let mut world = World::online(settings);
    world.publish(QoS::AtLeastOnce, "a");
    world.publish(QoS::ExactlyOnce, "b");
    world.subscribe(&["a"], QoS::AtMostOnce);
    world.packets();
    let bytes = world.encoded(packet);
    world.say_bytes(&bytes);
    let last = world.packets();
    let said = format!("DISCONNECT {:#04x}", expected.reason_code().value());
    assert_eq!(last, if version.is_v5() { vec![said] } else { vec![] });
    assert_eq!(ended(&mut world), Ended::Fault(Fault::Protocol(expected)), "{packet:?}");
}

#[test]
fn what_a_server_must_not_say_ends_the_connection() {
    spec!("MQTT5-4.13.1-1", "MQTT5-3.2.0-2", "MQTT5-2.2.1-6");
    for version in VERSIONS {
        let codes = |count| vec![ReasonCode::Success; count];
        let ack = |value| Ack::new(id(value), ReasonCode::Success);
        let wrong = |packet_type, error| ProtocolError::Acknowledgement { packet_type, error };
        let (unknown, step) = (SenderError::UnknownPacketId, SenderError::WrongStep);
        let mut cases = vec![
            (Packet::Connack(Connack::default()), ProtocolError::SecondConnack),
            (Packet::Puback(ack(99)), wrong(PacketType::Puback, unknown)),
            (Packet::Puback(ack(2)), wrong(PacketType::Puback, step)),
            (Packet::Pubrec(ack(1)), wrong(PacketType::Pubrec, step)),
            (Packet::Pubcomp(ack(2)), wrong(PacketType::Pubcomp, step)),
            (Packet::Pubcomp(ack(99)), wrong(PacketType::Pubcomp, unknown)),
            (Packet::Pingresp, ProtocolError::UnexpectedPingresp),
            (Packet::Pingreq, ProtocolError::ClientPacket(PacketType::Pingreq)),
            (
                Packet::Suback(Suback::new(id(9), codes(1))),
                ProtocolError::UnknownRequest(PacketType::Suback),
            ),
            (
                Packet::Unsuback(Unsuback::new(id(3), codes(1))),
                ProtocolError::UnknownRequest(PacketType::Unsuback),
            ),
            (
                Packet::Suback(Suback::new(id(3), codes(2))),
                ProtocolError::CodeCount { packet_type: PacketType::Suback, codes: 2, filters: 1 },
            ),
        ];
        if version.is_v5() {
            let auth = noctule_packet::Auth {
                reason_code: ReasonCode::ContinueAuthentication,
                authentication_method: Some("m"),
                ..Default::default()
            };
            cases.push((Packet::Auth(auth), ProtocolError::UnexpectedAuth));
            let alias = |alias, topic| Publish {
                topic: TopicName::new(topic).ok(),
                properties: PublishProperties { topic_alias: Some(alias), ..Default::default() },
                ..Publish::default()
            };
            let error = noctule_session::AliasError::OutOfRange { alias: 17, maximum: 16 };
            cases.push((Packet::Publish(alias(17, "a")), error.into()));
            let error = noctule_session::AliasError::Undefined { alias: 3 };
            cases.push((Packet::Publish(alias(3, "")), error.into()));
        } else {
            let disconnect = Packet::Disconnect(Default::default());
            cases.push((disconnect, ProtocolError::ClientPacket(PacketType::Disconnect)));
        }
        for (packet, expected) in cases {
            check(brief(version), &packet, expected);
        }
    }
}

#[test]
fn a_lenient_client_lets_pass_what_it_can_live_with() {
    let mut settings = brief(Version::V5_0);
    settings.validation = Validation::Lenient;
    let mut world = World::online(settings);
    world.say(&Packet::Pingresp);
    world.ack(PacketType::Puback, 99);
    world.suback(9, &[ReasonCode::Success]);
    let tolerated = world.events();
    assert!(tolerated.iter().all(|event| matches!(event, Event::Tolerated(_))), "{tolerated:?}");
    assert_eq!((tolerated.len(), world.session.status()), (3, Status::Online));
}

#[test]
fn more_messages_than_we_take_end_the_connection() {
    spec!("MQTT5-3.3.4-9", "MQTT5-4.13.1-1");
    let mut settings = lasting(Version::V5_0);
    settings.connect.receive_maximum = 2;
    settings.acknowledgement = noctule_client_core::AcknowledgementMode::Manual;
    let mut world = World::online(settings);
    for packet_id in 1..=3 {
        world.message(QoS::AtLeastOnce, packet_id, "t", b"");
    }
    assert_eq!(world.packets(), ["DISCONNECT 0x93"]);
    let error = noctule_session::ReceiverError::ReceiveMaximumExceeded { maximum: 2 };
    assert_eq!(ended(&mut world), Ended::Fault(ProtocolError::Receiver(error).into()));
}

/// P-09: what is too large for us is told with the option that says so, which is generous, and
/// which the server knows of where that is possible.
#[test]
fn a_packet_that_is_too_large_ends_the_connection_before_it_is_there() {
    spec!("MQTT5-3.1.2-24");
    let mut settings = brief(Version::V5_0);
    settings.connect.maximum_packet_size = 100;
    let mut world = World::online(settings);
    world.say_bytes(b"\x30\xFF\x7F");
    assert_eq!(world.packets(), ["DISCONNECT 0x95"]);
    let error = DecodeError::PacketTooLarge { size: 16_386, maximum: 100 };
    let ended = ended(&mut world);
    assert_eq!(ended, Ended::Fault(error.into()));
    assert!(ended.to_string().contains("connect.maximum_packet_size is 100"), "{ended}");
    let mut world = World::new(brief(Version::V5_0));
    world.up();
    let announced = [&[0x27][..], &(16_u32 << 20).to_be_bytes()].concat();
    assert!(world.bytes().windows(5).any(|part| part == announced));
}

#[test]
fn before_connack_nothing_else_comes() {
    spec!("MQTT5-3.2.0-1", "MQTT311-3.2.0-1");
    for version in VERSIONS {
        let mut world = World::new(brief(version));
        world.up();
        world.packets();
        world.say_bytes(b"\xD0\0");
        assert_eq!(world.packets(), Vec::<String>::new());
        let error = ProtocolError::BeforeConnack(PacketType::Pingresp);
        assert_eq!(ended(&mut world), Ended::Fault(error.into()));
    }
}

#[test]
fn a_session_that_cannot_be_there_ends_the_connection() {
    spec!("MQTT5-3.2.2-2", "MQTT5-3.2.2-4", "MQTT311-3.2.2-1");
    let connack = Packet::Connack(Connack { session_present: true, ..Connack::default() });
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut world = World::new(brief(version));
        world.up();
        let bytes = world.encoded(&connack);
        world.say_bytes(&bytes);
        let error = ProtocolError::SessionAfterCleanStart;
        assert_eq!(ended(&mut world), Ended::Fault(error.into()));
        for (validation, is_borne) in [(Validation::Strict, false), (Validation::Standard, true)] {
            let mut settings = lasting(version);
            settings.connect.clean_start = CleanStart::Never;
            settings.validation = validation;
            let mut world = World::new(settings);
            world.up();
            world.say_bytes(&bytes);
            assert_eq!(world.session.status() == Status::Online, is_borne);
            if !is_borne {
                let error = ProtocolError::UnknownSession;
                assert_eq!(ended(&mut world), Ended::Fault(error.into()));
            }
        }
    }
}

/// A session of an older version cannot be thrown away by the connection that begins a lasting one.
#[test]
fn a_session_that_is_not_welcome_is_thrown_away_by_the_next_connection() {
    let mut settings = lasting(Version::V3_1_1);
    settings.validation = Validation::Strict;
    let mut world = World::new(settings);
    world.up();
    assert_eq!(world.packets(), ["CONNECT resume"]);
    world.say_bytes(b"\x20\x02\x01\0");
    assert_eq!(ended(&mut world), Ended::Fault(ProtocolError::UnknownSession.into()));
    world.up();
    assert_eq!(world.packets(), ["CONNECT clean"]);
    world.say_bytes(b"\x20\x02\0\0");
    world.cut();
    world.up();
    assert_eq!(world.packets(), ["CONNECT resume"]);
}

#[test]
fn a_refusal_is_told_with_what_the_server_says() {
    let mut world = World::new(brief(Version::V5_0));
    world.up();
    let properties = noctule_packet::ConnackProperties {
        reason_string: Some("later"),
        server_reference: Some("b:1883"),
        ..Default::default()
    };
    let reason_code = ReasonCode::UseAnotherServer;
    world.say(&Packet::Connack(Connack { session_present: false, reason_code, properties }));
    let Ended::Refused(reason) = ended(&mut world) else { panic!() };
    assert_eq!((reason.code, reason.text.as_deref()), (reason_code, Some("later")));
    assert_eq!(reason.server_reference.as_deref(), Some("b:1883"));
}

/// N-M12: an older server answers in the form that it knows.
#[test]
fn a_server_that_refuses_the_version_is_asked_in_an_older_one() {
    let settings = Settings { version: Version::V5_0, ..brief(Version::V3_1) };
    let mut world = World::new(settings);
    let versions = [Version::V5_0, Version::V3_1_1, Version::V3_1];
    for (answer, pair) in
        [&b"\x20\x02\0\x01"[..], b"\x20\x02\0\x01"].iter().zip(versions.windows(2))
    {
        world.up();
        world.say_bytes(answer);
        let [from, to] = *pair else { panic!() };
        assert_eq!(ended(&mut world), Ended::Downgraded { from, to });
        assert_eq!(world.session.version(), to);
    }
    world.up();
    world.say_bytes(b"\x20\x02\0\x01");
    assert!(matches!(ended(&mut world), Ended::Refused(_)));
}

/// What one server refuses says nothing of another one.
#[test]
fn another_server_is_asked_in_the_version_that_is_wanted() {
    let settings = Settings { version: Version::V5_0, ..brief(Version::V3_1_1) };
    let mut world = World::new(settings);
    for (server, version, is_refused) in [
        ("old", Version::V5_0, true),
        ("old", Version::V3_1_1, false),
        ("old", Version::V3_1_1, false),
        ("new", Version::V5_0, false),
        ("old", Version::V5_0, true),
        ("old", Version::V3_1_1, false),
    ] {
        world.session.set_server(server);
        assert_eq!(world.session.version(), version);
        world.up();
        if is_refused {
            world.say_bytes(b"\x20\x02\0\x01");
        }
        // A connection keeps its version, whatever comes next.
        let spoken = world.session.version();
        world.session.set_server("other");
        assert_eq!(world.session.version(), spoken);
        world.cut();
    }
}

/// Everything a server can say, cut at every byte, in any pieces: the end of a connection is
/// nothing but its end.
#[test]
fn a_connection_can_end_behind_every_byte() {
    for version in VERSIONS {
        let mut stream = Vec::new();
        let world = World::new(lasting(version));
        for packet in [
            Packet::Connack(Connack::default()),
            Packet::Puback(Ack::new(id(1), ReasonCode::Success)),
            Packet::Pubrec(Ack::new(id(2), ReasonCode::Success)),
            Packet::Suback(Suback::new(id(3), vec![ReasonCode::Success])),
            Packet::Publish(Publish {
                topic: TopicName::new("a").ok(),
                qos: QoS::ExactlyOnce,
                packet_id: Some(id(5)),
                ..Publish::default()
            }),
            Packet::Pubcomp(Ack::new(id(2), ReasonCode::Success)),
            Packet::Pubrel(Ack::new(id(5), ReasonCode::Success)),
        ] {
            stream.extend(world.encoded(&packet));
        }
        for end in 0..=stream.len() {
            for step in [1, 2, 3, stream.len()] {
                let mut world = World::new(lasting(version));
                world.up();
                world.publish(QoS::AtLeastOnce, "a");
                world.publish(QoS::ExactlyOnce, "b");
                let mut unread = Vec::new();
                for (at, piece) in stream[..end].chunks(step.max(1)).enumerate() {
                    unread.extend_from_slice(piece);
                    let consumed = world.session.receive(world.now, &unread);
                    unread.drain(..consumed);
                    if at == 0 && world.session.status() == Status::Online {
                        world.subscribe(&["a"], QoS::AtMostOnce);
                    }
                    world.flush();
                }
                world.session.transport_down(world.now, TransportEnd::Closed);
                let ends = world.events().into_iter();
                let ends = ends.filter(|event| matches!(event, Event::Disconnected { .. }));
                assert_eq!(ends.count(), 1);
            }
        }
    }
}

#[test]
fn garbage_is_no_packet_whatever_it_is() {
    let connect = Connect {
        version: Version::V5_0,
        clean_start: true,
        keep_alive: 0,
        properties: Default::default(),
        client_id: "",
        will: None,
        user_name: None,
        password: None,
    };
    for version in VERSIONS {
        for first in 0..=u8::MAX {
            for rest in [&[0][..], &[1, 0], &[2, 0, 0], &[3, 0, 1, b'#'], &[0xFF; 5]] {
                for is_online in [false, true] {
                    let mut world = World::new(brief(version));
                    if is_online {
                        world.connect(false);
                    } else {
                        world.up();
                    }
                    let bytes = [&[first], rest].concat();
                    let consumed = world.session.receive(world.now, &bytes);
                    assert!(consumed <= bytes.len());
                    if world.session.status() == Status::Closing {
                        ended(&mut world);
                    }
                }
            }
        }
        let mut world = World::online(brief(version));
        let mut bytes = Vec::new();
        connect.encode(&mut bytes).unwrap();
        world.say_bytes(&bytes);
        let error = ProtocolError::ClientPacket(PacketType::Connect);
        assert_eq!(ended(&mut world), Ended::Fault(error.into()));
    }
}
