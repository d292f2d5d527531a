//! A running `noctule pub`, `sub` or `rpc`, whose messages the tests read line by line.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::broker::noctule;

/// Long enough for anything that works, on a machine that has much else to do.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// What is left of a process.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status; `None` after a signal.
    pub(crate) status: Option<i32>,
    pub(crate) output: Vec<u8>,
    /// The lines of standard error that nobody has read.
    pub(crate) messages: Vec<String>,
}

impl Ended {
    /// What it wrote, as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.output).unwrap()
    }

    /// It ended like this, with one line that holds all of this.
    #[track_caller]
    pub(crate) fn failed(&self, status: i32, parts: &[&str]) {
        assert_eq!(self.status, Some(status), "{self:?}");
        assert_eq!(self.messages.len(), 1, "{self:?}");
        for part in parts {
            assert!(self.messages[0].contains(part), "{part:?} is missing in {self:?}");
        }
    }

    /// It has done everything, and has nothing to say.
    #[track_caller]
    pub(crate) fn succeeded(&self) -> &str {
        assert_eq!(self.status, Some(0), "{self:?}");
        assert!(self.messages.is_empty(), "{self:?}");
        self.text()
    }
}

/// A running process; killed when a test fails.
pub(crate) struct Running {
    child: Child,
    messages: Receiver<String>,
    output: Option<JoinHandle<Vec<u8>>>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(noctule(arguments))
    }

    /// The same with something to write to its standard input.
    pub(crate) fn with_input(arguments: &[&str]) -> (Self, ChildStdin) {
        let mut command = noctule(arguments);
        command.stdin(Stdio::piped());
        let mut running = Self::of(command);
        let input = running.child.stdin.take().unwrap();
        (running, input)
    }

    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let mut stdout = child.stdout.take().unwrap();
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let output = thread::spawn(move || {
            let mut output = Vec::new();
            stdout.read_to_end(&mut output).unwrap();
            output
        });
        Self { child, messages, output: Some(output) }
    }

    /// The next message that contains this text; none of those before it comes again.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let end = Instant::now() + LONG;
        let mut seen = Vec::new();
        loop {
            match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} in:\n{}", seen.join("\n")),
            }
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end.
    pub(crate) fn end(mut self) -> Ended {
        let end = Instant::now() + LONG;
        let mut messages = Vec::new();
        // The channel ends when the process has closed its standard error stream.
        loop {
            match self.messages.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => messages.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end: {messages:?}"),
            }
        }
        let status = self.child.wait().unwrap().code();
        let output = self.output.take().unwrap().join().unwrap();
        Ended { status, output, messages }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the binary to its end.
pub(crate) fn end_of(arguments: &[&str]) -> Ended {
    Running::start(arguments).end()
}

/// Runs the binary to its end, with this input.
pub(crate) fn end_with_input(arguments: &[&str], input: &[u8]) -> Ended {
    let (running, mut stdin) = Running::with_input(arguments);
    stdin.write_all(input).unwrap();
    drop(stdin);
    running.end()
}
