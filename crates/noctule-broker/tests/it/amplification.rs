//! One packet that leads to many: each client gets its share once, within its bytes, and others are
//! served in between.

use std::os::unix::net::UnixStream;
use std::path::Path;

use noctule_broker::{DropCause, Limits, QoS};
use noctule_testkit::{OwnedConnect, OwnedWill, Peer, packet_bytes};

use crate::neighbours::Neighbours;
use crate::raw::Raw;
use crate::{DEADLINE, start_default, start_with_socket, wait};

/// Somebody who subscribes and never reads what comes.
fn deaf(path: &Path, client_id: &str, filter: &str, qos: QoS) -> Peer<UnixStream> {
    let mut deaf = Peer::connect_unix(path);
    deaf.open(&OwnedConnect::v311(client_id));
    deaf.subscribe(&[(filter, qos)]);
    deaf
}

#[test]
fn a_thousand_subscribers_of_whom_half_are_dead() {
    const MESSAGES: u64 = 60;
    const PAYLOAD: usize = 8 * 1024;
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 32 * 1024;
    limits.queue_bytes_max = 64 * 1024;
    let (broker, address, path) = start_with_socket("news", limits);
    let mut neighbours = Neighbours::new(address);
    let dead: Vec<_> = (0..500)
        .map(|number| {
            // Half of them have their messages kept for them.
            let qos = if number % 2 == 0 { QoS::AtMostOnce } else { QoS::AtLeastOnce };
            deaf(&path, &format!("dead-{number}"), "news", qos)
        })
        .collect();
    let mut living: Vec<_> = (0..500)
        .map(|number| {
            let connect = format!("s'MQTT' 04 02 0000 s'living-{number}'");
            let mut living = Raw::connect(address, &connect);
            living.subscribe(&format!("0001 s'news' {:02x}", number % 2));
            living
        })
        .collect();
    let mut writer = Peer::v5(address, "editor");
    for edition in 0..MESSAGES {
        let mut payload = vec![0; PAYLOAD];
        payload[..8].copy_from_slice(&edition.to_be_bytes());
        writer.publish("news", &payload, QoS::AtLeastOnce);
        for (number, reader) in living.iter_mut().enumerate() {
            let message = reader.next();
            let (topic, id) = message.topic_and_id();
            assert_eq!((topic.as_str(), id.is_some()), ("news", number % 2 == 1));
            assert!(message.body.ends_with(&payload), "edition {edition}");
            if let Some(id) = id {
                reader.send(&packet_bytes(0x40, &format!("{id:04x}")));
            }
        }
        neighbours.are_served();
        let (_, gauges) = wait(broker.statistics()).unwrap();
        assert!(gauges.queued_bytes <= 250 * 64 * 1024, "{gauges:?}");
    }
    // Of the dead, 250 are dropped for; for the others as much is kept as may be.
    let (statistics, _) = wait(broker.statistics()).unwrap();
    let dropped = |cause: DropCause| statistics.dropped[cause.index()];
    let (slow, full) = (dropped(DropCause::SlowReader), dropped(DropCause::QueueFull));
    assert!(slow > 250 && slow < 250 * MESSAGES, "{statistics:?}");
    assert!(full > 250 && full < 250 * MESSAGES, "{statistics:?}");
    assert_eq!(statistics.dropped_total(), slow + full, "{statistics:?}");
    drop(dead);
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn filters_that_overlap_lead_to_one_delivery() {
    let (broker, address) = start_default();
    let mut neighbours = Neighbours::new(address);
    let mut greedy = Peer::v5(address, "greedy");
    // Every filter of twelve levels that are this name or a wildcard: all match the same topic.
    let filters: Vec<String> = (0..4_096)
        .map(|bits| {
            let level = |level| if bits >> level & 1 == 1 { "+" } else { "a" };
            (0..12).map(level).collect::<Vec<_>>().join("/")
        })
        .collect();
    for filters in filters.chunks(512) {
        let filters: Vec<_> = filters.iter().map(|f| (f.as_str(), QoS::AtLeastOnce)).collect();
        greedy.subscribe(&filters);
    }
    greedy.subscribe(&[("#", QoS::ExactlyOnce), ("a/#", QoS::AtMostOnce)]);
    let topic = ["a"; 12].join("/");
    let mut writer = Peer::v5(address, "writer-of-one");
    for round in 0..20 {
        writer.publish(&topic, round.to_string(), QoS::ExactlyOnce);
        let message = greedy.receive();
        // The neighbours' talk is everybody's.
        assert_eq!((message.text(), message.qos), (round.to_string().as_str(), QoS::ExactlyOnce));
        greedy.expect_nothing_before_pong();
    }
    greedy.unsubscribe(&["#"]);
    neighbours.are_served();
    greedy.expect_nothing_before_pong();
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn a_thousand_wills_at_once_reach_everybody_who_reads() {
    const CLIENTS: usize = 1_000;
    let mut limits = Limits::default();
    limits.outbound_bytes_max = 32 * 1024;
    let (broker, address, path) = start_with_socket("wills", limits);
    let mut neighbours = Neighbours::new(address);
    let deaf = deaf(&path, "deaf", "wills/#", QoS::AtMostOnce);
    let mut heirs: Vec<_> = (0..5)
        .map(|number| {
            let mut heir = Peer::v5(address, &format!("heir-{number}"));
            heir.subscribe(&[("wills/#", QoS::AtLeastOnce)]);
            heir
        })
        .collect();
    let mortals: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let will = OwnedWill::new(&format!("wills/{number}"), [7; 1_000]);
            let will = will.qos(QoS::AtLeastOnce);
            let connect = OwnedConnect::v5(&format!("mortal-{number}")).will(will);
            Peer::connect_with(address, &connect)
        })
        .collect();
    drop(mortals);
    neighbours.are_served();
    for heir in &mut heirs {
        let mut topics: Vec<_> = (0..CLIENTS).map(|_| heir.receive().topic).collect();
        topics.sort_unstable();
        topics.dedup();
        assert_eq!(topics.len(), CLIENTS, "each will once");
        heir.expect_nothing_before_pong();
    }
    neighbours.are_served();
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!(statistics.wills_published, CLIENTS as u64, "{statistics:?}");
    assert!(statistics.dropped[DropCause::SlowReader.index()] > 0, "{statistics:?}");
    assert_eq!(statistics.dropped_total(), statistics.dropped[DropCause::SlowReader.index()]);
    assert_eq!((gauges.queued_messages, gauges.in_flight_messages), (0, 0), "{gauges:?}");
    drop(deaf);
    broker.stop_blocking(DEADLINE).unwrap();
}
