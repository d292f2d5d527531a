//! What the log says of a disk, for what is seen of it second by second.

use std::io;
use std::sync::{Arc, Mutex};

use noctule_store::StoreError;
use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// What is said of each status.
fn said(statuses: &[StoreStatus]) -> Vec<String> {
    let lines = Lines::default();
    let format = tracing_subscriber::fmt::format().without_time().with_target(false);
    let subscriber =
        tracing_subscriber::fmt().event_format(format).with_ansi(false).with_writer(lines.clone());
    tracing::subscriber::with_default(subscriber.finish(), || {
        let mut watch = Watch::default();
        let said = statuses.iter().map(|status| {
            watch.look(status);
            let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
            let lines = String::from_utf8(bytes).unwrap();
            lines.lines().map(str::trim).collect::<Vec<_>>().join("\n")
        });
        said.collect()
    })
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
