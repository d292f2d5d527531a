//! A session that was in memory only and is stored from then on: what was under way to its client
//! comes again behind a crash, however much that was.

use noctule_broker_core::{ListenerId, Timestamp};
use noctule_packet::QoS;

use crate::broker_changes::after;
use crate::broker_restart::{Broker, HOUR};

#[test]
fn more_than_a_store_would_have_had_sent_comes_again_as_repetitions() {
    const IN_FLIGHT: usize = 34_000;
    let now = Timestamp::from_millis(1_000);
    let mut broker = Broker::new(1, now);
    broker.listener = ListenerId(1);
    let (client, _) = broker.connect("sub", HOUR, None);
    broker.subscribe(client, "t");
    broker.listener = ListenerId(0);
    let (publisher, _) = broker.connect("pub", 0, None);
    for _ in 0..IN_FLIGHT {
        broker.publish_all(publisher, "m", QoS::AtLeastOnce);
    }
    assert_eq!((broker.seen(client).len(), broker.records.len()), (IN_FLIGHT, 0));
    broker.lose(client);
    let all: Vec<String> = (1..=IN_FLIGHT).map(|at| format!("{at}: m QoS 1 DUP")).collect();
    let (client, present) = broker.connect("sub", HOUR, None);
    assert!(present && broker.seen(client) == all);
    let mut broker = Broker::restored(after(&broker.records), 1, now);
    let (client, _) = broker.connect("sub", HOUR, None);
    assert!(broker.seen(client) == all);
}
