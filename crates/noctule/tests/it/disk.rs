//! What the program does with a directory of a newer version, with a limit on the size of files,
//! and with one that is opened again and again.

use std::fs;
use std::path::Path;

use noctule_packet::QoS;
use noctule_testkit::{OwnedPublish, Peer};
use rustix::process::{Resource, Rlimit, Signal, prlimit};

use crate::broker::{Serving, run};
use crate::durability::{Folder, lasting};
use crate::process::LONG;

const LISTEN: [&str; 3] = ["--listen", "127.0.0.1:0", "--data"];

fn serve(data: &str) -> Serving {
    Serving::start(&[&LISTEN[..], &[data]].concat())
}

/// A client whose session stays has subscribed to `t`, and is away.
fn subscribe(serving: &Serving) -> Peer {
    let address = serving.address();
    Peer::connect_with(address, &lasting("reader")).subscribe(&[("t", QoS::AtLeastOnce)]);
    Peer::v5(address, "publisher")
}

/// The names of the log's files.
fn segments(data: &str) -> Vec<String> {
    let names = fs::read_dir(data).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("log-")).collect()
}

/// CRC-32 of Ethernet and gzip.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        let fold = |crc: u32, _| if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0xEDB8_8320 };
        (0..8).fold(crc ^ u32::from(*byte), fold)
    })
}

#[test]
fn data_of_a_newer_version_is_named_and_left_as_it_is() {
    let folder = Folder::new();
    let serving = serve(folder.path());
    subscribe(&serving).publish("t", "kept", QoS::AtLeastOnce);
    serving.signal(Signal::KILL);
    serving.end();
    let name = segments(folder.path()).into_iter().min().unwrap();
    let path = Path::new(folder.path()).join(&name);
    let mut bytes = fs::read(&path).unwrap();
    // The header of a segment, as docs/storage-format.md draws it.
    bytes[8] += 1;
    let checksum = crc32(&bytes[..36]).to_le_bytes();
    bytes[36..40].copy_from_slice(&checksum);
    fs::write(&path, &bytes).unwrap();
    let serve = [&["serve"], &LISTEN[..], &[folder.path()]].concat();
    for arguments in [&serve[..], &["store", "check", folder.path()]] {
        for recovery in [&[][..], &["--recovery", "repair"], &["--recovery", "empty"]] {
            if arguments[0] == "store" && !recovery.is_empty() {
                continue;
            }
            let (status, text, message) = run(&[arguments, recovery].concat());
            assert!(!status.success() && text.is_empty(), "{text}");
            for part in [&name[..], "has format 2", "knows up to 1", "update"] {
                assert!(message.contains(part), "{part} is missing in: {message}");
            }
            assert!(fs::read(&path).unwrap() == bytes, "it was changed");
        }
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_a_full_disk_and_not_the_end() {
    let folder = Folder::new();
    let serving = serve(folder.path());
    let mut publisher = subscribe(&serving);
    publisher.set_timeout(LONG);
    publisher.publish("t", "1", QoS::AtLeastOnce);
    let limit = |bytes: Option<u64>| {
        let limit = Rlimit { current: bytes, maximum: None };
        prlimit(Some(serving.process()), Resource::Fsize, limit).unwrap();
    };
    // What `ulimit -f` does. A write beyond it gets a signal, too, that ends whoever does not care.
    limit(Some(0));
    publisher.send_publish(&OwnedPublish::new("t", "2", QoS::AtLeastOnce).packet_id(2));
    serving.line_with("the store cannot keep anything now");
    publisher.expect_nothing_before_pong();
    limit(None);
    publisher.expect_puback(2);
    serving.signal(Signal::KILL);
    serving.end();
    let again = serve(folder.path());
    let mut reader = Peer::connect(again.address());
    assert!(reader.open(&lasting("reader")).session_present);
    assert_eq!([reader.receive().text(), reader.receive().text()], ["1", "2"]);
}

#[test]
fn a_hundred_starts_leave_no_more_files_than_a_few() {
    const STARTS: usize = 100;
    let folder = Folder::new();
    drop(subscribe(&serve(folder.path())));
    let (mut most, mut acknowledged) = (0, 0);
    for start in 0..STARTS {
        let serving = serve(folder.path());
        let mut publisher = Peer::v5(serving.address(), "publisher");
        publisher.set_timeout(LONG);
        publisher.publish("t", start.to_string(), QoS::AtLeastOnce);
        acknowledged += 1;
        // Not even the emptying of the log gets to its end.
        serving.signal(Signal::KILL);
        serving.end();
        let state = fs::read_dir(Path::new(folder.path()).join("state")).unwrap().count();
        most = most.max(segments(folder.path()).len()).max(state);
    }
    assert!(most <= 24, "{most} files");
    let serving = serve(folder.path());
    let mut reader = Peer::connect(serving.address());
    reader.set_timeout(LONG);
    assert!(reader.open(&lasting("reader")).session_present);
    for number in 0..acknowledged {
        assert_eq!(reader.receive().text(), number.to_string());
    }
}
