//! A running `noctule serve`, whose log the tests read line by line.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for anything that works.
const DEADLINE: Duration = Duration::from_secs(60);

/// The binary with these arguments. A broker that is told nothing about its data keeps none, so
/// that no test leaves something in its user's directory.
pub(crate) fn noctule(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_noctule"));
    command.args(arguments).stdin(Stdio::null());
    let says = |what: &&str| ["--data", "--durability"].contains(what);
    if arguments.first() == Some(&"serve") && !arguments.iter().any(says) {
        command.args(["--durability", "memory"]);
    }
    command
}

/// Runs the binary to its end. Returns whether it succeeded, what it wrote, and its messages.
pub(crate) fn run(arguments: &[&str]) -> (ExitStatus, String, String) {
    let output = noctule(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

/// A file of this test that is gone afterwards.
pub(crate) struct TemporaryFile(PathBuf);

impl TemporaryFile {
    pub(crate) fn new(name: &str, content: &str) -> Self {
        let file = format!("noctule-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        let path: &Path = &self.0;
        path.to_str().unwrap()
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Waits until the process has ended.
pub(crate) fn wait_for_end(child: &mut Child) -> ExitStatus {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        assert!(Instant::now() < end, "the process does not end");
        thread::yield_now();
    }
}

/// A running broker; killed when a test fails.
pub(crate) struct Serving {
    child: Child,
    lines: Receiver<String>,
}

impl Serving {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        Self::of(noctule(&[&["serve"], arguments].concat()))
    }

    /// A broker that is started in some other way.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// The next log line that contains this text; none of those before it comes again.
    pub(crate) fn line_with(&self, text: &str) -> String {
        let end = Instant::now() + DEADLINE;
        let mut seen = Vec::new();
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains(text) => return line,
                Ok(line) => seen.push(line),
                Err(_) => panic!("no line with {text:?} in:\n{}", seen.join("\n")),
            }
        }
    }

    /// The address in the next line that says where the broker listens.
    pub(crate) fn address(&self) -> SocketAddr {
        let line = self.line_with("listening");
        let after = line.split("address").nth(1).unwrap();
        let end = after.trim_start_matches(['=', '"', ':']);
        end.split(['"', ' ', ',']).next().unwrap().parse().unwrap()
    }

    pub(crate) fn process(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.process(), signal).unwrap();
    }

    /// Sends a signal again and again until a log line contains this text.
    pub(crate) fn signal_until_line(&self, signal: Signal, text: &str) {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            self.signal(signal);
            match self.lines.recv_timeout(Duration::from_millis(20)) {
                Ok(line) if line.contains(text) => return,
                Ok(_) | Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        panic!("no line with {text:?}");
    }

    /// Waits for the end, and returns the status and the lines that were not read.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let end = Instant::now() + DEADLINE;
        let mut lines = Vec::new();
        // The channel ends when the process has closed its standard error stream.
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => lines.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("the broker does not end:\n{}", lines.join("\n"))
                }
            }
        }
        (self.child.wait().unwrap(), lines)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
