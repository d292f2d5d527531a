//! What one load through one broker costs: processor time, while both have processors of their own.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::engine::{Engine, Target};
use crate::load::Load;
use crate::process::{self, Running};

/// What one load through one broker cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// The broker's processor time per delivered message.
    pub(crate) microseconds: f64,
    /// Delivered messages in a second.
    pub(crate) rate: f64,
    /// The share of a processor that the load itself used.
    pub(crate) loader: f64,
    /// The share of a processor that it waited for while something else ran there.
    pub(crate) waited: f64,
    /// The relay's system calls per delivered message.
    pub(crate) calls: Option<f64>,
}

impl Cost {
    /// Microseconds for each of the relay's system calls, which are nearly all that it does.
    pub(crate) fn each_call(&self) -> f64 {
        self.calls.map_or(f64::NAN, |calls| self.microseconds / calls)
    }
}

/// Starts a broker, it and the load each on a processor of their own, unless the broker wants all
/// of them.
pub(crate) fn start_apart(
    is_apart: bool,
    start: impl FnOnce() -> Result<Running>,
) -> Result<Running> {
    let processors: Vec<usize> = (0..process::processors()).collect();
    ensure!(processors.len() > 1, "the load and the broker need a processor each");
    process::run_on(if is_apart { &processors[1..2] } else { &processors })?;
    let running = start();
    process::run_on(if is_apart { &processors[..1] } else { &processors })?;
    running
}

/// The cost, and how many messages were delivered in all.
pub(crate) fn load_through(
    running: &Running,
    load: &Load,
    warm_up: Duration,
    duration: Duration,
) -> Result<(Cost, u64)> {
    let mut engine = Engine::connect(load, running.target())?;
    engine.run_for(warm_up)?;
    let (spent, own, delivered) = (running.processor_time()?, own_time()?, engine.delivered());
    let waited = running.waiting_time()?;
    let start = Instant::now();
    engine.run_for(duration)?;
    // Some are so slow that nothing has come through yet; what moves nothing at all is an error.
    while engine.delivered() == delivered {
        engine.run_for(duration)?;
    }
    let elapsed = start.elapsed().as_secs_f64();
    let messages = (engine.delivered() - delivered) as f64;
    let seconds = |after: Duration, before: Duration| after.saturating_sub(before).as_secs_f64();
    let cost = Cost {
        microseconds: seconds(running.processor_time()?, spent) / messages * 1e6,
        rate: messages / elapsed,
        loader: seconds(own_time()?, own) / elapsed,
        waited: seconds(running.waiting_time()?, waited) / elapsed,
        calls: None,
    };
    if matches!(running.target(), Target::Relay { .. }) {
        engine.drain()?;
    }
    Ok((cost, engine.delivered()))
}

fn own_time() -> Result<Duration> {
    process::processor_time(std::process::id())
}

pub(crate) fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

/// How busy the machine is with other things.
pub(crate) fn machine() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    Ok(format!("load average {}", averages.join(" ")))
}
