//! Replays the seeds of the fuzz targets about the broker: what fuzzing has found stays found,
//! without a fuzzer. fuzz/Cargo.toml says how to find more.

#[path = "../../../../fuzz/src/choices.rs"]
mod choices;
#[path = "../../../../fuzz/src/inputs/mod.rs"]
mod inputs;
#[path = "../../../../fuzz/src/matching/mod.rs"]
mod matching;
#[path = "../../../../fuzz/replay.rs"]
mod replay;

use replay::replay;

#[test]
fn seeds_of_matching() {
    assert!(replay("matching", matching::check) >= 50);
}

#[test]
fn seeds_of_inputs() {
    assert!(replay("inputs", inputs::check) >= 40);
}
