//! A defect in a shard ends the broker loudly instead of leaving half of it running.

use std::sync::Arc;

use noctule_broker::{Broker, BrokerError, Publication, PublishError, QoS, ReadRules, Stopped};
use noctule_testkit::Peer;

use crate::{DEADLINE, start, wait};

#[test]
fn a_panicking_shard_ends_the_broker_with_an_error() {
    let rules = ReadRules(Arc::new(|_: &str, topic: &str| {
        assert_ne!(topic, "boom", "planted");
        true
    }));
    let (broker, address) = start(Broker::builder().read_rules(rules));
    let mut subscription = broker.subscribe_blocking("#").unwrap();
    let mut peer = Peer::v5(address, "victim");
    peer.subscribe(&[("boom", QoS::AtMostOnce)]);
    let outcome = broker.publish_blocking(Publication::new("boom", "").qos(QoS::AtLeastOnce));
    assert_eq!(outcome, Err(PublishError::Stopped(Stopped)));

    let expected = |result: Result<(), BrokerError>| {
        let Err(BrokerError::ShardPanicked { message }) = result else {
            panic!("the broker must fail")
        };
        assert!(message.contains("planted"), "{message}");
    };
    expected(broker.finished_blocking());
    expected(broker.stop_blocking(DEADLINE));
    while crate::next(&mut subscription).is_some() {}
    assert_eq!(wait(broker.statistics()), Err(Stopped));
    peer.expect_closed_or_reset();
}
