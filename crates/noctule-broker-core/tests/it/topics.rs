//! Which messages reach which subscriber: topic names and filters, seen by clients.

use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{VERSIONS, packet_bytes};

use crate::broker::Broker;
use crate::subscribe::send_subscribe;

const TOPICS: [&str; 12] =
    ["a", "A", "a/", "/a", "a/b", "a/b/c", "a//c", "/", "$a", "$a/b", "b/a", "ab"];

/// Which of [`TOPICS`] each filter stands for.
const FILTERS: [(&str, &[&str]); 14] = [
    ("a", &["a"]),
    ("A", &["A"]),
    ("a/", &["a/"]),
    ("/a", &["/a"]),
    ("+", &["a", "A", "ab"]),
    ("#", &["a", "A", "a/", "/a", "a/b", "a/b/c", "a//c", "/", "b/a", "ab"]),
    ("a/#", &["a", "a/", "a/b", "a/b/c", "a//c"]),
    ("a/+", &["a/", "a/b"]),
    ("+/+", &["a/", "/a", "a/b", "/", "b/a"]),
    ("/+", &["/a", "/"]),
    ("a/+/c", &["a/b/c", "a//c"]),
    ("$a/#", &["$a", "$a/b"]),
    ("$a/+", &["$a/b"]),
    ("+/b", &["a/b"]),
];

#[test]
fn a_subscriber_gets_the_topics_that_its_filter_matches_and_no_others() {
    spec!("MQTT5-3.3.2-3", "MQTT311-3.3.2-3");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut publisher = broker.client(version, "publisher");
        for (filter, expected) in FILTERS {
            let mut client = broker.client(version, "a");
            client.subscribe(&[(filter, QoS::AtMostOnce)]);
            for topic in TOPICS {
                publisher.publish(topic, "", QoS::AtMostOnce);
            }
            for topic in expected {
                assert_eq!(client.receive().topic, *topic, "{filter}");
            }
            client.expect_nothing_before_pong();
            client.disconnect();
        }
    }
}

#[test]
fn every_client_whose_filter_matches_gets_the_message_and_those_that_are_away_later() {
    spec!("MQTT5-4.5.0-1", "MQTT311-4.5.0-1");
    for version in VERSIONS {
        let broker = Broker::new();
        let filters = ["x/y", "x/+", "+/y", "x/#", "#", "$share/g/x/y"];
        let mut clients = Vec::new();
        for (at, filter) in filters.iter().enumerate() {
            let mut client = broker.lasting(version, &format!("client-{at}"));
            client.subscribe(&[(filter, QoS::AtLeastOnce)]);
            clients.push(client);
        }
        // Every second one goes away; its session gets the message all the same.
        let mut online = Vec::new();
        for (at, client) in clients.into_iter().enumerate() {
            if at % 2 == 0 {
                online.push((at, client));
            } else {
                client.disconnect();
            }
        }
        let mut publisher = broker.client(version, "publisher");
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            publisher.publish("x/y", "m", qos);
        }
        for at in (1..filters.len()).step_by(2) {
            online.push((at, broker.lasting(version, &format!("client-{at}"))));
        }
        for (_, mut client) in online {
            assert_eq!(client.receive().text(), "m");
            assert_eq!(client.receive().text(), "m");
            client.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_change_of_subscriptions_counts_from_the_next_message_on() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        for filter in ["x/y", "+/y", "x/#", "#"] {
            client.publish("x/y", "before", QoS::AtMostOnce);
            client.subscribe(&[(filter, QoS::AtMostOnce)]);
            client.publish("x/y", "between", QoS::AtMostOnce);
            assert_eq!(client.receive().text(), "between");
            client.unsubscribe(&[filter]);
            client.publish("x/y", "after", QoS::AtMostOnce);
            client.expect_nothing_before_pong();
        }
    }
}

#[test]
fn share_names_that_are_none_are_refused() {
    spec!("MQTT5-4.8.2-1", "MQTT5-4.8.2-2");
    for version in VERSIONS {
        for filter in ["$share/", "$share//x", "$share/g", "$share/g/", "$share/+/x", "$share/a+/x"]
        {
            let broker = Broker::new();
            let mut client = broker.lasting(version, "a");
            send_subscribe(&mut client, 1, &[(filter, 0)]);
            client.expect_refused(ReasonCode::ProtocolError);
            assert_eq!(broker.look(|shard| shard.gauges().subscriptions), 0, "{filter}");
        }
    }
}

#[test]
fn no_local_on_a_shared_subscription_is_refused() {
    spec!("MQTT5-3.8.3-4");
    let broker = Broker::new();
    let mut client = broker.client(Version::V5_0, "a");
    client.send_bytes(&packet_bytes(0x82, "0001 00 s'$share/g/x' 04"));
    client.expect_refused(ReasonCode::ProtocolError);
}

#[test]
fn what_only_looks_like_a_shared_subscription_is_none() {
    for version in VERSIONS {
        let broker = Broker::new();
        let mut client = broker.client(version, "a");
        for filter in ["$share", "$shared/g/x", "share/g/x", "$SHARE/g/x", "/$share/g/x"] {
            client.subscribe(&[(filter, QoS::AtMostOnce)]);
            assert_eq!(broker.look(|shard| shard.gauges().shared_groups), 0, "{filter}");
        }
        client.publish("x", "m", QoS::AtMostOnce);
        client.expect_nothing_before_pong();
        client.publish("$shared/g/x", "m", QoS::AtMostOnce);
        assert_eq!(client.receive().topic, "$shared/g/x");
    }
}

#[test]
fn subscriptions_that_are_gone_leave_no_trace() {
    for version in VERSIONS {
        let broker = Broker::new();
        for round in 0..3 {
            let mut clients = Vec::new();
            for at in 0..20 {
                let mut client = broker.client(version, &format!("{at}"));
                let filters = [format!("{round}/{at}/+"), format!("$share/{at}/{round}/#")];
                client.subscribe(&[(&filters[0], QoS::AtMostOnce), (&filters[1], QoS::AtMostOnce)]);
                clients.push(client);
            }
            broker.look(|shard| assert_eq!(shard.gauges().subscriptions, 40));
            broker.look(|shard| assert_eq!(shard.gauges().shared_groups, 20));
            drop(clients);
            broker.look(|shard| assert_eq!(shard.gauges().subscriptions, 0));
            broker.look(|shard| assert_eq!(shard.gauges().shared_groups, 0));
        }
    }
}
