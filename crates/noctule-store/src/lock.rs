//! Keeps a second process out of a store's directory.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

use crate::error::StoreError;
use crate::real::{LOCK_NAME, owner_only};

/// Held while the file is open; the system lets go of it when the process dies.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock of a directory.
    pub(crate) fn take(directory: &Path) -> Result<Self, StoreError> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let name = name(directory);
        let file = open(directory, &mut options).map_err(StoreError::io("open", name))?;
        Self::hold(file, directory)
    }

    /// Takes the lock of a directory that is not to be changed. Where none is, nobody has it.
    pub(crate) fn take_if_there(directory: &Path) -> Result<Option<Self>, StoreError> {
        match open(directory, OpenOptions::new().read(true)) {
            Ok(file) => Self::hold(file, directory).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(StoreError::io("open", name(directory))(error)),
        }
    }

    fn hold(file: File, directory: &Path) -> Result<Self, StoreError> {
        match exclusive(&file) {
            Ok(true) => Ok(Self { _file: file }),
            Ok(false) => Err(StoreError::Locked { path: directory.to_owned() }),
            Err(error) => Err(StoreError::io("lock", name(directory))(error)),
        }
    }
}

fn name(directory: &Path) -> String {
    directory.join(LOCK_NAME).display().to_string()
}

fn open(directory: &Path, options: &mut OpenOptions) -> io::Result<File> {
    owner_only(options);
    #[cfg(windows)]
    std::os::windows::fs::OpenOptionsExt::share_mode(options, 0);
    options.open(directory.join(LOCK_NAME))
}

/// Takes the file for this process alone. Whether nobody else has it.
#[cfg(unix)]
fn exclusive(file: &File) -> io::Result<bool> {
    use std::os::fd::AsRawFd;

    #[expect(unsafe_code, reason = "the oldest Rust that builds this has no file locks")]
    // SAFETY: the descriptor is open as long as `file` is, and nothing else is passed.
    let result = unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) };
    if result == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    if error.kind() == io::ErrorKind::WouldBlock { Ok(false) } else { Err(error) }
}

/// It could be opened, and so nobody else has it.
#[cfg(not(unix))]
fn exclusive(_: &File) -> io::Result<bool> {
    Ok(true)
}
