//! Tests of topic names, topic filters, share names and their matching.

use alloc::string::String;

use super::*;
use crate::spec;

fn check_name(text: &str, expected: Result<(), TopicError>) {
    assert_eq!(TopicName::new(text).map(|_| ()), expected, "{:.40}", text);
}

fn check_filter(text: &str, expected: Result<(), TopicError>) {
    assert_eq!(TopicFilter::new(text).map(|_| ()), expected, "{:.40}", text);
}

fn check_match(filter: &str, topic: &str, expected: bool) {
    let matches = TopicFilter::new(filter).unwrap().matches(TopicName::new(topic).unwrap());
    assert_eq!(matches, expected, "{filter} {topic}");
}

#[test]
fn one_character_is_the_least() {
    spec!("MQTT5-4.7.3-1", "MQTT311-4.7.3-1", "MQTT31-3.8-5");
    check_name("", Err(TopicError::Empty));
    check_filter("", Err(TopicError::Empty));
    for text in ["a", "/", " "] {
        check_name(text, Ok(()));
        check_filter(text, Ok(()));
    }
}

#[test]
fn the_null_character_is_refused() {
    spec!("MQTT5-4.7.3-2", "MQTT311-4.7.3-2");
    for text in ["\0", "a/\0/b", "a\0"] {
        check_name(text, Err(TopicError::NullCharacter));
        check_filter(text, Err(TopicError::NullCharacter));
    }
    check_filter("$share/\0/a", Err(TopicError::NullCharacter));
    assert_eq!(ShareName::new("a\0"), Err(TopicError::NullCharacter));
}

#[test]
fn length_is_bounded() {
    spec!("MQTT5-4.7.3-3", "MQTT311-4.7.3-3");
    let longest: String = "x".repeat(65_535);
    let longer: String = "x".repeat(65_536);
    check_name(&longest, Ok(()));
    check_filter(&longest, Ok(()));
    check_name(&longer, Err(TopicError::TooLong));
    check_filter(&longer, Err(TopicError::TooLong));
    assert_eq!(ShareName::new(&longer), Err(TopicError::TooLong));
}

#[test]
fn names_have_no_wildcards() {
    spec!("MQTT5-4.7.0-1", "MQTT311-4.7.1-1", "MQTT5-3.3.2-2", "MQTT311-3.3.2-2");
    for text in ["+", "#", "a/+", "a/#", "a+b", "#a"] {
        check_name(text, Err(TopicError::WildcardInName));
    }
}

#[test]
fn the_multi_level_wildcard_is_alone_and_last() {
    spec!("MQTT5-4.7.1-1", "MQTT311-4.7.1-2", "MQTT31-3.8-4");
    for text in ["#", "a/#", "/#", "+/#", "a//#"] {
        check_filter(text, Ok(()));
    }
    for text in ["a#", "a/b#", "#/a", "a/#/b", "##", "#/#", "+#"] {
        check_filter(text, Err(TopicError::MultiLevelWildcard));
    }
}

#[test]
fn the_single_level_wildcard_has_its_level_alone() {
    spec!("MQTT5-4.7.1-2", "MQTT311-4.7.1-3");
    for text in ["+", "+/a", "a/+", "a/+/b", "+/+", "/+", "+/+/#"] {
        check_filter(text, Ok(()));
    }
    for text in ["a+", "+a", "a/b+/c", "++", "a/++"] {
        check_filter(text, Err(TopicError::SingleLevelWildcard));
    }
}

#[test]
fn shared_filters_have_a_share_name() {
    spec!("MQTT5-4.8.2-1");
    check_filter("$share//x", Err(TopicError::ShareName));
    check_filter("$share/", Err(TopicError::ShareName));
    let filter = TopicFilter::new("$share/a/b/#").unwrap();
    assert_eq!(filter.as_str(), "$share/a/b/#");
    assert_eq!(filter.share_name().map(|name| name.as_str()), Some("a"));
    assert_eq!(filter.filter(), "b/#");
    assert!(filter.levels().eq(["b", "#"]));
    assert!(filter.has_wildcard());
    // Without the slash it is a filter like any other.
    for text in ["$share", "$shared/a/b", "a/$share/b"] {
        assert_eq!(TopicFilter::new(text).unwrap().share_name(), None);
    }
}

#[test]
fn share_names_have_no_wildcard_and_a_filter_follows() {
    spec!("MQTT5-4.8.2-2");
    check_filter("$share/+/p", Err(TopicError::ShareName));
    check_filter("$share/a+/x", Err(TopicError::ShareName));
    check_filter("$share/#/p", Err(TopicError::MultiLevelWildcard));
    check_filter("$share/a", Err(TopicError::ShareWithoutFilter));
    check_filter("$share/a/", Err(TopicError::ShareWithoutFilter));
    check_filter("$share/a//", Ok(()));
    for text in ["", "/", "a/b", "+", "a#"] {
        assert_eq!(ShareName::new(text), Err(TopicError::ShareName), "{text}");
    }
}

#[test]
fn filters_match_level_by_level() {
    for (filter, topic, expected) in [
        ("a", "a", true),
        ("a", "b", false),
        ("a", "a/b", false),
        ("a/b", "a", false),
        ("#", "a", true),
        ("#", "/", true),
        ("a/#", "a", true),
        ("a/#", "a/b/c", true),
        ("a/#", "ab", false),
        ("a/#", "b/a", false),
        ("+", "a", true),
        ("+", "/a", false),
        ("+/+", "/a", true),
        ("/+", "/a", true),
        ("+/a", "/a", true),
        ("a/+", "a", false),
        ("a/+", "a/", true),
        ("a/+/c", "a/b/c", true),
        ("a/+/c", "a/b/d", false),
        ("a/+/#", "a/b", true),
        ("a/+/#", "a", false),
        ("$share/g/a/+", "a/b", true),
        ("$share/g/a", "$share/g/a", false),
    ] {
        check_match(filter, topic, expected);
    }
}

#[test]
fn leading_wildcards_do_not_match_system_topics() {
    spec!("MQTT5-4.7.2-1", "MQTT311-4.7.2-1");
    for (filter, topic, expected) in [
        ("#", "$SYS/uptime", false),
        ("+/uptime", "$SYS/uptime", false),
        ("+/#", "$SYS/uptime", false),
        ("$share/g/#", "$SYS/uptime", false),
        ("$SYS/#", "$SYS/uptime", true),
        ("$SYS/+", "$SYS/uptime", true),
        ("$share/g/$SYS/#", "$SYS/uptime", true),
        ("a/#", "a/$SYS", true),
    ] {
        check_match(filter, topic, expected);
    }
}

#[test]
fn nothing_is_normalised() {
    spec!("MQTT5-4.7.3-4", "MQTT311-4.7.3-4");
    check_match("A", "a", false);
    check_match("\u{e9}", "e\u{301}", false);
    check_match("\u{e9}/+", "e\u{301}/x", false);
    check_match("a//b", "a/b", false);
    check_match("a/ /+", "a//b", false);
    check_match("a", "\u{FEFF}a", false);
}
