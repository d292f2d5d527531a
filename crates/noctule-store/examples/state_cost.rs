//! What a state costs: CPU for each record that changes, and for each that is read at the start.
//!
//! `cargo run --release --example state_cost -- DIRECTORY`, on the disk that is meant. The figures
//! are of Linux: user and system time of the whole process, in steps of 10 ms.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::Instant;

use noctule_store::{LoggedState, RealDisk, Repair, State, StateBatch};

const RECORDS: u64 = 200_000;
const CHANGED: u64 = 10_000;
const BATCHES: u64 = 100;
const VALUE_BYTES: usize = 180;

type Answer<T> = Result<T, Box<dyn Error>>;

fn cpu_micros() -> Answer<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // Behind the name: the 12th and the 13th, in hundredths of a second.
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? * 10_000)
}

/// What something costs for each of so many records.
fn measured<T>(what: &str, records: u64, act: impl FnOnce() -> Answer<T>) -> Answer<T> {
    let (cpu, started) = (cpu_micros()?, Instant::now());
    let done = act()?;
    let spent = cpu_micros()? - cpu;
    let (each, wall) = (spent as f64 / records as f64, started.elapsed().as_secs_f64());
    println!("  {what}: {each:.2} us CPU a record, {wall:.2} s for {records}");
    Ok(done)
}

fn batch(first: u64, generation: u64) -> Answer<StateBatch> {
    let mut batch = StateBatch::new();
    for number in 0..CHANGED {
        // Spread over all, as clients' names are.
        let record = (first + number).wrapping_mul(0x9E37_79B9_7F4A_7C15) % RECORDS;
        let mut value = generation.to_le_bytes().to_vec();
        value.resize(VALUE_BYTES, 0xA5);
        batch.put(format!("record/{record:013}"), value)?;
    }
    Ok(batch)
}

fn cost(name: &str, open: &dyn Fn() -> Answer<Box<dyn State>>) -> Answer<()> {
    println!("{name}");
    let mut state = open()?;
    let mut all = StateBatch::new();
    for record in 0..RECORDS {
        all.put(format!("record/{record:013}"), vec![0xA5; VALUE_BYTES])?;
    }
    measured("the first batch, of all", RECORDS, || Ok(state.apply(&all)?))?;
    let batches = (0..BATCHES).map(|number| batch(number * CHANGED, number));
    let batches = batches.collect::<Answer<Vec<_>>>()?;
    let records = batches.iter().map(|batch| batch.len() as u64).sum();
    measured("batches of 10,000", records, || {
        Ok(batches.iter().try_for_each(|batch| state.apply(batch))?)
    })?;
    drop(state);
    let state = measured("open", RECORDS, open)?;
    let (mut count, mut bytes) = (0, 0);
    measured("scan", RECORDS, || {
        Ok(state.scan(b"record/", &mut |key, value| {
            count += 1;
            bytes += key.len() + value.len();
        })?)
    })?;
    println!("  {count} records of {bytes} bytes");
    Ok(())
}

fn main() -> Answer<()> {
    let Some(folder) = std::env::args().nth(1) else {
        println!("Name a directory on the disk that is meant: it is filled and emptied.");
        return Ok(());
    };
    let folder = Path::new(&folder).join("state-cost");
    cost("in memory, with a log", &|| {
        let disk = Box::new(RealDisk::open(folder.join("logged"))?);
        Ok(Box::new(LoggedState::open(disk, 0, Repair::Refuse)?.0))
    })?;
    fs::remove_dir_all(folder)?;
    Ok(())
}
