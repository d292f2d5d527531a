//! Delayed wills: when they are due, and what takes them back.

use std::time::Duration;

use noctule_packet::{ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedDisconnect, OwnedWill};

use crate::broker::lasting;
use crate::will::{expect_will, watched, watched_with, will};

/// A 5.0 client whose session lasts an hour and whose will waits.
fn with_delay(seconds: u32) -> OwnedConnect {
    lasting(Version::V5_0, "a").will(will().delay(seconds))
}

#[test]
fn a_delayed_will_waits_and_is_published_once() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.1.2-7", "MQTT5-3.1.2-10");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance(Duration::from_millis(9_999));
    watcher.expect_nothing_before_pong();
    broker.advance(Duration::from_millis(1));
    expect_will(&mut watcher);
    // Neither the next connection nor the end of the session brings it again.
    drop(broker.connect(&lasting(Version::V5_0, "a")));
    broker.advance_seconds(4_000);
    watcher.expect_nothing_before_pong();
}

#[test]
fn who_is_back_before_the_delay_is_over_is_not_mourned() {
    spec!("MQTT5-3.1.3-9", "MQTT5-3.1.2-8");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance_seconds(9);
    let client = broker.connect(&lasting(Version::V5_0, "a"));
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
    drop(client);
    broker.advance_seconds(4_000);
    watcher.expect_nothing_before_pong();
}

#[test]
fn the_deadline_of_the_last_will_is_not_that_of_the_next() {
    spec!("MQTT5-3.1.3-9");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance_seconds(9);
    let newer = OwnedWill::new("will/a", "newer");
    let client = broker.connect(&lasting(Version::V5_0, "a").will(newer));
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
    drop(client);
    assert_eq!(watcher.receive().text(), "newer");
}

#[test]
fn each_connection_has_a_will_of_its_own() {
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    broker.advance_seconds(9);
    let newer = OwnedWill::new("will/a", "newer").delay(5);
    drop(broker.connect(&lasting(Version::V5_0, "a").will(newer)));
    broker.advance_seconds(4);
    watcher.expect_nothing_before_pong();
    broker.advance_seconds(1);
    assert_eq!(watcher.receive().text(), "newer");
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
}

#[test]
fn a_session_that_ends_before_the_delay_publishes_the_will() {
    spec!("MQTT5-3.1.2-8");
    // Seconds until: the delay, the session's end, and the will.
    for (delay, expiry, due) in [(10, 5, 5), (5, 10, 5), (5, 5, 5), (10, 0, 0)] {
        let (broker, mut watcher) = watched(Version::V5_0);
        let connect = OwnedConnect::v5("a").resumable(expiry).will(will().delay(delay));
        drop(broker.connect(&connect));
        if due > 0 {
            broker.advance(Duration::from_millis(due * 1_000 - 1));
            watcher.expect_nothing_before_pong();
            broker.advance(Duration::from_millis(1));
        }
        expect_will(&mut watcher);
        broker.advance_seconds(100);
        watcher.expect_nothing_before_pong();
    }
}

#[test]
fn disconnect_with_another_expiry_changes_when_a_delayed_will_is_due() {
    for (expiry, due) in [(5, 5), (20, 10), (0, 0)] {
        let (broker, mut watcher) = watched(Version::V5_0);
        let mut client = broker.connect(&with_delay(10));
        let disconnect = OwnedDisconnect::new(ReasonCode::DisconnectWithWillMessage)
            .session_expiry_interval(expiry);
        client.send_disconnect_with(&disconnect);
        client.expect_closed();
        if due > 0 {
            broker.advance_seconds(due - 1);
            watcher.expect_nothing_before_pong();
            broker.advance_seconds(1);
        }
        expect_will(&mut watcher);
    }
}

#[test]
fn a_delayed_will_is_due_when_a_clean_start_ends_its_session() {
    spec!("MQTT5-3.1.2-8");
    let (broker, mut watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    let _client = broker.client(Version::V5_0, "a");
    expect_will(&mut watcher);
    broker.advance_seconds(100);
    watcher.expect_nothing_before_pong();
}

#[test]
fn take_over_publishes_the_will_unless_the_session_goes_on_and_it_has_a_delay() {
    spec!("MQTT5-3.1.2-8", "MQTT5-3.1.3-9", "MQTT311-3.1.2-8");
    for (delay, expiry, clean_start, published) in [
        (0, 3_600, false, true),
        (0, 3_600, true, true),
        (10, 3_600, false, false),
        (10, 3_600, true, true),
        (0, 0, false, true),
        (10, 0, false, true),
        (10, 0, true, true),
    ] {
        let (broker, mut watcher) = watched(Version::V5_0);
        let connect = OwnedConnect::v5("a").resumable(expiry).will(will().delay(delay));
        let mut old = broker.connect(&connect);
        let _new = broker.connect(&lasting(Version::V5_0, "a").clean_start(clean_start));
        old.expect_refused(ReasonCode::SessionTakenOver);
        if published {
            expect_will(&mut watcher);
        }
        broker.advance_seconds(100);
        watcher.expect_nothing_before_pong();
    }
    for version in [Version::V3_1, Version::V3_1_1] {
        for clean_start in [true, false] {
            let (broker, mut watcher) = watched(version);
            let _old = broker.connect(&lasting(version, "a").will(will()));
            let _new = broker.connect(&lasting(version, "a").clean_start(clean_start));
            expect_will(&mut watcher);
        }
    }
}

#[test]
fn the_longest_will_delay_is_a_setting() {
    let (broker, mut watcher) = watched_with(Version::V5_0, |settings| {
        settings.limits.will_delay_interval_max_seconds = 10;
    });
    drop(broker.connect(&with_delay(1_000)));
    broker.advance_seconds(9);
    watcher.expect_nothing_before_pong();
    broker.advance_seconds(1);
    expect_will(&mut watcher);
}

#[test]
fn no_deadline_is_left_behind_by_what_ended() {
    let (broker, _watcher) = watched(Version::V5_0);
    drop(broker.connect(&with_delay(10)));
    drop(broker.client(Version::V5_0, "a"));
    assert_eq!(broker.look(|shard| shard.poll_timeout()), None);
}
