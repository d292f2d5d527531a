//! Connections to which an acknowledgement means less than to others: what they have is in memory
//! only, and what others are promised is kept all the same.

use noctule_broker_core::{
    Authentication, Durability, Effect, Event, Input, Record, Reference, Settings, ShardId,
};
use noctule_packet::{PacketId, PacketType, QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting, placement_of, shards};
use crate::stored::storing_with;

/// All of this is about one shard, whatever others there are.
const NAMES: [&str; 8] =
    ["a", "keeps", "publisher", "t", "retained", "kept", "$share/g/t", "others"];

/// A broker with a store, in which users decide what an acknowledgement means to them.
fn deciding() -> Broker {
    deciding_with(|_| {})
}

fn deciding_with(change: impl FnOnce(&mut Settings)) -> Broker {
    storing_with(|settings| {
        settings.placement = placement_of(shards(), &NAMES.map(|name| (name, 0)));
        settings.listeners[0].authentication = Authentication::Ask;
        change(settings);
    })
}

fn in_memory(version: Version, client_id: &str) -> OwnedConnect {
    lasting(version, client_id).user_name("memory")
}

fn absent(broker: &Broker, version: Version, client_id: &str) {
    broker.lasting(version, client_id).subscribe(&[("t", QoS::ExactlyOnce)]);
}

/// Everything that was recorded since the last call is durable from now on.
fn settle(broker: &Broker) {
    broker.end_turn();
    broker.keep_all();
    broker.records();
    broker.leisurely();
}

#[track_caller]
fn expect_no_record(broker: &Broker) {
    broker.end_turn();
    assert!(broker.has_asked_nothing());
    assert_eq!(broker.leisurely(), []);
}

/// What a client may do with everything that is kept of others.
fn live(broker: &Broker, connect: &OwnedConnect) {
    let mut client = broker.connect(&connect.clone().will(OwnedWill::new("w", "x").retain(true)));
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
    for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
        client.publish_with(&OwnedPublish::new("t", "x", qos).retain(true));
        client.receive();
    }
    client.send_publish(&OwnedPublish::new("t", "y", QoS::ExactlyOnce).packet_id(9));
    assert_eq!(client.expect_publish().text(), "y");
    client.expect_pubrec(9);
    drop(client);
    broker.client(connect.version, "publisher").publish("t", "z", QoS::AtLeastOnce);
}

#[test]
fn what_a_client_has_in_memory_mode_is_never_recorded() {
    for version in VERSIONS {
        // By its listener, and by its user.
        let of_listener = storing_with(|settings| {
            settings.listeners[0].durability = Some(Durability::Memory);
        });
        for (broker, connect) in
            [(of_listener, lasting(version, "a")), (deciding(), in_memory(version, "a"))]
        {
            live(&broker, &connect);
            broker.end_turn();
            let trace = broker.trace();
            assert!(!trace.iter().any(|step| step == "Persist"), "{trace:?}");
            let gauges = broker.look(|shards| shards.gauges());
            assert_eq!((gauges.sessions_stored, gauges.queued_messages), (0, 1));
            // It is there until the broker ends.
            let mut client = broker.connect(&connect);
            assert_eq!(broker.look(|shards| shards.gauges()).clients_in_memory, 1);
            assert_eq!(client.receive().text(), "y");
            assert_eq!(client.receive().text(), "z");
            client.send_ack(PacketType::Pubrel, 9, ReasonCode::Success);
            client.expect_pubcomp(9);
        }
    }
}

#[test]
fn a_user_decides_before_its_listener_and_no_one_has_more_than_the_broker() {
    let memory = |settings: &mut Settings| {
        settings.listeners[0].durability = Some(Durability::Memory);
    };
    let broker = deciding_with(memory);
    drop(broker.connect(&lasting(Version::V5_0, "a").user_name("stored")));
    assert_eq!(broker.look(|shards| shards.gauges()).sessions_stored, 1);
    drop(broker.connect(&lasting(Version::V5_0, "keeps")));
    assert_eq!(broker.look(|shards| shards.gauges()).sessions_stored, 1);
    let broker = deciding_with(|settings| settings.durability = Durability::Memory);
    drop(broker.connect(&lasting(Version::V5_0, "a").user_name("stored")));
    assert!(!broker.trace().iter().any(|step| step == "Persist"));
}

/// The names of what the broker says acknowledgements mean, in CONNACK and in the event.
fn told(broker: &Broker, connect: &OwnedConnect) -> (Vec<(String, String)>, &'static str) {
    broker.events();
    let mut client = broker.open();
    client.send_connect(connect);
    let connack = client.expect_connack_with(ReasonCode::Success);
    let durability = broker.events().into_iter().find_map(|event| match event {
        Event::Connected { durability, .. } => Some(durability.name()),
        _ => None,
    });
    (connack.user_properties, durability.expect("it is connected"))
}

#[test]
fn a_client_is_told_what_an_acknowledgement_means_only_where_the_listener_says_so() {
    for (of_broker, name) in [(Durability::Stored, "local"), (Durability::Interval, "interval")] {
        for tells in [false, true] {
            let broker = deciding_with(|settings| {
                settings.durability = of_broker;
                settings.listeners[0].tell_durability = tells;
            });
            let property = |value: &str| Vec::from([("durability".to_owned(), value.to_owned())]);
            for (connect, value) in
                [(lasting(Version::V5_0, "a"), name), (in_memory(Version::V5_0, "keeps"), "memory")]
            {
                let expected = if tells { property(value) } else { Vec::new() };
                assert_eq!(told(&broker, &connect), (expected, value));
            }
            let (properties, _) = told(&broker, &lasting(Version::V3_1_1, "publisher"));
            assert_eq!(properties, []);
        }
    }
}

#[test]
fn what_is_published_in_memory_mode_is_kept_for_others_and_acknowledged_at_once() {
    for version in VERSIONS {
        for qos in [QoS::AtLeastOnce, QoS::ExactlyOnce] {
            let broker = deciding();
            absent(&broker, version, "keeps");
            let mut publisher =
                broker.connect(&OwnedConnect::new(version, "publisher").user_name("memory"));
            let mut waits = broker.client(version, "others");
            settle(&broker);
            broker.hold();
            // Twice: the second time the topic is known.
            for packet_id in [1, 2] {
                let publish = OwnedPublish::new("t", "x", qos).packet_id(packet_id);
                publisher.send_publish(&publish);
                match qos {
                    QoS::ExactlyOnce => drop(publisher.expect_pubrec(packet_id)),
                    _ => drop(publisher.expect_puback(packet_id)),
                }
                assert!(matches!(broker.record(), Record::Queued { .. } | Record::QueuedRun(_)));
            }
            waits.send_publish(&OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(3));
            waits.expect_nothing_before_pong();
            broker.keep_all();
            waits.expect_puback(3);
        }
    }
}

#[test]
fn a_run_of_plain_publications_in_memory_mode_is_acknowledged_at_once() {
    let broker = deciding();
    let mut receiver = broker.lasting(Version::V5_0, "keeps");
    receiver.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher =
        broker.connect(&OwnedConnect::new(Version::V5_0, "publisher").user_name("memory"));
    publisher.publish("t", "first", QoS::AtLeastOnce);
    receiver.receive();
    settle(&broker);
    broker.hold();
    for packet_id in 1..=5 {
        let publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(packet_id);
        publisher.send_publish(&publish);
        publisher.expect_puback(packet_id);
        assert_eq!(receiver.expect_publish().text(), "x");
    }
    assert_eq!(broker.records().len(), 5);
}

#[test]
fn with_several_shards_the_answer_waits_for_no_disk_either() {
    for plain in [true, false] {
        let homes = [("publisher", 0), ("keeps", 1), ("t", 1)];
        let broker = Broker::placed(2, &homes, |settings| {
            settings.durability = Durability::Stored;
            settings.listeners[0].authentication = Authentication::Ask;
        });
        absent(&broker, Version::V5_0, "keeps");
        let connect = OwnedConnect::new(Version::V5_0, "publisher");
        let mut publisher = broker.connect(&connect.user_name("memory"));
        publisher.publish("t", "first", QoS::AtLeastOnce);
        settle(&broker);
        broker.hold();
        for packet_id in 1..=3 {
            let publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce).packet_id(packet_id);
            publisher.send_publish(&publish.retain(!plain));
            publisher.expect_puback(packet_id);
        }
        let records = broker.records();
        let is_run = |record: &Record| matches!(record, Record::QueuedRun(_));
        assert!(records.iter().all(|it| matches!(it, Record::Queued { .. }) || is_run(it)));
        assert_eq!(records.iter().any(is_run), plain);
        assert_eq!(records.len(), 3);
    }
}

#[test]
fn a_retained_message_of_memory_mode_takes_the_place_of_a_stored_one_for_good() {
    for version in VERSIONS {
        let broker = deciding();
        let mut keeps = broker.client(version, "keeps");
        let mut client = broker.connect(&OwnedConnect::new(version, "a").user_name("memory"));
        settle(&broker);
        broker.hold();
        let retained =
            |payload: &str| OwnedPublish::new("retained", payload, QoS::AtLeastOnce).retain(true);
        let mut publish = |payload: &str| {
            client.send_publish(&retained(payload).packet_id(1));
            client.expect_puback(1);
        };
        publish("memory");
        publish("");
        publish("memory");
        assert!(broker.has_asked_nothing(), "the store has never had any");
        keeps.send_publish(&retained("stored").packet_id(1));
        let Record::Retained { message, .. } = broker.record() else { panic!("it is not stored") };
        assert_eq!(&*message.payload, b"stored");
        broker.kept();
        keeps.expect_puback(1);
        publish("memory");
        assert!(matches!(broker.record(), Record::RetainedRemoved { .. }));
        publish("memory");
        publish("");
        assert!(broker.has_asked_nothing(), "once is enough");
    }
}

#[test]
fn a_session_that_nothing_waits_for_leaves_the_store_when_it_comes_in_memory_mode() {
    for version in VERSIONS {
        let broker = deciding();
        absent(&broker, version, "a");
        settle(&broker);
        let mut client = broker.open();
        client.send_connect(&in_memory(version, "a"));
        let connack = client.expect_connack_with(ReasonCode::Success);
        assert_eq!(connack.session_present, version != Version::V3_1);
        assert_eq!(broker.look(|shards| shards.gauges()).sessions_stored, 0);
        settle(&broker);
        // What it was subscribed to it still is.
        broker.client(version, "publisher").publish("t", "x", QoS::ExactlyOnce);
        assert_eq!(client.receive().text(), "x");
        expect_no_record(&broker);
    }
}

#[test]
fn a_session_stays_in_the_store_until_all_is_done_with_that_waits_there() {
    for version in VERSIONS {
        for put_away in [false, true] {
            let broker = deciding();
            absent(&broker, version, "a");
            let mut publisher = broker.client(version, "publisher");
            for payload in ["1", "2"] {
                publisher.publish("t", payload, QoS::AtLeastOnce);
            }
            if put_away {
                broker.spill();
            }
            settle(&broker);
            let mut client = broker.connect(&in_memory(version, "a"));
            broker.end_turn();
            let stored = || broker.look(|shards| shards.gauges()).sessions_stored;
            assert_eq!(stored(), 1);
            for payload in ["1", "2"] {
                assert_eq!(stored(), 1, "{payload}");
                assert_eq!(client.receive().text(), payload);
                broker.end_turn();
            }
            assert_eq!(stored(), 0);
            let ended = broker.records().iter().any(|it| matches!(it, Record::SessionEnded { .. }));
            assert!(ended || broker.trace().iter().any(|step| step == "Persist"));
            settle(&broker);
            publisher.publish("t", "3", QoS::AtLeastOnce);
            assert_eq!(client.receive().text(), "3");
            expect_no_record(&broker);
        }
    }
}

/// The references of a message that is recorded for one session alone.
fn reference(record: &Record) -> Option<(&[u8], &Reference)> {
    match record {
        Record::Queued { message, references, .. } => {
            let [reference] = &references[..] else { panic!("{record:?}") };
            Some((&message.payload, reference))
        }
        _ => None,
    }
}

#[test]
fn a_session_of_memory_mode_that_is_to_be_kept_is_recorded_as_a_whole() {
    spec!("MQTT5-4.4.0-1", "MQTT311-4.4.0-1");
    let broker = deciding();
    let version = Version::V5_0;
    let mut client = broker.connect(&in_memory(version, "a").receive_maximum(4));
    client.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut publisher = broker.client(version, "publisher");
    let second = QoS::AtLeastOnce;
    for (payload, qos) in [("0", second), ("1", second), ("2", QoS::ExactlyOnce), ("3", second)]
        .into_iter()
        .chain([("4", QoS::ExactlyOnce), ("5", second)])
    {
        publisher.publish("t", payload, qos);
    }
    // The first is done, the second is in flight, the third and the fifth are released, the fourth
    // is done.
    let packet_ids = [1, 2, 3, 4].map(|_| client.expect_publish().packet_id.unwrap());
    assert_eq!(packet_ids, [1, 2, 3, 4]);
    client.send_ack(PacketType::Puback, 1, ReasonCode::Success);
    client.expect_publish();
    for packet_id in [5, 3] {
        client.send_ack(PacketType::Pubrec, packet_id, ReasonCode::Success);
        client.expect_pubrel(packet_id);
    }
    client.send_ack(PacketType::Puback, 4, ReasonCode::Success);
    client.expect_publish();
    client.send_publish(&OwnedPublish::new("x", "x", QoS::ExactlyOnce).packet_id(7));
    client.expect_pubrec(7);
    drop(client);
    publisher.publish("t", "6", QoS::ExactlyOnce);
    settle(&broker);
    broker.hold();
    let mut client = broker.open();
    client.send_connect(&lasting(version, "a"));
    broker.answer();
    let records = broker.records();
    let Record::SessionStarted(terms) = &records[0] else { panic!("{records:?}") };
    assert_eq!((&*terms.client_id, terms.expiry_interval), ("a", 3_600));
    assert!(matches!(&records[1], Record::Subscribed { subscription, .. }
        if &*subscription.filter == "t"));
    let id = |value| PacketId::new(value).unwrap();
    assert!(matches!(&records[2], Record::Received { packet_id, .. } if *packet_id == id(7)));
    assert!(matches!(&records[3], Record::Routed { .. }));
    assert!(matches!(&records[4], Record::Acknowledged { up_to: 0, next, .. } if *next == id(2)));
    let queued: Vec<_> = records.iter().filter_map(reference).collect();
    let payloads: Vec<_> = queued.iter().map(|(payload, _)| *payload).collect();
    assert_eq!(payloads, [&b"1"[..], b"", b"", b"", b"5", b"6"]);
    assert!(queued.iter().map(|(_, to)| to.sequence).eq(1..=6));
    let released = records.iter().filter_map(|record| match record {
        Record::Pubrec { packet_id, .. } => Some(*packet_id),
        _ => None,
    });
    assert!(released.eq([id(5), id(3)]), "in the order in which they were");
    assert!(records.iter().any(|it| matches!(it, Record::Pubcomp { packet_id, .. }
        if *packet_id == id(4))));
    // All of it has to be durable before it is promised.
    assert_eq!(client.connack(), None);
    broker.keep_all();
    assert!(client.expect_connack_with(ReasonCode::Success).session_present);
    client.expect_pubrel(5);
    client.expect_pubrel(3);
    let again = client.expect_publish();
    assert_eq!((again.text(), again.packet_id, again.dup), ("1", Some(2), true));
}

#[test]
fn whoever_needs_nothing_kept_is_let_in_while_the_store_takes_no_more() {
    let broker = deciding();
    for shard in broker.look(|shards| shards.ids().collect::<Vec<ShardId>>()) {
        broker.input_at(shard, Input::StoreRoom { has_room: false });
    }
    let mut client = broker.connect(&in_memory(Version::V5_0, "a"));
    client.subscribe(&[("retained", QoS::AtLeastOnce)]);
    client.publish_with(&OwnedPublish::new("retained", "x", QoS::AtLeastOnce).retain(true));
    client.receive();
    let mut other: Client = broker.open();
    other.send_connect(&lasting(Version::V5_0, "keeps"));
    other.expect_connack_with(ReasonCode::ServerUnavailable);
}

#[test]
fn a_member_of_a_shared_subscription_brings_what_it_has_to_the_store() {
    let broker = deciding();
    let mut member = broker.connect(&in_memory(Version::V5_0, "a"));
    member.subscribe(&[("$share/g/t", QoS::AtLeastOnce)]);
    let mut publisher = broker.client(Version::V5_0, "publisher");
    publisher.publish("t", "sent", QoS::AtLeastOnce);
    member.expect_publish();
    drop(member);
    publisher.publish("t", "waits", QoS::AtLeastOnce);
    settle(&broker);
    assert!(!broker.trace().iter().any(|step| step == "Persist"));
    let mut member = broker.lasting(Version::V5_0, "a");
    assert_eq!(broker.look(|shards| shards.gauges()).sessions_stored, 1);
    let texts: Vec<_> = [member.receive(), member.receive()].map(|it| it.text().to_owned()).into();
    assert_eq!(texts, ["sent", "waits"]);
    drop(member);
    // From now on the group is kept.
    settle(&broker);
    broker.hold();
    publisher.send_publish(&OwnedPublish::new("t", "kept", QoS::AtLeastOnce).packet_id(9));
    publisher.expect_nothing_before_pong();
    broker.keep_all();
    publisher.expect_puback(9);
}

/// Takes so many messages, all of them or none for the second time, and acknowledges none.
#[track_caller]
fn take(client: &mut Client, count: u16, dup: bool) {
    for packet_id in 1..=count {
        let message = client.expect_publish();
        assert_eq!((message.packet_id, message.dup), (Some(packet_id), dup));
    }
    client.expect_nothing_before_pong();
}

#[test]
fn however_much_is_in_flight_in_memory_mode_the_store_knows_how_far_it_was_sent() {
    spec!("MQTT5-2.2.1-3", "MQTT5-4.4.0-1");
    // As many as a store would have had sent, more, and all that there can be.
    for in_flight in [33_792, 33_793, 65_534] {
        let broker = deciding_with(|settings| {
            settings.limits.in_flight_max = u16::MAX;
            settings.limits.receive_maximum = u16::MAX;
        });
        let mut client = broker.connect(&in_memory(Version::V5_0, "a"));
        client.subscribe(&[("t", QoS::AtLeastOnce)]);
        let mut publisher = broker.client(Version::V5_0, "publisher");
        let mut publish = |count| {
            for packet_id in 1..=count {
                let publish = OwnedPublish::new("t", "x", QoS::AtLeastOnce);
                publisher.send_publish(&publish.packet_id(packet_id));
            }
        };
        publish(in_flight);
        take(&mut client, in_flight, false);
        drop(client);
        publish(40);
        settle(&broker);
        broker.hold();
        let mut client = broker.open();
        client.send_connect(&lasting(Version::V5_0, "a"));
        broker.answer();
        let records = broker.records();
        let Record::SessionStarted(terms) = &records[0] else { panic!("{:?}", records[0]) };
        // No further, either: a packet identifier would be there twice.
        assert_eq!(terms.may_send, Some(in_flight.into()));
        let places = records.iter().filter_map(reference).map(|(_, to)| to.sequence);
        assert!(places.eq(1..=u64::from(in_flight) + 40));
        broker.keep_all();
        client.expect_connack_with(ReasonCode::Success);
        take(&mut client, in_flight, true);
        // The next ones are sent when the store knows of them.
        for packet_id in 1..=in_flight - 30_000 {
            client.send_puback(packet_id);
        }
        client.expect_nothing_before_pong();
        broker.end_turn();
        broker.keep_all();
        assert_eq!(client.receive_all().len(), 40);
    }
}

/// A client in memory mode publishes with QoS 2 while its session is in the store, and once more
/// when nothing is left there.
fn leaves_with_work(broker: &Broker, version: Version) -> Client {
    absent(broker, version, "a");
    broker.client(version, "publisher").publish("t", "waits", QoS::AtLeastOnce);
    let mut client = broker.connect(&in_memory(version, "a"));
    let waits = client.expect_publish().packet_id.expect("it has one");
    client.unsubscribe(&["t"]);
    settle(broker);
    broker.hold();
    client.send_publish(&OwnedPublish::new("t", "1", QoS::ExactlyOnce).packet_id(1));
    assert!(matches!(broker.record(), Record::Received { .. }));
    client.send_ack(PacketType::Puback, waits, ReasonCode::Success);
    broker.end_turn();
    assert!(matches!(broker.record(), Record::SessionEnded { .. }));
    client.send_publish(&OwnedPublish::new("t", "2", QoS::ExactlyOnce).packet_id(2).retain(true));
    client
}

#[test]
fn what_is_published_in_memory_mode_does_not_overtake_what_waits_for_the_store() {
    spec!("MQTT5-4.6.0-5", "MQTT311-4.6.0-5");
    for version in VERSIONS {
        let broker = deciding();
        let mut receiver = broker.client(version, "others");
        receiver.subscribe(&[("t", QoS::ExactlyOnce)]);
        let mut publisher = leaves_with_work(&broker, version);
        assert_eq!(receiver.receive().text(), "waits");
        receiver.expect_nothing_before_pong();
        broker.keep_all();
        publisher.expect_pubrec(1);
        publisher.expect_pubrec(2);
        assert_eq!([receiver.receive().text(), receiver.receive().text()], ["1", "2"]);
    }
}

#[test]
fn what_is_still_on_its_way_when_its_publisher_comes_to_the_store_is_known_there() {
    spec!("MQTT5-4.3.3-9", "MQTT5-4.3.3-10", "MQTT311-4.3.3-2");
    for is_refused in [false, true] {
        let broker = deciding_with(|settings| settings.limits.retained_messages_max = 1);
        drop(leaves_with_work(&broker, Version::V5_0));
        let mut publisher = broker.open();
        publisher.send_connect(&lasting(Version::V5_0, "a"));
        broker.answer();
        let received = |record: &Record| match record {
            Record::Received { packet_id, .. } => Some(packet_id.value()),
            _ => None,
        };
        assert!(broker.records().iter().filter_map(received).eq([1, 2]));
        if is_refused {
            let mut other = broker.open();
            other.send_connect(&OwnedConnect::new(Version::V5_0, "others"));
            broker.answer();
            other.expect_connack_with(ReasonCode::Success);
            other.publish_with(&OwnedPublish::new("retained", "x", QoS::AtMostOnce).retain(true));
        }
        broker.keep_all();
        publisher.expect_connack_with(ReasonCode::Success);
        // Its packet identifier is free for something else.
        let released = |record: &Record| match record {
            Record::Released { packet_id, .. } => Some(packet_id.value()),
            _ => None,
        };
        assert!(broker.records().iter().filter_map(released).eq(is_refused.then_some(2)));
    }
}

/// A client whose QoS 2 publication is on its way to another shard comes from memory mode to the
/// store; and its receiver.
fn comes_with_work() -> (Broker, Client, Client) {
    let homes = [("a", 0), ("others", 1), ("t", 0)];
    let broker = Broker::placed(2, &homes, |settings| {
        settings.durability = Durability::Stored;
        settings.listeners[0].authentication = Authentication::Ask;
    });
    let mut receiver = broker.client(Version::V5_0, "others");
    receiver.subscribe(&[("t", QoS::ExactlyOnce)]);
    let mut publisher = broker.connect(&in_memory(Version::V5_0, "a"));
    broker.hold_mail();
    publisher.send_publish(&OwnedPublish::new("t", "1", QoS::ExactlyOnce).packet_id(7));
    drop(publisher);
    let mut publisher = broker.open();
    publisher.send_connect(&lasting(Version::V5_0, "a"));
    broker.answer_first(|asked| matches!(asked, Effect::Authenticate { .. }));
    broker.keep_all();
    publisher.expect_connack_with(ReasonCode::Success);
    assert!(!broker.records().iter().any(is_received), "a crash now would lose it");
    (broker, publisher, receiver)
}

fn is_received(record: &Record) -> bool {
    matches!(record, Record::Received { .. })
}

fn deliver_letters(broker: &Broker) {
    while !broker.letters().is_empty() {
        broker.answer_first(|asked| matches!(asked, Effect::ToShard { .. }));
    }
}

#[test]
fn what_is_not_yet_with_all_when_its_publisher_comes_to_the_store_is_known_there_before_its_answer()
{
    spec!("MQTT5-4.3.3-10", "MQTT311-4.3.3-2");
    let (broker, mut publisher, mut receiver) = comes_with_work();
    publisher.send_publish(&OwnedPublish::new("t", "1", QoS::ExactlyOnce).packet_id(7).dup(true));
    deliver_letters(&broker);
    publisher.expect_nothing_before_pong();
    assert_eq!(broker.records().iter().filter(|record| is_received(record)).count(), 1);
    broker.keep_all();
    publisher.expect_pubrec(7);
    assert_eq!(receiver.receive().text(), "1");
    receiver.expect_nothing_before_pong();
}

#[test]
fn what_was_released_on_its_way_is_not_known_in_the_store_for_ever() {
    let (broker, mut publisher, mut receiver) = comes_with_work();
    // Without having waited for PUBREC.
    publisher.send_ack(PacketType::Pubrel, 7, ReasonCode::Success);
    deliver_letters(&broker);
    broker.keep_all();
    deliver_letters(&broker);
    publisher.expect_pubcomp(7);
    let records = broker.records();
    let last = records.iter().rposition(is_received);
    let released = records.iter().rposition(|it| matches!(it, Record::Released { .. }));
    assert!(released.is_some() && last < released, "{records:?}");
    assert_eq!(receiver.receive().text(), "1");
}
