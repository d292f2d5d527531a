//! Seeds by the thousand.

#[cfg(feature = "planted-faults")]
mod planted_faults;
mod replays;
mod seeds;
