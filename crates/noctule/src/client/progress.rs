//! How far a long send has come, for people in front of a terminal.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// What is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far a long send has come.
#[derive(Debug)]
pub(crate) struct Progress {
    since: Instant,
    /// How many messages there will be, if that is known.
    total: Option<u64>,
    is_wanted: bool,
    bar: Option<ProgressBar>,
}

impl Progress {
    pub(crate) fn new(total: Option<u64>, is_quiet: bool) -> Self {
        let is_wanted = !is_quiet && io::stderr().is_terminal();
        Self { since: Instant::now(), total, is_wanted, bar: None }
    }

    /// So many messages have been delivered.
    pub(crate) fn at(&mut self, delivered: u64) {
        if !self.is_wanted {
            return;
        }
        if self.bar.is_none() && self.since.elapsed() > PATIENCE {
            self.bar = Some(bar(self.total).with_elapsed(self.since.elapsed()));
        }
        if let Some(shown) = &self.bar {
            shown.set_position(delivered);
        }
    }

    /// Makes room for other lines.
    pub(crate) fn finish(&mut self) {
        if let Some(shown) = self.bar.take() {
            shown.finish_and_clear();
        }
    }
}

fn bar(total: Option<u64>) -> ProgressBar {
    let (drawn, template) = match total {
        Some(total) => (ProgressBar::new(total), "{wide_bar} {pos}/{len} ({elapsed})"),
        None => (ProgressBar::new_spinner(), "{spinner} {pos} delivered ({elapsed})"),
    };
    match ProgressStyle::with_template(template) {
        Ok(style) => drawn.with_style(style),
        Err(_) => drawn,
    }
}
