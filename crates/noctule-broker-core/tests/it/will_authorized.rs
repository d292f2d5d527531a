//! Wills under authorisation: asked about when they are due, like any other publication.

use noctule_broker_core::{Authentication, Authorization, Effect, Event, Input, Question};
use noctule_packet::{QoS, ReasonCode, Version};
use noctule_testkit::{OwnedConnect, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting};

/// A broker that asks about everything, and a client that sees what is published.
fn watched(version: Version) -> (Broker, Client) {
    let broker = Broker::with(|settings| settings.authorization = Authorization::Ask);
    let mut watcher = broker.client(version, "watcher");
    watcher.subscribe(&[("#", QoS::AtLeastOnce)]);
    (broker, watcher)
}

fn is_refused(event: &Event) -> bool {
    matches!(
        event,
        Event::PacketRefused { reason, .. } if reason.code == ReasonCode::NotAuthorized
    )
}

#[test]
fn a_will_that_its_client_may_not_publish_is_dropped() {
    for version in VERSIONS {
        for retain in [false, true] {
            let (broker, mut watcher) = watched(version);
            let will = OwnedWill::new("secret/a", "gone").retain(retain);
            drop(broker.connect(&OwnedConnect::new(version, "a").will(will)));
            watcher.expect_nothing_before_pong();
            assert_eq!(broker.events().iter().filter(|event| is_refused(event)).count(), 1);
            assert_eq!(broker.look(|shard| shard.statistics().publish_refused), 1);
            assert_eq!(broker.look(|shard| shard.gauges().retained_messages), 0);
            let will = OwnedWill::new("open/a", "gone").retain(retain);
            drop(broker.connect(&OwnedConnect::new(version, "a").will(will)));
            assert_eq!(watcher.receive().text(), "gone");
            assert!(!broker.events().iter().any(is_refused));
        }
    }
}

#[test]
fn the_answer_may_come_when_the_session_is_gone_or_has_another_connection() {
    for (clean_start, back) in [(true, false), (false, false), (false, true)] {
        let (broker, mut watcher) = watched(Version::V5_0);
        broker.hold();
        let connect = lasting(Version::V5_0, "a").clean_start(clean_start);
        let will = OwnedWill::new("open/a", "gone").qos(QoS::AtLeastOnce);
        drop(broker.connect(&connect.will(will)));
        if clean_start {
            broker.advance_seconds(3_600);
        }
        let _back = back.then(|| broker.lasting(Version::V5_0, "a"));
        watcher.expect_nothing_before_pong();
        let Effect::Authorize { token, client_id, question, .. } = broker.asked() else {
            panic!("not asked about the will");
        };
        assert_eq!(&*client_id, "a");
        let expected = Question::Publish { topic: "open/a".into(), retain: false };
        assert_eq!(question, expected);
        broker.input(Input::Authorized { token, allowed: true });
        assert_eq!(watcher.receive().text(), "gone");
        // It is published once, whoever answers twice.
        broker.input(Input::Authorized { token, allowed: true });
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn wills_that_wait_are_told_apart() {
    let (broker, mut watcher) = watched(Version::V5_0);
    broker.hold();
    for name in ["a", "b", "c"] {
        let will = OwnedWill::new("open/will", name);
        drop(broker.connect(&OwnedConnect::v5(name).will(will)));
    }
    let tokens = [(); 3].map(|()| match broker.asked_by() {
        (shard, Effect::Authorize { token, client_id, .. }) => (shard, token, client_id),
        other => panic!("{other:?}"),
    });
    for (shard, token, client_id) in tokens.into_iter().rev() {
        let allowed = &*client_id != "b";
        broker.input_at(shard, Input::Authorized { token, allowed });
    }
    assert_eq!(watcher.receive().text(), "c");
    assert_eq!(watcher.receive().text(), "a");
    watcher.expect_nothing_before_pong();
}

#[test]
fn the_question_is_about_whom_the_connection_belonged_to() {
    let broker = Broker::with(|settings| {
        settings.authorization = Authorization::Ask;
        settings.listeners[0].authentication = Authentication::Ask;
    });
    let will = OwnedWill::new("open/a", "gone");
    let owner = OwnedConnect::v5("a").resumable(60).user_name("owner").will(will);
    let old = broker.connect(&owner);
    broker.hold();
    let mut new = broker.open();
    new.send_connect(&OwnedConnect::v5("a").resumable(60).user_name("heir"));
    broker.answer();
    let Effect::Authorize { principal, .. } = broker.asked() else {
        panic!("not asked about the will");
    };
    assert_eq!(principal.user_name.as_deref(), Some("owner"));
    drop(old);
}
