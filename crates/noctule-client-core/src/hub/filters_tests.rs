//! The tree against the naive matcher, which compares one filter at a time.

use noctule_packet::{TopicFilter, spec};
use proptest::collection::vec;
use proptest::prelude::*;
use std::format;
use std::string::String;

use super::*;

fn mailbox(number: u64) -> MailboxId {
    MailboxId::from_value(number)
}

fn name(topic: &str) -> TopicName<'_> {
    TopicName::new(topic).unwrap()
}

#[test]
fn filters_match_what_the_specification_says() {
    spec!("MQTT5-4.7.2-1", "MQTT311-4.7.2-1", "MQTT5-4.7.1-1", "MQTT5-4.7.1-2");
    let filters = ["#", "+", "a", "a/#", "a/+", "+/b", "/+", "+/+", "$x/#", "$x/+", "a//b", "/#"];
    let mut tree = Filters::default();
    for (filter, number) in filters.iter().zip(0..) {
        assert!(tree.insert(filter, mailbox(number)));
        assert!(!tree.insert(filter, mailbox(number)), "it is there");
    }
    for (topic, expected) in [
        ("a", &["#", "+", "a", "a/#"][..]),
        ("a/b", &["#", "a/#", "a/+", "+/b", "+/+"]),
        ("a/b/c", &["#", "a/#"]),
        ("/b", &["#", "+/b", "/+", "+/+", "/#"]),
        ("/", &["#", "/+", "+/+", "/#"]),
        ("a//b", &["#", "a/#", "a//b"]),
        ("$x", &["$x/#"]),
        ("$x/b", &["$x/#", "$x/+"]),
        ("c/d", &["#", "+/+"]),
    ] {
        let found = tree.matching(name(topic));
        let found: Vec<&str> = filters
            .iter()
            .zip(0..)
            .filter(|(_, number)| found.contains(&mailbox(*number)))
            .map(|(filter, _)| *filter)
            .collect();
        assert_eq!(found, expected, "{topic}");
    }
}

#[test]
fn nothing_is_left_of_what_was_removed_however_deep() {
    let deep = "/".repeat(60_000);
    let mut tree = Filters::default();
    for round in 0..3 {
        for filter in [&*deep, "a/b/#", "#", "a/+"] {
            tree.insert(filter, mailbox(round));
        }
        assert_eq!(tree.matching(name(&deep)), [mailbox(round)]);
        for filter in [&*deep, "a/+", "a/b/#", "none/#", "#"] {
            tree.remove(filter, mailbox(round));
        }
        assert_eq!((tree.nodes.len(), tree.free.len()), (1, 0));
        assert!(tree.nodes.iter().all(Node::is_empty));
    }
}

fn level() -> impl Strategy<Value = &'static str> {
    prop_oneof![Just(""), Just("a"), Just("b"), Just("$x"), Just("+")]
}

fn filter() -> impl Strategy<Value = String> {
    (vec(level(), 1..5), any::<bool>()).prop_map(|(levels, goes_on)| {
        let text = levels.join("/");
        match (goes_on, text.is_empty()) {
            (true, true) => "#".into(),
            (true, false) => format!("{text}/#"),
            (false, true) => "a".into(),
            (false, false) => text,
        }
    })
}

fn topic() -> impl Strategy<Value = String> {
    vec(prop_oneof![Just(""), Just("a"), Just("b"), Just("c"), Just("$x")], 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a topic has a character", |topic| !topic.is_empty())
}

proptest! {
    #[test]
    fn the_tree_finds_what_comparing_one_by_one_finds(
        steps in vec((filter(), 0_u64..6, any::<bool>()), 0..40),
        topics in vec(topic(), 1..10),
    ) {
        let mut tree = Filters::default();
        let mut naive: Vec<(String, MailboxId)> = Vec::new();
        for (filter, number, is_removed) in steps {
            let entry = (filter, mailbox(number));
            if is_removed {
                tree.remove(&entry.0, entry.1);
                naive.retain(|known| *known != entry);
            } else {
                let is_new = !naive.contains(&entry);
                assert_eq!(tree.insert(&entry.0, entry.1), is_new);
                if is_new {
                    naive.push(entry);
                }
            }
            for topic in &topics {
                let mut expected: Vec<MailboxId> = naive
                    .iter()
                    .filter(|(filter, _)| TopicFilter::new(filter).unwrap().matches(name(topic)))
                    .map(|(_, mailbox)| *mailbox)
                    .collect();
                expected.sort_unstable();
                expected.dedup();
                prop_assert_eq!(tree.matching(name(topic)), expected);
            }
        }
    }
}
