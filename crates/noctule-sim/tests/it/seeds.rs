//! The run that CI makes: every seed keeps to MQTT, and together they reach what they are for.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use noctule_sim::{Options, Situations, run};

/// Seeds from 1 on.
pub(crate) const SEEDS: u64 = 2_000;

/// How many actions clients take in each run at least.
const ACTIONS_MIN: u32 = 500;

/// How often each named situation is reached at least.
const SITUATIONS_MIN: u64 = 100;

#[test]
fn seeds_keep_to_mqtt_and_reach_every_situation() {
    let next = AtomicU64::new(1);
    let reached = Mutex::new(Situations::default());
    let failed = Mutex::new(Vec::new());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed > SEEDS {
                return;
            }
            let outcome = run(seed, Options::default());
            reached.lock().unwrap().add(&outcome.situations);
            if let Some(violation) = outcome.violation {
                let (what, statement) = (violation.what, violation.statement);
                let replay = format!("cargo run -p noctule-sim -- {seed} --trace");
                failed.lock().unwrap().push(format!("{what} ({statement}): {replay}"));
            } else {
                assert!(outcome.actions >= ACTIONS_MIN, "seed {seed}: {} actions", outcome.actions);
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    for (name, count) in reached.into_inner().unwrap().counts() {
        assert!(count >= SITUATIONS_MIN, "{name}: reached {count} times only");
        println!("{count:>8} {name}");
    }
}
