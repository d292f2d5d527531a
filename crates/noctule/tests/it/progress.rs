//! The bars of a long send and of a long look into a store: on a terminal, after a while, and
//! nowhere else.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use noctule_packet::QoS;
use noctule_testkit::Peer;
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::broker::{Serving, noctule, run, wait_for_end};
use crate::durability::{Folder, lasting};

/// What a terminal is shown of a `noctule pub` with these flags, whose standard error it is.
fn shown(flags: &[&str]) -> String {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let port = serving.address().port().to_string();
    let arguments = [&["pub", "-p", &port, "-t", "t", "-q", "1"], flags].concat();
    let (shown, output) = on_terminal(&arguments, Duration::ZERO);
    assert_eq!(output, "");
    shown
}

/// What a terminal is shown that is the standard error of this command, and what stands in its
/// standard output. For a time the command has hardly any turns.
fn on_terminal(arguments: &[&str], slow_for: Duration) -> (String, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let inner = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&inner, size).unwrap();
    let mut command = noctule(arguments);
    command.env("TERM", "xterm").stdout(Stdio::piped()).stderr(Stdio::from(inner));
    let mut child = command.spawn().unwrap();
    // The end of what was open in this process, so that the terminal ends with the other.
    drop(command);
    let reader = thread::spawn(move || {
        let (mut terminal, mut shown) = (File::from(terminal), Vec::new());
        // It ends with an error, as terminals do.
        let _ = terminal.read_to_end(&mut shown);
        String::from_utf8_lossy(&shown).into_owned()
    });
    let mut stdout = child.stdout.take().unwrap();
    let output = thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).unwrap();
        output
    });
    slow_down(&child, slow_for);
    let status = wait_for_end(&mut child);
    let output = output.join().unwrap();
    assert!(status.success(), "{status} {output:?}");
    (reader.join().unwrap(), output)
}

/// Stops a process again and again, so that what it does takes at least so long.
#[expect(clippy::disallowed_methods, reason = "the process is to have hardly any time")]
fn slow_down(child: &Child, time: Duration) {
    let (process, began) = (Pid::from_child(child), Instant::now());
    while began.elapsed() < time {
        kill_process(process, Signal::STOP).unwrap();
        thread::sleep(Duration::from_millis(100));
        kill_process(process, Signal::CONT).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_long_send_shows_how_far_it_has_come() {
    let times = ["-m", "x", "--repeat", "15", "--repeat-delay", "0.1"];
    let shown_all = shown(&times);
    assert!(shown_all.contains("/15 ("), "{shown_all:?}");
    // The line is cleared in the end.
    let (_, behind) = shown_all.rsplit_once("/15 (").unwrap();
    assert!(behind.contains("\u{1b}[2K") || behind.contains("\u{1b}[K"), "{behind:?}");
    assert_eq!(shown(&[&times[..], &["--quiet"]].concat()), "", "it was asked to be quiet");
}

#[test]
fn a_short_send_shows_nothing() {
    assert_eq!(shown(&["-m", "x", "--repeat", "100"]), "");
}

/// It has to read some megabytes, and is stopped most of the time.
#[test]
fn a_long_look_into_a_store_shows_how_far_it_has_come() {
    let folder = Folder::new();
    let data = format!("{}/data", folder.path());
    let serving = Serving::start(&["--listen", "127.0.0.1:0", "--data", &data]);
    let address = serving.address();
    let port = address.port().to_string();
    Peer::connect_with(address, &lasting("reader")).subscribe(&[("t", QoS::AtLeastOnce)]);
    let text = "x".repeat(1_000);
    let publish = ["pub", "-p", &port, "-t", "t", "-q", "1", "-m", &text, "--repeat", "5000"];
    assert!(run(&publish).0.success());
    serving.signal(Signal::TERM);
    serving.end();
    for part in ["check", "stats", "dump"] {
        let arguments = ["store", part, &data];
        let (bar, output) = on_terminal(&arguments, Duration::from_secs(2));
        assert!(bar.contains("MiB ("), "{part}: {bar:?}");
        // The line is cleared in the end.
        let (_, behind) = bar.rsplit_once("MiB (").unwrap();
        assert!(behind.contains("\u{1b}[2K") || behind.contains("\u{1b}[K"), "{behind:?}");
        let (status, into_pipe, message) = run(&arguments);
        assert!(status.success());
        assert_eq!((into_pipe.len(), &*message), (output.len(), ""), "{part}");
    }
}
