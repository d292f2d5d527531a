//! What acknowledgements say beside their reason codes, both ways.

use noctule_client_core::{
    AckRefused, AckToken, Acknowledged, AcknowledgementMode, AuthError, Authenticator,
    DisconnectOptions, Event, Outcome, ReleaseStep, Remarks, RequestOutcome, Validation,
};
use noctule_packet::{
    Ack, Auth, Connack, ConnackProperties, Framing, Packet, PacketType, QoS, ReasonCode, Suback,
    TextRules, Unsuback, UserProperties, Version, spec, split,
};

use crate::world::{World, brief, id, lasting};

fn properties(pairs: &[(&str, &str)]) -> UserProperties<'static> {
    let mut properties = UserProperties::new();
    for (name, value) in pairs {
        properties.push(name, value).unwrap();
    }
    properties
}

fn remarks(text: Option<&str>, pairs: &[(&str, &str)]) -> Remarks {
    Remarks { reason_string: text.map(Into::into), user_properties: properties(pairs) }
}

fn ack<'a>(reason: ReasonCode, text: Option<&'a str>, pairs: &[(&str, &str)]) -> Ack<'a> {
    let user_properties = properties(pairs);
    Ack { reason_string: text, user_properties, ..Ack::new(id(1), reason) }
}

/// D-02: whatever the server says is shown to whoever asks.
#[test]
fn what_the_server_says_comes_with_the_outcome() {
    let (full, alone) = (ReasonCode::QuotaExceeded, ReasonCode::NoMatchingSubscribers);
    let said = Some(Box::new(remarks(Some("so"), &[("a", "b")])));
    let pubrec = Packet::Pubrec(ack(alone, Some("rec"), &[("r", "1")]));
    for (qos, packets, expected) in [
        (
            QoS::AtLeastOnce,
            vec![Packet::Puback(ack(alone, Some("so"), &[("a", "b")]))],
            Outcome::Delivered { reason: alone, remarks: said.clone() },
        ),
        (
            QoS::AtLeastOnce,
            vec![Packet::Puback(ack(full, Some("so"), &[("a", "b")]))],
            Outcome::Rejected { reason: full, remarks: said.clone() },
        ),
        (
            QoS::AtLeastOnce,
            vec![Packet::Puback(ack(full, None, &[]))],
            Outcome::Rejected { reason: full, remarks: None },
        ),
        (
            QoS::ExactlyOnce,
            vec![Packet::Pubrec(ack(full, Some("so"), &[("a", "b")]))],
            Outcome::Rejected { reason: full, remarks: said.clone() },
        ),
        (
            QoS::ExactlyOnce,
            vec![pubrec.clone(), Packet::Pubcomp(ack(ReasonCode::Success, None, &[]))],
            Outcome::Delivered {
                reason: alone,
                remarks: Some(Box::new(remarks(Some("rec"), &[("r", "1")]))),
            },
        ),
        (
            QoS::ExactlyOnce,
            vec![pubrec, Packet::Pubcomp(ack(ReasonCode::Success, Some("comp"), &[("c", "2")]))],
            Outcome::Delivered {
                reason: alone,
                remarks: Some(Box::new(remarks(Some("rec; comp"), &[("r", "1"), ("c", "2")]))),
            },
        ),
        (
            QoS::ExactlyOnce,
            vec![
                Packet::Pubrec(ack(ReasonCode::Success, None, &[])),
                Packet::Pubcomp(ack(ReasonCode::Success, Some("so"), &[("a", "b")])),
            ],
            Outcome::Delivered { reason: ReasonCode::Success, remarks: said.clone() },
        ),
    ] {
        let mut world = World::online(brief(Version::V5_0));
        world.publish(qos, "x");
        for packet in &packets {
            world.say(packet);
        }
        assert_eq!(world.outcomes(), [(1, expected)]);
    }
}

#[test]
fn what_the_server_says_comes_with_the_answer() {
    let mut world = World::online(brief(Version::V5_0));
    world.subscribe(&["a"], QoS::AtMostOnce);
    let user_properties = properties(&[("a", "b")]);
    let suback = Suback::new(id(1), vec![ReasonCode::Success]);
    let reason_string = Some("so");
    world.say(&Packet::Suback(Suback { reason_string, user_properties, ..suback }));
    let filters = [noctule_packet::TopicFilter::new("a").unwrap()];
    let request = noctule_client_core::UnsubscribeRequest::new(&filters);
    world.session.unsubscribe(world.now, &request).unwrap();
    let user_properties = properties(&[("a", "b")]);
    let unsuback = Unsuback::new(id(2), vec![ReasonCode::Success]);
    world.say(&Packet::Unsuback(Unsuback { reason_string, user_properties, ..unsuback }));
    let remarks = Some(Box::new(remarks(reason_string, &[("a", "b")])));
    let codes = [ReasonCode::Success].into();
    let answered = RequestOutcome::Answered { codes, remarks };
    assert_eq!(world.answers(), [(1, answered.clone()), (2, answered)]);
}

/// A client whose user acknowledges, and the tokens of messages of these qualities of service.
fn holding(version: Version, maximum: Option<u32>, all: &[QoS]) -> (World, Vec<AckToken>) {
    let mut settings = brief(version);
    settings.acknowledgement = AcknowledgementMode::Manual;
    settings.validation = Validation::Strict;
    let mut world = World::new(settings);
    let properties = ConnackProperties { maximum_packet_size: maximum, ..Default::default() };
    world.connect_with(false, properties);
    for (qos, packet_id) in all.iter().zip(1..) {
        world.message(*qos, packet_id, "t", b"");
    }
    let token = |event| match event {
        Event::Message { token, .. } => token,
        _ => None,
    };
    let tokens = world.events().into_iter().filter_map(token).collect();
    (world, tokens)
}

fn decoded(bytes: &[u8]) -> Packet<'_> {
    let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
    Packet::decode(&frame, Version::V5_0, TextRules::Strict).unwrap()
}

#[test]
fn what_the_user_says_leaves_with_the_acknowledgement_in_its_turn() {
    spec!("MQTT5-3.4.2-2", "MQTT5-3.4.2-3", "MQTT5-3.5.2-2", "MQTT5-3.5.2-3");
    let all = [QoS::AtLeastOnce, QoS::ExactlyOnce];
    for maximum in [None, Some(20)] {
        let (mut world, tokens) = holding(Version::V5_0, maximum, &all);
        let (refused, text) = (ReasonCode::QuotaExceeded, "the disk is full of other things");
        let said = remarks(Some(text), &[("a", "b")]);
        let later = world.session.acknowledge_saying(
            world.now,
            tokens[1],
            ReasonCode::Success,
            Some(said.clone()),
        );
        assert_eq!(later, Ok(Acknowledged::Done));
        assert!(world.bytes().is_empty(), "the first has not been answered");
        let done = world.session.acknowledge_saying(world.now, tokens[0], refused, Some(said));
        assert_eq!(done, Ok(Acknowledged::Done));
        let bytes = world.bytes();
        if maximum.is_some() {
            assert_eq!(bytes, [0x40, 3, 0, 1, 0x97, 0x50, 2, 0, 2]);
            continue;
        }
        let (first, second) = bytes.split_at(bytes.len() / 2);
        let says = |packet: Packet<'_>| match packet {
            Packet::Puback(ack) | Packet::Pubrec(ack) => {
                assert!(ack.user_properties.iter().eq([("a", "b")]));
                (ack.packet_id.value(), ack.reason_code, ack.reason_string.map(str::to_owned))
            }
            other => panic!("{other:?}"),
        };
        let text = Some(text.to_owned());
        assert_eq!(says(decoded(first)), (1, refused, text.clone()));
        assert_eq!(says(decoded(second)), (2, ReasonCode::Success, text));
    }
}

/// Has all that is held back say this, and gives what it was asked about.
fn release(world: &mut World, remarks: Option<&Remarks>) -> Vec<(PacketType, u16, Option<u64>)> {
    let steps = world.session.take_release_steps();
    for step in &steps {
        world.session.release(world.now, *step, remarks);
    }
    let asked = |step: ReleaseStep| {
        let operation = step.operation().map(|operation| operation.value());
        (step.packet_type(), step.packet_id().value(), operation)
    };
    steps.into_iter().map(asked).collect()
}

/// D-02: the second half of QoS 2 says what its user says, and tells him what the server says.
#[test]
fn what_the_user_says_leaves_with_pubrel_and_pubcomp() {
    spec!("MQTT5-3.6.2-2", "MQTT5-3.6.2-3", "MQTT5-3.7.2-2", "MQTT5-3.7.2-3");
    let said = remarks(Some("so"), &[("a", "b")]);
    let long = remarks(Some("longer than the server takes"), &[]);
    let nonsense = remarks(Some("x\0"), &[]);
    let full =
        |head: u8| [&[head], &b"\x10\0\x01\0\x0c\x1f\0\x02so\x26\0\x01a\0\x01b"[..]].concat();
    let bare = |head: u8| vec![head, 2, 0, 1];
    for (remarks, is_said) in
        [(Some(&said), true), (Some(&long), false), (Some(&nonsense), false), (None, false)]
    {
        let expected = |head: u8| if is_said { full(head) } else { bare(head) };
        let mut world = World::new(lasting(Version::V5_0));
        world.session.ask_for_release_remarks();
        let narrow = ConnackProperties { maximum_packet_size: Some(20), ..Default::default() };
        world.connect_with(false, narrow.clone());
        world.publish(QoS::ExactlyOnce, "x");
        world.bytes();
        let pubrec = Packet::Pubrec(ack(ReasonCode::Success, None, &[]));
        world.say(&pubrec);
        assert!(world.bytes().is_empty() && world.session.has_release_steps());
        assert_eq!(release(&mut world, remarks), [(PacketType::Pubrel, 1, Some(1))]);
        assert_eq!(world.bytes(), expected(0x62));
        // What is repeated is asked about again, and what is too late does no harm.
        world.say(&pubrec);
        let late = world.session.take_release_steps()[0];
        world.cut();
        world.connect_with(true, narrow);
        world.session.release(world.now, late, remarks);
        assert!(world.bytes().is_empty());
        assert_eq!(release(&mut world, None), [(PacketType::Pubrel, 1, Some(1))]);
        assert_eq!(world.bytes(), bare(0x62));
        world.say(&Packet::Pubcomp(ack(ReasonCode::Success, None, &[])));
        assert_eq!(world.outcomes(), [(1, Outcome::DELIVERED)]);

        world.message(QoS::ExactlyOnce, 1, "t", b"");
        assert_eq!(world.packets(), ["PUBREC 1"]);
        world.events();
        world.say(&Packet::Pubrel(ack(ReasonCode::Success, Some("so"), &[("a", "b")])));
        let released = Event::Released { packet_id: id(1), remarks: Box::new(said.clone()) };
        assert_eq!(world.events(), [released]);
        assert_eq!(release(&mut world, remarks), [(PacketType::Pubcomp, 1, None)]);
        assert_eq!(world.bytes(), expected(0x70));
        // One that nobody knows.
        world.say(&Packet::Pubrec(Ack { packet_id: id(9), ..ack(ReasonCode::Success, None, &[]) }));
        assert_eq!(release(&mut world, None), [(PacketType::Pubrel, 9, None)]);
        assert_eq!(world.bytes(), [0x62, 3, 0, 9, 0x92]);
        // Nobody is asked any more when the connection ends.
        world.message(QoS::ExactlyOnce, 1, "t", b"");
        world.say(&Packet::Pubrel(ack(ReasonCode::Success, None, &[])));
        world.session.disconnect(world.now, &DisconnectOptions::default()).unwrap();
        assert_eq!(world.packets(), ["PUBREC 1", "PUBCOMP 1", "DISCONNECT"]);
    }
}

#[test]
fn before_5_0_nobody_is_asked_what_pubrel_says() {
    let mut world = World::new(brief(Version::V3_1_1));
    world.session.ask_for_release_remarks();
    world.connect(false);
    world.publish(QoS::ExactlyOnce, "x");
    world.message(QoS::ExactlyOnce, 1, "t", b"");
    world.say(&Packet::Pubrec(Ack::new(id(1), ReasonCode::Success)));
    world.say(&Packet::Pubrel(Ack::new(id(1), ReasonCode::Success)));
    assert!(!world.session.has_release_steps());
    assert_eq!(world.packets(), ["PUBLISH 1 t:x", "PUBREC 1", "PUBREL 1", "PUBCOMP 1"]);
}

#[test]
fn what_cannot_be_said_is_refused_and_the_message_stays() {
    let success = ReasonCode::Success;
    for (version, said, expected) in [
        (
            Version::V3_1_1,
            remarks(Some("x"), &[]),
            AckRefused::NotInVersion { version: Version::V3_1_1 },
        ),
        (
            Version::V5_0,
            remarks(Some("x\0"), &[]),
            AckRefused::InvalidValue { option: "reason_string" },
        ),
        (
            Version::V5_0,
            remarks(Some(&"x".repeat(65_536)), &[]),
            AckRefused::InvalidValue { option: "reason_string" },
        ),
        (
            Version::V5_0,
            remarks(None, &[("a", "\u{1}")]),
            AckRefused::InvalidValue { option: "user_properties" },
        ),
    ] {
        let (mut world, tokens) = holding(version, None, &[QoS::AtLeastOnce]);
        let (now, token) = (world.now, tokens[0]);
        let refused = world.session.acknowledge_saying(now, token, success, Some(said));
        assert_eq!(refused, Err(expected));
        assert_eq!(world.session.acknowledge(now, token, success), Ok(Acknowledged::Done));
        assert_eq!(world.packets(), ["PUBACK 1"]);
    }
}

/// Tells the server what the server has told it.
#[derive(Default)]
struct Echo(UserProperties<'static>);

impl Authenticator for Echo {
    fn method(&self) -> &str {
        "ECHO"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(None)
    }

    fn challenge(&mut self, _: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(None)
    }

    fn verify(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }

    fn remarks(&mut self, remarks: &Remarks) {
        self.0 = remarks.user_properties.clone();
        self.0.push("why", remarks.reason_string.as_deref().unwrap_or_default()).unwrap();
    }

    fn user_properties(&mut self) -> UserProperties<'static> {
        std::mem::take(&mut self.0)
    }
}

#[test]
fn an_authentication_method_hears_and_says_user_properties() {
    let mut world = World::new(brief(Version::V5_0));
    assert!(world.session.set_authenticator(Some(Box::<Echo>::default())).is_ok());
    world.up();
    world.bytes();
    let challenge = |text| {
        Packet::Auth(Auth {
            reason_code: ReasonCode::ContinueAuthentication,
            authentication_method: Some("ECHO"),
            reason_string: text,
            user_properties: properties(&[("a", "b")]),
            ..Auth::default()
        })
    };
    world.say(&challenge(Some("more")));
    let bytes = world.bytes();
    let Packet::Auth(auth) = decoded(&bytes) else { panic!("{bytes:x?}") };
    assert!(auth.user_properties.iter().eq([("a", "b"), ("why", "more")]), "{auth:?}");
    let authentication_method = Some("ECHO");
    let properties = ConnackProperties { authentication_method, ..Default::default() };
    world.say(&Packet::Connack(Connack { properties, ..Connack::default() }));
    assert!(world.session.reauthenticate(world.now).is_ok());
    let bytes = world.bytes();
    let Packet::Auth(auth) = decoded(&bytes) else { panic!("{bytes:x?}") };
    assert!(auth.user_properties.is_empty(), "{auth:?}");
    world.say(&challenge(None));
    let bytes = world.bytes();
    let Packet::Auth(auth) = decoded(&bytes) else { panic!("{bytes:x?}") };
    assert!(auth.user_properties.iter().eq([("a", "b"), ("why", "")]), "{auth:?}");
}
