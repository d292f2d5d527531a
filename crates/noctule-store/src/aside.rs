//! Moves what is in a store's directory aside, all of it, so that another store begins there.
//!
//! What is moved goes to a folder that has another name until all is there. So whoever opens the
//! directory behind a crash knows that this is to be gone on with.

use std::fs::{self, DirBuilder};
use std::path::PathBuf;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::real::{LOCK_NAME, RealDisk, names_in, owner_only_directory};

const PREFIX: &str = "aside-";
const UNFINISHED: &str = ".unfinished";

impl RealDisk {
    /// Moves everything in this directory, and all directories below, to a folder in it that is
    /// called after this time, in seconds since 1970, or after the first one behind it that none is
    /// called after. Returns where it is.
    ///
    /// # Errors
    ///
    /// If the system does not allow it. What was begun then is gone on with by
    /// [`finish_setting_aside`](Self::finish_setting_aside).
    pub fn set_aside(&mut self, time: u64) -> Result<PathBuf, StoreError> {
        let is_free = |name: &String| !self.path().join(name).exists();
        let name = (time..).map(|time| format!("{PREFIX}{time}")).find(is_free);
        let name = name.unwrap_or_default();
        let folder = self.path().join(format!("{name}{UNFINISHED}"));
        let mut builder = DirBuilder::new();
        owner_only_directory(&mut builder);
        let text = folder.display().to_string();
        builder.create(&folder).map_err(StoreError::io("make the directory", text))?;
        self.move_to(&name)
    }

    /// Goes on with what a crash has interrupted, if there is anything. Returns where it is.
    ///
    /// # Errors
    ///
    /// If the system does not allow it.
    pub fn finish_setting_aside(&mut self) -> Result<Option<PathBuf>, StoreError> {
        let names = self.names().map_err(StoreError::io("list", "the directory"))?;
        let unfinished = names.iter().find_map(|name| {
            let name = name.strip_suffix(UNFINISHED)?;
            name.starts_with(PREFIX).then_some(name)
        });
        unfinished.map(|name| self.move_to(name)).transpose()
    }

    fn move_to(&mut self, name: &str) -> Result<PathBuf, StoreError> {
        let unfinished = format!("{name}{UNFINISHED}");
        self.sync_names().map_err(StoreError::io("sync", "the directory"))?;
        let names = names_in(self.path()).map_err(StoreError::io("list", "the directory"))?;
        for file in names.iter().filter(|name| *name != LOCK_NAME && !name.starts_with(PREFIX)) {
            let to = format!("{unfinished}/{file}");
            self.rename(file, &to).map_err(StoreError::io("rename", file))?;
        }
        let (from, to) = (self.path().join(&unfinished), self.path().join(name));
        let sync = fs::File::open(&from).and_then(|folder| folder.sync_all());
        sync.map_err(StoreError::io("sync", &unfinished))?;
        self.sync_names().map_err(StoreError::io("sync", "the directory"))?;
        self.rename(&unfinished, name).map_err(StoreError::io("rename", &unfinished))?;
        self.sync_names().map_err(StoreError::io("sync", "the directory"))?;
        Ok(to)
    }
}
