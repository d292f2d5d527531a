//! The disk without a broker: how often a second it syncs, what its work does to neighbours, and
//! how many messages could pass if a broker did nothing but wait for it.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use noctule_store::{Disk, DiskFile, RealDisk};

use crate::process::free_port;

/// The bytes of a commit besides its messages, and of each message of these loads.
const COMMIT_BYTES: usize = 44 + 8;
const MESSAGE_BYTES: usize = 300;
/// How many bytes are written over and over.
const STRIP_BYTES: u64 = 32 * 1024 * 1024;
/// In how many parts at most what is outstanding goes to the disk: with three nothing is gained.
const PARTS_MAX: u32 = 2;

/// Lends a new folder, which is gone afterwards.
pub(crate) fn in_folder<T>(parent: &Path, act: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = parent.join(format!("noctule-bench-{}", free_port()?));
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let result = act(&folder);
    fs::remove_dir_all(&folder)?;
    result
}

/// How often a second as much can be written durably as one message needs.
pub(crate) fn syncs(folder: &Path, duration: Duration) -> Result<f64> {
    let mut strip = Strip::new(folder, "syncs", 1)?;
    let (start, mut count) = (Instant::now(), 0_u32);
    while start.elapsed() < duration {
        strip.write()?;
        count += 1;
    }
    Ok(f64::from(count) / start.elapsed().as_secs_f64())
}

/// How many messages a second would pass if all that happened to them were that they take the
/// processor time that they take in memory mode and then go to the disk: all that are outstanding
/// at once, or in parts, of which one is written while the other one is worked on or written, too.
/// The best of these. No broker that keeps them can do more than a little better.
pub(crate) fn messages(
    folder: &Path,
    outstanding: u32,
    each: Duration,
    duration: Duration,
) -> Result<f64> {
    let rates: Result<Vec<f64>> = (1..=PARTS_MAX.min(outstanding))
        .map(|parts| messages_in_parts(folder, outstanding, parts, each, duration))
        .collect();
    Ok(rates?.into_iter().fold(0.0, f64::max))
}

fn messages_in_parts(
    folder: &Path,
    outstanding: u32,
    parts: u32,
    each: Duration,
    duration: Duration,
) -> Result<f64> {
    let count = outstanding / parts;
    let strips: Result<Vec<Strip>> =
        (0..parts).map(|part| Strip::new(folder, &format!("part-{part}"), count)).collect();
    let (processor, passed) = (Mutex::new(()), AtomicU64::new(0));
    let start = Instant::now();
    let pass = |mut strip: Strip| -> Result<()> {
        while start.elapsed() < duration {
            let busy = processor.lock().map_err(|_| anyhow!("another part panicked"))?;
            let began = Instant::now();
            while began.elapsed() < each * count {}
            drop(busy);
            strip.write()?;
            passed.fetch_add(count.into(), Ordering::Relaxed);
        }
        Ok(())
    };
    thread::scope(|scope| {
        let begin = |strip| scope.spawn(|| pass(strip));
        let parts: Vec<_> = strips?.into_iter().map(begin).collect();
        parts
            .into_iter()
            .try_for_each(|part| part.join().map_err(|_| anyhow!("a part panicked"))?)
    })?;
    Ok(passed.into_inner() as f64 / start.elapsed().as_secs_f64())
}

/// Somebody who has nothing to do with a broker and keeps the disk as busy as one that always has
/// something to commit.
#[derive(Debug)]
pub(crate) struct Writer {
    is_enough: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Writer {
    /// Writes as many messages at a time as go into a commit when so many are outstanding.
    pub(crate) fn start(folder: &Path, outstanding: u32) -> Result<Self> {
        let mut strip = Strip::new(folder, "writer", (outstanding / 2).max(1))?;
        let is_enough = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_enough);
        let write = move || {
            while !is_over.load(Ordering::Relaxed) {
                strip.write()?;
            }
            Ok(())
        };
        Ok(Self { is_enough, thread: thread::spawn(write) })
    }

    pub(crate) fn stop(self) -> Result<()> {
        self.is_enough.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the writer panicked"))?
    }
}

/// A file in which one commit after the other is written, as often as one likes.
#[derive(Debug)]
struct Strip {
    file: Box<dyn DiskFile>,
    commit: Vec<u8>,
    at: u64,
}

impl Strip {
    fn new(folder: &Path, name: &str, messages: u32) -> Result<Self> {
        let mut file = RealDisk::open(folder)?.create(name)?;
        let zeros = vec![0; 1024 * 1024];
        for at in (0..STRIP_BYTES).step_by(zeros.len()) {
            file.write_at(&zeros, at)?;
        }
        file.sync()?;
        let commit = vec![0xA5; COMMIT_BYTES + messages as usize * MESSAGE_BYTES];
        Ok(Self { file, commit, at: 0 })
    }

    fn write(&mut self) -> Result<()> {
        let bytes = self.commit.len() as u64;
        if self.at + bytes > STRIP_BYTES {
            self.at = 0;
        }
        self.file.write_durably(&self.commit, self.at)?;
        self.at += bytes;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::env;

    use super::*;

    const BRIEFLY: Duration = Duration::from_millis(50);

    #[test]
    fn messages_pass_no_faster_than_their_processor_time_lets_them() -> Result<()> {
        let each = Duration::from_micros(100);
        let rate = in_folder(&env::temp_dir(), |folder| messages(folder, 8, each, BRIEFLY))?;
        assert!(rate > 0.0, "none has passed");
        assert!(rate <= 1.01 / each.as_secs_f64(), "{rate} a second, each in {each:?}");
        Ok(())
    }

    #[test]
    fn a_writer_is_stopped() -> Result<()> {
        in_folder(&env::temp_dir(), |folder| Writer::start(folder, 256)?.stop())
    }
}
