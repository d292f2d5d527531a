//! The file system: locked, for the owner only, through no link.

use std::fs;
use std::path::PathBuf;

use noctule_store::{RealDisk, StoreError};

use crate::book::Book;

/// A directory that goes when the test is over.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("noctule-store-{}-{name}", std::process::id());
        Self(std::env::temp_dir().join(name))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_log_comes_back_from_the_file_system() {
    let folder = Folder::new("back");
    for round in 0..3 {
        let disk = RealDisk::open(&folder.0).expect("a directory");
        let mut book = Book::open(disk).expect("it opens");
        assert!(book.summary.is_clean(), "{}", book.summary);
        let all: Vec<u32> = (0..round * 10).collect();
        assert_eq!(book.numbers(), all);
        for number in round * 10..round * 10 + 10 {
            book.append(number).expect("there is room");
        }
        book.keep(|_| true).expect("there is room");
    }
}

#[test]
fn a_second_one_is_told_that_the_directory_is_in_use() {
    let folder = Folder::new("locked");
    let disk = RealDisk::open(&folder.0).expect("a directory");
    let error = RealDisk::open(&folder.0).expect_err("it is in use");
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(disk);
    RealDisk::open(&folder.0).expect("it is free again");
}

#[cfg(unix)]
#[test]
fn files_are_their_owners_alone_and_links_are_not_followed() {
    use std::os::unix::fs::{PermissionsExt, symlink};

    let folder = Folder::new("private");
    let mut book = Book::open(RealDisk::open(&folder.0).expect("a directory")).expect("it opens");
    book.append(1).expect("there is room");
    drop(book);
    let mode = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(mode(&folder.0) & 0o777, 0o700);
    for entry in fs::read_dir(&folder.0).expect("it is there") {
        let path = entry.expect("a file").path();
        assert_eq!(mode(&path) & 0o777, 0o600, "{path:?}");
    }
    let segment = folder.0.join("log-0000000000000001.seg");
    let elsewhere = folder.0.join("elsewhere");
    fs::rename(&segment, &elsewhere).expect("it is there");
    symlink(&elsewhere, &segment).expect("a link");
    let error = Book::open(RealDisk::open(&folder.0).expect("a directory"));
    assert!(matches!(error.expect_err("a link"), StoreError::Io { .. }));
}
