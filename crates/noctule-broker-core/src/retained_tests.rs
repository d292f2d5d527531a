//! Tests of the retained messages: against tables, and against a filter over a map.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};

use noctule_packet::{ForwardedProperties, QoS, TopicFilter, TopicName, spec};
use proptest::prelude::*;

use super::*;

const UNBOUNDED: usize = usize::MAX;

fn message(topic: &str, payload: &str) -> Arc<Message> {
    Arc::new(Message {
        topic: topic.into(),
        payload: payload.as_bytes().into(),
        qos: QoS::AtMostOnce,
        retain: true,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    })
}

fn origin(position: u64) -> Origin {
    Origin { position, ..Origin::default() }
}

/// All topics that a filter finds, in order, and how many nodes that took.
fn found(retained: &Retained, filter: &str) -> (Vec<String>, usize) {
    let mut topics = Vec::new();
    let mut position = Position::Start;
    let left = retained.walk(&filter_levels(filter), &mut position, UNBOUNDED, |kept| {
        topics.push(kept.message.topic.to_string());
        ControlFlow::Continue(())
    });
    assert_eq!(position, Position::End);
    (topics, UNBOUNDED - left)
}

#[test]
fn a_walk_finds_what_the_filter_matches() {
    spec!("MQTT5-4.7.2-1", "MQTT311-4.7.2-1");
    let mut retained = Retained::new(Arc::default());
    let topics = ["/", "/a", "a", "a/", "a/b", "a/b/c", "b/$x", "$SYS/a", "$x", "\u{fc}/b"];
    for topic in topics {
        assert!(retained.insert(message(topic, "1"), origin(0)).is_none(), "{topic}");
    }
    for (filter, expected) in [
        ("a", &["a"][..]),
        ("a/b", &["a/b"]),
        ("a/#", &["a", "a/", "a/b", "a/b/c"]),
        ("a/b/#", &["a/b", "a/b/c"]),
        ("a/b/c/#", &["a/b/c"]),
        ("+", &["a"]),
        ("/+", &["/", "/a"]),
        ("+/+", &["/", "/a", "a/", "a/b", "b/$x", "\u{fc}/b"]),
        ("+/b", &["a/b", "\u{fc}/b"]),
        ("+/b/#", &["a/b", "a/b/c", "\u{fc}/b"]),
        ("#", &["/", "/a", "a", "a/", "a/b", "a/b/c", "b/$x", "\u{fc}/b"]),
        ("$SYS/#", &["$SYS/a"]),
        ("$SYS/+", &["$SYS/a"]),
        ("$x", &["$x"]),
        ("+/a", &["/a"]),
        ("c", &[]),
        ("a/c/#", &[]),
    ] {
        assert_eq!(found(&retained, filter).0, expected, "{filter}");
    }
}

#[test]
fn a_walk_costs_no_more_than_what_it_can_match() {
    let mut retained = Retained::new(Arc::default());
    for number in 0..100_000 {
        retained.insert(message(&format!("other/{}/{number}", number % 100), "1"), origin(0));
        retained.insert(message(&format!("$other-{number}"), "1"), origin(0));
    }
    for number in 0..10 {
        retained.insert(message(&format!("site/{number}/temperature"), "1"), origin(0));
    }
    for (filter, matches, nodes) in [
        ("site/3/temperature", 1, 3),
        ("site/+/temperature", 10, 21),
        ("site/#", 10, 21),
        ("+/3/temperature", 1, 5),
        ("nowhere/#", 0, 0),
        ("other/7/7", 1, 3),
    ] {
        let (topics, visited) = found(&retained, filter);
        assert_eq!((topics.len(), visited), (matches, nodes), "{filter}");
    }
}

#[test]
fn a_walk_goes_on_behind_what_was_cleared_meanwhile() {
    for steps in 1..8 {
        let mut retained = Retained::new(Arc::default());
        for topic in ["a/1/x", "a/2/x", "a/3/x"] {
            retained.insert(message(topic, "1"), origin(0));
        }
        let levels = filter_levels("a/+/x");
        let (mut position, mut topics) = (Position::Start, Vec::new());
        let mut seen = |retained: &Retained, position: &mut Position| {
            let mut new = Vec::new();
            let _ = retained.walk(&levels, position, steps, |kept| {
                new.push(kept.message.topic.clone());
                ControlFlow::Continue(())
            });
            topics.extend(new.iter().cloned());
            new
        };
        while position != Position::End {
            for topic in seen(&retained, &mut position) {
                retained.remove(&topic);
            }
        }
        assert_eq!(topics, ["a/1/x".into(), "a/2/x".into(), "a/3/x".into()], "{steps} steps");
        assert_eq!((retained.messages(), retained.bytes()), (0, 0));
    }
}

#[test]
fn a_walk_stops_behind_the_last_message_that_is_wanted() {
    let mut retained = Retained::new(Arc::default());
    for topic in ["a", "a/b", "c"] {
        retained.insert(message(topic, "1"), origin(0));
    }
    let (levels, mut position) = (filter_levels("#"), Position::Start);
    let mut topics = Vec::new();
    for _ in 0..3 {
        let _ = retained.walk(&levels, &mut position, UNBOUNDED, |kept| {
            topics.push(kept.message.topic.to_string());
            ControlFlow::Break(())
        });
    }
    assert_eq!(topics, ["a", "a/b", "c"]);
    assert_eq!(retained.walk(&levels, &mut position, 9, |_| unreachable!()), 9);
    assert_eq!(position, Position::End);
    assert_eq!(retained.walk(&levels, &mut position, 9, |_| unreachable!()), 9);
}

#[test]
fn one_message_for_each_topic_is_kept_and_counted() {
    spec!("MQTT5-3.3.1-5", "MQTT311-3.3.1-5");
    let mut retained = Retained::new(Arc::default());
    let (one, two) = (message("a/b", "one"), message("a/b", "twotwo"));
    assert_eq!(retained.insert(Arc::clone(&one), origin(1)), None);
    let levels = 2 * LEVEL_BYTES;
    assert_eq!((retained.messages(), retained.bytes()), (1, one.bytes() as u64 + levels));
    assert_eq!(retained.insert(Arc::clone(&two), origin(2)), Some(one));
    assert_eq!((retained.messages(), retained.bytes()), (1, two.bytes() as u64 + levels));
    assert_eq!(retained.find("a/b").map(|kept| kept.origin), Some(origin(2)));
    assert!(retained.find("a").is_none());
    retained.insert(message("$SYS/uptime", "1"), origin(0));
    assert_eq!((retained.messages(), retained.bytes()), (1, two.bytes() as u64 + levels));
    assert_eq!(retained.remove("a"), None);
    assert_eq!(retained.remove("a/b/c"), None);
    assert_eq!(retained.remove("a/b"), Some(two));
    assert_eq!((retained.messages(), retained.bytes()), (0, 0));
}

#[test]
fn memory_comes_back_with_the_last_message() {
    let mut retained = Retained::new(Arc::default());
    for round in 0..3 {
        for number in 0..10_000 {
            retained.insert(message(&format!("{round}/a/{number}/b"), "1"), origin(0));
        }
        let peak = retained.nodes.len();
        assert_eq!(peak, 20_003, "places are used again");
        for number in 0..10_000 {
            retained.remove(&format!("{round}/a/{number}/b"));
        }
        assert_eq!(retained.nodes.len(), 1);
        assert!(retained.nodes.capacity() < 100, "{}", retained.nodes.capacity());
        assert!(retained.free.len() <= 2, "{}", retained.free.len());
    }
}

/// What happens between two slices of a walk.
#[derive(Clone, Debug)]
enum Step {
    Insert(String),
    Remove(String),
    /// A slice of so many nodes, and of so many messages.
    Walk(usize, usize),
}

fn topic() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "c", "$x"]);
    prop::collection::vec(level, 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic has a character", |topic| !topic.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["", "a", "b", "$x", "+", "+", "+"]);
    (prop::collection::vec(level, 0..4), any::<bool>())
        .prop_map(|(mut levels, all)| {
            levels.extend(all.then_some("#"));
            levels.join("/")
        })
        .prop_filter("a filter has a character", |filter| !filter.is_empty())
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        topic().prop_map(Step::Insert),
        topic().prop_map(Step::Remove),
        (1_usize..6, 1_usize..4).prop_map(|(nodes, messages)| Step::Walk(nodes, messages)),
        (1_usize..6, 1_usize..4).prop_map(|(nodes, messages)| Step::Walk(nodes, messages)),
    ]
}

/// The retained messages beside a map that knows as much.
struct Both {
    retained: Retained,
    map: BTreeMap<String, Arc<Message>>,
    changes: u64,
}

impl Both {
    fn insert(&mut self, topic: &str) {
        self.changes += 1;
        let message = message(topic, &self.changes.to_string());
        let expected = self.retained.bytes_with(topic, message.bytes() as u64);
        let before = self.retained.insert(Arc::clone(&message), origin(self.changes));
        assert_eq!(before, self.map.insert(topic.to_string(), message));
        assert_eq!(self.retained.bytes(), expected);
    }

    fn remove(&mut self, topic: &str) {
        assert_eq!(self.retained.remove(topic), self.map.remove(topic));
    }

    fn check_counts(&self) {
        let mut counted = self.map.values().map(|message| message.bytes() as u64).sum::<u64>();
        let mut levels = BTreeSet::new();
        for topic in self.map.keys() {
            levels.extend(topic.match_indices('/').map(|(at, _)| &topic[..at]));
            levels.insert(topic);
        }
        counted += levels.len() as u64 * LEVEL_BYTES;
        assert_eq!(self.retained.messages(), self.map.len() as u64);
        assert_eq!(self.retained.bytes(), counted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// A replay in slices, while messages come and go: complete for what stood throughout, each
    /// topic once and in one order, nothing that came later, and always what stands now.
    #[test]
    fn a_walk_in_slices_is_a_filter_over_all_topics(
        before in prop::collection::vec(topic(), 0..40),
        filter in filter(),
        steps in prop::collection::vec(step(), 0..60),
    ) {
        let mut both =
            Both { retained: Retained::new(Arc::default()), map: BTreeMap::new(), changes: 0 };
        for topic in &before {
            both.insert(topic);
        }
        let matched = |topic: &str| {
            let filter = TopicFilter::new(&filter).expect("a filter");
            filter.matches(TopicName::new(topic).expect("a topic"))
        };
        let mut untouched: BTreeSet<String> =
            both.map.keys().filter(|topic| matched(topic)).cloned().collect();
        let clock = both.changes;
        let levels = filter_levels(&filter);
        let (mut position, mut seen) = (Position::Start, Vec::<String>::new());
        let to_the_end = core::iter::repeat_n(Step::Walk(3, 2), 1_000);
        for step in steps.into_iter().chain(to_the_end) {
            if position == Position::End {
                break;
            }
            match step {
                Step::Insert(topic) => {
                    both.insert(&topic);
                    untouched.remove(&topic);
                }
                Step::Remove(topic) => {
                    both.remove(&topic);
                    untouched.remove(&topic);
                }
                Step::Walk(nodes, messages) => {
                    let mut slice = 0;
                    let left = both.retained.walk(&levels, &mut position, nodes, |kept| {
                        assert_eq!(both.map.get(&*kept.message.topic), Some(&kept.message));
                        if kept.origin.position <= clock {
                            seen.push(kept.message.topic.to_string());
                            slice += 1;
                        }
                        if slice == messages {
                            ControlFlow::Break(())
                        } else {
                            ControlFlow::Continue(())
                        }
                    });
                    prop_assert!(left <= nodes);
                    prop_assert!(slice <= messages);
                }
            }
            both.check_counts();
        }
        prop_assert_eq!(position, Position::End);
        prop_assert!(seen.iter().all(|topic| matched(topic)));
        let in_levels = |topic: &String| topic.split('/').map(String::from).collect::<Vec<_>>();
        prop_assert!(seen.is_sorted_by(|a, b| in_levels(a) < in_levels(b)), "{:?}", seen);
        let seen: BTreeSet<String> = seen.into_iter().collect();
        prop_assert!(untouched.is_subset(&seen), "{:?} without {:?}", seen, untouched);
        for topic in both.map.keys().cloned().collect::<Vec<_>>() {
            both.remove(&topic);
        }
        prop_assert_eq!(both.retained.nodes.len(), 1);
    }
}
