//! What a user is told who asks for what cannot be.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::broker::{TemporaryFile, noctule, run};

/// Runs the binary, expects that it fails, and that its message holds all of this.
fn check(arguments: &[&str], expected: &[&str]) {
    let (status, _, message) = run(arguments);
    assert!(!status.success(), "{arguments:?} succeeded");
    for part in expected {
        assert!(message.contains(part), "{part:?} is missing for {arguments:?} in:\n{message}");
    }
}

fn check_file(content: &str, expected: &[&str]) {
    // Tests run side by side.
    static FILES: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}.toml", FILES.fetch_add(1, Ordering::Relaxed));
    let file = TemporaryFile::new(&name, content);
    let mut expected = expected.to_vec();
    expected.push(file.path());
    check(&["serve", "--config", file.path()], &expected);
}

#[test]
fn flags_out_of_range_are_refused() {
    check(
        &["serve", "--receive-maximum", "0"],
        &["--receive-maximum", "'0'", "a number from 1 to 65535"],
    );
    check(&["serve", "--maximum-packet-size", "1TB"], &["'1TB'", "64KiB", "268435460"]);
    check(&["serve", "--shards", "0"], &["--shards", "'0'", "a number from 1 to 1024"]);
    check(&["serve", "--log-level", "loud"], &["'loud'", "error, warn, info, debug, trace"]);
    check(&["serve", "--retain-available=perhaps"], &["'perhaps'", "true or false"]);
    check(&["serve", "--queue-bytes-max", "-1"], &["--queue-bytes-max", "'-1'", "a size from 0"]);
    check(&["serve", "--no-such-flag"], &["--no-such-flag"]);
    // Whichever way it is wrong, the help that is named is the one that describes the flag.
    let help = ["noctule pub: invalid value 'mqttv4'", "; see noctule pub --help"];
    check(&["pub", "-V", "mqttv4"], &help);
}

#[test]
fn files_with_mistakes_are_refused() {
    check_file("port = 1883\n", &["port", ":1:", "known are listen"]);
    check_file(
        "[limits]\nreceive_maximum = 70000\n",
        &["limits.receive_maximum = 70000", ":2:", "a number from 1 to 65535"],
    );
    check_file("[limits]\n\nreceive_max = 7\n", &["limits.receive_max", ":3:", "receive_maximum"]);
    check_file("listen = \n", &["line 1"]);
    check_file(
        "receive_maximum = 7\n",
        &["receive_maximum", "did you mean limits.receive_maximum"],
    );
    check_file("log-format = \"json\"\n", &["log-format", "did you mean log.format"]);
    check_file("limits = 12345\n", &["limits = 12345", ":1:", "expected a [limits] table"]);
    check_file("[[limits]]\nin_flight_max = 1\n", &[":1:", "expected a [limits] table"]);
    check_file("log = \"debug\"\n", &["log = \"debug\"", "expected a [log] table"]);
    check_file("[listener]\naddress = \"x:1\"\n", &[":1:", "expected [[listener]] tables"]);
    check_file(
        "[[listener]]\naddress = \"127.0.0.1:0\"\nversions = []\n",
        &["listener.versions = []", ":3:", "expected some of 3.1, 3.1.1, 5.0"],
    );
    check(&["serve", "--config", "/no/such/file"], &["/no/such/file", "No such file"]);
}

#[test]
fn a_file_that_is_no_configuration_is_not_read_to_its_end() {
    check(&["serve", "--config", "/dev/zero"], &["/dev/zero", "larger than 1048576 bytes"]);
    check(&["serve", "--config", "/"], &["cannot read the configuration /", "directory"]);
}

#[test]
fn what_cannot_be_written_is_said_in_one_line() {
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = noctule(&["serve", "--print-config"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("cannot write the configuration"), "{message}");
}

#[test]
fn a_text_that_no_packet_can_hold_is_refused() {
    let long = "x".repeat(65_536);
    check(&["serve", "--response-information", &long], &["a text of at most 65535 bytes"]);
    check_file("response_information = \"a\\u0000\"\n", &["response_information", "U+0000"]);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, _, message) = run(&["serve", "--listen", &address]);
    assert_eq!(status.code(), Some(1));
    assert!(message.contains(&address), "{message}");
    assert_eq!(message.matches("in use").count(), 1, "{message}");
}

#[test]
fn a_wide_listener_is_refused_and_the_flag_is_named() {
    check(&["serve", "--listen", "0.0.0.0:0"], &["0.0.0.0:0", "--allow-anonymous"]);
    check(&["serve", "--listen", "nonsense"], &["nonsense", "ADDRESS:PORT"]);
    let long = format!("unix:/{}", "x".repeat(200));
    check(&["serve", "--listen", &long], &["the path has 201 bytes, at most 10"]);
}

#[test]
fn help_and_version_are_there() {
    let (status, version, _) = run(&["--version"]);
    assert!(status.success());
    assert_eq!(version.trim(), format!("noctule {}", env!("CARGO_PKG_VERSION")));
    let (status, help, _) = run(&["serve", "--help"]);
    assert!(status.success());
    for part in ["--listen", "--config", "--maximum-packet-size", "[default: 16777216]"] {
        assert!(help.contains(part), "{part} is missing in:\n{help}");
    }
}

#[test]
fn the_printed_configuration_is_accepted() {
    let (status, printed, _) = run(&["serve", "--print-config"]);
    assert!(status.success());
    assert!(printed.contains("#maximum_packet_size = 16777216"), "{printed}");
    assert!(printed.contains("#listen = [\"127.0.0.1:1883\", \"[::1]:1883\"]"), "{printed}");
    // Every key is a comment: as a file it changes nothing, so only the address stops it.
    let file = TemporaryFile::new("printed.toml", &printed);
    check(&["serve", "--config", file.path(), "--listen", "nonsense"], &["nonsense"]);
}
