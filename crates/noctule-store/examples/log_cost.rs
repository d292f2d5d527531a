//! What a log costs: CPU for each record that is made durable, with segments that are trimmed and
//! used again, beside the bare writes that this disk wants for it.
//!
//! `cargo run --release --example log_cost -- DIRECTORY`, on the disk that is meant. The figures
//! are of Linux: user and system time of the whole process.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use noctule_store::{Batch, Committer, Disk, Log, LogSettings, Position, RealDisk, Repair};

const RECORD_BYTES: usize = 296;
const SEGMENT_BYTES: u64 = 32 * 1_024 * 1_024;
const SETTINGS: LogSettings =
    LogSettings { content: 0, segment_bytes: SEGMENT_BYTES, free_segments_max: 4 };
/// So many segments are kept, as a log keeps what is not acknowledged yet.
const ALIVE: u64 = 2;
/// The disk is shared: the best of so many rounds counts, and the median stands beside it.
const ROUNDS: usize = 7;

type Answer<T> = Result<T, Box<dyn Error>>;

/// The time that this process had a processor, all threads and the system's part together.
fn cpu() -> Answer<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir("/proc/self/task")? {
        let stat = fs::read_to_string(thread?.path().join("schedstat"))?;
        nanos += stat.split(' ').next().unwrap_or_default().parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanos))
}

/// Best and median CPU for a record, and the median of commits in a second.
fn measured(records: u64, commits: u64, mut act: impl FnMut() -> Answer<()>) -> Answer<String> {
    let (mut costs, mut rates) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (before, started) = (cpu()?, Instant::now());
        act()?;
        costs.push((cpu()? - before).as_secs_f64() * 1e6 / records as f64);
        rates.push(commits as f64 / started.elapsed().as_secs_f64());
    }
    costs.sort_by(f64::total_cmp);
    rates.sort_by(f64::total_cmp);
    Ok(format!("{:.3} / {:.3} / {:.0}", costs[0], costs[ROUNDS / 2], rates[ROUNDS / 2]))
}

fn open(folder: &Path, settings: LogSettings) -> Answer<Log> {
    let disk = Box::new(RealDisk::open(folder)?);
    Ok(Log::open(disk, settings, Repair::Refuse, |_| Ok(()))?.0)
}

fn log(folder: &Path, settings: LogSettings, batch: u64, commits: u64) -> Answer<String> {
    let mut log = open(folder, settings)?;
    let mut records = Batch::new();
    let mut write = |commits: u64| -> Answer<()> {
        for _ in 0..commits {
            for number in 0..batch {
                records.push(|out| record(out, number))?;
            }
            log.commit(&mut records)?;
            log.keep_up();
            log.trim(log.view().active().saturating_sub(ALIVE));
        }
        Ok(())
    };
    // Each file has its second life at least.
    let segments = if settings.free_segments_max > 0 { 8 } else { 0 };
    let bulk = SEGMENT_BYTES * segments / (RECORD_BYTES as u64 * batch);
    write(bulk.min(2_000))?;
    let result = measured(batch * commits, commits, || write(commits));
    drop(log);
    fs::remove_dir_all(folder)?;
    result
}

fn record(out: &mut Vec<u8>, number: u64) {
    let start = out.len();
    out.resize(start + RECORD_BYTES, 0xA5);
    out[start..start + 8].copy_from_slice(&number.to_le_bytes());
}

/// The same through a committer: one thread appends, and always has two batches on their way.
fn committed(folder: &Path, batch: u64, commits: u64) -> Answer<String> {
    let caller = std::thread::current();
    let wake = Box::new(move || caller.unpark());
    let (committer, mut appenders) =
        Committer::start(open(folder, SETTINGS)?, 1 << 30, vec![wake])?;
    let appender = appenders.first_mut().ok_or("there is one")?;
    let mut last = 0;
    let mut write = |commits: u64| -> Answer<()> {
        for _ in 0..commits {
            for number in 0..batch {
                last = appender.append(|out| record(out, number))?.0;
            }
            appender.post();
            while appender.durable() < Position(last.saturating_sub(batch)) {
                std::thread::park();
            }
            committer.trim(appender.active_segment().saturating_sub(ALIVE));
        }
        Ok(())
    };
    write((SEGMENT_BYTES * 8 / (RECORD_BYTES as u64 * batch)).min(2_000))?;
    let result = measured(batch * commits, commits, || write(commits));
    committer.stop()?;
    fs::remove_dir_all(folder)?;
    result
}

/// The same bytes, over and over into one file, and nothing else.
fn bare(folder: &Path, batch: u64, commits: u64) -> Answer<String> {
    let mut disk = RealDisk::open(folder)?;
    let mut file = disk.create("bare")?;
    let bytes = vec![0xA5; usize::try_from(batch)? * (RECORD_BYTES + 8) + 44];
    let mut at = 0;
    let mut write = |commits: u64| -> Answer<()> {
        for _ in 0..commits {
            if at + bytes.len() as u64 > SEGMENT_BYTES {
                at = 0;
            }
            file.write_durably(&bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(())
    };
    write((SEGMENT_BYTES / bytes.len() as u64 + 1).min(2_000))?;
    let result = measured(batch * commits, commits, || write(commits));
    fs::remove_dir_all(folder)?;
    result
}

fn main() -> Answer<()> {
    let Some(folder) = std::env::args().nth(1) else {
        println!("Name a directory on the disk that is meant: it is filled and emptied.");
        return Ok(());
    };
    let folder = Path::new(&folder).join("log-cost");
    println!("us of CPU for a record of {RECORD_BYTES} bytes: best / median; commits a second");
    for (batch, commits) in [(1, 500), (16, 500), (256, 400), (1_024, 200)] {
        println!("{batch} records a commit");
        println!("  bare writes       {}", bare(&folder, batch, commits)?);
        println!("  log, used again   {}", log(&folder, SETTINGS, batch, commits)?);
        let growing = LogSettings { free_segments_max: 0, ..SETTINGS };
        println!("  log, growing      {}", log(&folder, growing, batch, commits)?);
        println!("  committer         {}", committed(&folder, batch, commits)?);
    }
    Ok(())
}
