//! Many connections at once, and those that do not read.

use noctule_broker::{Broker, DropCause, Limits, QoS};
use noctule_testkit::{OwnedPublish, Peer};

use crate::{DEADLINE, start, start_default, wait};

#[test]
fn one_message_reaches_a_thousand_clients() {
    let (broker, address) = start_default();
    let mut readers: Vec<_> = (0..1_000)
        .map(|number| {
            let mut reader = Peer::v311(address, &format!("reader-{number}"));
            reader.subscribe(&[("news", QoS::AtMostOnce)]);
            reader
        })
        .collect();
    let mut writer = Peer::v311(address, "writer");
    for round in 0..3 {
        writer.publish("news", format!("edition {round}"), QoS::AtLeastOnce);
        for reader in &mut readers {
            assert_eq!(reader.receive().text(), format!("edition {round}"));
        }
    }
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_client_that_does_not_read_holds_up_nobody() {
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 256 * 1024;
    let (broker, address) = start(Broker::builder().limits(limits));
    let mut deaf = Peer::v5(address, "deaf");
    deaf.subscribe(&[("#", QoS::AtMostOnce)]);
    let mut neighbour = Peer::v5(address, "neighbour");
    neighbour.subscribe(&[("t", QoS::AtMostOnce)]);
    let mut writer = Peer::v5(address, "writer");
    // Far more than the kernel's buffers of one connection and the broker's together.
    let payload = vec![7; 128 * 1024];
    for _ in 0..160 {
        writer.send_publish(&OwnedPublish::new("t", &payload, QoS::AtMostOnce));
        assert_eq!(neighbour.receive().payload.len(), payload.len());
    }
    let (statistics, _) = wait(broker.statistics()).unwrap();
    assert!(statistics.dropped[DropCause::SlowReader.index()] > 0, "{statistics:?}");
    assert_eq!(statistics.dropped_total(), statistics.dropped[DropCause::SlowReader.index()]);

    // It reads again, and gets what was kept for it, then what is new.
    writer.publish("last", "", QoS::AtLeastOnce);
    let mut kept = 0;
    while deaf.receive().topic == "t" {
        kept += 1;
        writer.publish("last", "", QoS::AtLeastOnce);
    }
    assert!(kept > 0);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_burst_in_one_write_is_answered_completely() {
    let (broker, address) = start_default();
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("t", QoS::AtMostOnce)]);
    let mut writer = Peer::v311(address, "writer");
    let burst: Vec<u8> = b"\x30\x04\x00\x01tx".repeat(50_000);
    let thread = std::thread::spawn(move || {
        writer.send_bytes(&burst);
        writer.expect_nothing_before_pong();
    });
    for _ in 0..50_000 {
        assert_eq!(reader.receive().payload, b"x");
    }
    thread.join().unwrap();
    broker.stop_blocking(DEADLINE).unwrap();
}
