//! `noctule pub`: where payloads come from, and when they count as delivered.

use std::collections::HashSet;
use std::io::Write;
use std::thread;

use noctule_packet::QoS;
use noctule_testkit::Peer;
use rustix::process::Signal;

use crate::broker::{Serving, TemporaryFile};
use crate::process::{Running, end_of, end_with_input};
use crate::relay::{self, Link};

/// A broker, and the flags that lead to it.
fn broker() -> (Serving, String) {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let port = serving.address().port().to_string();
    (serving, port)
}

#[test]
fn every_source_of_a_payload_is_published() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let port = address.port().to_string();
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("t", QoS::ExactlyOnce)]);
    let file = TemporaryFile::new("payload", "from a file\n");
    let to = |flags: &[&'static str]| [&["pub", "-p", &port, "-t", "t"], flags].concat();
    for version in ["3.1", "mqttv311", "5"] {
        for qos in ["0", "1", "2"] {
            let common = ["-V", version, "-q", qos];
            let run = |flags: &[&'static str]| to(&[&common[..], flags].concat());
            end_of(&run(&["-m", "-text"])).succeeded();
            end_of(&[&run(&[])[..], &["-f", file.path()]].concat()).succeeded();
            end_with_input(&run(&["-s"]), b"all\nof \xff it\n").succeeded();
            end_of(&run(&["-n"])).succeeded();
            end_with_input(&run(&["-l"]), b"one\n\nthree").succeeded();
            end_of(&run(&["-m", "x", "--repeat", "2", "--repeat-delay", "0.01"])).succeeded();
            let expected: [&[u8]; 9] = [
                b"-text",
                b"from a file\n",
                b"all\nof \xff it\n",
                b"",
                b"one",
                b"",
                b"three",
                b"x",
                b"x",
            ];
            for payload in expected {
                assert_eq!(reader.receive().payload, payload, "{version} {qos}");
            }
        }
    }
}

#[test]
fn ten_thousand_lines_over_a_slow_link_are_all_delivered() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let port = address.port().to_string();
    let slow = relay::start(address, Link::Slow).port().to_string();
    let lines: String = (0..10_000).map(|number| format!("line {number}\n")).collect();
    for qos in ["1", "0", "2"] {
        let reader =
            Running::start(&["sub", "-d", "-p", &port, "-q", qos, "-t", "lines", "-C", "10000"]);
        reader.line_with("subscribed");
        let arguments = ["pub", "-p", &slow, "-q", qos, "-t", "lines", "-l", "--json"];
        let ended = end_with_input(&arguments, lines.as_bytes());
        let report: serde_json::Value = serde_json::from_str(ended.succeeded()).unwrap();
        assert_eq!((&report["messages"], &report["delivered"]), (&10_000.into(), &10_000.into()));
        let ended = reader.end();
        assert_eq!(ended.status, Some(0));
        assert!(ended.text() == lines, "some lines are missing, or out of order");
    }
}

#[test]
fn a_connection_that_breaks_loses_no_line() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let port = address.port().to_string();
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("lines", QoS::AtLeastOnce)]);
    let reading = thread::spawn(move || {
        let lines = std::iter::repeat_with(|| reader.receive().text().to_owned());
        lines.take_while(|line| line != "end").collect::<HashSet<_>>()
    });
    let broken = relay::start(address, Link::BreaksAfter(20_000)).port().to_string();
    let lines: Vec<String> = (0..2_000).map(|number| format!("line {number}")).collect();
    let arguments = ["pub", "-p", &broken, "-q", "1", "-t", "lines", "-l"];
    let ended = end_with_input(&arguments, lines.join("\n").as_bytes());
    assert_eq!((ended.status, ended.messages.len()), (Some(0), 2), "{ended:?}");
    assert!(ended.messages[0].contains("connecting again"), "{ended:?}");
    assert!(ended.messages[1].contains("connected"), "{ended:?}");
    // A line may come twice at QoS 1, so what ends the reader is another one.
    end_of(&["pub", "-p", &port, "-q", "1", "-t", "lines", "-m", "end"]).succeeded();
    let written = reading.join().unwrap();
    assert_eq!(written.len(), lines.len());
    assert!(lines.iter().all(|line| written.contains(line)));
}

#[test]
fn what_is_large_is_published_whole_or_refused() {
    let (_serving, port) = broker();
    let large = TemporaryFile::new("large", &"x".repeat(12 * 1_024 * 1_024));
    let flags = ["-t", "t", "-q", "1", "-C", "3", "-F", "%l"];
    let reader = Running::start(&[&["sub", "-d", "-p", &port], &flags[..]].concat());
    reader.line_with("subscribed");
    let to = ["pub", "-p", &port, "-t", "t", "-f", large.path()];
    end_of(&[&to[..], &["-q", "1", "--repeat", "3"]].concat()).succeeded();
    assert_eq!(reader.end().text(), "12582912\n".repeat(3));
    let larger = TemporaryFile::new("larger", &"x".repeat(17 * 1_024 * 1_024));
    let ended = end_of(&["pub", "-p", &port, "-t", "t", "-f", larger.path()]);
    ended.failed(5, &["cannot publish to \"t\"", "the server takes"]);
}

#[test]
fn lines_are_published_as_soon_as_they_are_there() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let mut reader = Peer::v5(address, "reader");
    reader.subscribe(&[("t", QoS::AtLeastOnce)]);
    let port = address.port().to_string();
    let (running, mut input) =
        Running::with_input(&["pub", "-p", &port, "-t", "t", "-q", "1", "-l"]);
    for line in ["first", "second"] {
        writeln!(input, "{line}").unwrap();
        assert_eq!(reader.receive().text(), line);
    }
    drop(input);
    running.end().succeeded();
}

#[test]
fn an_interrupt_tells_what_was_delivered() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (_serving, port) = broker();
        let (running, mut input) =
            Running::with_input(&["pub", "-p", &port, "-t", "t", "-q", "1", "-l", "-d", "--json"]);
        running.line_with("connected");
        input.write_all(b"one\ntwo\n").unwrap();
        let reader = Running::start(&["sub", "-p", &port, "-t", "t", "-C", "1", "-q", "1", "-d"]);
        reader.line_with("subscribed");
        input.write_all(b"three\n").unwrap();
        assert_eq!(reader.end().text(), "three\n");
        running.signal(signal);
        let line = running.line_with("interrupted");
        assert!(line.contains("3 messages were delivered"), "{line}");
        let ended = running.end();
        assert_eq!(ended.status, Some(status), "{ended:?}");
        assert!(ended.text().contains("\"delivered\":3"), "{ended:?}");
    }
}

#[test]
fn properties_and_urls_reach_the_server() {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let address = serving.address();
    let port = address.port().to_string();
    let reader = Running::start(&[
        "sub",
        "-d",
        "-p",
        &port,
        "-t",
        "house/#",
        "-C",
        "1",
        "-F",
        "%t|%C|%R|%D|%P|%F|%S|%r|%q",
        "-D",
        "subscribe",
        "subscription-identifier",
        "7",
        "--retain-as-published",
        "-q",
        "2",
    ]);
    reader.line_with("subscribed");
    let url = format!("mqtt://127.0.0.1:{port}/house/kitchen");
    let ended = end_of(&[
        "pub",
        "-L",
        &url,
        "-m",
        "x",
        "-r",
        "-q",
        "2",
        "-D",
        "publish",
        "content-type",
        "text/plain",
        "-D",
        "publish",
        "response-topic",
        "answers",
        "-D",
        "publish",
        "topic-alias",
        "3",
        "-D",
        "publish",
        "correlation-data",
        "42",
        "-D",
        "publish",
        "user-property",
        "unit",
        "°C",
        "-D",
        "publish",
        "payload-format-indicator",
        "1",
    ]);
    ended.succeeded();
    assert_eq!(reader.end().text(), "house/kitchen|text/plain|answers|42|unit:°C|1|7|1|2\n");
}
