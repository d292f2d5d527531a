//! Topic aliases of what is sent: within the server's maximum, and only on their connection.

use noctule_client_core::{AliasPolicy, Publication, PublishRefused};
use noctule_packet::{ConnackProperties, QoS, TopicName, Version, spec};

use crate::world::{World, lasting};

fn world(policy: AliasPolicy, maximum: u16) -> World {
    let mut world = World::new(lasting(Version::V5_0));
    world.session.set_alias_policy(policy);
    connect(&mut world, false, maximum);
    world
}

fn connect(world: &mut World, session_present: bool, maximum: u16) {
    let topic_alias_maximum = Some(maximum).filter(|&maximum| maximum > 0);
    let properties = ConnackProperties { topic_alias_maximum, ..ConnackProperties::default() };
    world.connect_with(session_present, properties);
}

fn publish(world: &mut World, topic: &str, alias: Option<u16>) -> Result<(), PublishRefused> {
    let topic = TopicName::new(topic).unwrap();
    let mut publication = Publication::new(topic, b"").qos(QoS::AtLeastOnce);
    publication.properties.topic_alias = alias;
    world.session.publish(world.now, &publication).map(|_| ())
}

#[test]
fn without_a_policy_or_a_maximum_there_are_none() {
    spec!("MQTT5-3.2.2-18");
    for (policy, maximum) in [(AliasPolicy::None, 9), (AliasPolicy::Lru { maximum: 9 }, 0)] {
        let mut world = world(policy, maximum);
        for _ in 0..2 {
            assert!(publish(&mut world, "a", None).is_ok());
        }
        assert_eq!(world.packets(), ["PUBLISH 1 a:", "PUBLISH 2 a:"]);
    }
}

#[test]
fn an_alias_is_defined_once_on_each_connection() {
    spec!("MQTT5-3.3.2-11", "MQTT5-3.2.2-17");
    let mut world = world(AliasPolicy::Lru { maximum: 9 }, 2);
    for topic in ["a", "b", "a", "c"] {
        assert!(publish(&mut world, topic, None).is_ok());
    }
    let sent =
        ["PUBLISH 1 a: alias 1", "PUBLISH 2 b: alias 2", "PUBLISH 3 : alias 1", "PUBLISH 4 c:"];
    assert_eq!(world.packets(), sent);
    world.cut();
    connect(&mut world, true, 1);
    let sent = [
        "PUBLISH 1 a: dup alias 1",
        "PUBLISH 2 b: dup",
        "PUBLISH 3 : dup alias 1",
        "PUBLISH 4 c: dup",
    ];
    assert_eq!(world.packets(), sent);
}

#[test]
fn the_user_can_choose() {
    spec!("MQTT5-3.3.2-8", "MQTT5-3.3.2-9");
    let mut world = world(AliasPolicy::Manual, 2);
    for (topic, alias) in [("a", Some(2)), ("a", Some(2)), ("b", Some(2)), ("b", None)] {
        assert!(publish(&mut world, topic, alias).is_ok());
    }
    let sent =
        ["PUBLISH 1 a: alias 2", "PUBLISH 2 : alias 2", "PUBLISH 3 b: alias 2", "PUBLISH 4 b:"];
    assert_eq!(world.packets(), sent);
    for alias in [0, 3] {
        let refused = Err(PublishRefused::InvalidValue { option: "topic_alias" });
        assert_eq!(publish(&mut world, "a", Some(alias)), refused);
    }
}

#[test]
fn a_message_that_was_not_written_has_its_topic_again() {
    let mut world = world(AliasPolicy::Lru { maximum: 9 }, 9);
    let topic = TopicName::new("a").unwrap();
    for payload in [b"1", b"2"] {
        assert!(world.session.publish(world.now, &Publication::new(topic, payload)).is_ok());
    }
    world.cut();
    connect(&mut world, true, 0);
    assert_eq!(world.packets(), ["PUBLISH a:1", "PUBLISH a:2"]);
}

/// Publishes at QoS 0, without anything being written, and cuts: the topics that come on a
/// connection without aliases.
fn taken_back(policy: AliasPolicy, maximum: u16, sent: &[(&str, Option<u16>)]) -> Vec<String> {
    let mut world = world(policy, maximum);
    for (topic, alias) in sent {
        let mut publication = Publication::new(TopicName::new(topic).unwrap(), b"");
        publication.properties.topic_alias = *alias;
        assert!(world.session.publish(world.now, &publication).is_ok());
    }
    world.cut();
    connect(&mut world, true, 0);
    world.packets()
}

#[test]
fn an_alias_stands_for_the_topic_that_it_had_when_the_message_was_accepted() {
    let manual = [("a", Some(2)), ("a", Some(2)), ("b", Some(2)), ("b", Some(2))];
    let expected = ["PUBLISH a:", "PUBLISH a:", "PUBLISH b:", "PUBLISH b:"];
    assert_eq!(taken_back(AliasPolicy::Manual, 2, &manual), expected);

    let mut used = vec![("a", None), ("a", None)];
    used.resize(30, ("b", None));
    let expected: Vec<String> = used.iter().map(|(topic, _)| format!("PUBLISH {topic}:")).collect();
    assert_eq!(taken_back(AliasPolicy::Lru { maximum: 1 }, 1, &used), expected);
}

#[test]
fn a_suggestion_that_the_server_does_not_take_is_left_out() {
    let mut world = world(AliasPolicy::Suggested, 5);
    for (topic, alias) in [("a", 5), ("b", 6), ("a", 5), ("c", u16::MAX)] {
        assert!(publish(&mut world, topic, Some(alias)).is_ok());
    }
    let expected = ["PUBLISH 1 a: alias 5", "PUBLISH 2 b:", "PUBLISH 3 : alias 5", "PUBLISH 4 c:"];
    assert_eq!(world.packets(), expected);
    assert!(publish(&mut world, "a", Some(0)).is_err());
}
