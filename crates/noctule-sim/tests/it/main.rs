//! Seeds by the thousand.

mod client_core;
#[cfg(feature = "planted-faults")]
mod planted_faults;
mod replays;
mod seeds;
