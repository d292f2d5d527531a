//! What must hold for any bytes at all: one function for each fuzz target. Each panics if something
//! does not hold, and returns otherwise.
//!
//! The modules are also compiled into the tests that replay the seeds, so they depend on nothing
//! but the crates that they check.

mod allocation;
mod choices;
mod decode;
mod inputs;
mod matching;
mod round_trip;

/// So that `decode` sees what it takes.
#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

/// Cutting and decoding: never panics, takes no more memory than the bytes are worth, and judges a
/// part of a packet as it judges the whole.
pub fn decode(data: &[u8]) {
    decode::check(data);
}

/// What decodes can be encoded, and decodes to the same value again.
pub fn round_trip(data: &[u8]) {
    round_trip::check(data);
}

/// Topic names, filters and subscriptions against a naive model of matching.
pub fn matching(data: &[u8]) {
    matching::check(data);
}

/// Any sequence of inputs keeps a shard's invariants.
pub fn inputs(data: &[u8]) {
    inputs::check(data);
}
