//! A session on disk: where it is, and how much it may take.

mod desk;
mod journal;
mod opening;
mod record;
mod silence;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use noctule_store::{Disk, Repair, StoreError};

pub(crate) use journal::Journal;
pub(crate) use opening::{Chosen, share};

const BYTES_MAX: u64 = 256 * 1_024 * 1_024;

/// Where a client's session is kept, and how much it may take. A path alone is one with the
/// defaults.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    place: Place,
    bytes_max: u64,
    repair: Repair,
}

#[derive(Clone)]
enum Place {
    Folder(PathBuf),
    Own(Arc<dyn Fn() -> Result<Box<dyn Disk>, StoreError> + Send + Sync>),
}

impl fmt::Debug for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => path.fmt(formatter),
            Self::Own(_) => formatter.write_str("the program's own"),
        }
    }
}

impl<P: Into<PathBuf>> From<P> for StoreSettings {
    fn from(path: P) -> Self {
        Self::at(Place::Folder(path.into()))
    }
}

impl StoreSettings {
    /// A directory of its own, which is made if it is not there.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        path.into().into()
    }

    /// A disk of the program's own, in place of a directory: encrypted, say, or for tests one that
    /// fails. It is opened when the client is built, and must belong to that client alone.
    pub fn on_disk(
        open: impl Fn() -> Result<Box<dyn Disk>, StoreError> + Send + Sync + 'static,
    ) -> Self {
        Self::at(Place::Own(Arc::new(open)))
    }

    fn at(place: Place) -> Self {
        Self { place, bytes_max: BYTES_MAX, repair: Repair::default() }
    }

    /// The bytes that the store may take, 256 MiB by default. When they are used up, messages of
    /// QoS 1 and 2 are refused. How many of them may wait, and how long, the queue's settings say.
    #[must_use]
    pub const fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// What is done about a store that is damaged; by default what can be read is used, and what
    /// cannot is set aside.
    #[must_use]
    pub const fn repair(mut self, repair: Repair) -> Self {
        self.repair = repair;
        self
    }
}

#[cfg(test)]
mod failing_tests;
#[cfg(test)]
mod incoming_tests;
#[cfg(test)]
mod parking_tests;
#[cfg(test)]
mod power_cut_tests;
