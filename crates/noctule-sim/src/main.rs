//! Replays one seed: `cargo run -p noctule-sim -- SEED [--trace]`.

use std::process::ExitCode;

use noctule_sim::{Options, run};

fn main() -> ExitCode {
    let mut options = Options::default();
    let mut seeds = Vec::new();
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--trace" => options.prints = true,
            number => match number.parse() {
                Ok(seed) => seeds.push(seed),
                Err(_) => {
                    eprintln!("usage: noctule-sim SEED [LAST_SEED] [--trace]");
                    return ExitCode::FAILURE;
                }
            },
        }
    }
    let first: u64 = seeds.first().copied().unwrap_or(1);
    let last = seeds.get(1).copied().unwrap_or(first);
    let mut failed = 0;
    let mut situations = noctule_sim::Situations::default();
    for seed in first..=last {
        let outcome = run(seed, options);
        situations.add(&outcome.situations);
        if let Some(violation) = outcome.violation {
            failed += 1;
            println!("seed {seed}: {} ({})", violation.what, violation.statement);
        }
    }
    println!("{} seeds, {failed} failed", last - first + 1);
    for (name, count) in situations.counts() {
        println!("{count:>8} {name}");
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
