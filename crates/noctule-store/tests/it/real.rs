//! The file system: locked, for the owner only, through no link.

use std::fs;
use std::path::PathBuf;

use noctule_store::{Batch, Disk, Log, LogSettings, RealDisk, Repair, StoreError};

use crate::book::Book;

/// A directory that goes when the test is over.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
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
fn what_is_written_durably_stands_where_it_should() {
    let folder = Folder::new("durably");
    let mut disk = RealDisk::open(&folder.0).expect("a directory");
    let mut file = disk.create("file").expect("a file");
    file.allocate(40_000).expect("there is room");
    file.write_at(b"head", 0).expect("there is room");
    let mut written = Vec::from(&b"head"[..]);
    for number in 0..200_u8 {
        let bytes = vec![number; usize::from(number)];
        file.write_durably(&bytes, written.len() as u64).expect("there is room");
        written.extend_from_slice(&bytes);
        if number % 16 == 15 {
            let last = written.len() - 1;
            written[last] = 255;
            file.write_at(&[255], last as u64).expect("there is room");
        }
    }
    // Beyond what there is, where nobody has written.
    file.write_durably(b"far away", 50_000).expect("there is room");
    let content = fs::read(folder.0.join("file")).expect("a file");
    assert_eq!(&content[..written.len()], written);
    assert!(content[written.len()..50_000].iter().all(|byte| *byte == 0));
    assert_eq!(&content[50_000..50_008], b"far away");
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
    let error = error.expect_err("a link");
    assert!(matches!(error, StoreError::Io { .. }));
    assert!(error.to_string().contains("symbolic link"), "{error}");
}

#[cfg(unix)]
#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    let folder = Folder::new("linked-lock");
    drop(RealDisk::open(&folder.0).expect("a directory"));
    let (lock, elsewhere) = (folder.0.join("lock"), folder.0.join("elsewhere"));
    for is_there in [false, true] {
        fs::remove_file(&lock).expect("it is there");
        std::os::unix::fs::symlink(&elsewhere, &lock).expect("a link");
        if is_there {
            fs::write(&elsewhere, b"of somebody else").expect("there is room");
        }
        let error = RealDisk::open(&folder.0).expect_err("a link").to_string();
        assert!(error.contains("symbolic link"), "{error}");
        assert!(error.contains(&*lock.display().to_string()), "{error}");
        assert_eq!(elsewhere.exists(), is_there);
    }
    assert_eq!(fs::read(elsewhere).expect("it is there"), b"of somebody else");
}

/// Whatever a file is for: it is written beside what its name led to, and not there.
#[cfg(unix)]
#[test]
fn no_link_leads_a_new_file_elsewhere() {
    let folder = Folder::new("linked-new");
    let outside = Folder::new("linked-outside");
    let mut disk = RealDisk::open(&folder.0).expect("a directory");
    fs::create_dir(&outside.0).expect("a directory");
    let names = [
        "log-0000000000000001.seg",
        "rewrite.unfinished",
        "damaged-0000000000000001-40.bin",
        "run-0000000000000001.run",
        "state-log-0000000000000001.seg",
        "aside-log-0000000000000001.seg",
    ];
    for (name, is_there) in names.iter().flat_map(|name| [(name, false), (name, true)]) {
        let target = outside.0.join("target");
        let _ = fs::remove_file(&target);
        if is_there {
            fs::write(&target, b"of somebody else").expect("there is room");
        }
        let link = || {
            let _ = fs::remove_file(folder.0.join(name));
            std::os::unix::fs::symlink(&target, folder.0.join(name)).expect("a link");
        };
        link();
        assert!(disk.open(name).is_err(), "{name}");
        let mut file = disk.create(name).expect("a file in place of the link");
        file.write_at(b"ours", 0).expect("there is room");
        assert_eq!(fs::read(folder.0.join(name)).expect("it is there"), b"ours", "{name}");
        link();
        disk.create("new").expect("there is room").write_at(b"new", 0).expect("there is room");
        disk.rename("new", name).expect("in place of the link");
        assert_eq!(fs::read(folder.0.join(name)).expect("it is there"), b"new", "{name}");
        link();
        disk.remove(name).expect("it is there");
        assert_eq!(target.exists(), is_there, "{name}");
        if is_there {
            assert_eq!(fs::read(&target).expect("it is there"), b"of somebody else", "{name}");
        }
    }
}

#[cfg(unix)]
#[test]
fn what_came_back_open_to_all_is_closed_to_others() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new("restored");
    let mut book = Book::open(RealDisk::open(&folder.0).expect("a directory")).expect("it opens");
    book.append(1).expect("there is room");
    drop(book);
    let segment = folder.0.join("log-0000000000000001.seg");
    let mode = || fs::metadata(&segment).expect("it is there").permissions().mode() & 0o777;
    fs::set_permissions(&segment, fs::Permissions::from_mode(0o644)).expect("it is ours");
    assert_eq!(mode(), 0o644);
    Book::open(RealDisk::open(&folder.0).expect("a directory")).expect("it opens");
    assert_eq!(mode(), 0o600);
}

#[test]
fn a_trimmed_log_comes_back_from_files_that_were_used_again() {
    let folder = Folder::new("again");
    let settings = LogSettings { content: 7, segment_bytes: 10_000, free_segments_max: 2 };
    let (mut first, mut written) = (0, Vec::new());
    for round in 0..3_u32 {
        let disk = RealDisk::open(&folder.0).expect("a directory");
        let mut found = Vec::new();
        let opened = Log::open_from(first, Box::new(disk), settings, Repair::Refuse, |record| {
            found.push((record.segment, record.bytes.to_vec()));
            Ok(())
        });
        let (mut log, summary) = opened.expect("nothing is damaged");
        assert!(summary.is_clean(), "{summary}");
        written.retain(|(segment, _)| *segment >= first);
        assert_eq!(found, written);
        let mut batch = Batch::new();
        for number in 0..200_u32 {
            let content = [&[7; 400][..], &(round * 1_000 + number).to_le_bytes()].concat();
            batch.push(|out| out.extend_from_slice(&content)).expect("it fits");
            log.commit(&mut batch).expect("there is room");
            log.keep_up();
            written.push((log.view().active(), content));
            first = log.view().active() - 1;
            log.trim(first);
        }
    }
    assert!(first > 20, "{first}");
    let files = fs::read_dir(&folder.0).expect("it is there").map(|entry| {
        let metadata = entry.and_then(|entry| entry.metadata()).expect("a file");
        metadata.len()
    });
    let files: Vec<_> = files.filter(|length| *length > 0).collect();
    assert!(files.len() <= 5 && files.iter().all(|length| *length == 10_000), "{files:?}");
}
