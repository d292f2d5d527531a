//! Ten thousand connections that do nothing: what they cost in memory, and what in time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use noctule_packet::{QoS, Version};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::engine::Target;
use crate::process::Running;
use crate::wire;

const CONNECTIONS: u32 = 10_000;
/// How many clients are asked in before the first answer is waited for.
const OPENING: u32 = 100;
const VERSION: Version = Version::V5_0;
const DESCRIPTORS_SPARE: u64 = 100 + OPENING as u64;

/// A broker with connections, each of a 5.0 client with one subscription.
#[derive(Debug)]
pub(crate) struct Idle {
    running: Running,
    streams: Vec<TcpStream>,
    /// Of the broker's own memory, for each connection.
    pub(crate) bytes: f64,
    since: Instant,
    spent: Duration,
}

impl Idle {
    pub(crate) fn start() -> Result<Self> {
        allow_descriptors()?;
        let running = Running::noctule(1)?;
        let Target::Brokers(addresses) = running.target() else { bail!("this is no broker") };
        let address = addresses[0];
        let mut streams = Vec::new();
        // What the first ones need to be let in, others are lent.
        open(0..OPENING, address, &mut streams)?;
        let before = running.anonymous_bytes()?;
        for first in (OPENING..OPENING + CONNECTIONS).step_by(OPENING as usize) {
            open(first..first + OPENING, address, &mut streams)?;
        }
        let grown = running.anonymous_bytes()?.saturating_sub(before);
        let bytes = grown as f64 / f64::from(CONNECTIONS);
        let spent = running.processor_time()?;
        Ok(Self { running, streams, bytes, since: Instant::now(), spent })
    }

    /// The share of a processor that the broker has used since everybody was connected.
    pub(crate) fn finish(mut self) -> Result<f64> {
        let spent = self.running.processor_time()?.saturating_sub(self.spent);
        let share = spent.as_secs_f64() / self.since.elapsed().as_secs_f64();
        for stream in &mut self.streams {
            stream.set_nonblocking(true)?;
            let news = stream.read(&mut [0]);
            ensure!(news.is_err(), "an idle connection was closed or got something");
        }
        Ok(share)
    }
}

fn open(
    numbers: std::ops::Range<u32>,
    address: SocketAddr,
    streams: &mut Vec<TcpStream>,
) -> Result<()> {
    let first = streams.len();
    for number in numbers {
        let mut stream = TcpStream::connect(address).context("cannot connect")?;
        let mut hello = wire::connect(VERSION, &format!("idle-{number}"))?;
        let filter = format!("idle/{number}/news");
        hello.extend(wire::subscribe(VERSION, &filter, QoS::AtLeastOnce)?);
        stream.write_all(&hello)?;
        streams.push(stream);
    }
    for stream in &mut streams[first..] {
        let mut at = 0;
        let mut answer = [0; 256];
        // A CONNACK of any length, then a SUBACK.
        while wire::Arrival::split(&answer[..at])
            .and_then(|connack| wire::Arrival::split(&answer[connack.length..at]))
            .is_none()
        {
            let count = stream.read(&mut answer[at..])?;
            ensure!(count > 0, "a client was refused");
            at += count;
        }
    }
    Ok(())
}

fn allow_descriptors() -> Result<()> {
    let wanted = u64::from(CONNECTIONS) + DESCRIPTORS_SPARE;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    ensure!(
        maximum.is_none_or(|maximum| maximum >= wanted),
        "{wanted} descriptors are needed, and the hard limit (ulimit -Hn) is {maximum:?}"
    );
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum })?;
    }
    Ok(())
}
