//! What the log says of a disk, for what is seen of it second by second.

use std::sync::Arc;

use noctule_store::StoreError;

use super::*;
use crate::logged::logged;

/// What is said of each status.
fn said(statuses: &[StoreStatus]) -> Vec<String> {
    let mut watch = Watch::default();
    statuses.iter().map(|status| logged(|| watch.look(status))).collect()
}

fn committing(milliseconds: u64, slow: u64) -> StoreStatus {
    let mut status = StoreStatus::default();
    status.committing = Some(Duration::from_millis(milliseconds));
    status.commits_slow = slow;
    status.commit_last = Duration::from_millis(2_500);
    status.waiting_bytes = 7;
    status
}

fn failing(seconds: u64) -> StoreStatus {
    let mut status = StoreStatus::default();
    let error = StoreError::NoSuchSegment { segment: 3 };
    status.trouble = Some((Duration::from_secs(seconds), Arc::new(error)));
    status
}

#[test]
fn a_disk_that_does_not_answer_is_told_once_and_that_it_has_answered() {
    const SILENT: &str = "WARN the disk does not answer: acknowledgements wait for it";
    const ANSWERED: &str = "INFO the disk has answered milliseconds=2500";
    let mut at_rest = committing(0, 2);
    at_rest.committing = None;
    let statuses = [
        committing(1_000, 0),
        committing(1_400, 0),
        committing(2_400, 0),
        committing(3, 1),
        // It has answered, and is silent again.
        committing(1_100, 1),
        committing(1_200, 2),
        at_rest,
    ];
    let said = said(&statuses);
    assert_eq!(said[0], "");
    assert_eq!(said[1], format!("{SILENT} milliseconds=1400 waiting_bytes=7"));
    assert_eq!(said[2..4], ["".to_owned(), ANSWERED.to_owned()]);
    assert_eq!(said[4], format!("{SILENT} milliseconds=1100 waiting_bytes=7"));
    assert_eq!(said[5], format!("{ANSWERED}\n{SILENT} milliseconds=1200 waiting_bytes=7"));
    assert_eq!(said[6], ANSWERED);
}

#[test]
fn commits_that_were_slow_between_two_looks_are_told() {
    let said = said(&[committing(3, 2), committing(3, 2)]);
    let slow = "WARN the disk was slow: acknowledgements had to wait for it";
    assert_eq!(said, [&*format!("{slow} milliseconds=2500 slow=2"), ""]);
}

#[test]
fn a_disk_that_fails_is_told_once_with_its_reason_and_that_it_is_over() {
    let said = said(&[failing(0), failing(5), StoreStatus::default(), StoreStatus::default()]);
    assert!(
        said[0].starts_with("ERROR the store cannot keep anything now: what must be kept is not")
    );
    assert!(said[0].ends_with("error=the store has no finished segment 3"), "{}", said[0]);
    assert_eq!(said[1..], ["", "INFO the store keeps everything again seconds=5", ""]);
}

#[test]
fn a_disk_takes_nothing_while_it_fails_and_while_it_does_not_answer() {
    let failing_for = |status: &StoreStatus| report(status).failing;
    assert_eq!(failing_for(&committing(900, 0)), None);
    assert_eq!(failing_for(&committing(2_400, 0)), Some(Duration::from_millis(2_400)));
    assert_eq!(failing_for(&failing(5)), Some(Duration::from_secs(5)));
}
