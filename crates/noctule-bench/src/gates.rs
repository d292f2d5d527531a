//! The gates: what must not grow. They count instructions, system calls, bytes and processor time,
//! so that a busy machine changes nothing; how long something takes is not asked.

use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::callgrind;
use crate::core_load::CoreLoad;
use crate::idle::Idle;
use crate::load::Load;
use crate::process;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Of the broker's own memory, for each connection.
    Bytes,
    /// In user space, for each delivered message.
    Instructions,
    /// Of one processor, for all connections together.
    PerCent,
    /// For each delivered message.
    SystemCalls,
}

/// The load, what was counted, and how much of it.
type Measurement = (&'static str, Unit, f64);

/// Each a little above what was reached: whoever reaches less lowers it.
const BOUNDS: [Measurement; 18] = [
    ("p2p-64-q0", Unit::Instructions, 450.0),
    ("p2p-64-q0", Unit::SystemCalls, 0.04),
    ("p2p-64-q1", Unit::Instructions, 1_000.0),
    ("p2p-64-q1", Unit::SystemCalls, 0.08),
    ("p2p-64-q2", Unit::Instructions, 6_600.0),
    ("p2p-1-q0", Unit::SystemCalls, 2.2),
    ("fan-out-q0", Unit::Instructions, 560.0),
    ("fan-out-q0", Unit::SystemCalls, 0.045),
    ("fan-in-q0", Unit::Instructions, 650.0),
    ("fan-in-q0", Unit::SystemCalls, 0.1),
    ("core-q0", Unit::Instructions, 400.0),
    ("core-q1", Unit::Instructions, 950.0),
    ("core-stored", Unit::Instructions, 1_300.0),
    ("match-10k", Unit::Instructions, 3_000.0),
    ("match-1m", Unit::Instructions, 5_500.0),
    ("retained", Unit::Instructions, 3_800.0),
    ("idle", Unit::Bytes, 1_536.0),
    ("idle", Unit::PerCent, 0.1),
];

/// How many messages are published under Valgrind, unless each is delivered to many.
const MESSAGES: u64 = 40_000;

const CORE_LOADS: [CoreLoad; 6] = [
    CoreLoad::AtMostOnce,
    CoreLoad::AtLeastOnce,
    CoreLoad::Stored,
    CoreLoad::TenThousandFilters,
    CoreLoad::MillionFilters,
    CoreLoad::Retained,
];

pub(crate) fn run() -> Result<()> {
    let valgrind = Command::new("valgrind").arg("--version").output();
    valgrind.context("the gates need valgrind")?;
    process::build_noctule()?;
    let idle = Idle::start()?;
    let mut measured = vec![("idle", Unit::Bytes, idle.bytes)];
    // Side by side: nothing that is counted depends on how long it takes.
    let (broker, core) = thread::scope(|scope| {
        let core = scope.spawn(measure_core);
        (measure_broker(), core.join())
    });
    measured.extend(broker?);
    measured.extend(core.map_err(|_| anyhow!("the measurement of the core panicked"))??);
    // By now the broker has been idle for as long as all that took.
    measured.push(("idle", Unit::PerCent, idle.finish()? * 100.0));
    judge(&measured)
}

fn measure_broker() -> Result<Vec<Measurement>> {
    let mut measured = Vec::new();
    for name in loads() {
        let load = Load::named(name).with_context(|| format!("there is no load {name}"))?;
        let counts = callgrind::per_message(load, MESSAGES.div_ceil(load.subscribers.into()))?;
        measured.push((name, Unit::Instructions, counts.instructions));
        measured.push((name, Unit::SystemCalls, counts.system_calls));
    }
    Ok(measured)
}

fn measure_core() -> Result<Vec<Measurement>> {
    let mut measured = Vec::new();
    for load in CORE_LOADS {
        let instructions = callgrind::core(load)?.instructions / f64::from(load.messages());
        measured.push((load.name(), Unit::Instructions, instructions));
    }
    Ok(measured)
}

/// The bounded loads that go through the whole broker, each once.
fn loads() -> Vec<&'static str> {
    let core: Vec<&str> = CORE_LOADS.iter().map(|load| load.name()).collect();
    let mut names: Vec<&str> = BOUNDS.iter().map(|(name, _, _)| *name).collect();
    names.dedup();
    names.retain(|name| *name != "idle" && !core.contains(name));
    names
}

fn judge(measured: &[Measurement]) -> Result<()> {
    let mut exceeded = 0;
    for (name, unit, value) in measured {
        let bound = BOUNDS.iter().find(|bound| (bound.0, bound.1) == (*name, *unit));
        let verdict = match bound {
            None => String::new(),
            Some((_, _, bound)) if value <= bound => format!("<= {bound}"),
            Some((_, _, bound)) => {
                exceeded += 1;
                format!("TOO MUCH: at most {bound}")
            }
        };
        println!("{name:<11} {:<28} {value:10.3}  {verdict}", unit.label());
    }
    for (name, unit, _) in BOUNDS {
        let is_measured = measured.iter().any(|one| (one.0, one.1) == (name, unit));
        ensure!(is_measured, "{name} has a bound for {}, but is not measured", unit.label());
    }
    match exceeded {
        0 => Ok(()),
        count => bail!("{count} measurements are above their bounds"),
    }
}

impl Unit {
    fn label(self) -> &'static str {
        match self {
            Self::Bytes => "bytes per connection",
            Self::Instructions => "instructions per message",
            Self::PerCent => "per cent of a processor",
            Self::SystemCalls => "system calls per message",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_at(factor: f64) -> Vec<Measurement> {
        BOUNDS.iter().map(|(name, unit, bound)| (*name, *unit, bound * factor)).collect()
    }

    #[test]
    fn what_is_at_its_bound_passes() {
        judge(&all_at(1.0)).unwrap();
    }

    #[test]
    fn what_is_above_its_bound_fails() {
        let error = judge(&all_at(1.01)).unwrap_err();
        assert_eq!(error.to_string(), "18 measurements are above their bounds");
    }

    #[test]
    fn what_has_a_bound_must_be_measured() {
        let mut measured = all_at(1.0);
        measured.pop();
        assert!(judge(&measured).unwrap_err().to_string().contains("is not measured"));
    }
}
