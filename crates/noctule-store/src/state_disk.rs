//! The files of a small state among others in one directory: their names begin with what no other
//! file's name does.

use std::io;

use crate::disk::{Disk, DiskFile};

const PREFIX: &str = "state-";

/// A directory of which only some files are seen.
#[derive(Debug)]
pub(crate) struct StateDisk(Box<dyn Disk>);

impl StateDisk {
    pub(crate) fn new(disk: Box<dyn Disk>) -> Self {
        Self(disk)
    }
}

fn prefixed(name: &str) -> String {
    format!("{PREFIX}{name}")
}

impl Disk for StateDisk {
    fn names(&self) -> io::Result<Vec<String>> {
        let names = self.0.names()?.into_iter();
        Ok(names.filter_map(|name| name.strip_prefix(PREFIX).map(str::to_owned)).collect())
    }

    fn create(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.create(&prefixed(name))
    }

    fn open(&mut self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(&prefixed(name))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(&prefixed(from), &prefixed(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.0.remove(&prefixed(name))
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.0.sync_names()
    }
}
