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
mod table;

use std::fmt::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use self::finding::{Finding, Tally};
use self::journal::Event;
use self::recipe::{Ending, Recipe, Server};
use self::stage::Stage;
use crate::process;

/// Findings of a round that are printed; the others are in the journal.
const PRINTED_MAX: usize = 10;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// Which broker, or several with commas between them
    #[arg(long, value_enum, value_delimiter = ',', default_value = "noctule")]
    broker: Vec<Recipe>,
    /// How often each is killed, or a little more often: some rounds kill it twice
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
    /// After how many seconds in which nothing comes what is still owed counts as lost
    #[arg(long, default_value_t = 5)]
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
    fn keeps(&self, broker: Recipe) -> bool {
        self.keep || broker.is_ours()
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
    if options.broker.iter().any(|broker| broker.is_ours()) {
        process::build_noctule()?;
    }
    let base = options.folder.clone().unwrap_or_else(env::temp_dir);
    let base = base.join(format!("noctule-crash-{}", std::process::id()));
    let mut results = Vec::new();
    for &broker in &options.broker {
        println!("{}", broker.name());
        results.push((broker, all_rounds(options, broker, &base)?));
    }
    // Not if there is something to look at.
    let _ = fs::remove_dir(&base);
    print!("\n{}", table::of(&results, options.ending(), options.seed));
    if results.iter().any(|(broker, tally)| broker.is_ours() && !tally.is_clean()) {
        bail!("promises were broken; see {}", base.display());
    }
    Ok(())
}

fn all_rounds(options: &Options, broker: Recipe, base: &Path) -> Result<Tally> {
    let mut sum = Tally::default();
    let mut round = 0;
    while round < options.rounds {
        let rounds = options.rounds_per_folder.min(options.rounds - round);
        let folder = base.join(format!("{}-{round}", broker.name()));
        match some_rounds(options, broker, folder, round..round + rounds, &mut sum) {
            // Others may be so broken that a round does not come to its end.
            Err(error) if !broker.is_ours() => println!("given up: {error:#}"),
            result => result?,
        }
        round += rounds;
    }
    Ok(sum)
}

/// Some rounds on one folder.
fn some_rounds(
    options: &Options,
    broker: Recipe,
    folder: PathBuf,
    rounds: Range<u64>,
    sum: &mut Tally,
) -> Result<()> {
    let mut server = Server::new(broker, options.shards, folder)?;
    let patience = Duration::from_secs(options.patience);
    let seed = options.seed.wrapping_add(rounds.start);
    let mut stage = Stage::new(server.start()?, seed, patience);
    let (keeps, mut is_clean) = (options.keeps(broker), true);
    for round in rounds {
        let load = stage.round(&mut server, options.ending());
        let mut report = stage.checker.take_report();
        let events = std::mem::take(&mut stage.events);
        if keeps && (!report.findings.is_empty() || load.is_err()) {
            let file = server.folder().with_extension(format!("round-{round}"));
            keep(&file, &report.findings, &events)?;
        }
        let load = load.with_context(|| format!("round {round}"))?;
        report.tally.rounds = 1;
        is_clean &= report.tally.is_clean();
        sum.add(&report.tally);
        print_round(round, load, &report.tally, &report.findings, keeps);
    }
    server.stop(Ending::Kill)?;
    if !keeps || is_clean {
        fs::remove_dir_all(server.folder())?;
    }
    Ok(())
}

fn keep(file: &Path, findings: &[Finding], events: &[Event]) -> Result<()> {
    let mut text: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    for event in events {
        writeln!(text, "{event:?}")?;
    }
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn print_round(round: u64, load: Duration, tally: &Tally, findings: &[Finding], in_full: bool) {
    println!(
        "round {round:>4}: load of {:>3} ms, {} ends, {:>5} messages acknowledged, {:>6} \
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
