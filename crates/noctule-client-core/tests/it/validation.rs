//! How strictly packets are judged, both ways.

use noctule_client_core::{
    AuthError, Authenticator, ConnectOptions, DisconnectOptions, DisconnectRefused, Ended, Event,
    Fault, ProtocolError, Publication, PublishRefused, RequestRefused, Settings, SettingsError,
    Status, SubscribeRequest, TransportEnd, UnsubscribeRequest, Validation, WillOptions,
};
use noctule_packet::{
    DecodeError, Packet, Publish, PublishProperties, QoS, Subscription, SubscriptionOptions,
    TopicFilter, TopicName, UserProperties, Version, spec,
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
    let mut user_properties = UserProperties::new();
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

/// A place for a string of the user's: what it is called, and what becomes of a string there.
type Place = (&'static str, fn(Validation, &str) -> Result<(), &'static str>);

fn pair(text: &str) -> UserProperties<'static> {
    let mut properties = UserProperties::new();
    properties.push("name", text).unwrap();
    properties.push(text, "value").unwrap();
    properties
}

fn connects(
    validation: Validation,
    change: impl FnOnce(&mut ConnectOptions),
) -> Result<(), &'static str> {
    let mut settings = Settings { validation, ..brief(Version::V5_0) };
    change(&mut settings.connect);
    match settings.check() {
        Ok(()) => Ok(()),
        Err(SettingsError::InvalidValue { option }) => Err(option),
        Err(other) => panic!("{other}"),
    }
}

fn has_will(
    validation: Validation,
    change: impl FnOnce(&mut WillOptions),
) -> Result<(), &'static str> {
    let mut will = WillOptions { topic: "t".into(), ..WillOptions::default() };
    change(&mut will);
    connects(validation, |it| it.will = Some(will))
}

fn publishes(
    validation: Validation,
    topic: &str,
    properties: PublishProperties<'_>,
) -> Result<(), &'static str> {
    let mut world = world(validation, Version::V5_0);
    let publication =
        Publication { properties, ..Publication::new(TopicName::new(topic).unwrap(), b"") };
    match world.session.publish(world.now, &publication) {
        Ok(_) => Ok(()),
        Err(PublishRefused::InvalidValue { option }) => Err(option),
        Err(other) => panic!("{other}"),
    }
}

fn requests(
    validation: Validation,
    filter: &str,
    user_properties: UserProperties<'_>,
) -> Result<(), &'static str> {
    let filter = TopicFilter::new(filter).unwrap();
    let subscriptions = [Subscription { filter, options: SubscriptionOptions::default() }];
    let mut subscribe = SubscribeRequest::new(&subscriptions);
    subscribe.user_properties = user_properties.clone();
    let filters = [filter];
    let mut unsubscribe = UnsubscribeRequest::new(&filters);
    unsubscribe.user_properties = user_properties;
    let [mut one, mut other] = [(); 2].map(|()| world(validation, Version::V5_0));
    let asked = one.session.subscribe(one.now, &subscribe).map(|_| ());
    let ended = other.session.unsubscribe(other.now, &unsubscribe).map(|_| ());
    assert_eq!(asked, ended);
    match asked {
        Ok(()) => Ok(()),
        Err(RequestRefused::InvalidValue { option }) => Err(option),
        Err(other) => panic!("{other}"),
    }
}

fn disconnects(
    validation: Validation,
    options: &DisconnectOptions<'_>,
) -> Result<(), &'static str> {
    let mut world = world(validation, Version::V5_0);
    match world.session.disconnect(world.now, options) {
        Ok(()) => Ok(()),
        Err(DisconnectRefused::InvalidValue { option }) => Err(option),
        Err(other) => panic!("{other}"),
    }
}

/// A method of authentication with this name.
struct Named(String);

impl Authenticator for Named {
    fn method(&self) -> &str {
        &self.0
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
}

/// Places whose type takes any string, so that the session has to look.
const OPEN: [Place; 8] = [
    ("client_id", |validation, text| connects(validation, |it| it.client_id = text.into())),
    ("user_name", |validation, text| connects(validation, |it| it.user_name = Some(text.into()))),
    ("will.topic", |validation, text| has_will(validation, |it| it.topic = text.into())),
    ("will.response_topic", |validation, text| {
        has_will(validation, |it| it.response_topic = Some(text.into()))
    }),
    ("will.content_type", |validation, text| {
        has_will(validation, |it| it.content_type = Some(text.into()))
    }),
    ("content_type", |validation, text| {
        let content_type = Some(text);
        publishes(validation, "t", PublishProperties { content_type, ..Default::default() })
    }),
    ("reason_string", |validation, text| {
        let reason_string = Some(text);
        disconnects(validation, &DisconnectOptions { reason_string, ..Default::default() })
    }),
    ("authenticator", |validation, text| {
        let mut world = world(validation, Version::V5_0);
        match world.session.set_authenticator(Some(Box::new(Named(text.into())))) {
            Err(SettingsError::InvalidValue { option }) => Err(option),
            other => other.map_err(|error| panic!("{error}")),
        }
    }),
];

/// Places whose type takes no string that is forbidden under any rules.
const CLOSED: [Place; 8] = [
    ("topic", |validation, text| publishes(validation, text, PublishProperties::default())),
    ("response_topic", |validation, text| {
        let response_topic = TopicName::new(text).ok();
        publishes(validation, "t", PublishProperties { response_topic, ..Default::default() })
    }),
    ("user_properties", |validation, text| {
        let user_properties = pair(text);
        publishes(validation, "t", PublishProperties { user_properties, ..Default::default() })
    }),
    ("topic filter", |validation, text| requests(validation, text, UserProperties::new())),
    ("user_properties", |validation, text| requests(validation, "t", pair(text))),
    ("user_properties", |validation, text| {
        connects(validation, |it| it.user_properties = pair(text))
    }),
    ("will.user_properties", |validation, text| {
        has_will(validation, |it| it.user_properties = pair(text))
    }),
    ("user_properties", |validation, text| {
        let user_properties = pair(text);
        disconnects(validation, &DisconnectOptions { user_properties, ..Default::default() })
    }),
];

/// C-10: every string of the user's, by the rules that the user has chosen.
#[test]
fn what_the_user_sends_is_judged_by_the_same_rules() {
    spec!("MQTT5-1.5.4-2", "MQTT311-1.5.3-2");
    let fine = ["\u{e4}\u{20ac}\u{1d11e}", "\u{a0}", "\u{fdcf}", "\u{fffd}", "\u{feff}x"];
    let discouraged =
        ["\u{1}", "x\u{1f}", "\u{7f}", "\u{9f}", "\u{fdd0}", "\u{fffe}", "\u{10ffff}"];
    let too_long = "x".repeat(65_536);
    for validation in [Validation::Strict, Validation::Standard, Validation::Lenient] {
        let is_strict = validation == Validation::Strict;
        for (option, put) in OPEN.iter().chain(&CLOSED) {
            for text in fine {
                assert_eq!(put(validation, text), Ok(()), "{option} {text:?} {validation:?}");
            }
            for text in discouraged {
                let expected = if is_strict { Err(*option) } else { Ok(()) };
                assert_eq!(put(validation, text), expected, "{text:?} {validation:?}");
            }
        }
        for (option, put) in &OPEN {
            for text in ["\0", "x\0", &too_long] {
                assert_eq!(put(validation, text), Err(*option), "{validation:?}");
            }
        }
        let text_that_is_none = has_will(validation, |it| {
            (it.payload, it.payload_format_indicator) = ([0xFF].into(), Some(true));
        });
        let expected = if is_strict { Err("will.payload") } else { Ok(()) };
        assert_eq!(text_that_is_none, expected);
    }
}
