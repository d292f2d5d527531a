//! What queues that are longer than memory cost: to have them leave the log, to open a store with
//! them, and to read them back.
//!
//! `cargo run --release --example backlog_cost -- DIRECTORY fill 10000000`, then `open` or `drain`
//! in place of `fill`, or `live` with an empty directory; or `tail 3000000` with an empty one and
//! then, as root, `cold`, for a log that is read at the start from the disk itself. The figures are
//! of Linux: user and system time of the process, in steps of 10 ms.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use noctule_broker_core::{Message, Placement, Record, Reference, Restored, StoredTerms};
use noctule_packet::{ForwardedProperties, PacketId, QoS, Version};
use noctule_store::broker::{Opened, encode, open_directory};
use noctule_store::{Batch, SliceLimits};

const SESSIONS: u64 = 1_000;
const PAYLOAD_BYTES: usize = 256;
const COMMITTED: u64 = 256;
const SEGMENTS_MAX: usize = 4;
const SLICE: SliceLimits = SliceLimits { messages: 1_000, bytes: 1_024 * 1_024 };

type Answer<T> = Result<T, Box<dyn Error>>;

fn cpu_micros() -> Answer<u64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields = stat.rsplit(')').next().unwrap_or_default();
    // Behind the name: the 12th and the 13th, in hundredths of a second.
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    Ok(ticks.sum::<Result<u64, _>>()? * 10_000)
}

/// The most memory so far, in megabytes.
fn memory_peak() -> Answer<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = peak.and_then(|it| it.split_whitespace().next()).unwrap_or("0");
    Ok(kilobytes.parse::<u64>()? / 1_024)
}

fn each(micros: u64, messages: u64) -> f64 {
    micros as f64 / messages.max(1) as f64
}

fn terms(session: u64) -> StoredTerms {
    StoredTerms {
        session: session << 16,
        client_id: format!("client-{session}").into(),
        user_name: None,
        version: Version::V5_0,
        expiry_interval: 3_600,
        receive_maximum: 100,
        may_send: None,
        will: None,
    }
}

fn queued(session: u64, sequence: u64) -> Record {
    let (qos, retain, identifiers) = (QoS::AtLeastOnce, false, Vec::new());
    let session = session << 16;
    let references = Reference { session, sequence, qos, retain, identifiers, group: None }.into();
    let message = Arc::new(Message {
        topic: "a/topic/of/some/length".into(),
        payload: [0xA5; PAYLOAD_BYTES][..].into(),
        qos,
        retain,
        properties: ForwardedProperties::empty(),
        expires_at: None,
    });
    Record::Queued { publication: 0, message, references }
}

/// What becomes of the messages.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// Their clients have them at once.
    Delivered,
    /// The same, and nobody empties the log.
    Left,
    /// They wait.
    Waiting,
}

/// Writes so many messages.
fn fill(path: &Path, messages: u64, fate: Fate) -> Answer<()> {
    let Opened { mut log, mut archive, .. } = open_directory(path, 1_024, None)?;
    let view = log.view();
    let mut batch = Batch::new();
    let push = |batch: &mut Batch, record: &Record| {
        batch.push(|out| {
            let _ = encode(record, out);
        })
    };
    for session in 1..=SESSIONS {
        push(&mut batch, &Record::SessionStarted(Box::new(terms(session))))?;
    }
    let (mut spilling, mut merging, mut taken_in) = (0, 0, 0_u64);
    let started = Instant::now();
    for number in 0..messages {
        let (session, sequence) = (number % SESSIONS + 1, number / SESSIONS + 1);
        push(&mut batch, &queued(session, sequence))?;
        if fate != Fate::Waiting {
            let next = PacketId::new((1 + sequence % 65_535) as u16).unwrap_or(PacketId::MIN);
            let session = session << 16;
            push(&mut batch, &Record::Acknowledged { session, up_to: sequence, next })?;
        }
        if number % COMMITTED == COMMITTED - 1 || number == messages - 1 {
            log.commit(&mut batch)?;
        }
        let sealed = view.sealed();
        if fate != Fate::Left && sealed.len() > SEGMENTS_MAX {
            let before = cpu_micros()?;
            archive.take_in(&view, sealed[0])?;
            log.trim(sealed[0] + 1);
            let between = cpu_micros()?;
            while archive.tend()? {}
            (spilling, merging) = (spilling + between - before, merging + cpu_micros()? - between);
            taken_in = number;
        }
    }
    let wall = started.elapsed().as_secs_f64();
    println!(
        "{messages} messages in {wall:.1} s: {:.3} us CPU a message to empty the log, {:.3} to \
         merge; {} MB",
        each(spilling, taken_in),
        each(merging, taken_in),
        memory_peak()?
    );
    Ok(())
}

fn open(path: &Path, drains: bool, is_cold: bool) -> Answer<()> {
    if is_cold {
        fs::write("/proc/sys/vm/drop_caches", "3")?;
    }
    let (cpu, started) = (cpu_micros()?, Instant::now());
    let Opened { archive, model, findings, .. } = open_directory(path, 1_024, None)?;
    let rate = findings.log.records as f64 / started.elapsed().as_secs_f64() / 1e6;
    println!("{rate:.2} million records of the log a second");
    let shards = model.into_restored(&Placement::new([7; 16], 2));
    println!(
        "open in {:.2} s ({:.2} s CPU), {} MB: {findings}",
        started.elapsed().as_secs_f64(),
        (cpu_micros()? - cpu) as f64 / 1e6,
        memory_peak()?
    );
    let mut nexts = Vec::new();
    for restored in shards.into_iter().flatten() {
        if let Restored::Session(session) = restored {
            nexts.extend(session.away.map(|away| (session.terms.session, away.from)));
        }
    }
    let (queues, mut messages) = (archive.queues(), 0);
    let (cpu, started) = (cpu_micros()?, Instant::now());
    while drains && !nexts.is_empty() {
        let mut kept = Vec::new();
        for (session, next) in nexts {
            let slice = queues.read(session, next, &SLICE)?;
            messages += slice.messages.len() as u64;
            kept.extend(slice.has_more.then_some((session, slice.next)));
        }
        nexts = kept;
    }
    if drains {
        let (spent, wall) = (cpu_micros()? - cpu, started.elapsed().as_secs_f64());
        println!("{messages} read in {wall:.1} s, {:.3} us CPU each", each(spent, messages));
    }
    Ok(())
}

fn main() -> Answer<()> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (Some(directory), Some(what)) = (arguments.first(), arguments.get(1)) else {
        println!(
            "Name a directory on the disk that is meant, and fill, live, tail, open, cold or drain."
        );
        return Ok(());
    };
    let path = Path::new(directory);
    let messages = arguments.get(2).map_or(Ok(1_000_000), |text| text.parse())?;
    match what.as_str() {
        "fill" => fill(path, messages, Fate::Waiting),
        "live" => fill(path, messages, Fate::Delivered),
        "tail" => fill(path, messages, Fate::Left),
        "drain" => open(path, true, false),
        "cold" => open(path, false, true),
        _ => open(path, false, false),
    }
}
