//! Enhanced authentication: before CONNACK, again by the user, again by the server.

use std::time::Duration;

use noctule_client_core::{
    AuthError, Authenticator, Ended, Event, Fault, ProtocolError, ReauthenticateRefused, Status,
    TransportEnd,
};
use noctule_packet::{
    Auth, Connack, ConnackProperties, Packet, QoS, ReasonCode, UserProperties, Version, spec,
};

use crate::world::{World, brief};

/// Answers n with n + 1, and wants to hear 9 in the end.
struct Counting;

impl Authenticator for Counting {
    fn method(&self) -> &str {
        "COUNT"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(Some(vec![1]))
    }

    fn challenge(&mut self, data: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        match data {
            Some([number]) => Ok(Some(vec![number + 1])),
            _ => Err(AuthError::new("no number")),
        }
    }

    fn verify(&mut self, data: Option<&[u8]>) -> Result<(), AuthError> {
        if data == Some(&[9]) { Ok(()) } else { Err(AuthError::new("not 9")) }
    }
}

fn auth(reason_code: ReasonCode, data: &[u8]) -> Packet<'_> {
    Packet::Auth(Auth {
        reason_code,
        authentication_method: Some("COUNT"),
        authentication_data: Some(data),
        ..Auth::default()
    })
}

fn accept(world: &mut World, data: &'static [u8]) {
    let properties = ConnackProperties {
        authentication_method: Some("COUNT"),
        authentication_data: Some(data),
        ..ConnackProperties::default()
    };
    world.say(&Packet::Connack(Connack { properties, ..Connack::default() }));
}

fn connecting() -> World {
    let mut world = World::new(brief(Version::V5_0));
    assert!(world.session.set_authenticator(Some(Box::new(Counting))).is_ok());
    world.up();
    world
}

fn ended(world: &mut World) -> Ended {
    assert_eq!(world.session.status(), Status::Closing);
    world.session.transport_down(world.now, TransportEnd::Closed);
    let of = |event| match event {
        Event::Disconnected { ended, .. } => Some(ended),
        _ => None,
    };
    world.events().into_iter().find_map(of).unwrap()
}

#[test]
fn the_exchange_ends_with_connack() {
    spec!("MQTT5-4.12.0-3", "MQTT5-4.12.0-5", "MQTT5-3.1.2-30");
    let mut world = connecting();
    let connect = world.bytes();
    assert!(connect.windows(9).any(|part| part == b"\x15\0\x05COUNT\x16"), "{connect:x?}");
    world.publish(QoS::AtMostOnce, "a");
    world.subscribe(&["a"], QoS::AtMostOnce);
    assert_eq!(world.packets(), Vec::<String>::new());
    world.say(&auth(ReasonCode::ContinueAuthentication, &[4]));
    assert!(world.bytes().ends_with(&[0x16, 0, 1, 5]));
    accept(&mut world, &[9]);
    assert_eq!(world.session.status(), Status::Online);
    assert_eq!(world.packets(), ["SUBSCRIBE 1 a", "PUBLISH t:a"]);
}

/// Says more than its data.
struct Talkative;

impl Authenticator for Talkative {
    fn method(&self) -> &str {
        "COUNT"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(Some(vec![1]))
    }

    fn challenge(&mut self, _: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(Some(vec![7]))
    }

    fn verify(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }

    fn user_properties(&mut self) -> UserProperties<'static> {
        let mut properties = UserProperties::new();
        properties.push("word", "for word").unwrap();
        properties
    }
}

#[test]
fn what_would_make_an_auth_too_large_is_left_out() {
    spec!("MQTT5-3.15.2-2", "MQTT5-3.15.2-3");
    // AUTH has 16 bytes with its method and its data, and its property takes 17 more.
    for (maximum, is_said) in [(33, true), (32, false)] {
        let mut world = World::new(brief(Version::V5_0));
        assert!(world.session.set_authenticator(Some(Box::new(Talkative))).is_ok());
        world.up();
        let properties = ConnackProperties {
            authentication_method: Some("COUNT"),
            maximum_packet_size: Some(maximum),
            ..ConnackProperties::default()
        };
        world.say(&Packet::Connack(Connack { properties, ..Connack::default() }));
        world.bytes();
        world.say(&auth(ReasonCode::ContinueAuthentication, &[]));
        let answer = world.bytes();
        assert_eq!(answer.len(), if is_said { 33 } else { 16 }, "{answer:x?}");
        assert!(answer.windows(4).any(|part| part == [0x16, 0, 1, 7]), "{answer:x?}");
        assert_eq!(answer.windows(4).any(|part| part == b"word"), is_said, "{answer:x?}");
    }
}

#[test]
fn a_server_that_proves_nothing_is_left() {
    let mut world = connecting();
    accept(&mut world, &[8]);
    assert_eq!(ended(&mut world), Ended::Authentication(AuthError::new("not 9")));
    let mut world = connecting();
    world.say(&auth(ReasonCode::ContinueAuthentication, &[]));
    assert_eq!(ended(&mut world), Ended::Authentication(AuthError::new("no number")));
    let mut world = connecting();
    let properties =
        ConnackProperties { authentication_method: Some("OTHER"), ..ConnackProperties::default() };
    world.say(&Packet::Connack(Connack { properties, ..Connack::default() }));
    let error = ProtocolError::AuthenticationMethod;
    assert_eq!(ended(&mut world), Ended::Fault(Fault::Protocol(error)));
}

#[test]
fn either_side_can_authenticate_again() {
    spec!("MQTT5-4.12.1-1", "MQTT5-4.12.1-2");
    let mut world = connecting();
    accept(&mut world, &[9]);
    world.packets();
    assert_eq!(world.session.reauthenticate(world.now), Ok(()));
    assert_eq!(world.packets(), ["AUTH 0x19"]);
    let refused = world.session.reauthenticate(world.now);
    assert_eq!(refused, Err(ReauthenticateRefused::UnderWay));
    world.events();
    for reason in [ReasonCode::ContinueAuthentication, ReasonCode::ContinueAuthentication] {
        world.say(&auth(reason, &[1]));
        assert_eq!(world.packets(), ["AUTH 0x18"]);
        world.say(&auth(ReasonCode::Success, &[9]));
        assert_eq!(world.events(), [Event::Reauthenticated]);
    }
    assert_eq!(world.session.reauthenticate(world.now), Ok(()));
    world.packets();
    world.say(&auth(ReasonCode::Success, &[3]));
    assert_eq!(world.packets(), ["DISCONNECT 0x87"]);
    assert_eq!(ended(&mut world), Ended::Authentication(AuthError::new("not 9")));
}

#[test]
fn a_server_that_does_not_go_on_with_an_authentication_is_left() {
    for is_ours in [true, false] {
        let mut world = connecting();
        accept(&mut world, &[9]);
        if is_ours {
            assert_eq!(world.session.reauthenticate(world.now), Ok(()));
        } else {
            world.say(&auth(ReasonCode::ContinueAuthentication, &[1]));
        }
        for second in 0..29 {
            world.advance(Duration::from_secs(1));
            world.message(QoS::AtMostOnce, 0, "t", b"");
            if second == 20 {
                // One more challenge makes no more time.
                world.say(&auth(ReasonCode::ContinueAuthentication, &[1]));
            }
        }
        assert_eq!(world.session.status(), Status::Online);
        world.advance(Duration::from_secs(1));
        assert_eq!(ended(&mut world), Ended::Authentication(AuthError::new("no answer in time")));
    }
}

#[test]
fn whoever_has_no_method_cannot_authenticate_again() {
    spec!("MQTT5-4.12.0-7");
    let mut world = World::online(brief(Version::V5_0));
    let refused = world.session.reauthenticate(world.now);
    assert_eq!(refused, Err(ReauthenticateRefused::NoMethod));
    let mut older = World::new(brief(Version::V3_1_1));
    assert!(older.session.set_authenticator(Some(Box::new(Counting))).is_err());
}

/// A session whose driver fetches each step.
fn deferred() -> World {
    let mut world = World::new(brief(Version::V5_0));
    world.session.set_authenticator(Some(Box::new(Counting))).expect("it may be 5.0");
    world.session.defer_authentication();
    world.up();
    world
}

/// The driver does what the method is to do.
fn step(world: &mut World) {
    let step = world.session.take_authentication_step().expect("something is to be done");
    world.session.authenticated(world.now, step.take());
}

fn accepted_with(data: &[u8]) -> Packet<'_> {
    let properties = ConnackProperties {
        authentication_method: Some("COUNT"),
        authentication_data: Some(data),
        ..ConnackProperties::default()
    };
    Packet::Connack(Connack { properties, ..Connack::default() })
}

#[test]
fn a_driver_may_ask_the_method_in_its_own_time() {
    let mut world = deferred();
    assert_eq!(world.packets(), Vec::<String>::new());
    step(&mut world);
    assert_eq!(world.packets().len(), 1);
    world.say(&auth(ReasonCode::ContinueAuthentication, &[4]));
    assert_eq!((world.packets().len(), world.session.wants_input()), (0, false));
    step(&mut world);
    assert_eq!(world.packets(), ["AUTH 0x18"]);

    // CONNACK is not dealt with before it is verified, and what is behind it neither.
    let mut bytes = world.encoded(&accepted_with(&[9]));
    let connack = bytes.len();
    bytes.extend(world.encoded(&Packet::Pingresp));
    assert_eq!(world.session.receive(world.now, &bytes), 0);
    assert_eq!((world.session.status(), world.session.wants_input()), (Status::Connecting, false));
    step(&mut world);
    assert!(world.session.wants_input());
    assert_eq!(world.session.receive(world.now, &bytes[..connack]), connack);
    assert_eq!(world.session.status(), Status::Online);
    assert!(world.session.take_authentication_step().is_none());

    world.session.reauthenticate(world.now).expect("it begins");
    step(&mut world);
    assert_eq!(world.packets(), ["AUTH 0x19"]);
    world.events();
    world.say(&auth(ReasonCode::Success, &[9]));
    assert_eq!(world.events(), []);
    step(&mut world);
    assert_eq!(world.events(), [Event::Reauthenticated]);
}

#[test]
fn an_answer_of_the_method_that_comes_too_late_counts_for_nothing() {
    let mut world = deferred();
    let late = world.session.take_authentication_step().expect("it begins");
    world.cut();
    world.up();
    // The method is away.
    assert!(world.session.take_authentication_step().is_none());
    world.session.authenticated(world.now, late.take());
    assert_eq!(world.packets(), Vec::<String>::new());
    step(&mut world);
    assert_eq!(world.packets().len(), 1);

    // A CONNACK that was being judged says nothing about the next one.
    let connack = world.encoded(&accepted_with(&[9]));
    assert_eq!(world.session.receive(world.now, &connack), 0);
    step(&mut world);
    world.cut();
    world.up();
    step(&mut world);
    let connack = world.encoded(&accepted_with(&[8]));
    assert_eq!(world.session.receive(world.now, &connack), 0);
    step(&mut world);
    world.events();
    assert_eq!(ended(&mut world), Ended::Authentication(AuthError::new("not 9")));
}

#[test]
fn a_method_that_never_answers_does_not_hold_up_the_end() {
    let mut world = deferred();
    let _asked = world.session.take_authentication_step();
    world.advance(Duration::from_secs(30));
    assert_eq!(ended(&mut world), Ended::ConnectTimeout);
}

#[test]
fn it_authenticates_again_by_itself_where_that_is_wanted() {
    let mut settings = brief(Version::V5_0);
    settings.reauthenticate_every = Some(Duration::from_secs(600));
    settings.connect.keep_alive = 0;
    let mut world = World::new(settings);
    world.session.set_authenticator(Some(Box::new(Counting))).expect("it may be 5.0");
    world.up();
    accept(&mut world, &[9]);
    world.packets();
    for _ in 0..3 {
        world.advance(Duration::from_secs(599));
        assert_eq!(world.packets(), Vec::<String>::new());
        world.advance(Duration::from_secs(1));
        assert_eq!(world.packets(), ["AUTH 0x19"]);
        world.advance(Duration::from_secs(20));
        world.say(&auth(ReasonCode::Success, &[9]));
    }
    // One that the server has begun counts, too.
    world.advance(Duration::from_secs(590));
    world.say(&auth(ReasonCode::ContinueAuthentication, &[1]));
    assert_eq!(world.packets(), ["AUTH 0x18"]);
    world.advance(Duration::from_secs(20));
    world.say(&auth(ReasonCode::Success, &[9]));
    world.advance(Duration::from_secs(599));
    assert_eq!(world.packets(), Vec::<String>::new());
    world.advance(Duration::from_secs(1));
    assert_eq!(world.packets(), ["AUTH 0x19"]);
}

#[test]
fn an_authentication_that_the_server_begins_has_its_time_too() {
    let mut world = connecting();
    accept(&mut world, &[9]);
    world.say(&auth(ReasonCode::ContinueAuthentication, &[1]));
    world.advance(Duration::from_secs(30));
    assert_eq!(ended(&mut world), Ended::Authentication(AuthError::new("no answer in time")));
}
