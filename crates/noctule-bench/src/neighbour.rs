//! How long a message at QoS 0 takes through a broker that has a load to carry, by somebody who
//! has nothing to do with that.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use noctule_packet::{QoS, Version};

use crate::engine::Target;
use crate::wire;

const VERSION: Version = Version::V5_0;
const TOPIC: &str = "neighbour";
/// Between an answer and the next message.
const PAUSE: Duration = Duration::from_millis(1);
/// Nobody waits for longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long its messages took, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Latency {
    pub(crate) median: f64,
    /// The 99th percentile.
    pub(crate) late: f64,
}

/// A client that sends messages to itself, one at a time.
#[derive(Debug)]
pub(crate) struct Neighbour {
    thread: JoinHandle<Result<Vec<Duration>>>,
}

impl Neighbour {
    /// Lets it begin after `wait`, and measure for `duration`.
    pub(crate) fn start(target: &Target, wait: Duration, duration: Duration) -> Result<Self> {
        let Target::Brokers(brokers) = target else { bail!("a relay knows no neighbours") };
        let broker = *brokers.first().context("no broker")?;
        Ok(Self { thread: thread::spawn(move || measure(broker, wait, duration)) })
    }

    /// Waits for the end.
    pub(crate) fn finish(self) -> Result<Latency> {
        let measured = self.thread.join();
        let mut latencies = measured.map_err(|_| anyhow::anyhow!("the neighbour panicked"))??;
        ensure!(!latencies.is_empty(), "the neighbour has heard nothing");
        latencies.sort_unstable();
        let at = |share: usize| latencies[latencies.len() * share / 100].as_secs_f64() * 1e6;
        Ok(Latency { median: at(50), late: at(99) })
    }
}

fn measure(broker: SocketAddr, wait: Duration, duration: Duration) -> Result<Vec<Duration>> {
    let mut stream = TcpStream::connect(broker)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(&wire::connect(VERSION, TOPIC)?)?;
    stream.write_all(&wire::subscribe(VERSION, TOPIC, QoS::AtMostOnce)?)?;
    thread::park_timeout(wait);
    // CONNACK and SUBACK have come together meanwhile.
    ensure!(stream.read(&mut [0; 1_024])? > 0, "the neighbour is not wanted");
    let publish = wire::publish(VERSION, TOPIC, b"0123456789abcdef", QoS::AtMostOnce, false)?;
    let mut received = vec![0; publish.len()];
    let (start, mut latencies) = (Instant::now(), Vec::new());
    while start.elapsed() < duration {
        let sent = Instant::now();
        stream.write_all(&publish)?;
        stream.read_exact(&mut received).context("nothing comes for the neighbour")?;
        latencies.push(sent.elapsed());
        ensure!(received == publish, "something else came");
        thread::park_timeout(PAUSE);
    }
    Ok(latencies)
}
