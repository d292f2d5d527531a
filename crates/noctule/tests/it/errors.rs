//! What a user is told who asks for what cannot be.

use std::net::TcpListener;

use crate::broker::{TemporaryFile, run};

/// Runs the binary, expects that it fails, and that its message holds all of this.
fn check(arguments: &[&str], expected: &[&str]) {
    let (status, _, message) = run(arguments);
    assert!(!status.success(), "{arguments:?} succeeded");
    for part in expected {
        assert!(message.contains(part), "{part:?} is missing for {arguments:?} in:\n{message}");
    }
}

fn check_file(content: &str, expected: &[&str]) {
    // One name for each content, because tests run side by side.
    let name = format!("{}.toml", content.len());
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
    check(&["serve", "--log-level", "loud"], &["'loud'", "error, warn, info, debug, trace"]);
    check(&["serve", "--retain-available=perhaps"], &["'perhaps'", "true or false"]);
    check(&["serve", "--no-such-flag"], &["--no-such-flag"]);
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
    check(&["serve", "--config", "/no/such/file"], &["/no/such/file", "No such file"]);
}

#[test]
fn an_address_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let (status, _, message) = run(&["serve", "--listen", &address]);
    assert_eq!(status.code(), Some(1));
    assert!(message.contains(&address) && message.contains("in use"), "{message}");
}

#[test]
fn a_wide_listener_is_refused_and_the_flag_is_named() {
    check(&["serve", "--listen", "0.0.0.0:0"], &["0.0.0.0:0", "--allow-anonymous"]);
    check(&["serve", "--listen", "nonsense"], &["nonsense", "ADDRESS:PORT"]);
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
    // Every key is a comment: as a file it changes nothing, so only the address stops it.
    let file = TemporaryFile::new("printed.toml", &printed);
    check(&["serve", "--config", file.path(), "--listen", "nonsense"], &["nonsense"]);
}
