//! Counts instructions and system calls with Valgrind: the same on every machine, busy or not.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{arch::asm, env};

use anyhow::{Context, Result, ensure};

use crate::core_load::CoreLoad;
use crate::engine::Engine;
use crate::load::Load;
use crate::process::{IN_MEMORY, Running, free_port, noctule_arguments, noctule_program};

/// What was executed in user space.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) instructions: f64,
    pub(crate) system_calls: f64,
}

/// Per delivered message, of the whole broker process with one shard: the difference between a run
/// with `messages` and one with a tenth of them, so that starting and connecting do not count.
pub(crate) fn per_message(load: &'static Load, messages: u64) -> Result<Counts> {
    let (few, few_delivered) = broker(load, messages / 10)?;
    let (many, many_delivered) = broker(load, messages)?;
    let more = (many_delivered - few_delivered) as f64;
    Ok(Counts {
        instructions: (many.instructions - few.instructions) / more,
        system_calls: (many.system_calls - few.system_calls) / more,
    })
}

fn broker(load: &'static Load, messages: u64) -> Result<(Counts, u64)> {
    let port = free_port()?;
    let file = env::temp_dir().join(format!("noctule-bench-{port}.callgrind"));
    let mut command = callgrind(&file);
    command.arg("--collect-systime=yes").arg(noctule_program()?);
    command.args(noctule_arguments(port, 1)).args(IN_MEMORY);
    let running = Running::broker(command, port)?;
    let mut engine = Engine::connect(load, running.target())?;
    engine.run_messages(messages)?;
    let delivered = engine.delivered();
    drop(engine);
    running.stop()?;
    Ok((read(&file)?, delivered))
}

/// What a load of the core executes, in all.
pub(crate) fn core(load: CoreLoad) -> Result<Counts> {
    let name = format!("noctule-bench-{}-{}.callgrind", std::process::id(), load.name());
    let file = env::temp_dir().join(name);
    let mut command = callgrind(&file);
    command.arg("--instr-atstart=no").arg(env::current_exe()?).args(["core", load.name()]);
    let status = command.status().context("cannot start valgrind")?;
    ensure!(status.success(), "{command:?} ended with {status}");
    read(&file)
}

fn callgrind(file: &Path) -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--quiet", "--tool=callgrind"]);
    command.arg(format!("--callgrind-out-file={}", file.display()));
    command.stdin(Stdio::null());
    command
}

fn read(file: &PathBuf) -> Result<Counts> {
    let text = fs::read_to_string(file).with_context(|| format!("no {}", file.display()))?;
    fs::remove_file(file)?;
    parse(&text).with_context(|| format!("{} has no totals", file.display()))
}

/// Reads the totals of a profile. Asking for the time does not count as a system call: it is none,
/// except under Valgrind.
fn parse(profile: &str) -> Option<Counts> {
    let line = |key: &str| profile.lines().find_map(|line| line.strip_prefix(key));
    let events: Vec<&str> = line("events:")?.split_whitespace().collect();
    let total = |event: &str| -> Option<u64> {
        let at = events.iter().position(|one| *one == event)?;
        line("totals:")?.split_whitespace().nth(at)?.parse().ok()
    };
    let mut counts = Counts { instructions: total("Ir")? as f64, system_calls: 0.0 };
    if let Some(calls) = total("sysCount") {
        // Costs stand behind a line number.
        let column = 1 + events.iter().position(|one| *one == "sysCount")?;
        counts.system_calls = (calls - own_costs(profile, "clock_gettime", column)) as f64;
    }
    Some(counts)
}

/// What stands in this column for the functions whose names begin like this, without their callees.
fn own_costs(profile: &str, function: &str, column: usize) -> u64 {
    let mut numbers = HashSet::new();
    let (mut is_meant, mut is_call) = (false, false);
    let mut sum = 0;
    for line in profile.lines() {
        let named = line.strip_prefix('c').unwrap_or(line).strip_prefix("fn=");
        if let Some(named) = named {
            // A name is written out where its number comes for the first time.
            let (number, name) = named.split_once(' ').unwrap_or((named, ""));
            if name.starts_with(function) {
                numbers.insert(number);
            }
            if line.starts_with("fn=") {
                is_meant = numbers.contains(number);
            }
        } else if line.starts_with("calls=") {
            is_call = true;
        } else if line.starts_with(['+', '-', '*'])
            || line.starts_with(|c: char| c.is_ascii_digit())
        {
            if is_meant && !is_call {
                let cost = line.split(' ').nth(column).and_then(|cost| cost.parse::<u64>().ok());
                sum += cost.unwrap_or(0);
            }
            is_call = false;
        }
    }
    sum
}

/// Counts from here on, if this program runs in Valgrind with `--instr-atstart=no`.
pub(crate) fn start_counting() {
    request(START_INSTRUMENTATION);
}

/// Counts no more.
pub(crate) fn stop_counting() {
    request(STOP_INSTRUMENTATION);
}

/// Numbers of `valgrind/callgrind.h`; the upper half names the tool.
const START_INSTRUMENTATION: usize = 0x4354_0004;
const STOP_INSTRUMENTATION: usize = 0x4354_0005;

/// Valgrind recognises a sequence of instructions that changes nothing.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "there is no other way to talk to Valgrind")]
fn request(number: usize) {
    let arguments = [number, 0, 0, 0, 0, 0];
    // SAFETY: The rotations add up to 128 bits and leave rdi as it was, the exchange is of a
    // register with itself. Valgrind reads the six words that rax points to and writes rdx.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") arguments.as_ptr(),
            inout("rdx") 0_usize => _,
            options(nostack),
        );
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn request(_: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    const PROFILE: &str = "events: Ir sysCount sysTime
fn=(1) main
10 600 2
cfn=(2) clock_gettime@@GLIBC_2.17
calls=1 50
11 40 1 9
cfn=(3) recv
calls=1 60
12 60 1 9

fn=(2)
50 40 5 9
+1 3

fn=(3)
60 60 1 9
totals: 703 8 18
";

    #[test]
    fn asking_for_the_time_is_no_system_call() {
        let counts = parse(PROFILE).unwrap();
        assert_eq!((counts.instructions, counts.system_calls), (703.0, 3.0));
    }

    #[test]
    fn a_profile_without_totals_counts_nothing() {
        assert!(parse("events: Ir\n").is_none());
    }
}
