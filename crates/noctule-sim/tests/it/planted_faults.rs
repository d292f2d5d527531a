//! A simulation that finds nothing proves nothing: each of these faults must be found.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use noctule_broker_core::PlantedFault;
use noctule_sim::{Options, run};

use crate::seeds::SEEDS;

#[test]
fn every_planted_fault_is_found() {
    let next = AtomicUsize::new(0);
    let missed = Mutex::new(Vec::new());
    let work = || {
        while let Some(fault) = PlantedFault::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
            let options = Options { planted_fault: Some(*fault), ..Options::default() };
            let found = (1..=SEEDS).find_map(|seed| Some((seed, run(seed, options).violation?)));
            match found {
                Some((seed, violation)) => println!("{fault:?}: seed {seed}: {}", violation.what),
                None => missed.lock().unwrap().push(*fault),
            }
        }
    };
    thread::scope(|scope| {
        scope.spawn(work);
        work();
    });
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not found within {SEEDS} seeds: {missed:?}");
}
