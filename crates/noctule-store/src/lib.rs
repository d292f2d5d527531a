//! An append-only log on disk that loses nothing that it has promised, whether the process is
//! killed or the power is cut.
//!
//! A [`Log`] lives in a directory of its own, a [`Disk`]. Records are gathered in a [`Batch`] and
//! committed together: one write, one sync, and then they are durable. What is not needed any more
//! goes when the log is [rewritten](Log::rewrite), or [trimmed](Log::trim) from its front so that
//! its files can be used again; a crash can interrupt either at any point.
//! Opening a log says what was found and what was dropped, in a [`Summary`]. The bytes are drawn in
//! `docs/storage-format.md`.
//!
//! Where many threads append, a [`Committer`] gathers what they have, so that one sync serves all.
//!
//! What lives long and is looked up by a key is in a [`State`].
//!
//! What the records mean is for others to know. With the feature `broker` the module `broker` knows
//! those of a broker.
//!
//! ```
//! use noctule_store::{Batch, Log, LogSettings, RealDisk, Repair};
//!
//! # fn main() -> Result<(), noctule_store::StoreError> {
//! # let path = std::env::temp_dir().join(format!("noctule-store-doc-{}", std::process::id()));
//! let settings = LogSettings::default();
//! let disk = RealDisk::open(&path)?;
//! let (mut log, _) = Log::open(Box::new(disk), settings, Repair::Salvage, |_| Ok(()))?;
//! let mut batch = Batch::new();
//! batch.push(|out| out.extend_from_slice(b"kept"))?;
//! log.commit(&mut batch)?;
//! drop(log);
//!
//! let mut found = Vec::new();
//! let disk = RealDisk::open(&path)?;
//! let read = |record: noctule_store::Recovered<'_>| {
//!     found.push(record.bytes.to_vec());
//!     Ok(())
//! };
//! let (_log, summary) = Log::open(Box::new(disk), settings, Repair::Salvage, read)?;
//! assert_eq!((found.len(), summary.is_clean()), (1, true));
//! # drop(_log);
//! # std::fs::remove_dir_all(path).ok();
//! # Ok(())
//! # }
//! ```
#![deny(unsafe_code)]

mod age;
mod aside;
#[cfg(feature = "broker")]
pub mod broker;
mod committer;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod direct;
mod disk;
mod error;
mod frame;
mod interval;
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
mod linux;
mod lock;
mod log;
mod reading;
mod real;
mod recovery;
mod rewrite;
mod run;
mod scan;
mod segment;
#[cfg(feature = "simulated")]
mod simulated;
#[cfg(feature = "simulated")]
mod simulated_clock;
mod state;
mod state_disk;
mod state_logged;
mod status;
mod summary;
mod trim;
mod unchanged;
mod upkeep;
mod view;
mod witness;

pub use age::Ages;
pub use committer::{Appender, Committer, Position, Wake};
pub use disk::{Disk, DiskFile};
pub use error::StoreError;
pub use frame::Batch;
pub use interval::IntervalDisk;
pub use log::{Log, LogSettings};
pub use real::RealDisk;
pub use recovery::{Recovered, Repair};
pub use run::{
    DamagedPart, Merge, NewRun, QueueMessage, QueuePart, RunSettings, Runs, RunsView, Slice,
    SliceLimits, Spill,
};
#[cfg(feature = "simulated")]
pub use simulated::{Cut, SimulatedDisk};
#[cfg(feature = "simulated")]
pub use simulated_clock::SimulatedClock;
pub use state::{KEY_BYTES_MAX, State, StateBatch};
pub use state_logged::LoggedState;
pub use status::StoreStatus;
pub use summary::{Quarantined, Summary, Torn};
pub use unchanged::UnchangedDisk;
pub use view::LogView;
