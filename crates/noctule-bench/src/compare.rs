//! The table of processor time per delivered message: the relay, Noctule and Mosquitto, one after
//! the other in every round.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::cost::{Cost, load_through, machine, median, start_apart};
use crate::load::{LOADS, Load};
use crate::process::{self, Subject};

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
    let running = start_apart(!subject.is_spread(), || subject.start(load))?;
    let duration = Duration::from_millis(options.milliseconds);
    let cost =
        load_through(&running, load, WARM_UP, duration).with_context(|| format!("{subject:?}"));
    let (mut cost, delivered) = cost?;
    if subject == Subject::Relay {
        // The connections are closed by now, which ends the relay.
        let calls: u64 = running.output()?.trim().parse().context("the relay counts no calls")?;
        cost.calls = Some(calls as f64 / delivered as f64);
    }
    Ok(cost)
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
