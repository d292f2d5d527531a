//! Replays the seeds of the fuzz targets about packets: what fuzzing has found stays found, without
//! a fuzzer. fuzz/Cargo.toml says how to find more.

#[path = "../../../fuzz/src/allocation.rs"]
mod allocation;
#[path = "../../../fuzz/src/decode.rs"]
mod decode;
#[path = "../../../fuzz/replay.rs"]
mod replay;
#[path = "../../../fuzz/src/round_trip.rs"]
mod round_trip;

use allocation::{Counting, peak_of};
use replay::replay;

/// So that decoding too much into memory is seen.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn seeds_of_decode() {
    assert!(replay("decode", decode::check) >= 30);
}

#[test]
fn seeds_of_round_trip() {
    assert!(replay("round_trip", round_trip::check) >= 30);
}

#[test]
fn memory_is_counted() {
    let (kept, peak) = peak_of(|| {
        drop(vec![0_u8; 3_000]);
        vec![0_u8; 1_000]
    });
    assert_eq!(kept.len(), 1_000);
    assert!((3_000..4_000).contains(&peak), "{peak}");
}
