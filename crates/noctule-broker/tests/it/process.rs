//! A broker in a process of its own, for tests about what a whole process has: descriptors, memory.
//!
//! The process is this test program again, with one test that is the broker.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use noctule_broker::{Broker, Handle, Limits};
use noctule_testkit::Peer;

use crate::{start_with, wait};

/// How long the broker of the other process waits for a CONNECT, in milliseconds; its presence also
/// says that this is the other process.
const CONNECT_TIMEOUT: &str = "NOCTULE_TEST_CONNECT_TIMEOUT";

/// Marks the lines that are answers among those of the test program.
const ANSWER: &str = "@ ";

/// In this process, starts the other one and asks it something; there, is the broker.
#[test]
fn a_broker_of_its_own() {
    let Ok(milliseconds) = std::env::var(CONNECT_TIMEOUT) else {
        let mut broker = BrokerProcess::start();
        Peer::v5(broker.address, "a").disconnect();
        assert_eq!(broker.statistics()["connections_opened"], 1);
        assert!(broker.resident_kib() > 100);
        return;
    };
    let mut limits = Limits::default();
    limits.connect_timeout = Duration::from_millis(milliseconds.parse().unwrap());
    let (broker, address) = start_with(limits);
    println!("\n{ANSWER}{address}");
    let mut taken = Vec::new();
    for command in std::io::stdin().lines() {
        match command.unwrap().as_str() {
            "statistics" => println!("\n{ANSWER}{}", statistics_line(&broker)),
            "take descriptors" => {
                taken.extend(std::iter::from_fn(|| File::open("/dev/null").ok()));
                println!("\n{ANSWER}{}", taken.len());
            }
            "return descriptors" => {
                taken.clear();
                println!("\n{ANSWER}0");
            }
            other => panic!("{other:?} is no command"),
        }
    }
}

fn statistics_line(broker: &Handle) -> String {
    let (statistics, gauges) = wait(broker.statistics()).unwrap();
    [
        ("connections", gauges.connections),
        ("connections_max", u64::from(broker.connections_max())),
        ("clients_connected", gauges.clients_connected),
        ("sessions", gauges.sessions),
        ("subscriptions", gauges.subscriptions),
        ("in_flight_messages", gauges.in_flight_messages),
        ("queued_bytes", gauges.queued_bytes),
        ("connections_opened", statistics.connections_opened),
        ("connections_refused", statistics.connections_refused),
        ("publish_received", statistics.publish_received),
    ]
    .map(|(name, value)| format!("{name} {value}"))
    .join(" ")
}

/// The other process; it ends with this value.
pub(crate) struct BrokerProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
}

impl BrokerProcess {
    pub(crate) fn start() -> Self {
        Self::start_with(Limits::default().connect_timeout, None)
    }

    /// With this much time for CONNECT, and at most so many open descriptors.
    pub(crate) fn start_with(connect_timeout: Duration, descriptors: Option<u32>) -> Self {
        raise_descriptor_limit();
        let descriptors = descriptors.map_or("-n".to_owned(), |count| format!("-n {count}"));
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit {descriptors} >&2 && exec \"$0\" \"$@\"")])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", "process::a_broker_of_its_own", "--nocapture"])
            .env(CONNECT_TIMEOUT, connect_timeout.as_millis().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self { child, input, output, address: ([127, 0, 0, 1], 0).into() };
        process.address = process.answer().parse().unwrap();
        process
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        loop {
            line.clear();
            assert_ne!(self.output.read_line(&mut line).unwrap(), 0, "the other process has ended");
            if let Some(answer) = line.strip_prefix(ANSWER) {
                return answer.trim_end().to_owned();
            }
        }
    }

    fn ask(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        self.answer()
    }

    pub(crate) fn statistics(&mut self) -> BTreeMap<String, u64> {
        let line = self.ask("statistics");
        let words: Vec<_> = line.split(' ').collect();
        words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].parse().unwrap())).collect()
    }

    /// Lets the process open files until it may open no more; how many there were.
    pub(crate) fn take_descriptors(&mut self) -> usize {
        self.ask("take descriptors").parse().unwrap()
    }

    pub(crate) fn return_descriptors(&mut self) {
        self.ask("return descriptors");
    }

    /// How much memory the process has resident, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for BrokerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lets this process open as many descriptors as it may; a broker does it when it starts.
fn raise_descriptor_limit() {
    let broker = Broker::builder().start().unwrap();
    broker.stop_blocking(Duration::ZERO).unwrap();
}
