//! What a broker keeps: its records as bytes, what stands when all of them were read, and what of
//! it stands in the [`State`](crate::State).
//!
//! A broker's log has records of [`CONTENT`], each written with [`encode`]. At the next start
//! [`Model::from_state`] begins with what the state has, [`Model::apply`] goes on with every record
//! of the log behind that, and [`Model::into_restored`] says what each shard gets back. A
//! checkpoint writes with [`Changes`] what the records of a part of the log change in the state, so
//! that this part is needed no more.
//!
//! The bytes are drawn in `docs/storage-format.md`.

mod backlog;
mod changes;
mod checkpoint;
mod damaged;
mod directory;
mod gaps;
mod keys;
mod live;
mod message;
mod model;
mod opening;
mod places;
mod progress;
mod queued_run;
mod queues;
mod reader;
mod record;
mod references;
mod remains;
mod restored;
mod session;
mod shared;
mod spilled;
mod subscription;

pub use changes::Changes;
pub use checkpoint::Archive;
pub use damaged::{Damaged, Unreadable};
pub use directory::{look, open_directory, open_parts};
pub use model::Model;
pub use opening::{Findings, Opened, Settings, open};
pub use queues::{Queues, Slice};
pub use record::{decode, encode, encode_run};

/// What [`LogSettings::content`](crate::LogSettings::content) is for the log of a broker, and the
/// content of its state.
pub const CONTENT: u16 = 2;
