//! The bar of a long send: on a terminal, after a while, and nowhere else.

use std::fs::File;
use std::io::Read;
use std::process::Stdio;
use std::thread;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::broker::{Serving, noctule, wait_for_end};

/// What a terminal is shown of a `noctule pub` with these flags, whose standard error it is.
fn shown(flags: &[&str]) -> String {
    let serving = Serving::start(&["--listen", "127.0.0.1:0"]);
    let port = serving.address().port().to_string();
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let inner = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&inner, size).unwrap();
    let mut command = noctule(&[&["pub", "-p", &port, "-t", "t", "-q", "1"], flags].concat());
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
    let status = wait_for_end(&mut child);
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(status.success() && output.is_empty(), "{status} {output:?}");
    reader.join().unwrap()
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
