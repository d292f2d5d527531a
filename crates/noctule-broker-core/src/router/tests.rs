//! The router against a list of filters that is searched from end to end.

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use noctule_packet::{QoS, TopicFilter, spec};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Filters by text and target, matched by the packet crate's rule.
#[derive(Default)]
struct Naive {
    subscriptions: BTreeMap<(String, Target), Match>,
}

impl Naive {
    fn matches(&self, topic: TopicName<'_>) -> Vec<Match> {
        let matching = self
            .subscriptions
            .iter()
            .filter(|((filter, _), _)| TopicFilter::new(filter).expect("a filter").matches(topic));
        let mut found: Vec<Match> = matching.map(|(_, subscription)| *subscription).collect();
        found.sort_by_key(order);
        found
    }

    fn has_local(&self, filter: &str) -> bool {
        self.subscriptions
            .keys()
            .any(|(known, target)| known == filter && !matches!(target, Target::Shard(_)))
    }
}

fn order(found: &Match) -> (Target, Option<u32>) {
    (found.target, found.identifier.map(SubscriptionIdentifier::get))
}

fn shard(number: u16) -> Target {
    Target::Shard(ShardId(number))
}

fn session(number: u32) -> Target {
    Target::Session(SessionKey::for_test(number))
}

fn subscription(target: Target, identifier: u32) -> Match {
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    Match { target, options, identifier: SubscriptionIdentifier::new(identifier) }
}

#[derive(Clone, Debug)]
enum Step {
    Subscribe(String, Target, u32),
    Unsubscribe(String, Target),
    Publish(String),
}

/// Few different levels, so that filters and topics meet often; `$` and empty ones are among them.
fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just("a"), Just("b"), Just(""), Just("$x"), Just("ab")]
}

fn topic() -> impl Strategy<Value = String> {
    let levels = vec(level(), 1..5).prop_map(|levels| levels.join("/"));
    levels.prop_filter("no topic is empty", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    let filter = (vec(level, 0..5), any::<bool>()).prop_map(|(mut levels, all)| {
        if all {
            levels.push("#");
        }
        levels.join("/")
    });
    filter.prop_filter("no filter is empty", |filter| !filter.is_empty())
}

fn target() -> impl Strategy<Value = Target> {
    prop_oneof![(0..4_u32).prop_map(session), (0..2_u16).prop_map(shard)]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (filter(), target(), 1..9_u32)
            .prop_map(|(filter, target, identifier)| Step::Subscribe(filter, target, identifier)),
        2 => (filter(), target()).prop_map(|(filter, target)| Step::Unsubscribe(filter, target)),
        4 => topic().prop_map(Step::Publish),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 512,
        failure_persistence: None,
        ..Default::default()
    })]

    #[test]
    fn finds_what_a_search_of_all_filters_finds(steps in vec(step(), 1..120)) {
        let (mut router, mut naive) = (Router::new(1), Naive::default());
        for step in steps {
            match step {
                Step::Subscribe(filter, target, identifier) => {
                    let was_local = naive.has_local(&filter);
                    let new = subscription(target, identifier);
                    naive.subscriptions.insert((filter.clone(), target), new);
                    let first = !was_local && naive.has_local(&filter);
                    let change = router.subscribe(&filter, new);
                    prop_assert_eq!(change == Change::First, first, "{}", filter);
                    prop_assert_ne!(change, Change::Last);
                }
                Step::Unsubscribe(filter, target) => {
                    let was_local = naive.has_local(&filter);
                    naive.subscriptions.remove(&(filter.clone(), target));
                    let last = was_local && !naive.has_local(&filter);
                    let change = router.unsubscribe(&filter, target);
                    prop_assert_eq!(change == Change::Last, last, "{}", filter);
                    prop_assert_ne!(change, Change::First);
                }
                Step::Publish(topic) => {
                    let name = TopicName::new(&topic).expect("a topic");
                    let found = router.matches(name);
                    let targets: Vec<Target> = found.iter().map(|found| found.target).collect();
                    prop_assert!(targets.is_sorted(), "those of one target are together");
                    let mut found = found.to_vec();
                    found.sort_by_key(order);
                    prop_assert_eq!(found, naive.matches(name), "{}", topic);
                }
            }
        }
        for (filter, target) in naive.subscriptions.keys() {
            router.unsubscribe(filter, *target);
        }
        prop_assert_eq!(router.trie.places(), 1, "only the root is left");
    }
}

fn targets(router: &mut Router, topic: &str) -> Vec<Target> {
    let found = router.matches(TopicName::new(topic).expect("a topic"));
    found.iter().map(|found| found.target).collect()
}

#[test]
fn wildcards_stand_for_whole_levels_and_not_for_a_dollar_in_front() {
    spec!(
        "MQTT5-4.7.1-1",
        "MQTT5-4.7.2-1",
        "MQTT311-4.7.1-2",
        "MQTT311-4.7.1-3",
        "MQTT311-4.7.2-1"
    );
    for (filter, topic, expected) in [
        ("#", "a/b", true),
        ("#", "$SYS/b", false),
        ("+/b", "$SYS/b", false),
        ("$SYS/#", "$SYS/b", true),
        ("$SYS/+", "$SYS/b", true),
        ("a/#", "a", true),
        ("a/#", "ab", false),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("+/+", "/", true),
        ("/+", "/b", true),
        ("+", "/b", false),
        ("a/+/c", "a//c", true),
        ("a/$b/#", "a/$b", true),
        ("a/+", "a/$b", true),
        ("a", "A", false),
    ] {
        let mut router = Router::new(3);
        router.subscribe(filter, subscription(session(1), 1));
        assert_eq!(!targets(&mut router, topic).is_empty(), expected, "{filter} and {topic}");
    }
}

#[test]
fn a_change_that_matches_a_remembered_topic_is_seen_whatever_its_filter_looks_like() {
    for filter in ["a/b", "a/+", "+/b", "#", "a/b/#", "a/#"] {
        let mut router = Router::new(3);
        assert_eq!(targets(&mut router, "a/b"), []);
        router.subscribe(filter, subscription(session(1), 1));
        assert_eq!(targets(&mut router, "a/b"), [session(1)], "{filter}");
        router.unsubscribe(filter, session(1));
        assert_eq!(targets(&mut router, "a/b"), [], "{filter}");
    }
    // What stands behind a share name may itself look like a shared subscription.
    let mut router = Router::new(3);
    assert_eq!(targets(&mut router, "$share/x/y"), []);
    router.subscribe("$share/x/y", subscription(session(1), 1));
    assert_eq!(targets(&mut router, "$share/x/y"), [session(1)]);
}

#[test]
fn more_changes_than_are_remembered_outdate_every_topic() {
    let mut router = Router::new(3);
    assert_eq!(targets(&mut router, "a/b"), []);
    router.subscribe("a/+", subscription(session(1), 1));
    for at in 0..100 {
        router.subscribe(&at.to_string(), subscription(session(2), 1));
    }
    assert_eq!(targets(&mut router, "a/b"), [session(1)]);
}

#[test]
fn a_filter_of_thousands_of_levels_is_made_matched_and_removed() {
    let mut router = Router::new(3);
    let deep = "/".repeat(60_000);
    let (plus, all) = (["+"; 30_000].join("/"), std::format!("{deep}/#"));
    for filter in [&deep, &plus, &all] {
        router.subscribe(filter, subscription(session(1), 1));
    }
    assert_eq!(targets(&mut router, &deep), [session(1), session(1)]);
    for filter in [&deep, &plus, &all] {
        assert_eq!(router.unsubscribe(filter, session(1)), Change::Last);
    }
    assert_eq!(router.trie.places(), 1);
}

#[test]
fn memory_is_given_back_when_most_filters_are_gone() {
    let mut router = Router::new(3);
    for at in 0..50_000 {
        router.subscribe(&std::format!("a/{at}/+/x"), subscription(session(1), 1));
    }
    assert!(router.trie.places() > 150_000);
    for at in (0..50_000).filter(|at| at % 100 != 0) {
        router.unsubscribe(&std::format!("a/{at}/+/x"), session(1));
    }
    assert!(router.trie.places() < 10_000, "{}", router.trie.places());
    assert_eq!(targets(&mut router, "a/100/b/x"), [session(1)]);
    assert_eq!(targets(&mut router, "a/101/b/x"), []);
    for at in (0..50_000).step_by(100) {
        assert_eq!(router.unsubscribe(&std::format!("a/{at}/+/x"), session(1)), Change::Last);
    }
    assert_eq!(router.trie.places(), 1);
}

#[test]
fn the_room_of_many_subscribers_to_one_filter_is_given_back() {
    let mut router = Router::new(3);
    for at in 0..10_000 {
        router.subscribe("a", subscription(session(at), 1));
    }
    for at in 1..10_000 {
        router.unsubscribe("a", session(at));
    }
    assert!(router.trie.room("a") < 100, "{}", router.trie.room("a"));
}

#[test]
fn the_cache_is_bounded_in_bytes() {
    let mut router = Router::new(3);
    router.subscribe("#", subscription(session(1), 1));
    let long = "x".repeat(60_000);
    for at in 0..2_000 {
        assert_eq!(targets(&mut router, &std::format!("{at}/{long}")), [session(1)]);
    }
    assert!(router.cache.bytes() < 20 * 1024 * 1024, "{}", router.cache.bytes());
    // What is used stays.
    assert!(router.cache.find(TopicName::new(&std::format!("1999/{long}")).unwrap()).is_some());
}
