//! One run of an example, and the list of all that are tested.

use std::collections::BTreeSet;
use std::env::consts::EXE_SUFFIX;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use std::{env, fs, thread};

use crate::{FOLDER, MORE, PREFIX};

/// Longer than any example takes between two lines.
const LONG: Duration = Duration::from_secs(60);

/// The examples that both kinds of client have, by the names of their tests.
const TESTED: [&str; 17] = [
    "alias",
    "chat",
    "credentials_provider",
    "failed_connect",
    "hello",
    "manual_ack",
    "observe",
    "persistent",
    "ping_timeout",
    "proxy",
    "qos",
    "request_response",
    "router",
    "scram",
    "tls",
    "websocket",
    "will",
];

#[test]
fn every_example_is_tested() {
    let files = fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().file_name());
    let names = files.filter_map(|name| name.to_str()?.strip_suffix(".rs").map(str::to_owned));
    let tested = TESTED.iter().chain(MORE).map(|name| format!("{PREFIX}{name}"));
    assert_eq!(names.collect::<BTreeSet<_>>(), tested.collect());
}

/// An example that runs, at most until this is dropped.
pub(crate) struct Example {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    name: String,
}

impl Example {
    pub(crate) fn start(name: &str, arguments: &[&str]) -> Self {
        let is_listed = TESTED.iter().chain(MORE).any(|listed| *listed == name);
        assert!(is_listed, "{name} is missing in the list of what is tested");
        let program = path_of(name);
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        in_group(&mut command);
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{error}: {program:?} is built by `cargo test` for the whole crate")
        });
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (told, lines) = channel();
        thread::spawn(move || {
            let lines = BufReader::new(output).lines();
            lines.map_while(Result::ok).all(|line| told.send(line).is_ok())
        });
        Self { child, input, lines, name: name.to_owned() }
    }

    /// The next line that it prints, or `None` at the end.
    pub(crate) fn line(&self) -> Option<String> {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => Some(line),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("{} says nothing more", self.name),
        }
    }

    /// Reads the next lines, which are to be these.
    pub(crate) fn prints(&self, expected: &[&str]) {
        for expected in expected {
            assert_eq!(self.line().as_deref(), Some(*expected), "{}", self.name);
        }
    }

    /// Writes a line to its input.
    pub(crate) fn hears(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Ends its input.
    pub(crate) fn hears_no_more(&mut self) {
        self.input = None;
    }

    /// Its exit status, after the last line.
    pub(crate) fn ends(mut self) -> Option<i32> {
        self.hears_no_more();
        assert_eq!(self.line(), None, "{}", self.name);
        self.child.wait().unwrap().code()
    }
}

/// Runs an example that prints these lines and is content.
pub(crate) fn check(name: &str, arguments: &[&str], expected: &[&str]) {
    let example = Example::start(name, arguments);
    example.prints(expected);
    assert_eq!(example.ends(), Some(0), "{name}");
}

/// Tests are in `deps`, examples beside it.
fn path_of(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let target = test.parent().and_then(|deps| deps.parent()).unwrap();
    target.join("examples").join(format!("{PREFIX}{name}{EXE_SUFFIX}"))
}

#[cfg(unix)]
fn in_group(command: &mut Command) {
    std::os::unix::process::CommandExt::process_group(command, 0);
}

#[cfg(not(unix))]
fn in_group(_command: &mut Command) {}

impl Drop for Example {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // One of them starts another program.
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}
