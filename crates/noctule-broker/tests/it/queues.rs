//! Every queue filled: for those who are away, for groups, with what is kept; each refuses or drops
//! by its rule, and those who are served go on being served.

use std::time::Instant;

use noctule_broker::{DropCause, Limits, QoS, ReasonCode};
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer};

use crate::neighbours::Neighbours;
use crate::{DEADLINE, start_with, wait};

/// Sessions of clients that subscribe and go away.
fn leave_sessions(address: std::net::SocketAddr, count: usize, filter: &str) {
    for number in 0..count {
        let connect = OwnedConnect::v5(&format!("away-{number}"));
        let connect = OwnedConnect { session_expiry_interval: Some(1_000), ..connect };
        let mut peer = Peer::connect_with(address, &connect);
        peer.subscribe(&[(filter, QoS::AtLeastOnce)]);
        peer.disconnect();
    }
}

type Change = fn(&mut Limits);

#[test]
fn queues_of_clients_that_are_away_stay_within_bytes_and_messages() {
    let by_bytes = |limits: &mut Limits| limits.queue_bytes_max = 64 * 1024;
    let by_messages = |limits: &mut Limits| limits.queue_messages_max = 30;
    let ways: [(Change, u64, u64); 2] = [
        // A message counts with what it takes beside its payload: less than 64 of them fit.
        (by_bytes, 20 * 64 * 1024, 20 * 64),
        (by_messages, u64::MAX, 20 * 30),
    ];
    for (change, bytes_max, messages_max) in ways {
        let mut limits = Limits::default();
        change(&mut limits);
        let (broker, address) = start_with(limits);
        let mut neighbours = Neighbours::new(address);
        leave_sessions(address, 20, "t");
        let mut writer = Peer::v5(address, "writer-of-many");
        for _ in 0..100 {
            writer.publish("t", [7; 1_024], QoS::AtLeastOnce);
            let (_, gauges) = wait(broker.statistics()).unwrap();
            assert!(gauges.queued_bytes <= bytes_max, "{gauges:?}");
            assert!(gauges.queued_messages <= messages_max, "{gauges:?}");
        }
        neighbours.are_served();
        let (statistics, gauges) = wait(broker.statistics()).unwrap();
        let full = statistics.dropped[DropCause::QueueFull.index()];
        assert_eq!(gauges.queued_messages + full, 2_000, "{gauges:?} {statistics:?}");
        // Each has as much as fits; whoever comes back gets it.
        for number in 0..20 {
            let connect = OwnedConnect::v5(&format!("away-{number}"));
            let mut back = Peer::connect(address);
            assert!(back.open(&OwnedConnect { clean_start: false, ..connect }).session_present);
            let mut received = 0;
            loop {
                match back.receive_all().len() {
                    0 => break,
                    count => received += count as u64,
                }
            }
            assert_eq!(received, gauges.queued_messages / 20);
        }
        broker.stop_blocking(DEADLINE).unwrap();
    }
}

#[test]
fn all_messages_together_stay_within_the_memory_and_old_clients_are_served() {
    const MEMORY_BYTES_MAX: u64 = 4 << 20;
    let mut limits = Limits::default();
    limits.memory_bytes_max = MEMORY_BYTES_MAX;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    leave_sessions(address, 50, "t");
    let mut writer = Peer::v5(address, "writer-of-many");
    let mut sent = 0;
    while wait(broker.statistics()).unwrap().0.dropped[DropCause::QueueFull.index()] < 100 {
        assert!(sent < 5_000, "nothing is dropped although all memory is used");
        writer.publish("t", [7; 4_096], QoS::AtLeastOnce);
        sent += 1;
        neighbours.are_served();
    }
    // Nobody new comes in, and is told why; those who are in go on.
    let mut late = Peer::connect(address);
    late.send_connect(&OwnedConnect::v5("late"));
    let text = late.expect_connack_with(ReasonCode::ServerBusy).reason_string.unwrap();
    assert!(text.contains("limits.memory_bytes_max"), "{text}");
    late.expect_closed();
    neighbours.are_served();
    let (_, gauges) = wait(broker.statistics()).unwrap();
    assert!(gauges.queued_messages > 0, "{gauges:?}");
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn the_backlog_of_a_group_stays_within_a_queue() {
    let mut limits = Limits::default();
    limits.queue_bytes_max = 64 * 1024;
    limits.in_flight_max = 5;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let mut members: Vec<_> = (0..4)
        .map(|number| {
            let mut member = Peer::v5(address, &format!("member-{number}"));
            member.subscribe(&[("$share/group/t", QoS::AtLeastOnce)]);
            member
        })
        .collect();
    let mut writer = Peer::v5(address, "writer-of-many");
    for _ in 0..500 {
        writer.publish("t", [7; 1_024], QoS::AtLeastOnce);
    }
    neighbours.are_served();
    // Nobody acknowledges: what is in the members' windows, and then one queue for all.
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!(gauges.in_flight_messages, 20, "{gauges:?}");
    assert!(gauges.queued_bytes <= 64 * 1024 && gauges.queued_bytes > 32 * 1024, "{gauges:?}");
    let lost = statistics.dropped_total();
    assert_eq!(lost + gauges.queued_messages + 20, 500, "{statistics:?} {gauges:?}");
    // When they work again, they get all that was kept.
    let mut received = 0;
    let end = Instant::now() + DEADLINE;
    // A round in which nobody gets anything is not the end: it may be between two shards.
    while received + lost < 500 && Instant::now() < end {
        received += members.iter_mut().map(|member| member.receive_all().len() as u64).sum::<u64>();
    }
    assert_eq!(received + lost, 500);
    broker.stop_blocking(DEADLINE).unwrap();
}

#[test]
fn what_is_kept_and_subscribed_stays_within_its_numbers() {
    let mut limits = Limits::default();
    limits.retained_messages_max = 100;
    limits.subscriptions_max = 100;
    let (broker, address) = start_with(limits);
    let mut neighbours = Neighbours::new(address);
    let mut peer = Peer::v5(address, "collector");
    for number in 0..150 {
        let publish = OwnedPublish::new(&format!("r/{number}"), "x", QoS::AtLeastOnce);
        let reason = peer.publish_with(&publish.retain(true));
        assert_eq!(reason.is_error(), number >= 100, "{number}: {reason}");
        let code = peer.subscribe(&[(&format!("s/{number}"), QoS::AtMostOnce)]);
        let granted = ReasonCode::granted(QoS::AtMostOnce);
        let expected = if number < 100 { granted } else { ReasonCode::QuotaExceeded };
        assert_eq!(code, [expected], "{number}");
    }
    // What is there may be replaced and cleared, and then there is room again.
    for (topic, payload) in [("r/7", "y"), ("r/8", ""), ("r/new", "z")] {
        let publish = OwnedPublish::new(topic, payload, QoS::AtLeastOnce).retain(true);
        assert!(!peer.publish_with(&publish).is_error(), "{topic}");
    }
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!((gauges.retained_messages, gauges.subscriptions), (100, 101), "{gauges:?}");
    assert_eq!(statistics.publish_refused, 50, "{statistics:?}");
    neighbours.are_served();
    broker.stop_blocking(DEADLINE).unwrap();
}
