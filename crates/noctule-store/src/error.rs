//! What can go wrong with a store, with what to do where that is known.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::summary::Summary;

/// Why a store cannot be opened, or cannot keep something now.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another process, or another part of this one, has it open.
    #[error(
        "the store {} is in use by another process: give each a directory of its own",
        .path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A symbolic link stands where a directory of the store belongs.
    #[error(
        "{} is a symbolic link, which is not followed out of the store's directory: put the \
         directory there",
        .path.display()
    )]
    Link {
        /// Where it stands.
        path: PathBuf,
    },
    /// The system cannot do something.
    #[error("the store cannot {action} {name}: {source}{}", advice(.source))]
    Io {
        /// What was to be done.
        action: &'static str,
        /// With which file.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// A newer version of this software has written it.
    #[error(
        "{name} has format {found}, and this version knows up to {known}: update, or use \
         another directory"
    )]
    NewerFormat {
        /// The file.
        name: String,
        /// Its format.
        found: u16,
        /// The newest that is known.
        known: u16,
    },
    /// It was trimmed, or is not finished, or never was.
    #[error("the store has no finished segment {segment}")]
    NoSuchSegment {
        /// Its number.
        segment: u64,
    },
    /// It is the store of something else.
    #[error(
        "{name} belongs to another kind of store ({found}, not {wanted}): use another directory"
    )]
    OtherContent {
        /// The file.
        name: String,
        /// What it says.
        found: u16,
        /// What it should say.
        wanted: u16,
    },
    /// Something is damaged, and whoever opened it wants to know before anything is dropped.
    #[error("the store is damaged: {0}")]
    Damaged(Box<Summary>),
    /// More waits for the disk than may.
    #[error("{bytes} bytes wait for the disk already: it is full, failing or too slow")]
    TooFarBehind {
        /// How much does.
        bytes: u64,
    },
    /// No log takes so much at once.
    #[error("a record of {length} bytes is too large to be stored")]
    TooLarge {
        /// Its bytes.
        length: usize,
    },
}

/// What to do about an error of the system, where that is known.
fn advice(error: &io::Error) -> &'static str {
    #[cfg(unix)]
    if error.raw_os_error() == Some(libc::ELOOP) {
        return "; a symbolic link is not followed out of the store's directory: put the file there";
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            "; let the user who runs this write there, or use another directory"
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; make room there",
        io::ErrorKind::FileTooLarge => "; raise the limit of the size of files",
        _ => "",
    }
}

impl StoreError {
    /// Names what was to be done, for an error of the system.
    pub(crate) fn io(
        action: &'static str,
        name: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let name = name.into();
        move |source| Self::Io { action, name, source }
    }

    /// Whether there was no room, so that it goes on as soon as there is.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Io { source, .. } => matches!(
                source.kind(),
                io::ErrorKind::StorageFull
                    | io::ErrorKind::QuotaExceeded
                    | io::ErrorKind::FileTooLarge
            ),
            _ => false,
        }
    }
}
