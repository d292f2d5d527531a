//! How strictly packets are judged, both ways.

use noctule_client_core::{
    Ended, Event, Fault, ProtocolError, Publication, PublishRefused, Status, TransportEnd,
    Validation,
};
use noctule_packet::{
    DecodeError, Packet, Publish, PublishProperties, QoS, TopicName, Version, spec,
};

use crate::world::{World, brief};

fn world(validation: Validation, version: Version) -> World {
    let mut settings = brief(version);
    settings.validation = validation;
    World::online(settings)
}

/// What became of a message that the server sends.
fn arrives(world: &mut World, publish: Publish<'_>) -> Result<(), Fault> {
    let bytes = world.encoded(&Packet::Publish(publish));
    world.session.receive(world.now, &bytes);
    if world.session.status() == Status::Online {
        assert_eq!(world.payloads().len(), 1);
        return Ok(());
    }
    world.session.transport_down(world.now, TransportEnd::Closed);
    let of = |event| match event {
        Event::Disconnected { ended: Ended::Fault(fault), .. } => Some(fault),
        _ => None,
    };
    Err(world.events().into_iter().find_map(of).expect("a fault"))
}

/// N-M1: the specification's rules for text, those that it only recommends where that is wanted.
#[test]
fn control_characters_are_for_the_strict_only() {
    spec!("MQTT5-1.5.4-2", "MQTT311-1.5.3-2");
    for version in [Version::V3_1_1, Version::V5_0] {
        for validation in [Validation::Strict, Validation::Standard, Validation::Lenient] {
            let is_strict = validation == Validation::Strict;
            let topic = TopicName::new("a\u{1}").unwrap();
            let mut world = world(validation, version);
            let refused = PublishRefused::InvalidValue { option: "topic" };
            let publication = Publication::new(topic, b"");
            let published = world.session.publish(world.now, &publication).map(|_| ());
            assert_eq!(published, if is_strict { Err(refused) } else { Ok(()) });
            let publish = Publish { topic: Some(topic), ..Publish::default() };
            let expected = Err(Fault::Decode(DecodeError::DisallowedCharacter));
            let arrived = arrives(&mut world, publish);
            assert_eq!(arrived, if is_strict { expected } else { Ok(()) });
        }
    }
}

#[test]
fn a_payload_that_claims_to_be_text_is_looked_at_by_the_strict() {
    for validation in [Validation::Strict, Validation::Standard] {
        let is_strict = validation == Validation::Strict;
        let mut world = world(validation, Version::V5_0);
        let properties = PublishProperties {
            payload_format_indicator: Some(true),
            ..PublishProperties::default()
        };
        let topic = TopicName::new("a").unwrap();
        let mut publication = Publication::new(topic, b"\xFF").qos(QoS::AtLeastOnce);
        publication.properties = properties.clone();
        let refused = PublishRefused::InvalidValue { option: "payload" };
        let published = world.session.publish(world.now, &publication).map(|_| ());
        assert_eq!(published, if is_strict { Err(refused) } else { Ok(()) });
        let publish =
            Publish { topic: Some(topic), properties, payload: b"\xFF", ..Publish::default() };
        let expected = Err(Fault::Protocol(ProtocolError::PayloadFormat));
        let arrived = arrives(&mut world, publish);
        assert_eq!(arrived, if is_strict { expected } else { Ok(()) });
    }
}

/// C-01: what 5.0 offers is refused by name where it is not spoken.
#[test]
fn properties_are_refused_by_name_where_there_are_none() {
    let topic = TopicName::new("a").unwrap();
    let mut user_properties = noctule_packet::UserProperties::new();
    user_properties.push("a", "b").unwrap();
    let empty = PublishProperties::default;
    let all = [
        (
            "payload_format_indicator",
            PublishProperties { payload_format_indicator: Some(false), ..empty() },
        ),
        (
            "message_expiry_interval",
            PublishProperties { message_expiry_interval: Some(1), ..empty() },
        ),
        ("topic_alias", PublishProperties { topic_alias: Some(1), ..empty() }),
        ("response_topic", PublishProperties { response_topic: Some(topic), ..empty() }),
        ("correlation_data", PublishProperties { correlation_data: Some(b""), ..empty() }),
        ("content_type", PublishProperties { content_type: Some(""), ..empty() }),
        ("user_properties", PublishProperties { user_properties, ..empty() }),
    ];
    for version in [Version::V3_1, Version::V3_1_1] {
        let mut world = world(Validation::Standard, version);
        for (option, properties) in &all {
            let mut publication = Publication::new(topic, b"");
            publication.properties = properties.clone();
            let refused = world.session.publish(world.now, &publication);
            assert_eq!(refused, Err(PublishRefused::NotInVersion { option, version }));
        }
        assert_eq!(world.packets(), Vec::<String>::new());
    }
    let mut world = world(Validation::Standard, Version::V5_0);
    let mut publication = Publication::new(topic, b"");
    publication.properties.subscription_identifiers = vec![1];
    let refused = PublishRefused::InvalidValue { option: "subscription_identifiers" };
    assert_eq!(world.session.publish(world.now, &publication), Err(refused));
}
