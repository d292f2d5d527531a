//! Disks that fail, are full or do not answer: what is not on disk is not acknowledged, what needs
//! no disk goes on, and when the disk is well again everything is as if nothing had been.

use std::net::SocketAddr;

use noctule_broker::{BrokerError, Handle, QoS, StoreStatus, Version};
use noctule_store::Cut;
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer};

use crate::faults::{Disks, FAULTS, Fault};
use crate::{DEADLINE, start, wait};

/// More than any of these tests has on its way.
const ROOM: u64 = 64 * 1024 * 1024;

const V5: Version = Version::V5_0;

fn lasting(client_id: &str) -> OwnedConnect {
    OwnedConnect::v5(client_id).clean_start(false).session_expiry_interval(1_000)
}

/// A client with a session that stays, which has subscribed to `kept/#`.
fn keeper(address: SocketAddr, client_id: &str) -> Peer {
    let mut keeper = Peer::connect_with(address, &lasting(client_id));
    keeper.subscribe(&[("kept/#", QoS::ExactlyOnce)]);
    keeper
}

/// Two clients that want nothing kept.
struct Neighbours(Peer, Peer);

impl Neighbours {
    fn new(address: SocketAddr) -> Self {
        let mut receiver = Peer::v5(address, "neighbour");
        receiver.subscribe(&[("live/#", QoS::ExactlyOnce)]);
        Self(Peer::v5(address, "other neighbour"), receiver)
    }

    /// They exchange messages, whatever the disk does.
    #[track_caller]
    fn go_on(&mut self) {
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            self.0.publish("live/1", "on", qos);
            assert_eq!(self.1.receive().text(), "on");
        }
    }
}

fn publication(number: u16) -> OwnedPublish {
    OwnedPublish::new("kept/1", number.to_string(), QoS::AtLeastOnce).packet_id(number)
}

fn status(broker: &Handle) -> StoreStatus {
    wait(broker.store_status()).unwrap().expect("a store")
}

/// What a broker on these disks has for the keeper: at least so many messages.
fn kept(disks: &Disks, at_least: usize) -> Vec<String> {
    let (broker, address) = start(disks.broker(ROOM));
    let mut keeper = Peer::connect(address);
    assert!(keeper.open(&lasting("keeper")).session_present);
    // What is on disk only comes when it has been read.
    keeper.set_timeout(4 * DEADLINE);
    let mut kept: Vec<_> = (0..at_least).map(|_| keeper.expect_publish()).collect();
    kept.extend(keeper.publishes_before_pong());
    broker.stop_blocking(DEADLINE).unwrap();
    kept.iter().map(|publish| publish.text().to_owned()).collect()
}

#[test]
fn nothing_is_acknowledged_that_is_not_on_disk_and_it_heals() {
    for fault in FAULTS {
        let disks = Disks::default();
        let (broker, address) = start(disks.broker(ROOM));
        drop(keeper(address, "keeper"));
        let mut neighbours = Neighbours::new(address);
        let mut publisher = Peer::v5(address, "publisher");
        // The next attempt may be five seconds away.
        publisher.set_timeout(4 * DEADLINE);
        publisher.publish("kept/1", "1", QoS::AtLeastOnce);
        disks.set(fault);
        publisher.send_publish(&publication(2));
        disks.wait_for_failure_after(0);
        neighbours.go_on();
        publisher.expect_nothing_before_pong();
        // It is told behind the first failure.
        disks.wait_for_failure_after(disks.failures());
        assert!(status(&broker).trouble.is_some(), "{fault:?}");
        assert!(status(&broker).commits_failed > 0);
        for cut in [Cut::Lost, Cut::Nothing] {
            assert_eq!(
                kept(&disks.after(cut), 1).first().map(String::as_str),
                Some("1"),
                "{fault:?}"
            );
        }
        disks.set(None);
        publisher.expect_puback(2);
        publisher.publish("kept/1", "3", QoS::AtLeastOnce);
        assert!(status(&broker).trouble.is_none());
        for cut in [Cut::Lost, Cut::Nothing] {
            assert_eq!(kept(&disks.after(cut), 3), ["1", "2", "3"], "{fault:?} {cut:?}");
        }
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

#[test]
fn publishers_feel_that_the_store_takes_no_more_and_nobody_else_does() {
    const PUBLISHERS: u16 = 8;
    const MESSAGES: u16 = 40;
    let disks = Disks::default();
    let (broker, address) = start(disks.broker(16 * 1024));
    drop(keeper(address, "keeper"));
    let mut neighbours = Neighbours::new(address);
    disks.set(Fault::Full);
    let mut publishers: Vec<_> =
        (0..PUBLISHERS).map(|number| Peer::v5(address, &format!("publisher-{number}"))).collect();
    for number in 1..=MESSAGES {
        for publisher in &mut publishers {
            let publish = OwnedPublish::new("kept/1", vec![b'x'; 1_000], QoS::AtLeastOnce);
            publisher.send_publish(&publish.packet_id(number));
        }
        neighbours.go_on();
    }
    // They wait; how much has been taken in before depends on when the store was found full.
    let waits = || wait(broker.statistics()).unwrap().1.waiting_for_store == PUBLISHERS.into();
    let end = std::time::Instant::now() + 4 * DEADLINE;
    while !waits() {
        assert!(std::time::Instant::now() < end, "not all of them wait");
        neighbours.go_on();
    }
    assert!(status(&broker).waiting_bytes < 200 * 1024, "{:?}", status(&broker));
    let mut refused = Peer::connect(address);
    refused.send_connect(&lasting("another"));
    refused.expect_connack_with(noctule_broker::ReasonCode::ServerUnavailable);
    neighbours.go_on();
    disks.set(None);
    for publisher in &mut publishers {
        publisher.set_timeout(4 * DEADLINE);
        for number in 1..=MESSAGES {
            publisher.expect_puback(number);
        }
        publisher.expect_nothing_before_pong();
    }
    let all = usize::from(PUBLISHERS * MESSAGES);
    assert_eq!(kept(&disks.after(Cut::Lost), all).len(), all);
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert!(statistics.publish_unkept >= PUBLISHERS.into());
    assert_eq!(gauges.waiting_for_store, 0);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn neighbours_do_not_wait_for_a_sync() {
    let disks = Disks::default();
    let (broker, address) = start(disks.broker(ROOM));
    let mut keeper = keeper(address, "keeper");
    let mut publisher = Peer::v5(address, "publisher");
    let mut neighbours = Neighbours::new(address);
    disks.hold(true);
    publisher.send_publish(&publication(1));
    disks.wait_for_held();
    // One sync lasts as long as all this takes.
    for _ in 0..100 {
        neighbours.go_on();
    }
    // QoS 1 goes to stored sessions, too; only the acknowledgement waits.
    assert_eq!(keeper.expect_publish().text(), "1");
    let (_late, mut clean) = (Neighbours::new(address), Peer::v5(address, "clean"));
    clean.publish("nobody", "", QoS::ExactlyOnce);
    publisher.expect_nothing_before_pong();
    assert!(status(&broker).committing.is_some());
    disks.hold(false);
    publisher.expect_puback(1);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_log_that_cannot_be_emptied_grows_to_a_bound_and_publishers_wait_then() {
    // As `Disks` has it: 1,024 segments of 16 KiB.
    const BOUND: u64 = 16 * 1024 * 1024;
    // Some of them are on the keeper's shard, and some are not.
    const PUBLISHERS: usize = 8;
    const MESSAGES: usize = 500;
    let disks = Disks::default();
    let (broker, address) = start(disks.broker(ROOM));
    drop(keeper(address, "keeper"));
    let mut neighbours = Neighbours::new(address);
    disks.set_but_for_the_log(Fault::Write);
    let publish = |number: usize| {
        let mut publisher = Peer::v5(address, &format!("publisher-{number}"));
        publisher.set_timeout(8 * DEADLINE);
        std::thread::spawn(move || {
            for _ in 0..MESSAGES {
                publisher.publish("kept/1", vec![b'x'; 8_000], QoS::AtLeastOnce);
            }
        })
    };
    let publishing: Vec<_> = (0..PUBLISHERS).map(publish).collect();
    let end = std::time::Instant::now() + 8 * DEADLINE;
    let (mut reached, mut same) = (0, 0);
    while reached < BOUND || same < 50 {
        assert!(std::time::Instant::now() < end, "it still grows: {:?}", status(&broker));
        neighbours.go_on();
        let log_bytes = status(&broker).log_bytes;
        same = if log_bytes == reached { same + 1 } else { 0 };
        reached = log_bytes;
    }
    assert!((BOUND..BOUND + BOUND / 8).contains(&reached), "{reached}");
    assert!(!publishing.iter().any(std::thread::JoinHandle::is_finished));
    disks.set(None);
    for publishing in publishing {
        publishing.join().unwrap();
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_disk_that_never_answers_again_does_not_keep_the_broker_from_ending() {
    let disks = Disks::default();
    let (broker, address) = start(disks.broker(ROOM));
    drop(keeper(address, "keeper"));
    let mut publisher = Peer::v5(address, "publisher");
    publisher.publish("kept/1", "1", QoS::AtLeastOnce);
    disks.hold(true);
    publisher.send_publish(&publication(2));
    disks.wait_for_held();
    let error = broker.stop_blocking(DEADLINE).unwrap_err();
    assert!(matches!(error, BrokerError::StoreSilent { .. }), "{error}");
    assert_eq!(kept(&disks.after(Cut::Lost), 1).first().map(String::as_str), Some("1"));
    disks.hold(false);
}

#[test]
fn neither_does_it_where_syncs_come_later() {
    // Also if what comes last cannot even be written.
    for fault in [None, Some(Fault::Write)] {
        let disks = Disks::default();
        let (broker, address) = start(disks.broker_that_syncs_late(ROOM));
        drop(keeper(address, "keeper"));
        let mut publisher = Peer::v5(address, "publisher");
        disks.hold(true);
        publisher.publish("kept/1", "1", QoS::AtLeastOnce);
        if fault.is_some() {
            let failures = disks.failures();
            disks.set(fault);
            publisher.send_publish(&publication(2));
            disks.wait_for_failure_after(failures);
        }
        let error = broker.stop_blocking(DEADLINE).unwrap_err();
        assert!(matches!(error, BrokerError::StoreSilent { .. }), "{fault:?}: {error}");
        assert_eq!(kept(&disks.after(Cut::Nothing), 1).first().map(String::as_str), Some("1"));
        disks.set(None);
        disks.hold(false);
    }
}

#[test]
fn clean_sessions_and_qos_0_never_touch_the_disk() {
    let disks = Disks::default();
    let (broker, address) = start(disks.broker(ROOM));
    let mut keeper = keeper(address, "keeper");
    keeper.publish("kept/1", "to itself", QoS::AtLeastOnce);
    keeper.receive();
    keeper.disconnect();
    // Nobody says when an acknowledgement or a DISCONNECT is on disk; this CONNACK comes behind it.
    let mut keeper = Peer::connect_with(address, &lasting("keeper"));
    let before = (disks.operations(), status(&broker).records);
    for version in [Version::V3_1_1, V5] {
        let mut receiver = Peer::speaking(version, address, "receiver");
        receiver.subscribe(&[("#", QoS::ExactlyOnce)]);
        let mut publisher = Peer::speaking(version, address, "publisher");
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for number in 0..50 {
                publisher.publish(&format!("live/{number}"), "on", qos);
                assert_eq!(receiver.receive().text(), "on");
            }
        }
        // A stored session gets QoS 0 only while it is there.
        publisher.publish("kept/1", "at most once", QoS::AtMostOnce);
        assert_eq!(keeper.receive().text(), "at most once");
        assert_eq!(receiver.receive().text(), "at most once");
        receiver.unsubscribe(&["#"]);
        receiver.disconnect();
        publisher.disconnect();
    }
    keeper.expect_nothing_before_pong();
    assert_eq!((disks.operations(), status(&broker).records), before);
    keeper.publish("kept/1", "kept", QoS::AtLeastOnce);
    assert!(disks.operations() > before.0, "it would have been counted");
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_broker_starts_on_a_full_disk_and_serves_what_needs_none() {
    let disks = Disks::default();
    let (broker, address) = start(disks.broker(ROOM));
    drop(keeper(address, "keeper"));
    Peer::v5(address, "publisher").publish("kept/1", "1", QoS::AtLeastOnce);
    let disks = disks.after(Cut::Lost);
    broker.stop_blocking(DEADLINE).unwrap();
    disks.set(Fault::Full);
    for _ in 0..3 {
        // As often as somebody tries.
        let (broker, address) = start(disks.broker(ROOM));
        Neighbours::new(address).go_on();
        broker.stop_blocking(DEADLINE).unwrap();
    }
    let (broker, address) = start(disks.broker(ROOM));
    let mut publisher = Peer::v5(address, "publisher");
    publisher.send_publish(&publication(2));
    disks.wait_for_failure_after(disks.failures());
    publisher.expect_nothing_before_pong();
    disks.set(None);
    publisher.set_timeout(4 * DEADLINE);
    publisher.expect_puback(2);
    assert_eq!(kept(&disks.after(Cut::Lost), 2), ["1", "2"]);
    broker.stop_blocking(DEADLINE).unwrap();
}
