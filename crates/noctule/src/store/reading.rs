//! Reads a store without changing it, and shows people how far that is.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use noctule_broker_core::{Placement, Restored, Timestamp};
use noctule_store::broker::{self, Findings, Opened, Queues};
use noctule_store::{Disk, UnchangedDisk};

/// What is over sooner needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often a bar moves.
const TICK: Duration = Duration::from_millis(100);

/// What there is in a store.
pub(super) struct Reading {
    pub(super) findings: Findings,
    pub(super) contents: Vec<Restored>,
    /// What of the contents' queues is on disk only.
    pub(super) queues: Queues,
    /// How old the store is now.
    pub(super) now: Timestamp,
    pub(super) sizes: Sizes,
}

/// The bytes of the files of each part.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sizes {
    pub(super) log: u64,
    pub(super) runs: u64,
    pub(super) state: u64,
    /// What is damaged and what was set aside.
    pub(super) aside: u64,
}

impl Reading {
    /// Reads the store in a directory.
    pub(super) fn of(path: &Path) -> Result<Self> {
        let disk = UnchangedDisk::open(path)?;
        let names = disk.names().with_context(|| format!("cannot read {}", path.display()))?;
        let is_store = names.iter().any(|name| name == "state" || name.starts_with("log-"));
        ensure!(is_store, "there is no broker's store in {}", path.display());
        let sizes = Sizes::of(path).with_context(|| format!("cannot read {}", path.display()))?;
        let bytes_read = disk.bytes_read();
        let total = sizes.log + sizes.runs + sizes.state;
        let Opened { log, archive, model, findings } =
            with_bar(total, &bytes_read, || broker::look(disk))?;
        let now = Timestamp::default() + log.ages().now();
        let contents = model.into_restored(&Placement::default()).into_iter().flatten().collect();
        Ok(Self { findings, contents, queues: archive.queues(), now, sizes })
    }
}

impl Sizes {
    fn of(path: &Path) -> io::Result<Self> {
        let mut sizes = Self::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            let bytes = bytes_below(&entry)?;
            match name.to_str().unwrap_or_default() {
                "runs" => sizes.runs += bytes,
                "state" => sizes.state += bytes,
                name if name.starts_with("damaged-") || name.starts_with("aside-") => {
                    sizes.aside += bytes;
                }
                name if name.starts_with("log-") => sizes.log += bytes,
                _ => {}
            }
        }
        Ok(sizes)
    }
}

/// The bytes of a file, or of all files in a folder.
fn bytes_below(entry: &fs::DirEntry) -> io::Result<u64> {
    // What a link leads to does not count.
    if !entry.file_type()?.is_dir() {
        return Ok(entry.metadata()?.len());
    }
    let mut bytes = 0;
    for below in fs::read_dir(entry.path())? {
        bytes += bytes_below(&below?)?;
    }
    Ok(bytes)
}

/// Does something that takes long; `done` says how much of it is done.
fn with_bar<T: Send>(total: u64, done: &AtomicU64, work: impl FnOnce() -> T + Send) -> T {
    if !io::stderr().is_terminal() {
        return work();
    }
    let since = Instant::now();
    thread::scope(|scope| {
        let waiting = thread::current();
        let worker = scope.spawn(move || {
            let result = work();
            waiting.unpark();
            result
        });
        let mut shown = None;
        while !worker.is_finished() {
            thread::park_timeout(TICK);
            if since.elapsed() > PATIENCE {
                let progress =
                    shown.get_or_insert_with(|| draw(total).with_elapsed(since.elapsed()));
                progress.set_position(done.load(Ordering::Relaxed).min(total));
            }
        }
        if let Some(progress) = shown {
            progress.finish_and_clear();
        }
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn draw(total: u64) -> ProgressBar {
    let drawn = ProgressBar::new(total);
    match ProgressStyle::with_template("{wide_bar} {binary_bytes}/{binary_total_bytes} ({elapsed})")
    {
        Ok(style) => drawn.with_style(style),
        Err(_) => drawn,
    }
}
