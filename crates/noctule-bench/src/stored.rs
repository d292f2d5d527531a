//! The table of what it costs to keep messages on disk: the same loads through a broker that keeps
//! what waits for stored sessions, and through one in memory mode, one after the other in every
//! round.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::bare::{self, Writer, in_folder};
use crate::cost::{Cost, load_through, machine, start_apart};
use crate::load::{Load, STORED_LOADS};
use crate::neighbour::{Latency, Neighbour};
use crate::process::{self, Running};

const WARM_UP: Duration = Duration::from_millis(1_000);
/// Long enough that the log uses its files again, and that what is below it knows them.
const WARM_UP_STORED: Duration = Duration::from_millis(5_000);

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How often each load is sent through each broker; the medians count
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a load is kept up, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    milliseconds: u64,
    /// Only loads whose names begin like this
    #[arg(long, default_value = "")]
    only: String,
    /// A folder on the disk that is meant; what is written there is removed
    #[arg(long, default_value_os_t = env::temp_dir())]
    folder: PathBuf,
    /// Show how long messages at QoS 0 take meanwhile that have nothing to do with the load
    #[arg(long)]
    neighbour: bool,
    /// Let broker and load share all processors, instead of one for each: a store has threads of
    /// its own
    #[arg(long)]
    together: bool,
}

/// What one load cost, and how long others had to wait.
#[derive(Clone, Copy, Debug, Default)]
struct Measured {
    cost: Cost,
    beside: Latency,
}

/// What one load cost in one round.
#[derive(Clone, Copy, Debug)]
struct Round {
    /// In memory mode.
    memory: Measured,
    /// To stored sessions, on disk.
    stored: Measured,
    /// To sessions that end with their connections, of a broker that has a disk.
    clean: Measured,
    /// In memory mode, while somebody else keeps the disk as busy; only with a neighbour.
    disturbed: Measured,
    /// What could pass at most with this disk, in messages a second.
    bound: f64,
    /// Syncs a second of the disk alone.
    syncs: f64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "no rounds, no table");
    process::build_noctule()?;
    println!("messages at QoS 1, 256 bytes, to stored sessions; {}", machine()?);
    println!("medians of {} rounds of {} ms\n", options.rounds, options.milliseconds);
    println!(
        "              messages/s             ratio        microseconds               \
         clean sessions  bare"
    );
    println!(
        "outstanding    memory     stored       bound   memory  stored  memory/stored    \
         ratio  us    syncs/s"
    );
    for load in STORED_LOADS.iter().filter(|load| load.name.starts_with(&options.only)) {
        let rounds: Result<Vec<Round>> =
            (0..options.rounds).map(|_| measure(load, options)).collect();
        let rounds = rounds?;
        print(load, &rounds);
        if options.neighbour {
            print_neighbour(&rounds);
        }
    }
    println!("\n{}", machine()?);
    Ok(())
}

fn print(load: &Load, rounds: &[Round]) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!(
        "{:<13} {:9.0}  {:9.0} {:5.2} {:5.2} {:8.3} {:7.3} {:14.2} {:8.2} {:6.3} {:8.0}",
        load.name,
        of(|round| round.memory.cost.rate),
        of(|round| round.stored.cost.rate),
        of(|round| round.stored.cost.rate / round.memory.cost.rate),
        of(|round| round.bound / round.memory.cost.rate),
        of(|round| round.memory.cost.microseconds),
        of(|round| round.stored.cost.microseconds),
        of(|round| round.memory.cost.microseconds / round.stored.cost.microseconds),
        of(|round| round.clean.cost.rate / round.memory.cost.rate),
        of(|round| round.clean.cost.microseconds),
        of(|round| round.syncs),
    );
}

fn print_neighbour(rounds: &[Round]) {
    let of = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    println!(
        "  beside it, QoS 0, us: memory {:.0}, 99 of 100 within {:.0}; stored {:.0}, {:.0}; \
         memory, while another thread writes as much, {:.0}, {:.0}",
        of(|round| round.memory.beside.median),
        of(|round| round.memory.beside.late),
        of(|round| round.stored.beside.median),
        of(|round| round.stored.beside.late),
        of(|round| round.disturbed.beside.median),
        of(|round| round.disturbed.beside.late),
    );
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

fn measure(load: &Load, options: &Options) -> Result<Round> {
    let duration = Duration::from_millis(options.milliseconds);
    let clean_load = Load { is_stored: false, ..*load };
    let outstanding = load.sources() * load.window;
    let through = |load: &Load, start: &dyn Fn() -> Result<Running>| {
        let running = start_apart(!options.together, start)?;
        let warm_up = if load.is_stored { WARM_UP_STORED } else { WARM_UP };
        let neighbour =
            options.neighbour.then(|| Neighbour::start(running.target(), warm_up, duration));
        let (cost, _) = load_through(&running, load, warm_up, duration)?;
        let beside = neighbour.map(|neighbour| neighbour?.finish()).transpose()?;
        Ok::<_, anyhow::Error>(Measured { cost, beside: beside.unwrap_or_default() })
    };
    let memory = through(load, &|| Running::noctule(1)).context("memory")?;
    let stored = in_folder(&options.folder, |folder| {
        through(load, &|| Running::noctule_with(folder)).context("stored")
    })?;
    let clean = in_folder(&options.folder, |folder| {
        through(&clean_load, &|| Running::noctule_with(folder)).context("clean")
    })?;
    let disturbed = in_folder(&options.folder, |folder| {
        if !options.neighbour {
            return Ok(Measured::default());
        }
        let writer = Writer::start(folder, outstanding)?;
        let measured = through(load, &|| Running::noctule(1)).context("disturbed");
        writer.stop().and(measured)
    })?;
    let each = Duration::from_secs_f64(1.0 / memory.cost.rate);
    let bound =
        in_folder(&options.folder, |folder| bare::messages(folder, outstanding, each, duration))?;
    let syncs = in_folder(&options.folder, |folder| bare::syncs(folder, duration))?;
    Ok(Round { memory, stored, clean, disturbed, bound, syncs })
}
