//! `noctule sub`: which messages are written, how, and when it ends.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use noctule_packet::{Packet, PacketId, QoS, ReasonCode, Suback, Unsuback};
use noctule_testkit::{OwnedConnack, Peer, Script, bytes};
use rustix::process::Signal;

use crate::broker::{Serving, TemporaryFile, noctule};
use crate::process::{Running, end_of};

struct House {
    _serving: Serving,
    port: String,
    peer: Peer,
}

impl House {
    fn new() -> Self {
        let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
        let address = serving.address();
        let peer = Peer::v5(address, "peer");
        Self { _serving: serving, port: address.port().to_string(), peer }
    }

    /// A reader that has its subscriptions.
    fn reader(&self, flags: &[&str]) -> Running {
        let running = Running::start(&[&["sub", "-d", "-p", &self.port], flags].concat());
        running.line_with("subscribed");
        running
    }

    fn say(&mut self, topic: &str, payload: &str) {
        self.peer.publish(topic, payload, QoS::AtLeastOnce);
    }

    /// Publishes a retained message.
    fn keep(&self, topic: &str, payload: &str) {
        end_of(&["pub", "-p", &self.port, "-t", topic, "-m", payload, "-r", "-q", "1"]).succeeded();
    }

    fn sub(&self, flags: &[&str]) -> String {
        end_of(&[&["sub", "-p", &self.port], flags].concat()).succeeded().to_owned()
    }
}

#[test]
fn messages_are_written_in_every_way_there_is() {
    let mut house = House::new();
    for (flags, expected) in [
        (&[][..], "21 °C\nlast\n"),
        (&["-v"], "house/kitchen 21 °C\nhouse/kitchen (null)\nhouse/kitchen last\n"),
        (&["-N"], "21 °Clast"),
        (&["-v", "--color", "always"], "\u{1b}[36mhouse/kitchen\u{1b}[0m 21 °C\n"),
        (
            &["-F", "%q%r %l %x|%10t|%-8.5t|%05l|%%@@\\t"],
            "10 6 323120c2b043|house/kitchen|house   |00006|%@\t\n",
        ),
        (&["-F", "@Y@m@dT@H@M@S.@N"], "20"),
        (&["-F", "%U %I"], "1"),
        (&["-F", "%X %A%C%D%E%F%P%R%S."], "323120C2B043 1.\n"),
        (&["-F", "%.2x|%.4:X|%.99x"], "32 31 20 c2 b0 43|3231:20C2:B043|323120c2b043\n"),
        (&["-F", "%m|%03m|%-4m|%3A|"], "1|001|1   |  1|\n"),
    ] {
        let count = if expected.contains("last") { "3" } else { "1" };
        let reader = house.reader(&[&["-t", "house/+", "-q", "1", "-C", count], flags].concat());
        for payload in ["21 °C", "", "last"] {
            house.say("house/kitchen", payload);
        }
        let ended = reader.end();
        assert_eq!(ended.status, Some(0));
        assert!(ended.text().starts_with(expected), "{flags:?}: {ended:?}");
    }
}

#[test]
fn json_says_everything_and_hides_no_byte() {
    let mut house = House::new();
    let reader = house.reader(&["-t", "#", "-q", "1", "-C", "2", "--json"]);
    house.say("a", "say \"hi\"\n");
    house.peer.publish("b", [0xFF, 0], QoS::AtMostOnce);
    let ended = reader.end();
    let lines: Vec<serde_json::Value> =
        ended.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["topic"], &lines[0]["payload"]), (&"a".into(), &"say \"hi\"\n".into()));
    assert_eq!((&lines[0]["qos"], &lines[0]["payloadlen"]), (&1.into(), &9.into()));
    assert_eq!((&lines[1]["payload_base64"], &lines[1]["qos"]), (&"/wA=".into(), &0.into()));
    let reader = house.reader(&["-t", "#", "-C", "1", "-F", "%J"]);
    house.say("a", "no JSON");
    house.say("a", " {\"n\": 1.10}\n");
    reader.line_with("is not JSON");
    let ended = reader.end();
    let line: serde_json::Value = serde_json::from_str(ended.text()).unwrap();
    assert_eq!(line["payload"]["n"], 1.10);
}

#[test]
fn payloads_may_be_binary_numbers() {
    let mut house = House::new();
    for (format, payload, expected) in [
        ("%f", &(-1.5_f32).to_le_bytes()[..], "-1.500000"),
        ("%.2f|%09.2f|%-8.1f|", &1.25_f32.to_le_bytes(), "1.25|000001.25|1.2     |"),
        ("%d %08.2d", &(-0.1_f64).to_le_bytes(), "-0.100000 -0000.10"),
    ] {
        let reader = house.reader(&["-t", "t", "-F", format, "-C", "1"]);
        house.say("t", "none of that");
        house.peer.publish("t", payload, QoS::AtLeastOnce);
        reader.line_with("is not a floating-point number of");
        assert_eq!(reader.end().text(), format!("{expected}\n"));
    }
}

/// %m and %A, and the same in JSON, as they were on the wire.
#[test]
fn packet_identifiers_and_topic_aliases_are_shown() {
    let server = Script::run(|mut peer| {
        peer.expect_connect();
        peer.send_connack(&OwnedConnack::new(ReasonCode::Success));
        let id = PacketId::new(peer.expect_subscribe().packet_id).unwrap();
        peer.send(Packet::Suback(Suback::new(id, vec![ReasonCode::GrantedQos1])));
        peer.send_bytes(&bytes("32 0a 0001 't' 1234 03 23 0003 'x'"));
        peer.send_bytes(&bytes("32 09 0000 1235 03 23 0003 'y'"));
        peer.send_bytes(&bytes("30 05 0001 't' 00 'z'"));
        peer.expect_puback(0x1234);
        peer.expect_puback(0x1235);
        peer.expect_disconnect(ReasonCode::Success);
    });
    let port = server.address().port().to_string();
    let alias = ["-D", "connect", "topic-alias-maximum", "5"];
    let reader = ["-t", "t", "-q", "1", "-C", "3", "-F", "%m %A %t %j"];
    let reader = Running::start(&[&["sub", "-p", &port, "-i", "c"], &alias[..], &reader].concat());
    let ended = reader.end();
    let lines: Vec<&str> = ended.text().lines().collect();
    assert!(lines[0].starts_with("4660 3 t {") && lines[1].starts_with("4661 3 t {"), "{ended:?}");
    assert!(lines[2].starts_with("0  t {") && !lines[2].contains("mid"), "{ended:?}");
    assert!(lines[1].contains("\"mid\":4661") && lines[1].contains("\"topic-alias\":3"));
    server.finish();
}

#[test]
fn payloads_are_bytes() {
    let mut house = House::new();
    let reader = house.reader(&["-t", "t", "-N", "-C", "1"]);
    house.peer.publish("t", [0xFF, 0, b'\n', 0xC3], QoS::AtLeastOnce);
    assert_eq!(reader.end().output, [0xFF, 0, b'\n', 0xC3]);
}

#[test]
fn only_so_many_messages_are_written_and_the_rest_stays_with_the_server() {
    let mut house = House::new();
    let flags = ["-i", "reader", "-c", "-t", "t", "-q", "1", "-C", "2"];
    let reader = house.reader(&flags);
    for payload in ["1", "2", "3", "4", "5"] {
        house.say("t", payload);
    }
    assert_eq!(reader.end().text(), "1\n2\n");
    // What was not written was not acknowledged either.
    assert_eq!(house.sub(&flags), "3\n4\n");
    house.say("t", "6");
    assert_eq!(house.sub(&flags), "5\n6\n");
}

#[test]
fn messages_of_an_earlier_session_are_written_too() {
    let mut house = House::new();
    let common = ["-i", "reader", "-c", "-q", "1"];
    house.sub(&[&common[..], &["-t", "old", "-t", "older", "-E"]].concat());
    house.say("old", "kept");
    let reader =
        house.reader(&[&common[..], &["-t", "new", "-U", "old", "-C", "2", "-v"]].concat());
    house.say("new", "x");
    assert_eq!(reader.end().text(), "old kept\nnew x\n");
    let reader = house.reader(&[&common[..], &["-t", "new", "-C", "1"]].concat());
    house.say("old", "unsubscribed");
    house.say("new", "still here");
    assert_eq!(reader.end().text(), "still here\n");
}

#[test]
fn retained_messages_are_chosen_and_removed() {
    let mut house = House::new();
    house.keep("r/a", "1");
    house.keep("r/b", "2");
    let reader = house.reader(&["-t", "r/#", "-R", "-C", "1"]);
    house.say("r/a", "live");
    assert_eq!(reader.end().text(), "live\n");
    let reader = house.reader(&["-t", "r/#", "--retained-only", "-v"]);
    house.say("r/a", "live");
    let ended = reader.end();
    let mut lines: Vec<&str> = ended.text().lines().collect();
    lines.sort_unstable();
    assert_eq!((ended.status, &lines[..]), (Some(0), &["r/a 1", "r/b 2"][..]));
    // What is filtered out is neither written nor removed.
    let flags = ["-t", "r/#", "-T", "r/b", "--remove-retained", "-v", "-C", "1"];
    assert_eq!(house.sub(&flags), "r/a 1\n");
    assert_eq!(house.sub(&["-t", "r/#", "-v", "-C", "1"]), "r/b 2\n");
}

#[test]
fn time_and_signals_end_it() {
    let house = House::new();
    let ended = end_of(&["sub", "-p", &house.port, "-t", "t", "-C", "1", "-W", "0.2"]);
    ended.failed(6, &["200ms", "after 0 of 1 messages"]);
    // Without a count, that is all that was asked for.
    house.sub(&["-t", "t", "-W", "0.2"]);
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let reader = house.reader(&["-t", "t", "-C", "1"]);
        reader.signal(signal);
        reader.line_with("interrupted after 0 of 1 messages");
        assert_eq!(reader.end().status, Some(status));
        let reader = house.reader(&["-t", "t"]);
        reader.signal(signal);
        assert_eq!(reader.end().status, Some(0));
    }
}

#[test]
fn a_reader_that_has_enough_ends_it_quietly() {
    let mut house = House::new();
    let arguments = ["sub", "-p", &house.port, "-t", "t", "-d"];
    let mut child =
        noctule(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("subscribed")));
    drop(child.stdout.take());
    house.say("t", "nobody reads this");
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!log.any(|line| line.contains("pipe")));
}

#[test]
fn a_will_is_published_when_its_client_is_killed() {
    let house = House::new();
    let reader = house.reader(&["-t", "wills", "-q", "1", "-F", "%t %p %q %C", "-C", "1"]);
    let mortal = house.reader(&[
        "-t",
        "t",
        "--will-topic",
        "wills",
        "--will-payload",
        "-gone",
        "--will-qos",
        "1",
        "--will-retain",
        "-D",
        "will",
        "content-type",
        "text",
    ]);
    mortal.signal(Signal::KILL);
    assert_eq!(mortal.end().status, None);
    assert_eq!(reader.end().text(), "wills -gone 1 text\n");
    assert_eq!(house.sub(&["-t", "wills", "-C", "1", "-F", "%r"]), "1\n");
    // Whoever leaves in an orderly way leaves no will.
    house.sub(&["-t", "t", "-E", "--will-topic", "wills", "--will-payload", "x", "--will-retain"]);
    assert_eq!(house.sub(&["-t", "wills", "-C", "1"]), "-gone\n");
}

#[test]
fn whoever_reads_late_loses_neither_messages_nor_the_connection() {
    let mut house = House::new();
    let arguments = ["sub", "-p", &house.port, "-t", "t", "-q", "1", "-k", "1", "-C", "200", "-d"];
    let mut child =
        noctule(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(log.any(|line| line.contains("subscribed")));
    let payload = "x".repeat(10_000);
    for _ in 0..200 {
        house.say("t", &payload);
    }
    // More than a pipe holds waits now, and for longer than the server waits for signs of life.
    let (_never, pause) = mpsc::channel::<()>();
    let _ = pause.recv_timeout(Duration::from_secs(3));
    let mut written = String::new();
    child.stdout.take().unwrap().read_to_string(&mut written).unwrap();
    assert_eq!(written.len(), 200 * (payload.len() + 1));
    assert!(child.wait().unwrap().success());
    assert!(!log.any(|line| line.contains("again")));
}

#[test]
fn a_reader_outlives_its_server() {
    let first = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = first.address().to_string();
    let (host, port) = address.split_once(':').unwrap();
    let reader = Running::start(&["sub", "-h", host, "-p", port, "-t", "t", "-C", "1", "-d"]);
    reader.line_with("subscribed to t");
    drop(first);
    reader.line_with("connecting again");
    let _second = Serving::start(&["--listen", &address]);
    reader.line_with("subscribed again to t");
    end_of(&["pub", "-h", host, "-p", port, "-t", "t", "-m", "x"]).succeeded();
    assert_eq!(reader.end().text(), "x\n");
}

#[test]
fn an_older_server_is_spoken_to_in_its_own_version() {
    let file = TemporaryFile::new(
        "older.toml",
        "[[listener]]\naddress = \"127.0.0.1:0\"\nversions = [\"3.1.1\"]\n",
    );
    let serving = Serving::start(&["--config", file.path()]);
    let port = serving.address().port().to_string();
    end_of(&["pub", "-p", &port, "-t", "t", "-m", "x", "-q", "2", "-r"]).succeeded();
    assert_eq!(end_of(&["sub", "-p", &port, "-t", "t", "-C", "1"]).succeeded(), "x\n");
    // Unless something is asked for that only the newer one has.
    let ended = end_of(&["sub", "-p", &port, "-t", "t", "-C", "1", "-x", "5"]);
    ended.failed(3, &["unsupported protocol version", "-V"]);
}

#[test]
fn a_unix_socket_is_as_good_as_an_address() {
    let socket = TemporaryFile::new("client.sock", "");
    std::fs::remove_file(socket.path()).unwrap();
    let serving = Serving::start(&["--listen", &format!("unix:{}", socket.path())]);
    serving.line_with("listening");
    end_of(&["pub", "--unix", socket.path(), "-t", "t", "-m", "x", "-r", "-q", "1"]).succeeded();
    let ended = end_of(&["sub", "--unix", socket.path(), "-t", "t", "-C", "1"]);
    assert_eq!(ended.succeeded(), "x\n");
}

/// Enhanced authentication with the words of the command line, and what is wrong without them.
#[test]
fn a_challenge_is_answered_with_what_the_command_line_says() {
    let said = [
        ["-D", "connect", "authentication-method", "TOKEN"],
        ["-D", "connect", "authentication-data", "first"],
        ["-D", "auth", "authentication-data", "second"],
    ];
    for is_answered in [true, false] {
        let server = Script::run(move |mut peer| {
            let connect = peer.expect_connect();
            assert_eq!(connect.authentication_method.as_deref(), Some("TOKEN"));
            assert_eq!(connect.authentication_data.as_deref(), Some(&b"first"[..]));
            peer.send_bytes(&bytes("f0 0e 18 0c 15 0005 'TOKEN' 16 0001 '?'"));
            if !is_answered {
                return peer.expect_closed_or_reset();
            }
            let auth = peer.expect_auth();
            assert_eq!(auth.authentication_data.as_deref(), Some(&b"second"[..]));
            let method = Some("TOKEN".to_owned());
            let connack = OwnedConnack::new(ReasonCode::Success);
            peer.send_connack(&OwnedConnack { authentication_method: method, ..connack });
            let id = PacketId::new(peer.expect_subscribe().packet_id).unwrap();
            peer.send(Packet::Suback(Suback::new(id, vec![ReasonCode::Success])));
            peer.expect_disconnect(ReasonCode::Success);
        });
        let port = server.address().port().to_string();
        let said = said[..if is_answered { 3 } else { 2 }].concat();
        let ended =
            end_of(&[&["sub", "-p", &port, "-i", "c", "-t", "t", "-E"], &said[..]].concat());
        match is_answered {
            true => assert_eq!(ended.succeeded(), ""),
            false => ended.failed(4, &["-D auth authentication-data"]),
        }
        server.finish();
    }
}

#[test]
fn every_packet_carries_its_properties() {
    let server = Script::run(|mut peer| {
        let pair = |name: &str| vec![(name.to_owned(), "value".to_owned())];
        assert_eq!(peer.expect_connect().user_properties, pair("c"));
        peer.send_connack(&OwnedConnack::new(ReasonCode::Success));
        let subscribe = peer.expect_subscribe();
        assert_eq!(subscribe.user_properties, pair("s"));
        let packet_id = PacketId::new(subscribe.packet_id).unwrap();
        let suback = Suback::new(packet_id, vec![ReasonCode::Success]);
        peer.send(Packet::Suback(suback));
        let unsubscribe = peer.expect_unsubscribe();
        assert_eq!(unsubscribe.user_properties, pair("u"));
        let packet_id = PacketId::new(unsubscribe.packet_id).unwrap();
        peer.send(Packet::Unsuback(Unsuback::new(packet_id, vec![ReasonCode::Success])));
        let disconnect = peer.expect_disconnect(ReasonCode::Success);
        assert_eq!(disconnect.user_properties, pair("d"));
        assert_eq!(disconnect.session_expiry_interval, Some(7));
    });
    let port = server.address().port().to_string();
    let mut arguments =
        vec!["sub", "-p", &port, "-i", "c", "-t", "t", "-U", "old", "-E", "-x", "60"];
    for (command, name) in
        [("connect", "c"), ("subscribe", "s"), ("unsubscribe", "u"), ("disconnect", "d")]
    {
        arguments.extend(["-D", command, "user-property", name, "value"]);
    }
    arguments.extend(["-D", "disconnect", "session-expiry-interval", "7"]);
    end_of(&arguments).succeeded();
    server.finish();
}
