//! Shared subscriptions that stick to one member, while that member's shard takes nothing more.

use noctule_broker_core::{DropCause, SharedStrategy};
use noctule_packet::{QoS, Version};

use crate::broker::{Broker, Client};
use crate::shared_shards::{member, three};

const V5: Version = Version::V5_0;
const FILTER: &str = "$share/g/x";
const AT_LEAST_ONCE: QoS = QoS::AtLeastOnce;

/// A group on the first shard that sticks to publishers, with a member on each of the others, and
/// a publisher that it sticks to the one on the second with.
struct Stuck {
    broker: Broker,
    chosen: Client,
    other: Client,
    publisher: Client,
    /// Subscribes on the second shard to what fills the window of that.
    plain: Client,
}

impl Stuck {
    fn new() -> Self {
        let broker = three(|settings| {
            settings.shared_strategy = SharedStrategy::StickyPublisher;
            settings.limits.forward_bytes_max = 1_000;
        });
        let [mut chosen, mut other] = ["m1", "m2"].map(|name| member(&broker, name, AT_LEAST_ONCE));
        let names: Vec<_> = broker.names_at(broker.home("p"), "publisher").take(100).collect();
        let publisher = names.iter().find_map(|name| {
            let mut publisher = broker.client(V5, name);
            publisher.publish("x", "whose?", AT_LEAST_ONCE);
            let counts = [chosen.receive_all().len(), other.receive_all().len()];
            assert_eq!(counts[0] + counts[1], 1);
            (counts[0] == 1).then_some(publisher)
        });
        let publisher = publisher.expect("one of them");
        let mut plain = broker.client(V5, "n1");
        plain.subscribe(&[("y", QoS::AtMostOnce)]);
        Self { broker, chosen, other, publisher, plain }
    }

    /// From now on the second shard takes nothing more from the first, and letters are held.
    fn fill(&mut self) {
        let mut filler = self.broker.client(V5, "p");
        self.broker.hold_mail();
        filler.publish("y", "y".repeat(2_000), QoS::AtMostOnce);
        assert_eq!(self.letters(), [(0, 1, "Forward")]);
    }

    fn letters(&self) -> Vec<(u16, u16, &'static str)> {
        let known = ["Assign", "Forward", "Leave", "Lend", "Settle", "Credit"];
        let name = |name: String| known.into_iter().find(|known| *known == name);
        let letters = self.broker.letters().into_iter();
        letters.map(|(from, to, said)| (from, to, name(said).expect("a known letter"))).collect()
    }
}

#[test]
fn what_sticks_to_a_member_whose_shard_takes_nothing_more_waits_for_it() {
    let mut stuck = Stuck::new();
    stuck.fill();
    for text in ["1", "2"] {
        stuck.publisher.publish("x", text, AT_LEAST_ONCE);
    }
    assert_eq!(stuck.letters(), [(0, 1, "Forward")], "no room, and nobody else's");
    assert_eq!(stuck.broker.look(|shards| shards.gauges().queued_messages), 2);
    stuck.broker.answer_all();
    assert_eq!(stuck.plain.receive().payload.len(), 2_000);
    assert_eq!([stuck.chosen.receive().payload, stuck.chosen.receive().payload], [b"1", b"2"]);
    stuck.chosen.expect_nothing_before_pong();
    stuck.other.expect_nothing_before_pong();
}

#[test]
fn at_most_once_what_sticks_to_such_a_member_is_dropped_and_counted() {
    let mut stuck = Stuck::new();
    stuck.fill();
    stuck.publisher.publish("x", "1", QoS::AtMostOnce);
    assert_eq!(stuck.letters(), [(0, 1, "Forward")]);
    let counted = stuck.broker.look(|shards| shards.statistics());
    assert_eq!(counted.dropped[DropCause::NoMember.index()], 1);
    stuck.broker.answer_all();
    stuck.chosen.expect_nothing_before_pong();
    stuck.other.expect_nothing_before_pong();
}

/// What waits for a member that cannot take it goes to the others as soon as it need not wait.
fn goes_to_the_other(leave: impl Fn(&mut Client), said: &str) {
    let mut stuck = Stuck::new();
    stuck.fill();
    stuck.publisher.publish("x", "1", AT_LEAST_ONCE);
    leave(&mut stuck.chosen);
    stuck.other.expect_nothing_before_pong();
    assert_eq!(stuck.broker.carry_between(1, 0), [said]);
    assert_eq!(stuck.letters(), [(0, 1, "Forward"), (0, 2, "Assign")]);
    stuck.broker.answer_all();
    assert_eq!(stuck.other.receive().text(), "1");
    stuck.other.expect_nothing_before_pong();
    assert_eq!(stuck.broker.look(|shards| shards.gauges().queued_messages), 0);
}

#[test]
fn what_waits_for_a_member_that_unsubscribes_goes_to_the_others() {
    goes_to_the_other(
        |client| {
            client.unsubscribe(&[FILTER]);
        },
        "Leave",
    );
}

#[test]
fn what_waits_for_a_member_whose_connection_is_lost_goes_to_the_others() {
    goes_to_the_other(|client| client.shut_down_writing(), "Lend");
}
