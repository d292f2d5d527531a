//! A publisher that is faster than the store's log is emptied, in a broker with little memory.

use noctule_broker::{Broker, Limits, QoS, Version};
use noctule_packet::{PacketType, ReasonCode};
use noctule_testkit::{OwnedConnect, OwnedPublish, Peer};

use crate::durable::{Directory, open};
use crate::{DEADLINE, start, wait};

/// So many messages are on their way at a time.
const WINDOW: u16 = 500;
const MESSAGES: u64 = 1_900;
/// Less than these take.
const MEMORY: u64 = 80 * 1024 * 1024;

fn payload(number: u64) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[b'.'; 64 * 1024]].concat()
}

#[test]
fn nothing_that_was_acknowledged_is_dropped_while_there_is_room_on_disk() {
    let directory = Directory::new();
    let mut limits = Limits::default();
    limits.queue_bytes_max = u64::MAX;
    limits.memory_bytes_max = MEMORY;
    let (broker, address) = start(Broker::builder().data(&directory.0).limits(limits));
    open(address, Version::V5_0, "absent").0.subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = Peer::connect_with(address, &OwnedConnect::v5("publisher"));
    publisher.set_timeout(12 * DEADLINE);
    let mut acknowledged = 0;
    for number in 0..MESSAGES {
        let packet_id = (number % u64::from(u16::MAX)) as u16 + 1;
        let publish = OwnedPublish::new("t", payload(number), QoS::AtLeastOnce);
        publisher.send_publish(&publish.packet_id(packet_id));
        if number >= u64::from(WINDOW) {
            acknowledged += 1;
            publisher.expect_puback(acknowledged);
        }
    }
    while u64::from(acknowledged) < MESSAGES {
        acknowledged += 1;
        publisher.expect_puback(acknowledged);
    }
    let (counted, gauges) = wait(broker.statistics()).unwrap();
    assert_eq!((counted.dropped_total(), gauges.queued_messages), (0, MESSAGES));
    assert!(counted.publish_unkept > 0, "it never had to wait: {gauges:?}");
    let status = wait(broker.store_status()).unwrap().expect("a store");
    assert!(status.checkpoints > 0 && status.state_bytes > 0, "{status:?}");
    assert!(status.runs_bytes >= MESSAGES * 64 * 1024 - MEMORY, "{status:?}");
    assert!(status.checkpoint_longest >= status.checkpoint_last, "{status:?}");
    let (mut absent, present) = open(address, Version::V5_0, "absent");
    assert!(present);
    for number in 0..MESSAGES {
        let message = absent.expect_publish();
        assert!(message.payload == payload(number), "{number}");
        let packet_id = message.packet_id.unwrap();
        absent.send_ack(PacketType::Puback, packet_id, ReasonCode::Success);
    }
    broker.stop_blocking(DEADLINE).unwrap();
}
