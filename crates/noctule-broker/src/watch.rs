//! What the log says about the disk: that it fails, or does not answer, and that this is over. The
//! first shard looks for all, once a second, so that a disk that answers late is told meanwhile.

use std::time::Duration;

use noctule_broker_core::{Input, StoreReport};
use noctule_store::StoreStatus;
use tracing::{error, info, warn};

use crate::shard::SharedDriver;

/// How often is looked.
const INTERVAL: Duration = Duration::from_secs(1);

/// A disk that has not answered for so long is told.
const SLOW: Duration = Duration::from_secs(1);

/// What has been told, and is not over.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// For how long the disk had failed, when that was last looked at.
    failing: Option<Duration>,
    /// So for its silence.
    silent: Option<Duration>,
    /// How many slow commits there had been.
    slow: u64,
}

impl Watch {
    /// Says what is news.
    fn look(&mut self, status: &StoreStatus) {
        match &status.trouble {
            Some((since, trouble)) => {
                if self.failing.is_none() {
                    error!(target: "noctule", error = %trouble, "the store cannot keep anything \
                        now: what must be kept is not acknowledged until it can");
                }
                self.failing = Some(*since);
            }
            None => {
                if let Some(failing) = self.failing.take() {
                    info!(target: "noctule", seconds = failing.as_secs(),
                        "the store keeps everything again");
                }
            }
        }
        self.look_for_silence(status);
    }

    fn look_for_silence(&mut self, status: &StoreStatus) {
        let slow = status.commits_slow - self.slow;
        self.slow = status.commits_slow;
        let silent = silence(status);
        if self.silent.is_some() && (slow > 0 || silent.is_none()) {
            self.silent = None;
            info!(target: "noctule", milliseconds = status.commit_last.as_millis(),
                "the disk has answered");
        } else if slow > 0 {
            warn!(target: "noctule", milliseconds = status.commit_last.as_millis(), slow,
                "the disk was slow: acknowledgements had to wait for it");
        }
        if silent.is_some() && self.silent.is_none() {
            warn!(target: "noctule", milliseconds = silent.map(|time| time.as_millis()),
                waiting_bytes = status.waiting_bytes,
                "the disk does not answer: acknowledgements wait for it");
        }
        self.silent = silent;
    }
}

/// For how long the disk has not answered, if that is long.
fn silence(status: &StoreStatus) -> Option<Duration> {
    status.committing.filter(|time| *time > SLOW)
}

/// What the `$SYS` topics say of a store.
fn report(status: &StoreStatus) -> StoreReport {
    let mut report = StoreReport::default();
    report.records = status.records;
    report.bytes = status.bytes;
    report.commits = status.commits;
    report.commits_failed = status.commits_failed;
    report.commits_slow = status.commits_slow;
    report.commit_last = status.commit_last;
    report.commit_longest = status.commit_longest;
    report.waiting_bytes = status.waiting_bytes;
    report.log_bytes = status.log_bytes;
    report.runs_bytes = status.runs_bytes;
    report.state_bytes = status.state_bytes;
    report.checkpoints = status.checkpoints;
    report.checkpoint_last = status.checkpoint_last;
    report.checkpoint_longest = status.checkpoint_longest;
    let failing = status.trouble.as_ref().map(|(since, _)| *since);
    report.failing = failing.or(silence(status));
    report
}

/// Looks after the store, for all shards.
pub(crate) async fn watch_loop(driver: SharedDriver) {
    let mut watch = Watch::default();
    loop {
        let status = driver.borrow().store_status();
        if let Some(status) = status {
            watch.look(&status);
            let _ = driver.borrow_mut().input(Input::StoreReport(report(&status)));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
