//! The client core against the broker core: whatever a user is told is true.

use noctule_sim::{Reached, run_client_core};

/// Seeds from 1 on.
const SEEDS: u64 = 600;

/// How often everything is reached at least.
const REACHED_MIN: u64 = 100;

#[test]
fn what_a_user_is_told_is_true_whatever_connections_and_processes_do() {
    let mut reached = Reached::default();
    let mut failed = Vec::new();
    for seed in 1..=SEEDS {
        match run_client_core(seed) {
            Ok(run) => reached.add(&run),
            Err(violation) => failed.push(format!("seed {seed}: {violation}")),
        }
    }
    assert!(failed.is_empty(), "{} seeds failed:\n{}", failed.len(), failed.join("\n"));
    println!("{reached:?}");
    let Reached { published, arrived, cuts, restarts, sessions_lost, doubts } = reached;
    for count in [published, arrived, cuts, restarts, sessions_lost, doubts] {
        assert!(count >= REACHED_MIN, "{reached:?}");
    }
}
