//! `noctule-bench`: what a message costs, beside a bare relay and Mosquitto, and on disk beside in
//! memory; the gates that keep it from growing; and what a crash costs.

#![deny(unsafe_code)]

mod bare;
mod callgrind;
mod compare;
mod core_load;
mod cost;
mod crash;
mod engine;
mod gates;
mod idle;
mod link;
mod load;
mod loading;
mod neighbour;
mod process;
mod relay;
mod stored;
mod wire;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "noctule-bench", about = "What a message costs, and a crash")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Compare the processor time per message with a bare relay's and Mosquitto's
    Compare(compare::Options),
    /// Run a load of the core, for Valgrind to count
    #[command(hide = true)]
    Core { load: core_load::CoreLoad },
    /// Kill a broker under load again and again, and count what it has lost
    Crash(crash::Options),
    /// Count instructions, system calls and bytes, and fail if there are more than allowed
    Gates,
    /// Send a load through a broker that runs already, to see where its time goes
    Load(loading::Options),
    /// Move bytes from sources to sinks, to be compared with
    #[command(hide = true)]
    Relay { sources: usize, sinks: usize },
    /// Compare what is kept on disk with what is not: throughput and processor time
    Stored(stored::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    match &arguments.task {
        Task::Compare(options) => compare::run(options),
        Task::Core { load } => core_load::run(*load),
        Task::Crash(options) => crash::run(options),
        Task::Gates => gates::run(),
        Task::Load(options) => loading::run(options),
        Task::Relay { sources, sinks } => relay::run(*sources, *sinks),
        Task::Stored(options) => stored::run(options),
    }
}
