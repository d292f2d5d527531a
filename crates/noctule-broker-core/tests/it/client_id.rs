//! Client identifiers: which are taken, and which are invented for clients that have none.

use noctule_broker_core::{Effect, Event, Input, Restored};
use noctule_packet::{ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, VERSIONS};

use crate::broker::{Broker, lasting};
use crate::connect::{asking, connected};
use crate::stored::{stored_session, storing};

#[test]
fn identifiers_of_up_to_23_letters_and_digits_are_let_in_whatever_the_limit() {
    spec!("MQTT5-3.1.3-5", "MQTT311-3.1.3-5", "MQTT31-3.1-3");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.client_id_bytes_max = 1);
        for name in ["0", "0123456789abcdefghijklm", "nopqrstuvwxyzABCDEFGHIJ", "KLMNOPQRSTUVWXYZ"]
        {
            let mut client = broker.client(version, name);
            client.expect_nothing_before_pong();
            assert_eq!(connected(&broker), [name]);
        }
    }
}

#[test]
fn a_client_without_an_identifier_gets_one_of_its_own() {
    spec!("MQTT5-3.1.3-6", "MQTT5-3.1.3-7", "MQTT5-3.2.2-16", "MQTT311-3.1.3-6");
    for version in [Version::V3_1_1, Version::V5_0] {
        let broker = Broker::new();
        let mut first = broker.client(version, "");
        let mut second = broker.client(version, "");
        let names = connected(&broker);
        assert_eq!(names.len(), 2);
        assert!(names[0] != names[1] && !names[0].is_empty() && !names[1].is_empty(), "{names:?}");
        if version.is_v5() {
            for (client, name) in [(&first, &names[0]), (&second, &names[1])] {
                let connack = client.connack().expect("a CONNACK");
                assert_eq!(connack.assigned_client_identifier.as_ref(), Some(name));
            }
        }
        first.expect_nothing_before_pong();
        second.expect_nothing_before_pong();
        // The invented name is a name as any other.
        let mut successor = broker.client(version, &names[0]);
        assert_eq!(successor.connack().expect("a CONNACK").assigned_client_identifier, None);
        first.expect_refused(ReasonCode::SessionTakenOver);
        successor.expect_nothing_before_pong();
        second.expect_nothing_before_pong();
    }
}

#[test]
fn an_invented_identifier_is_not_one_that_a_session_has() {
    spec!("MQTT5-3.2.2-16", "MQTT5-3.1.3-6", "MQTT311-3.1.3-6");
    for version in [Version::V3_1_1, Version::V5_0] {
        // Brokers with the same seed invent the same names.
        let broker = Broker::new();
        let _client = broker.client(version, "");
        let next = connected(&broker).remove(0);
        let broker = Broker::new();
        let mut owner = broker.client(version, &next);
        let _client = broker.client(version, "");
        let names = connected(&broker);
        assert_eq!(names[0], next);
        assert_ne!(names[1], next);
        owner.expect_nothing_before_pong();
    }
}

#[test]
fn an_invented_identifier_is_not_one_that_is_stored() {
    spec!("MQTT5-3.2.2-16");
    let connect = OwnedConnect::v5("").session_expiry_interval(60);
    let assigned = |broker: &Broker| {
        let client = broker.connect(&connect);
        let connack = client.connack().expect("it is connected");
        assert!(!connack.session_present);
        connack.assigned_client_identifier.clone().expect("it has got one")
    };
    // The same numbers lead to the same identifiers.
    let [taken, same] = [storing(), storing()].map(|broker| assigned(&broker));
    assert_eq!(taken, same);
    let broker = storing();
    broker.restore(vec![Restored::Session(Box::new(stored_session(1, &taken)))]);
    assert_ne!(assigned(&broker), taken);
}

#[test]
fn an_identifier_that_somebody_takes_during_authentication_is_invented_anew() {
    spec!("MQTT5-3.2.2-16");
    let broker = asking();
    let mut nameless = broker.open();
    nameless.send_connect(&OwnedConnect::v5(""));
    let asked = broker.asked();
    let Effect::Authenticate { token, credentials, .. } = asked else { panic!("{asked:?}") };
    let mut owner = broker.open();
    owner.send_connect(&OwnedConnect::v5(&credentials.client_id));
    broker.answer();
    owner.expect_connack_with(ReasonCode::Success);
    broker.input(Input::Authenticated { token, outcome: Ok(Default::default()) });
    let connack = nameless.expect_connack_with(ReasonCode::Success);
    let assigned = connack.assigned_client_identifier.expect("an assigned identifier");
    assert_ne!(*assigned, *credentials.client_id);
    owner.expect_nothing_before_pong();
}

#[test]
fn an_empty_identifier_without_a_clean_session_is_refused() {
    spec!("MQTT311-3.1.3-7", "MQTT311-3.1.3-8");
    let broker = Broker::new();
    let mut client = broker.open();
    client.send_connect(&OwnedConnect::v311("").clean_start(false));
    client.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
    client.expect_closed();
    // In 5.0 it may go with any session.
    let mut client = broker.connect(&lasting(Version::V5_0, ""));
    client.expect_nothing_before_pong();
}

#[test]
fn an_empty_identifier_is_refused_in_3_1() {
    spec!("MQTT31-3.1-5");
    for clean_start in [true, false] {
        let mut client = Broker::new().open();
        client.send_connect(&OwnedConnect::v31("").clean_start(clean_start));
        client.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
        client.expect_closed();
    }
}

#[test]
fn an_identifier_that_is_too_long_is_refused_as_such() {
    spec!("MQTT5-3.1.3-8", "MQTT311-3.1.3-9");
    for version in VERSIONS {
        let broker = Broker::with(|settings| settings.limits.client_id_bytes_max = 30);
        let mut client = broker.open();
        let name = "x".repeat(31);
        client.send_connect(&OwnedConnect::new(version, &name));
        client.expect_connack_with(ReasonCode::ClientIdentifierNotValid);
        client.expect_closed();
        let refused = broker.events().into_iter().find_map(|event| match event {
            Event::Refused { client_id, .. } => Some(client_id),
            _ => None,
        });
        assert_eq!(refused, Some(Some(name.into())));
        let mut client = broker.client(version, &"x".repeat(30));
        client.expect_nothing_before_pong();
    }
}
