//! What is on disk when the broker dies at once: its directory is copied while it runs, and another
//! broker goes on with the copy, as after `kill -9`. Nothing that was acknowledged may be missing.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use noctule_broker::{Broker, Handle, Limits, QoS, Version};
use noctule_testkit::{OwnedConnect, OwnedPublish, OwnedWill, Peer};

use crate::{DEADLINE, start};

const VERSIONS: [Version; 2] = [Version::V3_1_1, Version::V5_0];

/// A directory of one test, which goes with it.
pub(crate) struct Directory(pub(crate) PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("noctule-durable-{}-{number}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }

    /// What a crash at this moment would leave.
    pub(crate) fn crashed(&self) -> Self {
        let copy = Self::new();
        fs::create_dir(&copy.0).unwrap();
        for entry in fs::read_dir(&self.0).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() {
                fs::copy(entry.path(), copy.0.join(entry.file_name())).unwrap();
            }
        }
        copy
    }

    pub(crate) fn start(&self) -> (Handle, SocketAddr) {
        start(Broker::builder().data(&self.0))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all::<&Path>(&self.0);
    }
}

fn lasting(version: Version, client_id: &str) -> OwnedConnect {
    let expiry = version.is_v5().then_some(1_000);
    let connect = OwnedConnect::new(version, client_id);
    OwnedConnect { clean_start: false, session_expiry_interval: expiry, ..connect }
}

/// A client with a session that stays, and whether there was one.
#[track_caller]
pub(crate) fn open(address: SocketAddr, version: Version, client_id: &str) -> (Peer, bool) {
    let mut peer = Peer::connect(address);
    let session_present = peer.open(&lasting(version, client_id)).session_present;
    (peer, session_present)
}

#[test]
fn what_was_acknowledged_waits_for_its_receivers_behind_a_crash() {
    for version in VERSIONS {
        let directory = Directory::new();
        let (broker, address) = directory.start();
        for receiver in 0..4 {
            let (mut peer, present) = open(address, version, &format!("receiver-{receiver}"));
            assert!(!present);
            peer.subscribe(&[("t/#", QoS::ExactlyOnce)]);
        }
        let mut publisher = Peer::connect_with(address, &OwnedConnect::new(version, "publisher"));
        for number in 0..50 {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish(&format!("t/{}", number % 3), number.to_string(), qos);
        }
        let crashed = directory.crashed();
        let (heir, address) = crashed.start();
        for receiver in 0..4 {
            let (mut peer, present) = open(address, version, &format!("receiver-{receiver}"));
            assert!(present);
            for number in 0..50 {
                assert_eq!(peer.receive().text(), number.to_string());
            }
            peer.expect_nothing_before_pong();
        }
        // A broker that is stopped knows what they have acknowledged.
        heir.stop_blocking(DEADLINE).unwrap();
        let (heir, address) = crashed.start();
        let (mut peer, present) = open(address, version, "receiver-2");
        assert!(present);
        peer.expect_nothing_before_pong();
        heir.stop_blocking(DEADLINE).unwrap();
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

#[test]
fn subscriptions_retained_messages_and_ended_sessions_are_as_they_were() {
    let directory = Directory::new();
    let (_broker, address) = directory.start();
    let version = Version::V5_0;
    let (mut keeps, _) = open(address, version, "keeps");
    keeps.subscribe(&[("a", QoS::AtLeastOnce), ("b", QoS::AtLeastOnce), ("c", QoS::AtLeastOnce)]);
    keeps.unsubscribe(&["b"]);
    let (mut cleans, _) = open(address, version, "cleans");
    cleans.subscribe(&[("a", QoS::AtLeastOnce)]);
    let mut cleans = Peer::connect_with(address, &OwnedConnect::v5("cleans"));
    for (topic, payload) in [("r/1", "old"), ("r/2", "gone"), ("r/1", "new"), ("r/2", "")] {
        let publish = OwnedPublish::new(topic, payload, QoS::AtLeastOnce).retain(true);
        cleans.publish_with(&publish.packet_id(7));
    }
    let crashed = directory.crashed();
    let (_heir, address) = crashed.start();
    let (_, present) = open(address, version, "cleans");
    assert!(!present, "a session that was given up does not come back");
    let (mut keeps, present) = open(address, version, "keeps");
    assert!(present);
    let mut publisher = Peer::v5(address, "publisher");
    for topic in ["b", "a", "c"] {
        publisher.publish(topic, topic, QoS::AtLeastOnce);
    }
    assert_eq!([keeps.receive().text(), keeps.receive().text()], ["a", "c"]);
    publisher.subscribe(&[("r/#", QoS::AtLeastOnce)]);
    let retained = publisher.receive();
    assert_eq!((&*retained.topic, retained.text(), retained.retain), ("r/1", "new", true));
    publisher.expect_nothing_before_pong();
}

#[test]
fn a_will_is_published_behind_a_crash_even_for_a_session_that_is_not_kept() {
    let directory = Directory::new();
    let (_broker, address) = directory.start();
    let (mut reader, _) = open(address, Version::V5_0, "reader");
    reader.subscribe(&[("will/#", QoS::AtLeastOnce)]);
    let will = |topic: &str| OwnedWill::new(topic, "gone").qos(QoS::AtLeastOnce);
    let _short = Peer::connect_with(address, &OwnedConnect::v5("short").will(will("will/short")));
    let lasting = lasting(Version::V5_0, "long");
    let _long = Peer::connect_with(address, &lasting.will(will("will/long")));
    let polite = OwnedConnect::v5("polite").will(will("will/no"));
    let polite = Peer::connect_with(address, &polite);
    polite.disconnect();
    // Nobody says when a DISCONNECT is on disk; this CONNACK comes behind it.
    drop(open(address, Version::V5_0, "polite"));
    let crashed = directory.crashed();
    let (_heir, address) = crashed.start();
    let (mut reader, present) = open(address, Version::V5_0, "reader");
    assert!(present);
    let mut topics = [reader.receive().topic, reader.receive().topic];
    topics.sort();
    assert_eq!(topics.map(|topic| topic.to_string()), ["will/long", "will/short"]);
    reader.expect_nothing_before_pong();
}

#[test]
fn a_qos_2_handshake_goes_on_where_it_was() {
    for version in VERSIONS {
        let directory = Directory::new();
        let (_broker, address) = directory.start();
        let (mut reader, _) = open(address, version, "reader");
        reader.subscribe(&[("t", QoS::ExactlyOnce)]);
        let (mut publisher, _) = open(address, version, "publisher");
        let publish = OwnedPublish::new("t", "once", QoS::ExactlyOnce).packet_id(9);
        publisher.send_publish(&publish);
        publisher.expect_pubrec(9);
        let sent = reader.expect_publish();
        let crashed = directory.crashed();
        let (_heir, address) = crashed.start();
        let (mut publisher, present) = open(address, version, "publisher");
        assert!(present);
        publisher.send_publish(&publish.dup(true));
        publisher.expect_pubrec(9);
        publisher.send_pubrel(9);
        publisher.expect_pubcomp(9);
        let (mut reader, present) = open(address, version, "reader");
        assert!(present);
        let again = reader.expect_publish();
        assert_eq!((again.packet_id, again.dup), (sent.packet_id, true));
        let id = sent.packet_id.unwrap();
        reader.send_pubrec(id);
        reader.expect_pubrel(id);
        // The PUBREC is on disk before the PUBREL leaves.
        let again = crashed.crashed();
        let (_next, address) = again.start();
        let (mut reader, present) = open(address, version, "reader");
        assert!(present);
        reader.expect_pubrel(id);
        reader.send_pubcomp(id);
        reader.expect_nothing_before_pong();
    }
}

#[test]
fn what_waits_for_any_member_of_a_shared_subscription_waits_behind_a_crash() {
    let directory = Directory::new();
    let (_broker, address) = directory.start();
    let filters = [("$share/g/t", QoS::ExactlyOnce)];
    for member in ["one", "other"] {
        open(address, Version::V5_0, member).0.subscribe(&filters);
    }
    let (mut ends, _) = open(address, Version::V5_0, "ends");
    ends.subscribe(&filters);
    let mut publisher = Peer::v5(address, "publisher");
    for number in 0..10 {
        let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
        publisher.publish("t", number.to_string(), qos);
    }
    // It has got all of them, and is over before it acknowledges any.
    for number in 0..10 {
        assert_eq!(ends.expect_publish().text(), number.to_string());
    }
    drop(ends);
    drop(Peer::connect_with(address, &OwnedConnect::v5("ends")));
    for number in 10..15 {
        publisher.publish("t", number.to_string(), QoS::AtLeastOnce);
    }
    let crashed = directory.crashed();
    let (heir, address) = crashed.start();
    let (mut one, present) = open(address, Version::V5_0, "one");
    assert!(present);
    let mut numbers: Vec<u32> = (0..10).map(|_| one.receive().text().parse().unwrap()).collect();
    one.expect_nothing_before_pong();
    numbers.sort_unstable();
    // What has been sent with QoS 2 ends with its session.
    assert_eq!(numbers, [0, 2, 4, 6, 8, 10, 11, 12, 13, 14]);
    heir.stop_blocking(DEADLINE).unwrap();
    let (_next, address) = crashed.start();
    for member in ["one", "other"] {
        open(address, Version::V5_0, member).0.expect_nothing_before_pong();
    }
}

#[test]
fn a_directory_belongs_to_one_broker() {
    let directory = Directory::new();
    let (broker, _) = directory.start();
    let error = Broker::builder().data(&directory.0).start().unwrap_err();
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(text.contains("in use by another process"), "{text}");
    broker.stop_blocking(DEADLINE).unwrap();
    directory.start().0.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_queue_that_takes_much_memory_waits_on_disk_and_comes_back_in_order() {
    let directory = Directory::new();
    let broker = |memory_mebibytes: u64| {
        let mut limits = Limits::default();
        limits.queue_bytes_max = u64::MAX;
        limits.memory_bytes_max = memory_mebibytes * 1024 * 1024;
        start(Broker::builder().data(&directory.0).limits(limits))
    };
    let (first, address) = broker(160);
    let (mut receiver, _) = open(address, Version::V5_0, "receiver");
    receiver.subscribe(&[("t", QoS::ExactlyOnce)]);
    drop(receiver);
    let mut publisher = Peer::connect_with(address, &OwnedConnect::v5("publisher"));
    let payload = |number: usize| [&number.to_be_bytes(), &*vec![b'.'; 512 * 1024]].concat();
    let mut published = 0..;
    let mut publish = |publisher: &mut Peer, count: usize| {
        for number in published.by_ref().take(count) {
            let qos = if number % 2 == 0 { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            publisher.publish("t", payload(number), qos);
        }
    };
    // More than half of what may be in memory: what is full of the log is emptied.
    publish(&mut publisher, 240);
    let (mut receiver, present) = open(address, Version::V5_0, "receiver");
    assert!(present);
    for number in 0..60 {
        assert!(receiver.receive().payload == payload(number), "{number}");
    }
    drop(receiver);
    first.stop_blocking(DEADLINE).unwrap();
    // What the log has is in memory at first.
    let (_second, address) = broker(1_024);
    let mut publisher = Peer::connect_with(address, &OwnedConnect::v5("publisher"));
    publish(&mut publisher, 10);
    let (mut receiver, present) = open(address, Version::V5_0, "receiver");
    assert!(present);
    for number in 60..250 {
        let message = receiver.receive();
        // What was on its way when the first connection broke comes again.
        assert!(message.payload == payload(number), "{number}");
    }
    receiver.expect_nothing_before_pong();
}
