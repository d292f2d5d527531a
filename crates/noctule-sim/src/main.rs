//! Replays seeds: `cargo run -p noctule-sim -- SEED [LAST_SEED] [--cuts | --every-cut] [--trace]`.

use std::process::ExitCode;

use noctule_sim::{Cuts, Options, Situations, run, short_cuts};

const USAGE: &str = "usage: noctule-sim SEED [LAST_SEED] [--cuts | --every-cut] [--trace]

  --cuts         give the broker a disk, and cut its power now and then
  --every-cut    cut the power at every operation of the disk, each in a short run of its own
  --cut-at N     do so at this one only, in every way that there is
  --trace        print everything that happens";

/// What has come of all runs.
#[derive(Default)]
struct Sum {
    runs: u64,
    failed: u64,
    situations: Situations,
}

impl Sum {
    fn run(&mut self, seed: u64, options: Options) -> u64 {
        let outcome = run(seed, options);
        self.runs += 1;
        self.situations.add(&outcome.situations);
        if let Some(violation) = outcome.violation {
            self.failed += 1;
            let (what, statement) = (violation.what, violation.statement);
            println!("seed {seed}, {:?}: {what} ({statement})", options.cuts);
        }
        outcome.operations
    }
}

fn main() -> ExitCode {
    let mut options = Options::default();
    let (mut seeds, mut every_cut, mut cut_at) = (Vec::new(), false, None);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--trace" => options.prints = true,
            "--cuts" => options.cuts = Cuts::Random,
            "--every-cut" => every_cut = true,
            "--cut-at" => cut_at = arguments.next().and_then(|number| number.parse().ok()),
            number => match number.parse() {
                Ok(seed) => seeds.push(seed),
                Err(_) => {
                    eprintln!("{USAGE}");
                    return ExitCode::FAILURE;
                }
            },
        }
    }
    let first: u64 = seeds.first().copied().unwrap_or(1);
    let last = seeds.get(1).copied().unwrap_or(first);
    let mut sum = Sum::default();
    for seed in first..=last {
        let all = match cut_at {
            Some(at) => short_cuts(at..at + 1),
            None if every_cut => {
                short_cuts(0..sum.run(seed, Options { cuts: Cuts::AT_NONE, ..options }))
            }
            None => vec![options.cuts],
        };
        for cuts in all {
            sum.run(seed, Options { cuts, ..options });
        }
    }
    println!("{} runs, {} failed", sum.runs, sum.failed);
    for (name, count) in sum.situations.counts().into_iter().chain(sum.situations.of_power()) {
        println!("{count:>8} {name}");
    }
    if sum.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
