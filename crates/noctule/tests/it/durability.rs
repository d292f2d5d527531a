//! Where `noctule serve` keeps its data, and what is there again after it was killed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use noctule_packet::QoS;
use noctule_testkit::{OwnedConnect, Peer};
use rustix::process::Signal;

use crate::broker::{Serving, run};

/// Who has no rights.
const NOBODY: u32 = 65_534;

const LISTEN: [&str; 3] = ["serve", "--listen", "127.0.0.1:0"];

/// A folder that is gone with its test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("noctule-durability-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Somebody who is not root and has nothing but a home.
struct User {
    home: Folder,
    program: PathBuf,
}

impl User {
    fn new() -> Self {
        let home = Folder::new();
        let mut program = PathBuf::from(env!("CARGO_BIN_EXE_noctule"));
        if is_root() {
            // It may stand where only root can read.
            let copy = home.0.join("program");
            // Not by this process: while one has a file open for writing, and so has for a moment
            // what other tests start, nobody can run it.
            let install = ["-m", "755"];
            let copied = Command::new("install").args(install).args([&program, &copy]).status();
            assert!(copied.unwrap().success());
            chown(&home.0, Some(NOBODY), Some(NOBODY)).unwrap();
            program = copy;
        }
        Self { home, program }
    }

    fn noctule(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().env("HOME", &self.home.0);
        command.current_dir("/").stdin(Stdio::null());
        if is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn message(output: &Output) -> &str {
    assert_eq!(output.status.code(), Some(1));
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Spoils what was stored of a message.
pub(crate) fn damage(folder: &Path, payload: &str) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let Ok(mut bytes) = fs::read(&path) else { continue };
        // There is little in it, and much room behind that.
        let written = &bytes[..bytes.len().min(4_096)];
        let place = written.windows(payload.len()).position(|found| found == payload.as_bytes());
        if let Some(at) = place {
            bytes[at] ^= 1;
            return fs::write(path, bytes).unwrap();
        }
    }
    panic!("{payload} is in no file");
}

pub(crate) fn lasting(client_id: &str) -> OwnedConnect {
    let connect = OwnedConnect::v5(client_id);
    OwnedConnect { clean_start: false, session_expiry_interval: Some(1_000), ..connect }
}

#[test]
#[cfg(not(target_os = "macos"))]
fn without_arguments_everything_is_there_again_after_a_kill() {
    let user = User::new();
    let data = user.home.0.join(".local/state/noctule");
    let serving = Serving::of(user.noctule(&LISTEN));
    let line = serving.line_with("everything is kept on disk");
    for part in [data.to_str().unwrap(), "durability=\"local\"", "sessions=0"] {
        assert!(line.contains(part), "{part} is missing in: {line}");
    }
    let address = serving.address();
    let mut reader = Peer::connect_with(address, &lasting("reader"));
    reader.subscribe(&[("t", QoS::AtLeastOnce)]);
    drop(reader);
    let mut publisher = Peer::v5(address, "publisher");
    publisher.publish("t", "kept", QoS::AtLeastOnce);

    // Another one must not touch what belongs to this one.
    let second = user.noctule(&LISTEN).output().unwrap();
    let message = message(&second);
    for part in [data.to_str().unwrap(), "in use", "--data DIR", "--durability memory"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_eq!(message.matches("cannot open the store").count(), 1, "{message}");

    serving.signal(Signal::KILL);
    drop(serving);
    let serving = Serving::of(user.noctule(&LISTEN));
    let line = serving.line_with("everything is kept on disk");
    for part in ["sessions=1", "subscriptions=1", "messages=1", "retained=0"] {
        assert!(line.contains(part), "{part} is missing in: {line}");
    }
    let mut reader = Peer::connect(serving.address());
    assert!(reader.open(&lasting("reader")).session_present);
    assert_eq!(reader.receive().text(), "kept");
}

#[test]
fn who_has_no_home_is_asked_where_to_keep_the_data() {
    let user = User::new();
    let output = user.noctule(&LISTEN).env_remove("HOME").output().unwrap();
    let message = message(&output);
    for part in ["HOME", "--data DIR", "--durability memory"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
}

#[test]
fn a_directory_that_cannot_be_is_named_with_a_way_out() {
    let (status, _, message) = run(&["serve", "--data", "/dev/null/data"]);
    assert_eq!(status.code(), Some(1));
    for part in ["/dev/null/data", "Not a directory", "--data DIR", "--durability memory"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    assert_eq!(message.trim_end().lines().last().unwrap().matches("Not a dir").count(), 1);
}

#[test]
fn damage_is_named_and_dealt_with_as_was_asked_for() {
    let folder = Folder::new();
    let data = folder.0.join("data");
    let arguments = ["--listen", "127.0.0.1:0", "--data", data.to_str().unwrap()];
    let with = |recovery| [&arguments[..], &["--recovery", recovery]].concat();
    let serving = Serving::start(&arguments);
    let address = serving.address();
    Peer::connect_with(address, &lasting("reader")).subscribe(&[("t", QoS::AtLeastOnce)]);
    let mut publisher = Peer::v5(address, "publisher");
    publisher.publish("t", "spoilt", QoS::AtLeastOnce);
    publisher.publish("t", "kept", QoS::AtLeastOnce);
    drop(serving);
    damage(&data, "spoilt");
    fs::set_permissions(&data, fs::Permissions::from_mode(0o770)).unwrap();

    let (status, _, message) = run(&[&["serve"], &with("refuse")[..]].concat());
    assert_eq!(status.code(), Some(1));
    for part in [data.to_str().unwrap(), "is damaged", "\"repair\"", "set aside"] {
        assert!(message.contains(part), "{part} is missing in: {message}");
    }
    let serving = Serving::start(&with("repair"));
    assert!(serving.line_with("everything is kept on disk").contains("messages=1"));
    let line = serving.line_with("the store was damaged");
    assert!(line.contains("WARN") && line.contains("set aside at"), "{line}");
    let line = serving.line_with("others may write");
    assert!(line.contains("WARN") && line.contains("mode=770"), "{line}");
    drop(serving);
    let serving = Serving::start(&with("empty"));
    assert!(serving.line_with("is begun again").contains("aside-"));
    assert!(serving.line_with("everything is kept on disk").contains("sessions=0"));
}

#[test]
fn the_mode_that_syncs_later_is_named_and_survives_a_kill() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let arguments = ["--listen", "127.0.0.1:0", "--data", &data, "--durability", "interval"];
    let arguments = [&arguments[..], &["--sync-interval-milliseconds", "60000"]].concat();
    let serving = Serving::start(&arguments);
    let line = serving.line_with("everything is kept on disk");
    assert!(line.contains("durability=\"interval\""), "{line}");
    let line = serving.line_with("a power cut takes");
    assert!(line.contains("interval_ms=60000"), "{line}");
    let address = serving.address();
    Peer::connect_with(address, &lasting("reader")).subscribe(&[("t", QoS::AtLeastOnce)]);
    Peer::v5(address, "publisher").publish("t", "kept", QoS::AtLeastOnce);
    serving.signal(Signal::KILL);
    drop(serving);
    let serving = Serving::start(&arguments);
    assert!(serving.line_with("everything is kept on disk").contains("messages=1"));
}

#[test]
fn in_memory_no_file_is_left_even_where_a_directory_is_named() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let memory = ["--data", &data, "--durability", "memory", "--listen", "127.0.0.1:0"];
    let serving = Serving::start(&memory);
    let line = serving.line_with("gone with the process");
    assert!(line.contains("durability=\"memory\""), "{line}");
    drop(Peer::connect_with(serving.address(), &lasting("a")));
    drop(serving);
    assert!(!Path::new(&data).exists());
}
