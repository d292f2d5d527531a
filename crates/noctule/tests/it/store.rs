//! `noctule store` on the directory of a broker: what it shows, how it ends, and that nothing is
//! changed by it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use noctule_packet::{QoS, ReasonCode};
use noctule_testkit::{OwnedPublish, OwnedWill, Peer};
use rustix::process::Signal;
use serde_json::Value;

use crate::broker::{Serving, run};
use crate::durability::{Folder, damage, lasting};

/// The data of a broker that was killed: two sessions, what waits for them, a retained message.
fn data() -> (Folder, String) {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--data", &data]);
    let address = serving.address();
    let mut reader = lasting("reader");
    (reader.user_name, reader.password) = (Some("ada".into()), Some(b"secret"[..].into()));
    Peer::connect_with(address, &reader).subscribe(&[("t/#", QoS::ExactlyOnce)]);
    let will = OwnedWill::new("will", "gone").qos(QoS::AtLeastOnce);
    let other = Peer::connect_with(address, &lasting("other").will(will));
    let mut publisher = Peer::v5(address, "publisher");
    publisher.publish("t/1", "a text", QoS::AtLeastOnce);
    let bytes = OwnedPublish::new("t/2", [0xFF, 0xFE], QoS::AtLeastOnce);
    publisher.publish_with(&bytes.packet_id(2));
    let retained = OwnedPublish::new("r", "stays", QoS::AtLeastOnce).retain(true);
    publisher.publish_with(&retained.packet_id(3));
    serving.signal(Signal::KILL);
    serving.end();
    drop(other);
    (folder, data)
}

/// All files in a directory and below it.
fn contents(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                all.insert(path, bytes);
            }
        }
    }
    all
}

/// The lines of `dump` with these arguments.
fn dump(data: &str, arguments: &[&str]) -> Vec<Value> {
    let all = [&["store", "dump", data, "--format", "json"], arguments].concat();
    let (status, lines, message) = run(&all);
    assert!(status.success(), "{message}");
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn kinds(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["kind"].as_str().unwrap()).collect()
}

#[test]
fn what_is_stored_is_shown_and_stays_as_it_is() {
    let (_folder, data) = data();
    let before = contents(Path::new(&data));

    let (status, text, message) = run(&["store", "check", &data]);
    assert!(status.success(), "{message}");
    assert!(text.contains("is intact"), "{text}");

    let (status, text, _) = run(&["store", "stats", &data, "--format", "json"]);
    assert!(status.success());
    let stats: Value = serde_json::from_str(&text).unwrap();
    for (name, expected) in [
        ("sessions", 2),
        ("connected_at_the_end", 1),
        ("subscriptions", 1),
        ("wills", 1),
        ("messages", 2),
        ("message_bytes", 14),
        ("retained", 1),
        ("retained_bytes", 6),
    ] {
        assert_eq!(stats[name], expected, "{name} in {text}");
    }
    assert!(stats["log_bytes"].as_u64().unwrap() > 0);
    let (_, text, _) = run(&["store", "stats", &data]);
    assert!(text.lines().any(|line| line.starts_with("sessions  ") && line.ends_with(" 2")));

    let lines = dump(&data, &[]);
    let expected = ["session", "subscription", "message", "message", "session", "will", "retained"];
    assert_eq!(kinds(&lines), expected);
    assert_eq!(
        (&lines[0]["client_id"], &lines[0]["was_connected"]),
        (&"reader".into(), &Value::from(false))
    );
    assert_eq!((&lines[1]["filter"], &lines[1]["qos"]), (&"t/#".into(), &2.into()));
    assert_eq!((&lines[2]["topic"], &lines[2]["payload_bytes"]), (&"t/1".into(), &6.into()));
    assert!(contents(Path::new(&data)) == before, "something was changed");
}

#[test]
fn payloads_are_shown_to_those_who_ask_and_passwords_to_nobody() {
    let (_folder, data) = data();
    for line in dump(&data, &[]) {
        assert_eq!((&line["payload"], &line["payload_base64"]), (&Value::Null, &Value::Null));
    }
    let lines = dump(&data, &["--payloads"]);
    assert_eq!(lines[2]["payload"], "a text");
    assert_eq!(lines[3]["payload_base64"], "//4=");
    assert_eq!((&lines[5]["payload"], &lines[6]["payload"]), (&"gone".into(), &"stays".into()));
    let (_, text, _) = run(&["store", "dump", &data, "--payloads"]);
    assert!(text.contains("topic=\"t/1\" qos=1 retain=false"), "{text}");
    assert!(text.contains("payload=\"a text\"") && !text.contains("secret"), "{text}");
}

#[test]
fn a_dump_can_be_about_one_client_or_some_topics() {
    let (_folder, data) = data();
    let of_reader = dump(&data, &["--client-id", "reader"]);
    assert_eq!(kinds(&of_reader), ["session", "subscription", "message", "message"]);
    assert_eq!(kinds(&dump(&data, &["--topic", "+"])), ["will", "retained"]);
    let both = dump(&data, &["--topic", "t/2", "--client-id", "reader"]);
    assert_eq!(kinds(&both), ["message"]);
    assert_eq!(both[0]["place"], 2);
    let (status, _, message) = run(&["store", "dump", &data, "--topic", "a/#/b"]);
    assert_eq!(status.code(), Some(2));
    assert!(message.contains("--topic"), "{message}");
}

#[test]
fn what_waits_for_any_member_of_a_shared_subscription_is_counted_and_shown() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--data", &data]);
    let address = serving.address();
    let mut member = Peer::connect_with(address, &lasting("member"));
    member.subscribe(&[("$share/g/t", QoS::AtLeastOnce)]);
    member.send_disconnect(ReasonCode::Success);
    member.expect_closed();
    Peer::v5(address, "publisher").publish("t", "any", QoS::AtLeastOnce);
    serving.signal(Signal::KILL);
    serving.end();
    let (_, text, _) = run(&["store", "stats", &data, "--format", "json"]);
    let stats: Value = serde_json::from_str(&text).unwrap();
    let counts = ["messages", "shared_messages", "message_bytes"].map(|name| &stats[name]);
    assert_eq!(counts, [&Value::from(1), &1.into(), &4.into()], "{text}");
    let lines = dump(&data, &["--payloads"]);
    assert_eq!(kinds(&lines), ["session", "subscription", "shared"]);
    let told = ["filter", "topic", "payload"].map(|name| lines[2][name].as_str().unwrap());
    assert_eq!(told, ["$share/g/t", "t", "any"]);
    assert_eq!(kinds(&dump(&data, &["--topic", "other"])), [] as [&str; 0]);
}

#[test]
fn a_message_that_a_member_has_got_says_of_which_shared_subscription_it_is() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--data", &data]);
    let address = serving.address();
    let mut member = Peer::connect_with(address, &lasting("member"));
    member.subscribe(&[("$share/g/t", QoS::AtLeastOnce), ("own", QoS::AtLeastOnce)]);
    let mut publisher = Peer::v5(address, "publisher");
    publisher.publish("t", "shared", QoS::AtLeastOnce);
    publisher.publish("own", "its own", QoS::AtLeastOnce);
    assert_eq!(
        (member.expect_publish().text(), member.expect_publish().text()),
        ("shared", "its own")
    );
    serving.signal(Signal::KILL);
    serving.end();
    let lines = dump(&data, &[]);
    let told: Vec<_> = lines.iter().filter(|line| line["kind"] == "message").collect();
    assert_eq!(told.iter().map(|line| &line["topic"]).collect::<Vec<_>>(), ["t", "own"]);
    assert_eq!((&told[0]["shared"], &told[1]["shared"]), (&"$share/g/t".into(), &Value::Null));
}

#[test]
fn damage_is_told_and_not_touched() {
    let (_folder, data) = data();
    damage(Path::new(&data), "a text");
    let before = contents(Path::new(&data));
    let (status, text, _) = run(&["store", "check", &data]);
    assert_eq!(status.code(), Some(1));
    assert!(text.contains("is damaged") && text.contains("set aside at"), "{text}");
    let (status, text, message) = run(&["store", "stats", &data, "--format", "json"]);
    assert_eq!(status.code(), Some(1));
    let stats: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&stats["intact"], &stats["damaged_records"]), (&false.into(), &1.into()));
    assert!(message.contains("is damaged"), "{message}");
    assert!(contents(Path::new(&data)) == before, "something was changed");
}

#[test]
fn a_running_broker_is_left_alone_and_what_is_no_store_is_named() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--data", &data]);
    serving.address();
    for name in ["check", "stats", "dump"] {
        let (status, text, message) = run(&["store", name, &data]);
        assert_eq!(status.code(), Some(2));
        assert!(text.is_empty() && message.contains("in use by another process"), "{message}");
        for path in [folder.path(), "/no/such/directory", "/dev/null"] {
            let (status, text, message) = run(&["store", name, path]);
            assert_eq!(status.code(), Some(2), "{path}");
            assert!(text.is_empty() && message.contains(path), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }
    assert_eq!(run(&["store", "check"]).0.code(), Some(2));
    assert!(fs::read_dir(folder.path()).unwrap().count() == 1, "something was made");
}
