//! Faults between a client and a server.

use std::time::{Duration, Instant};

use noctule_client::blocking::Client;
use noctule_client::{Backoff, QoS, ReconnectSettings};
use noctule_packet::PacketType;
use noctule_testkit::{
    Cut, FaultProxy, OwnedConnect, OwnedPublish, Peer, Script, TestBroker, Toward, bytes,
};

use crate::failure_of;

fn between() -> (TestBroker, FaultProxy) {
    let broker = TestBroker::start();
    let proxy = FaultProxy::to(broker.address());
    (broker, proxy)
}

#[test]
fn without_faults_everything_passes_both_ways() {
    let (broker, proxy) = between();
    let mut peer = Peer::v5(proxy.address(), "c");
    peer.subscribe(&[("t", QoS::ExactlyOnce)]);
    let payload = "x".repeat(300_000);
    peer.publish("t", &payload, QoS::ExactlyOnce);
    assert_eq!(peer.receive().text(), payload);
    assert_eq!((proxy.connections(), proxy.open_connections()), (1, 1));
    assert!(proxy.forwarded(Toward::Server) > 300_000);
    assert!(proxy.forwarded(Toward::Client) > 300_000);
    peer.disconnect();
    broker.next_close().wait();
}

#[test]
fn connections_are_cut_at_the_test_s_word() {
    let (broker, proxy) = between();
    for cut in [Cut::End, Cut::Reset] {
        let mut peer = Peer::v5(proxy.address(), "c");
        assert_eq!(proxy.cut(cut), 1);
        match cut {
            Cut::End => peer.expect_closed(),
            Cut::Reset => {
                assert!(failure_of(|| peer.expect_closed()).contains("broken"));
            }
        }
        broker.next_close().wait();
        assert_eq!(proxy.cut(cut), 0);
    }
    assert_eq!(proxy.connections(), 2);
}

#[test]
fn connections_are_cut_behind_so_many_bytes() {
    let server = Script::run(|mut peer| {
        peer.expect_bytes(&bytes("c0 00"));
        let message = failure_of(|| peer.expect_pingreq());
        assert!(message.contains("1 bytes: c0"), "{message}");
    });
    let proxy = FaultProxy::to(server.address());
    proxy.cut_after(Toward::Server, 3, Cut::End);
    let mut peer = Peer::connect(proxy.address());
    peer.send_bytes(&bytes("c0 00 c0 00"));
    peer.expect_closed_or_reset();
    assert_eq!(proxy.forwarded(Toward::Server), 3);
    server.finish();
}

#[test]
fn connections_are_cut_within_a_packet() {
    let (_broker, proxy) = between();
    proxy.cut_within(Toward::Client, PacketType::Puback, 2, Cut::End);
    let mut peer = Peer::v5(proxy.address(), "c");
    peer.publish("t", "1", QoS::AtLeastOnce);
    let publish = OwnedPublish::new("t", "2", QoS::AtLeastOnce).packet_id(9);
    peer.send_publish(&publish);
    let message = failure_of(|| peer.expect_puback(9));
    assert!(message.contains("ended within a packet: 2 bytes: 40 02"), "{message}");
    // It happens once.
    let mut peer = Peer::v5(proxy.address(), "c");
    for _ in 0..3 {
        peer.publish("t", "3", QoS::AtLeastOnce);
    }
}

#[test]
fn a_client_gets_over_a_cut() {
    let (broker, proxy) = between();
    proxy.cut_within(Toward::Server, PacketType::Publish, 2, Cut::Reset);
    let backoff = Backoff { base: Duration::from_millis(1), ..Backoff::default() };
    let backoff = Backoff { maximum: Duration::from_millis(5), ..backoff };
    let reconnect = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    let client = Client::builder(proxy.url()).reconnect(reconnect).connect().unwrap();
    let receipts: Vec<_> = ["1", "2", "3"]
        .map(|text| client.publish("t", text).qos(QoS::AtLeastOnce).send().unwrap())
        .into();
    for receipt in receipts {
        assert!(receipt.wait().is_delivered());
    }
    proxy.wait_for_connections(2);
    let texts: Vec<_> = broker.publishes("t").iter().map(|it| it.text().to_owned()).collect();
    assert!(texts.ends_with(&["2".to_owned(), "3".to_owned()]), "{texts:?}");
}

#[test]
fn a_black_hole_says_nothing_and_gives_everything_back() {
    let (broker, proxy) = between();
    let mut peer = Peer::v5(proxy.address(), "c");
    proxy.black_hole();
    peer.send_pingreq();
    peer.send_publish(&OwnedPublish::new("t", "held back", QoS::AtMostOnce));
    peer.expect_silence(Duration::from_millis(30));
    let mut other = Peer::connect(proxy.address());
    other.send_connect(&OwnedConnect::v5("d"));
    other.expect_silence(Duration::from_millis(30));
    assert!(broker.next_publish("t").now().is_none());
    assert_eq!(broker.next_close().now(), None);
    proxy.heal();
    peer.expect_pingresp();
    assert_eq!(broker.next_publish("t").wait().text(), "held back");
    other.expect_connack();
    // A half-open connection can be cut, too.
    proxy.black_hole();
    peer.send_pingreq();
    proxy.cut(Cut::Reset);
    peer.expect_closed_or_reset();
}

#[test]
fn a_black_hole_may_be_on_one_side() {
    let (broker, proxy) = between();
    let mut peer = Peer::v5(proxy.address(), "c");
    proxy.black_hole_toward(Toward::Client);
    peer.send_publish(&OwnedPublish::new("t", "heard", QoS::AtLeastOnce).packet_id(1));
    assert_eq!(broker.next_publish("t").wait().text(), "heard");
    peer.expect_silence(Duration::from_millis(30));
    proxy.heal();
    peer.expect_puback(1);
}

#[test]
fn each_message_arrives_once_however_often_connections_are_cut() {
    let (broker, proxy) = between();
    proxy.cut_randomly(42, 600, Cut::Reset);
    let backoff = Backoff { base: Duration::from_millis(1), ..Backoff::default() };
    let backoff = Backoff { maximum: Duration::from_millis(2), ..backoff };
    let reconnect = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    let client = Client::builder(proxy.url()).client_id("c").reconnect(reconnect);
    let client = client.session_expiry(Duration::from_secs(600)).start().unwrap();
    let mut counter = Peer::v5(broker.address(), "counter");
    counter.subscribe(&[("t", QoS::ExactlyOnce)]);
    let receipts: Vec<_> = (0..60)
        .map(|number| client.publish("t", &number.to_string()).qos(QoS::ExactlyOnce).send())
        .collect();
    for receipt in receipts {
        assert!(receipt.unwrap().wait().is_delivered());
    }
    for number in 0..60 {
        assert_eq!(counter.receive().text(), number.to_string());
    }
    counter.expect_nothing_before_pong();
    assert!(proxy.connections() > 5, "{}", proxy.connections());
}

#[test]
fn bytes_come_late_and_one_by_one() {
    let (_broker, proxy) = between();
    let delay = Duration::from_millis(25);
    proxy.delay(delay);
    let start = Instant::now();
    let mut peer = Peer::v5(proxy.address(), "c");
    assert!(start.elapsed() >= 2 * delay);
    proxy.heal();
    proxy.throttle(2_000);
    let start = Instant::now();
    peer.publish("t", "x".repeat(200), QoS::AtLeastOnce);
    assert!(start.elapsed() >= Duration::from_millis(100));
    proxy.heal();
    proxy.split_into_bytes();
    peer.publish("t", "y".repeat(200), QoS::ExactlyOnce);
    proxy.split_randomly(7, 9);
    peer.publish("t", "z".repeat(200), QoS::ExactlyOnce);
}

#[test]
fn bytes_are_corrupted() {
    let (_broker, proxy) = between();
    let connect = 2 + 10 + 1 + 3;
    // The first byte behind CONNECT becomes that of another packet.
    proxy.corrupt(Toward::Server, connect);
    let mut peer = Peer::v5(proxy.address(), "c");
    peer.send_pingreq();
    failure_of(|| peer.expect_pingresp());
    proxy.corrupt_randomly(1, 2);
    let mut peer = Peer::connect(proxy.address());
    peer.send_connect(&OwnedConnect::v5("c"));
    failure_of(|| peer.expect_connack());
}

#[test]
fn connections_are_refused_or_led_elsewhere() {
    let (broker, proxy) = between();
    proxy.refuse_connections();
    let mut peer = Peer::connect(proxy.address());
    peer.expect_closed_or_reset();
    proxy.heal();
    let other = TestBroker::start();
    proxy.lead_to(other.address());
    Peer::v5(proxy.address(), "c").disconnect();
    assert_eq!((broker.connections(), other.connections(), proxy.connections()), (0, 1, 1));
}
