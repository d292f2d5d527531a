//! A broker with a disk whose power is cut: at every operation of the disk in short runs, and by
//! chance in long ones. And faults that must be found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use noctule_sim::{Cuts, Options, Outcome, Situations, StoreFault, run, short_cuts};

/// Seeds from 1 on, and those of them that are cut at every operation.
const SEEDS: u64 = 1_000;
const SHORT_SEEDS: u64 = 8;

/// How many cuts that makes at least.
const CUTS_MIN: usize = 1_000;

/// How often each situation is reached at least.
const SITUATIONS_MIN: u64 = 100;

/// Runs these, and says which have failed.
fn run_all(runs: &[(u64, Cuts)], reached: &Mutex<Situations>) -> Vec<String> {
    let next = AtomicU64::new(0);
    let failed = Mutex::new(Vec::new());
    let work = || {
        while let Some((seed, cuts)) = runs.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
            let outcome = run(*seed, Options { cuts: *cuts, ..Options::default() });
            reached.lock().unwrap().add(&outcome.situations);
            if let Some(violation) = outcome.violation {
                let how = match cuts {
                    Cuts::At(at, _) => format!("--cut-at {at}"),
                    Cuts::Never | Cuts::Random => "--cuts".to_owned(),
                };
                let replay = format!("cargo run -p noctule-sim -- {seed} {how} --trace");
                let (what, statement) = (violation.what, violation.statement);
                failed.lock().unwrap().push(format!("{what} ({statement}): {replay}"));
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    failed.into_inner().unwrap()
}

#[test]
fn what_was_acknowledged_survives_power_cuts() {
    let reached = Mutex::default();
    let runs: Vec<_> = (1..=SEEDS).map(|seed| (seed, Cuts::Random)).collect();
    let failed = run_all(&runs, &reached);
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    let reached = reached.into_inner().unwrap();
    for (name, count) in reached.of_power() {
        assert!(count >= SITUATIONS_MIN, "{name}: reached {count} times only");
        println!("{count:>8} {name}");
    }
}

#[test]
fn what_was_acknowledged_survives_a_power_cut_at_every_operation() {
    let mut runs = Vec::new();
    for seed in 1..=SHORT_SEEDS {
        let Outcome { operations, .. } =
            run(seed, Options { cuts: Cuts::AT_NONE, ..Options::default() });
        runs.extend(short_cuts(1..operations).into_iter().map(|cuts| (seed, cuts)));
    }
    let failed = run_all(&runs, &Mutex::default());
    assert!(failed.is_empty(), "{} cuts failed:\n{}", failed.len(), failed.join("\n"));
    assert!(runs.len() > CUTS_MIN, "{} cuts only", runs.len());
    println!("{} cuts", runs.len());
}

#[test]
fn every_fault_of_a_store_is_found() {
    for fault in StoreFault::ALL {
        let options =
            Options { cuts: Cuts::Random, store_fault: Some(fault), ..Options::default() };
        let found = (1..=SEEDS).find_map(|seed| Some((seed, run(seed, options).violation?)));
        let Some((seed, violation)) = found else {
            panic!("{fault:?} is not found within {SEEDS} seeds");
        };
        println!("{fault:?}: seed {seed}: {}", violation.what);
    }
}

/// Behind each cut every QoS 2 publication is routed once more to whom it may not have reached.
#[test]
fn what_is_routed_again_does_not_take_the_place_of_what_was_retained_since() {
    let store_fault = Some(StoreFault::ForgetRouted);
    let options = Options { cuts: Cuts::Random, store_fault, ..Options::default() };
    for seed in 1..=200 {
        let violation = run(seed, options).violation;
        let of_retained = violation.filter(|it| it.statement.contains("MQTT5-3.3.1-5"));
        assert_eq!(of_retained, None, "seed {seed}");
    }
}

#[test]
fn a_run_with_power_cuts_replays() {
    let options = Options { cuts: Cuts::Random, ..Options::default() };
    for seed in [2, 30] {
        assert_eq!(run(seed, options), run(seed, options), "seed {seed}");
    }
}
