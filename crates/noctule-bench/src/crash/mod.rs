//! The crash test: a load through a broker that is killed and started again on its data, round
//! after round, and a table of what it has lost.

mod cast;
mod check;
mod client;
mod connect;
mod content;
mod finding;
mod journal;
mod random;
mod receiver;
mod recipe;
mod round;
mod sender;
mod stage;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::finding::{Finding, KINDS, Tally};
use self::recipe::{Ending, Recipe, Server};
use self::stage::Stage;
use crate::process;

/// Findings of a round that are printed; the others are in the journal.
const PRINTED_MAX: usize = 10;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Which broker
    #[arg(long, value_enum, default_value_t = Recipe::Noctule)]
    broker: Recipe,
    /// How often it is killed, or a little more often: some rounds kill it twice
    #[arg(long, default_value_t = 20)]
    rounds: u64,
    /// Where the random choices begin; the kernel's timing is left to chance
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads of Noctule
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// After how many rounds it begins with an empty folder
    #[arg(long, default_value_t = 10)]
    rounds_per_folder: u64,
    /// Ask it to stop instead of killing it
    #[arg(long)]
    gently: bool,
    /// Only cut all connections, and let the broker run
    #[arg(long, conflicts_with = "gently")]
    without_restart: bool,
    /// How many seconds nothing may happen while something is owed
    #[arg(long, default_value_t = 3)]
    patience: u64,
    /// Print findings and keep data and journals where something is wrong, as is always done with
    /// Noctule
    #[arg(long)]
    keep: bool,
    /// Where the data is kept
    #[arg(long)]
    folder: Option<PathBuf>,
}

impl Options {
    fn keeps(&self) -> bool {
        self.keep || self.broker.is_ours()
    }

    fn ending(&self) -> Ending {
        match (self.gently, self.without_restart) {
            (true, _) => Ending::Terminate,
            (_, true) => Ending::CutOnly,
            _ => Ending::Kill,
        }
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0 && options.rounds_per_folder > 0, "no rounds, no table");
    if options.broker.is_ours() {
        process::build_noctule()?;
    }
    let base = options.folder.clone().unwrap_or_else(env::temp_dir);
    let base = base.join(format!("noctule-crash-{}", std::process::id()));
    let mut sum = Tally::default();
    let mut round = 0;
    while round < options.rounds {
        let rounds = options.rounds_per_folder.min(options.rounds - round);
        let folder = base.join(round.to_string());
        sum.add(&one_folder(options, folder, round, rounds)?);
        round += rounds;
    }
    // Not if there is something to look at.
    let _ = fs::remove_dir(&base);
    print!("\n{}", table(options, &sum));
    if options.broker.is_ours() && !sum.is_clean() {
        bail!("promises were broken; see {}", base.display());
    }
    Ok(())
}

/// Some rounds on one folder.
fn one_folder(options: &Options, folder: PathBuf, first: u64, rounds: u64) -> Result<Tally> {
    let mut server = Server::new(options.broker, options.shards, folder)?;
    let patience = Duration::from_secs(options.patience);
    let mut stage = Stage::new(server.start()?, options.seed.wrapping_add(first), patience);
    let mut sum = Tally::default();
    for round in first..first + rounds {
        let duration = stage.round(&mut server, options.ending());
        let report = stage.checker.take_report();
        let events = std::mem::take(&mut stage.events);
        if options.keeps() && (!report.findings.is_empty() || duration.is_err()) {
            let mut text: String = report.findings.iter().map(|each| format!("{each}\n")).collect();
            for event in events {
                writeln!(text, "{event:?}")?;
            }
            let file = server.folder().with_extension(format!("round-{round}"));
            fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let duration = duration.with_context(|| format!("round {round}"))?;
        sum.add(&report.tally);
        print_round(round, duration, &report.tally, &report.findings, options.keeps());
    }
    server.stop(Ending::Kill)?;
    if !options.keeps() || sum.is_clean() {
        fs::remove_dir_all(server.folder())?;
    }
    Ok(sum)
}

fn print_round(round: u64, load: Duration, tally: &Tally, findings: &[Finding], in_full: bool) {
    println!(
        "round {round:>4}: load of {:>3} ms, {} stops, {:>5} messages acknowledged, {:>6} \
         deliveries owed: {}",
        load.as_millis(),
        tally.kills,
        tally.acknowledged,
        tally.owed,
        tally.summary()
    );
    for finding in findings.iter().filter(|_| in_full).take(PRINTED_MAX) {
        println!("    {finding}");
    }
}

fn table(options: &Options, sum: &Tally) -> String {
    let (each, times) = match sum.kills {
        0 => ("per round", options.rounds),
        kills => ("per end", kills),
    };
    let ending = match options.ending() {
        Ending::CutOnly => "connections cut, no restart",
        Ending::Kill => "kill -9",
        Ending::Terminate => "SIGTERM",
    };
    let title = format!("{}, {ending}, seed {}", options.broker.name(), options.seed);
    let mut text = format!("| {title} | in all | {each} |\n|---|---:|---:|\n");
    let checked = [
        ("rounds", options.rounds),
        ("times ended", sum.kills),
        ("messages acknowledged", sum.acknowledged),
        ("deliveries owed", sum.owed),
        ("sessions promised", sum.sessions),
        ("subscriptions tried", sum.subscriptions),
        ("retained messages due", sum.retained),
        ("wills due", sum.wills),
        ("repeated with DUP, as QoS 1 may", sum.repeated),
    ];
    let broken = KINDS.map(|kind| (kind.describe(), sum.broken(kind)));
    for (name, count) in checked.into_iter().chain(broken) {
        text.push_str(&format!("| {name} | {count} | {:.1} |\n", count as f64 / times as f64));
    }
    text
}
