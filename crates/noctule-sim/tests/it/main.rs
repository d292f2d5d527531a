//! Seeds by the thousand.

mod client_core;
#[cfg(feature = "planted-faults")]
mod planted_faults;
mod power_cuts;
mod replays;
mod seeds;
