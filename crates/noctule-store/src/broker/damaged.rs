//! Why bytes are no record.

use thiserror::Error;

/// Why bytes are no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Damaged {
    /// A newer version may have written it.
    #[error("its kind {0} is not known")]
    UnknownKind(u8),
    /// It is cut short, or a length in it leads beyond its end.
    #[error("it ends within its {0}")]
    Short(&'static str),
    /// Something in it has a value that it cannot have.
    #[error("its {0} is none")]
    Invalid(&'static str),
    /// It stands under the key of something else.
    #[error("it says another thing than its key")]
    Misplaced,
}

/// What cannot be read in a state, and is dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key.
    pub key: Vec<u8>,
    /// Why.
    pub reason: Damaged,
}
