//! What runs cost: CPU for each message that is spilled, written anew by a merge, and drained.
//!
//! `cargo run --release --example runs_cost -- DIRECTORY`, on the disk that is meant. The figures
//! are of Linux: user and system time of the whole process, in steps of 10 ms.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use noctule_store::{RealDisk, RunSettings, Runs, SliceLimits, Spill};

const BODY_BYTES: usize = 256;
const SPILL_BYTES: usize = 64 * 1_024 * 1_024;
const SLICE: SliceLimits = SliceLimits { messages: 100, bytes: 1_024 * 1_024 };

type Answer<T> = Result<T, Box<dyn Error>>;

/// So many messages in each of so many queues.
#[derive(Clone, Copy)]
struct Load {
    name: &'static str,
    queues: u64,
    each: u64,
    /// To how many queues a body goes.
    shared: u64,
    runs_max: usize,
}

fn cpu_micros() -> Answer<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // Behind the name: the 12th and the 13th, in hundredths of a second.
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? * 10_000)
}

/// The most memory since this was asked last, in megabytes.
fn memory_peak() -> Answer<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|it| it.split_whitespace().next()).unwrap_or("0");
    fs::write("/proc/self/clear_refs", "5")?;
    Ok(kilobytes.parse::<u64>()? / 1_024)
}

/// What something costs for each message that it says it has handled.
fn measured(what: &str, act: impl FnOnce() -> Answer<u64>) -> Answer<()> {
    let (cpu, started) = (cpu_micros()?, Instant::now());
    memory_peak()?;
    let messages = act()?;
    let spent = cpu_micros()? - cpu;
    let (each, wall) = (spent as f64 / messages.max(1) as f64, started.elapsed().as_secs_f64());
    let memory = memory_peak()?;
    println!("  {what}: {each:.2} us CPU a message, {wall:.2} s for {messages}, {memory} MB");
    Ok(())
}

fn write(runs: &mut Runs, spill: &mut Spill) -> Answer<()> {
    let mut run = runs.begin()?;
    let written = spill.write(&mut run);
    runs.end(run)?;
    written?;
    spill.clear();
    Ok(())
}

/// Messages come to queues in an order that has no order, and each queue gets equally many.
fn spill_all(runs: &mut Runs, load: Load) -> Answer<u64> {
    let (mut spill, mut body) = (Spill::new(), [0xA5; BODY_BYTES]);
    let total = load.queues * load.each;
    for number in 0..total / load.shared {
        body[..8].copy_from_slice(&number.to_le_bytes());
        let first = number * load.shared;
        let round = first / load.queues;
        // Another order of the queues in each round.
        let turn = round.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        for at in first..first + load.shared {
            let queue = (at % load.queues).wrapping_mul(7_919).wrapping_add(turn % load.queues)
                % load.queues;
            spill.push(queue, at / load.queues, &[1], number, &body)?;
        }
        if spill.memory_bytes() >= SPILL_BYTES {
            write(runs, &mut spill)?;
        }
    }
    if !spill.is_empty() {
        write(runs, &mut spill)?;
    }
    let version = runs.version();
    runs.stored(version);
    Ok(total)
}

fn merge_all(runs: &mut Runs) -> Answer<u64> {
    let mut messages = 0;
    while let Some(mut merge) = runs.begin_merge()? {
        while merge.step()? {}
        messages += merge.messages();
        runs.end_merge(merge)?;
        let version = runs.version();
        runs.stored(version);
    }
    Ok(messages)
}

/// Each queue gets a slice in turn.
fn drain_all(runs: &mut Runs, load: Load) -> Answer<u64> {
    let mut nexts: Vec<(u64, u64)> = (0..load.queues).map(|queue| (queue, 0)).collect();
    let (mut messages, mut bytes) = (0, 0);
    let mut slices = Vec::new();
    while !nexts.is_empty() {
        let mut kept = Vec::with_capacity(nexts.len());
        for (queue, next) in nexts {
            let started = Instant::now();
            let slice = runs.read(queue, next, &SLICE, |message| bytes += message.body.len())?;
            slices.push(started.elapsed());
            messages += slice.messages as u64;
            if slice.next > 0 {
                runs.finish(queue, slice.next - 1);
            }
            if slice.has_more {
                kept.push((queue, slice.next));
            }
        }
        let version = runs.version();
        runs.stored(version);
        nexts = kept;
    }
    slices.sort_unstable();
    let at = |part: usize| slices.get(slices.len() * part / 100).copied().unwrap_or_default();
    println!("    slices: {} of {:?} (median) to {:?} (p99)", slices.len(), at(50), at(99));
    assert_eq!(bytes as u64, messages * BODY_BYTES as u64);
    Ok(messages)
}

fn cost(path: &Path, load: Load) -> Answer<()> {
    println!("{}", load.name);
    let settings = RunSettings { runs_max: load.runs_max, ..RunSettings::default() };
    let (mut runs, _) = Runs::open(Box::new(RealDisk::open(path)?), settings, &[])?;
    measured("spill", || spill_all(&mut runs, load))?;
    if runs.len() > load.runs_max {
        let before = runs.len();
        measured("merge", || merge_all(&mut runs))?;
        println!("    {before} runs have become {}", runs.len());
    }
    let (manifest, count, bytes) = (runs.manifest(), runs.len(), runs.bytes());
    drop(runs);
    let started = Instant::now();
    let (mut runs, damaged) = Runs::open(Box::new(RealDisk::open(path)?), settings, &manifest)?;
    assert!(damaged.is_empty());
    let (opened, memory) = (started.elapsed(), runs.memory_bytes());
    println!(
        "  {count} runs of {bytes} bytes open in {opened:?} and take {memory} bytes of memory"
    );
    measured("drain", || drain_all(&mut runs, load))?;
    assert!(runs.is_empty(), "everything is drained");
    Ok(())
}

fn main() -> Answer<()> {
    let Some(directory) = std::env::args_os().nth(1) else {
        println!("Name a directory on the disk that is meant: it is filled and emptied.");
        return Ok(());
    };
    let path = Path::new(&directory).join("runs-cost");
    let large = Load { name: "", queues: 1_000, each: 5_000, shared: 1, runs_max: 1_000 };
    let small = Load { queues: 100_000, each: 50, ..large };
    for load in [
        Load { name: "1,000 queues of 5,000 messages", ..large },
        Load { name: "the same, with merges", runs_max: 8, ..large },
        Load { name: "100,000 queues of 50", ..small },
        Load { name: "the same, with merges", runs_max: 8, ..small },
        Load { name: "1,000 queues of 5,000, each body for 10 of them", shared: 10, ..large },
        Load { name: "the same, with merges", shared: 10, runs_max: 2, ..large },
    ] {
        cost(&path, load)?;
        fs::remove_dir_all(&path)?;
    }
    Ok(())
}
