//! One load through a broker that somebody else has started, for a profiler to look at.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;

use crate::engine::{Engine, Target};
use crate::load::Load;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The load's name, as the tables have it
    name: String,
    /// Where the broker listens
    #[arg(long, default_value = "127.0.0.1:1883")]
    address: SocketAddr,
    /// How long the load is kept up, in seconds
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let name = &options.name;
    let load = Load::named(name).with_context(|| format!("there is no load {name}"))?;
    let mut engine = Engine::connect(load, &Target::Brokers(vec![options.address]))?;
    let start = Instant::now();
    engine.run_for(Duration::from_secs(options.seconds))?;
    let rate = engine.delivered() as f64 / start.elapsed().as_secs_f64();
    println!("{} messages delivered, {rate:.0} a second", engine.delivered());
    Ok(())
}
