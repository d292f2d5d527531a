//! Runs: immutable files with the messages of queues that have left the log.
//!
//! [`Runs`] is the set of them. A [`Spill`] gathers what leaves the log and writes one more, a
//! [`Merge`] writes several anew as one. Both write a [`NewRun`] without the set, so that whoever
//! reads meanwhile does not wait for the disk.

mod chunk;
mod format;
mod index;
#[cfg(feature = "broker")]
mod lost;
mod manifest;
mod merge;
mod new_run;
mod reader;
mod rebuild;
mod set;
mod spill;
mod view;
mod window;

#[cfg(feature = "broker")]
pub(crate) use lost::{look_at_manifest, set_others_aside};
pub use merge::Merge;
pub use new_run::NewRun;
pub use reader::{DamagedPart, QueueMessage, QueuePart, Slice, SliceLimits};
pub use set::{RunSettings, Runs};
pub use spill::Spill;
pub use view::RunsView;
