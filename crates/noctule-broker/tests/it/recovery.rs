//! A directory whose content is damaged, incomplete or not what it seems: each policy does what it
//! says, and nothing leads out of the directory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use noctule_broker::{Broker, Handle, QoS, Recovery, StartError, Version};
use noctule_testkit::Peer;

use crate::durable::{Directory, open};
use crate::{DEADLINE, start};

const POLICIES: [Recovery; 3] = [Recovery::Repair, Recovery::Refuse, Recovery::Empty];

/// A directory in which three messages wait for a session.
fn with_messages() -> Directory {
    let directory = Directory::new();
    let (broker, address) = directory.start();
    let (mut reader, _) = open(address, Version::V5_0, "reader");
    reader.subscribe(&[("t", QoS::AtLeastOnce)]);
    drop(reader);
    let mut publisher = Peer::v5(address, "publisher");
    for payload in ["first one", "second one", "third one"] {
        publisher.publish("t", payload, QoS::AtLeastOnce);
    }
    drop(publisher);
    broker.stop_blocking(DEADLINE).unwrap();
    directory
}

/// Spoils what was stored of a message.
fn damage(directory: &Directory, payload: &str) {
    for (name, mut bytes) in contents(&directory.0) {
        // There is little in it, and much room behind that.
        let written = &bytes[..bytes.len().min(4_096)];
        let place = written.windows(payload.len()).position(|found| found == payload.as_bytes());
        if let Some(at) = place {
            bytes[at] ^= 1;
            return fs::write(directory.0.join(name), bytes).unwrap();
        }
    }
    panic!("{payload} is in no file");
}

/// All files in a directory and below it.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let name = entry.path().strip_prefix(path).unwrap().to_owned();
                all.insert(name, fs::read(entry.path()).unwrap());
            }
        }
    }
    all
}

fn start_with(directory: &Directory, recovery: Recovery) -> Result<Handle, StartError> {
    let builder = Broker::builder().data(&directory.0).recovery(recovery);
    builder.listen("127.0.0.1:0").start()
}

/// What waits for the session, which may not be there.
fn waiting(directory: &Directory, recovery: Recovery) -> Option<Vec<String>> {
    let (broker, address) = start(Broker::builder().data(&directory.0).recovery(recovery));
    let (mut reader, is_present) = open(address, Version::V5_0, "reader");
    let mut messages = Vec::new();
    // It is behind everything that waits.
    Peer::v5(address, "publisher").publish("t", "end", QoS::AtLeastOnce);
    while is_present && messages.last().is_none_or(|last| last != "end") {
        messages.push(reader.receive().text().to_owned());
    }
    drop(reader);
    broker.stop_blocking(DEADLINE).unwrap();
    is_present.then_some(messages)
}

/// The folders that were set aside.
fn asides(directory: &Directory) -> Vec<PathBuf> {
    let entries = fs::read_dir(&directory.0).unwrap().map(|entry| entry.unwrap());
    let is_aside = |name: &str| name.starts_with("aside-");
    let asides = entries.filter(|entry| entry.file_name().to_str().is_some_and(is_aside));
    asides.map(|entry| entry.path()).collect()
}

#[test]
fn what_is_intact_is_used_whatever_was_asked_for() {
    for recovery in POLICIES {
        let directory = with_messages();
        let expected = ["first one", "second one", "third one", "end"].map(str::to_owned);
        assert_eq!(waiting(&directory, recovery), Some(expected.into()), "{recovery:?}");
        assert!(asides(&directory).is_empty());
    }
}

#[test]
fn repair_sets_aside_what_cannot_be_read_and_uses_the_rest() {
    let directory = with_messages();
    damage(&directory, "second one");
    let expected = ["first one", "third one", "end"].map(str::to_owned);
    assert_eq!(waiting(&directory, Recovery::Repair), Some(expected.into()));
    let files = contents(&directory.0);
    let is_kept = |(name, bytes): (&PathBuf, &Vec<u8>)| {
        let is_damaged = name.to_str().unwrap().starts_with("damaged-");
        is_damaged && bytes.windows(8).any(|found| found == b"cond one".as_slice())
    };
    assert!(files.iter().any(is_kept), "{:?}", files.keys());
}

#[test]
fn refuse_names_the_damage_and_changes_nothing() {
    let directory = with_messages();
    damage(&directory, "second one");
    let before = contents(&directory.0);
    let error = start_with(&directory, Recovery::Refuse).unwrap_err();
    let StartError::Damaged { path, findings } = &error else { panic!("{error}") };
    assert_eq!(*path, directory.0);
    assert!(findings.contains("set aside at"), "{findings}");
    for part in ["\"refuse\"", "\"repair\"", "\"empty\"", findings] {
        assert!(error.to_string().contains(part), "{part} is missing in: {error}");
    }
    assert!(contents(&directory.0) == before, "it has changed something");
}

#[test]
fn empty_keeps_the_old_files_and_begins_with_nothing() {
    let directory = with_messages();
    damage(&directory, "second one");
    let mut before = contents(&directory.0);
    before.remove(Path::new("lock"));
    assert_eq!(waiting(&directory, Recovery::Empty), None);
    let [aside] = &asides(&directory)[..] else { panic!("{:?}", asides(&directory)) };
    assert!(contents(aside) == before, "not everything was kept");
    assert_eq!(fs::metadata(aside).unwrap().permissions().mode() & 0o777, 0o700);
    // The new one is intact, and stays.
    let (broker, address) = start(Broker::builder().data(&directory.0).recovery(Recovery::Empty));
    assert!(open(address, Version::V5_0, "reader").1);
    broker.stop_blocking(DEADLINE).unwrap();
    assert_eq!(asides(&directory).len(), 1);
}

#[test]
fn what_a_crash_has_left_half_aside_is_set_aside_by_the_next_start() {
    let directory = with_messages();
    let mut before = contents(&directory.0);
    before.remove(Path::new("lock"));
    let begun = directory.0.join("aside-7.unfinished");
    fs::create_dir(&begun).unwrap();
    fs::rename(directory.0.join("state"), begun.join("state")).unwrap();
    assert_eq!(waiting(&directory, Recovery::Repair), None);
    assert_eq!(asides(&directory), [directory.0.join("aside-7")]);
    assert!(contents(&directory.0.join("aside-7")) == before, "not everything was kept");
}

#[test]
fn no_link_leads_out_of_the_directory() {
    for name in ["runs", "state", "log-0000000000000001.seg", "lock"] {
        let (directory, outside) = (with_messages(), Directory::new());
        fs::create_dir(&outside.0).unwrap();
        let elsewhere = outside.0.join("elsewhere");
        fs::rename(directory.0.join(name), &elsewhere).unwrap();
        symlink(&elsewhere, directory.0.join(name)).unwrap();
        let before = contents(&outside.0);
        for recovery in POLICIES {
            let error = start_with(&directory, recovery).unwrap_err();
            let StartError::Store { source, .. } = error else { panic!("{name}: {error}") };
            assert!(source.to_string().contains("symbolic link"), "{name}: {source}");
        }
        assert!(contents(&outside.0) == before, "{name}");
    }
}

#[test]
fn everything_belongs_to_its_owner_alone() {
    let directory = with_messages();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for folder in ["", "runs", "state"] {
        assert_eq!(mode(&directory.0.join(folder)), 0o700, "{folder}");
    }
    for (name, _) in contents(&directory.0) {
        assert_eq!(mode(&directory.0.join(&name)), 0o600, "{name:?}");
    }
    // What was copied back may be open to all; what somebody has opened up on purpose stays so.
    let segment = directory.0.join("log-0000000000000001.seg");
    for (path, wide) in [(&segment, 0o644), (&directory.0, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(wide)).unwrap();
    }
    directory.start().0.stop_blocking(DEADLINE).unwrap();
    assert_eq!((mode(&segment), mode(&directory.0)), (0o600, 0o755));
}
