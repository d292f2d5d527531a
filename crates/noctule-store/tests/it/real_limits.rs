//! Directories that cannot be written to, and real disks that are full: told with what to do, and
//! gone on with when that is done.
//!
//! The system lets its superuser write nearly everywhere, so some of this happens in a process of
//! its own, with a limit or a file system that binds everybody.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use noctule_store::{RealDisk, StoreError};

use crate::book::Book;
use crate::real::Folder;

const FOLDER: &str = "NOCTULE_STORE_LIMITED_FOLDER";

/// Runs a test of this file by a shell that prepares something first, with `$FOLDER` to use.
fn run(shell: &[&str], script: &str, test: &str, folder: &Path) -> Output {
    let program = std::env::current_exe().expect("this program");
    let test = format!("real_limits::{test}");
    Command::new(shell[0])
        .args(&shell[1..])
        .args(["-c", &format!("{script} && exec \"$0\" --exact \"$1\" --nocapture")])
        .arg(program)
        .arg(test)
        .env(FOLDER, folder)
        .output()
        .expect("a shell")
}

fn assert_passed(output: &Output) {
    let told = [&output.stdout[..], &output.stderr].concat();
    let told = String::from_utf8_lossy(&told);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
    assert!(told.contains("all of it"), "it has done nothing: {told}");
}

/// Where the other process does its part; none in the tests that are started as such.
fn prepared() -> Option<PathBuf> {
    std::env::var_os(FOLDER).map(PathBuf::from)
}

fn open(path: &Path) -> Book {
    Book::open(RealDisk::open(path).expect("a directory")).expect("it opens")
}

#[test]
fn a_directory_that_takes_nothing_is_told_with_what_to_do() {
    // Not even from the superuser.
    for (path, name) in
        [("/sys/noctule-store", "/sys/noctule-store"), ("/sys/kernel", "/sys/kernel/lock")]
    {
        let error = RealDisk::open(path).expect_err("nobody can write there");
        let StoreError::Io { source, .. } = &error else { panic!("{error}") };
        let kinds = [io::ErrorKind::PermissionDenied, io::ErrorKind::ReadOnlyFilesystem];
        assert!(kinds.contains(&source.kind()), "{error}");
        assert!(!error.is_full());
        let error = error.to_string();
        assert!(error.contains(name), "{error}");
        assert!(error.ends_with("write there, or use another directory"), "{error}");
    }
}

#[test]
fn a_limit_of_the_size_of_files_is_told_and_what_fits_goes_on() {
    let folder = Folder::new("limited");
    // 512 or 1,024 bytes each, as the shell counts.
    let script = "trap '' XFSZ && ulimit -f 8";
    assert_passed(&run(&["sh"], script, "with_small_files", &folder.0));
}

/// Not a test by itself: it needs a limit.
#[test]
fn with_small_files() {
    let Some(path) = prepared() else { return };
    let mut book = open(&path);
    book.append(1).expect("it fits");
    for number in 2..60 {
        book.put(number);
    }
    for _ in 0..3 {
        let error = book.commit().expect_err("it does not fit");
        assert!(error.is_full(), "{error}");
        assert!(error.to_string().ends_with("raise the limit of the size of files"), "{error}");
    }
    let before = fs::read_dir(&path).expect("it is there").count();
    assert!(before <= 3, "a full disk is not filled with attempts: {before} files");
    drop(book);
    let mut book = open(&path);
    assert_eq!(book.numbers(), [1]);
    for number in 2..60 {
        book.append(number).expect("it fits");
    }
    drop(book);
    let book = open(&path);
    assert_eq!((book.numbers(), book.summary.is_clean()), ((1..60).collect(), true));
    println!("all of it");
}

#[test]
fn a_full_file_system_is_told_and_heals_and_one_that_is_read_only_is_told() {
    let folder = Folder::new("room");
    fs::create_dir(&folder.0).expect("a directory");
    let shell = ["unshare", "--map-root-user", "--mount", "sh"];
    let allowed = Command::new(shell[0]).args(&shell[1..]).args(["-c", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        println!("NOT CHECKED: this system lets nobody have a file system of his own (unshare)");
        return;
    }
    let script = format!("mount -t tmpfs -o size=256k none \"${FOLDER}\"");
    assert_passed(&run(&shell, &script, "in_a_small_room", &folder.0));
}

/// Not a test by itself: it needs a file system of its own.
#[test]
fn in_a_small_room() {
    let Some(room) = prepared() else { return };
    let path = room.join("store");
    let mut book = open(&path);
    book.append(1).expect("there is room");
    fs::write(room.join("filler"), vec![0; 200 * 1_024]).expect("there is room");
    let mut last = 1;
    let error = loop {
        book.put(last + 1);
        match book.commit() {
            Ok(()) => last += 1,
            Err(error) => break error,
        }
    };
    assert!(last > 1 && error.is_full(), "{last}, {error}");
    assert!(error.to_string().ends_with("make room there"), "{error}");
    for _ in 0..3 {
        assert!(book.commit().is_err_and(|error| error.is_full()));
    }
    assert!(book.keep(|_| true).is_err_and(|error| error.is_full()), "nor is there for a copy");
    // Not even for those who come anew, and nothing of what was kept is lost.
    drop(book);
    let mut book = open(&path);
    assert_eq!(book.numbers(), (1..=last).collect::<Vec<_>>());
    book.put(last + 1);
    assert!(book.commit().is_err_and(|error| error.is_full()));

    fs::remove_file(room.join("filler")).expect("it is there");
    book.commit().expect("there is room again");
    book.keep(|_| true).expect("there is room again");
    drop(book);
    let book = open(&path);
    assert_eq!(book.numbers(), (1..=last + 1).collect::<Vec<_>>());
    assert!(book.summary.is_clean(), "{}", book.summary);
    drop(book);

    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(&room).status();
    assert!(remounted.expect("mount").success());
    for store in [path, room.join("new")] {
        let error = RealDisk::open(&store).expect_err("nothing can be written").to_string();
        assert!(error.contains(&*store.display().to_string()), "{error}");
        assert!(error.ends_with("write there, or use another directory"), "{error}");
    }
    println!("all of it");
}
