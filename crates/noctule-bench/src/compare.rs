//! The table of processor time per delivered message: the relay, Noctule and Mosquitto, one after
//! the other in every round.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::engine::{Engine, Target};
use crate::load::{LOADS, Load};
use crate::process::{self, Running, Subject};

const WARM_UP: Duration = Duration::from_millis(300);
const ONE: Subject = Subject::Noctule { shards: 1 };

/// The relay's p2p above this means that the machine is busy, or slow in what the relay does:
/// system calls.
const VOID_MICROSECONDS: f64 = 0.1;

#[derive(Args, Debug)]
pub(crate) struct Options {
    /// How often each load is sent through each broker; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long a load is kept up, in milliseconds
    #[arg(long, default_value_t = 1_000)]
    milliseconds: u64,
    /// Only loads whose names begin like this
    #[arg(long, default_value = "")]
    only: String,
    /// Also with this many shards, and with as many brokers of one shard that share the load, both
    /// on all processors, which the load then uses too
    #[arg(long)]
    shards: Option<u16>,
}

/// What one load through one broker cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    /// The broker's processor time per delivered message.
    microseconds: f64,
    /// Delivered messages in a second.
    rate: f64,
    /// The share of a processor that the load itself used.
    loader: f64,
    /// The share of a processor that it waited for while something else ran there.
    waited: f64,
    /// The relay's system calls per delivered message.
    calls: Option<f64>,
}

impl Cost {
    /// Microseconds for each of the relay's system calls, which are nearly all that it does.
    fn each_call(&self) -> f64 {
        self.calls.map_or(f64::NAN, |calls| self.microseconds / calls)
    }
}

pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "no rounds, no table");
    process::build_noctule()?;
    println!("microseconds of processor time per delivered message; {}", machine()?);
    println!("median of {} rounds of {} ms\n", options.rounds, options.milliseconds);
    println!(
        "load        relay = calls x  each   noctule  x relay  mosquitto  x mosq.  messages/s  \
         loader CPU"
    );
    let mut void = None;
    for load in LOADS.iter().filter(|load| load.name.starts_with(&options.only)) {
        let mut subjects = vec![Subject::Relay, ONE, Subject::Mosquitto];
        // The relay knows no acknowledgements; a message must cost more than at QoS 0.
        let relayed = if load.qos as u8 > 0 { at_most_once(load) } else { load };
        if let Some(shards) = options.shards {
            subjects.extend([Subject::Noctule { shards }, Subject::Brokers { count: shards }]);
        }
        let mut costs = vec![Vec::new(); subjects.len()];
        for _ in 0..options.rounds {
            for (subject, costs) in subjects.iter().zip(&mut costs) {
                let load = if *subject == Subject::Relay { relayed } else { load };
                costs.push(measure(*subject, load, options)?);
            }
        }
        let medians: Vec<Cost> = costs.into_iter().map(median).collect();
        print(load, &medians);
        if load.name == "p2p-64-q0" && medians[0].microseconds > VOID_MICROSECONDS {
            void = Some(medians[0]);
        }
    }
    println!("\n{}", machine()?);
    void.map_or(Ok(()), |relay| bail!(reason_for_void(&relay)))
}

/// Lets a reader tell a slow machine from a busy one.
fn reason_for_void(relay: &Cost) -> String {
    format!(
        "VOID: the relay needs {:.3}, more than {VOID_MICROSECONDS}, in p2p-64-q0. Each of its \
         system calls takes {:.1} microseconds, and it waits {:.1}% of the time for a processor: \
         if it waits, the machine is busy; if it does not, system calls are slow here, and only \
         what is times the relay can be compared with other machines",
        relay.microseconds,
        relay.each_call(),
        relay.waited * 100.0,
    )
}

fn at_most_once(load: &Load) -> &Load {
    let start = load.name.strip_suffix(['1', '2']).unwrap_or_default();
    Load::named(&format!("{start}0")).unwrap_or(load)
}

fn print(load: &Load, medians: &[Cost]) {
    let (relay, noctule, mosquitto) = (medians[0], medians[1], medians[2]);
    println!(
        "{:<10} {:6.3} = {:5.3} x {:6.2} {:9.3} {:8.1} {:10.3} {:8.2} {:11.0} {:10.0}%",
        load.name,
        relay.microseconds,
        relay.calls.unwrap_or_default(),
        relay.each_call(),
        noctule.microseconds,
        noctule.microseconds / relay.microseconds,
        mosquitto.microseconds,
        noctule.microseconds / mosquitto.microseconds,
        noctule.rate,
        noctule.loader * 100.0,
    );
    if let [_, _, _, many, apart] = medians {
        println!(
            "  more shards: {:.3}, {:.2} x brokers of one ({:.3}), {:.2} x one alone; \
             {:.0} messages/s, loader CPU {:.0}%",
            many.microseconds,
            many.microseconds / apart.microseconds,
            apart.microseconds,
            many.microseconds / noctule.microseconds,
            many.rate,
            many.loader * 100.0,
        );
    }
}

fn measure(subject: Subject, load: &Load, options: &Options) -> Result<Cost> {
    let load = match subject {
        Subject::Brokers { count } => &load.over(count.into()),
        _ => load,
    };
    let running = start_apart(subject, load)?;
    let duration = Duration::from_millis(options.milliseconds);
    let cost = load_through(&running, load, duration).with_context(|| format!("{subject:?}"));
    let (mut cost, delivered) = cost?;
    if subject == Subject::Relay {
        // The connections are closed by now, which ends the relay.
        let calls: u64 = running.output()?.trim().parse().context("the relay counts no calls")?;
        cost.calls = Some(calls as f64 / delivered as f64);
    }
    Ok(cost)
}

/// The broker and the load each on a processor of their own, unless the broker wants all of them.
fn start_apart(subject: Subject, load: &Load) -> Result<Running> {
    let processors: Vec<usize> = (0..process::processors()).collect();
    ensure!(processors.len() > 1, "the load and the broker need a processor each");
    let is_apart = !subject.is_spread();
    process::run_on(if is_apart { &processors[1..2] } else { &processors })?;
    let running = subject.start(load);
    process::run_on(if is_apart { &processors[..1] } else { &processors })?;
    running
}

/// The cost, and how many messages were delivered in all.
fn load_through(running: &Running, load: &Load, duration: Duration) -> Result<(Cost, u64)> {
    let mut engine = Engine::connect(load, running.target())?;
    engine.run_for(WARM_UP)?;
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

fn median(mut costs: Vec<Cost>) -> Cost {
    costs.sort_by(|a, b| a.microseconds.total_cmp(&b.microseconds));
    costs.get(costs.len() / 2).copied().unwrap_or_default()
}

/// How busy the machine is with other things.
fn machine() -> Result<String> {
    let load = fs::read_to_string("/proc/loadavg")?;
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    Ok(format!("load average {}", averages.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_void_run_says_what_a_system_call_costs() {
        let relay = Cost { microseconds: 0.2, calls: Some(0.04), waited: 0.123, ..Cost::default() };
        let reason = reason_for_void(&relay);
        assert!(reason.contains("system calls takes 5.0 microseconds"), "{reason}");
        assert!(reason.contains("waits 12.3% of the time"), "{reason}");
    }
}
