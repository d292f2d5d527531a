//! Simulated clients against the shards of a broker, on virtual time, and an oracle of MQTT.
//!
//! A run is decided by one number: the seed chooses how many shards and clients there are, how slow
//! the network is, which limits are small, and everything that happens. Connections are cut, stall
//! and are taken over; shards hear of each other late; clients withhold acknowledgements, leave,
//! come back and sometimes send nonsense. The [oracle](Violation) knows what each client has sent
//! and got, and says what a correct broker would not have done.
//!
//! ```
//! let outcome = noctule_sim::run(1, noctule_sim::Options::default());
//! assert_eq!(outcome.violation, None, "cargo run -p noctule-sim -- 1 --trace");
//! ```

#![forbid(unsafe_code)]

mod action;
mod brief;
mod client;
mod client_core;
mod driver;
mod incoming;
mod keeping;
mod link;
mod network;
mod oracle;
mod outgoing;
mod power;
mod profile;
mod random;
mod run;
mod situation;
mod storage;
mod store_fault;
mod topics;
mod watch;
mod wear;
mod world;

pub use client_core::{Reached, run_client_core};
pub use oracle::Violation;
pub use power::{Cuts, short_cuts};
pub use run::{Options, Outcome, run};
pub use situation::Situations;
pub use store_fault::StoreFault;
