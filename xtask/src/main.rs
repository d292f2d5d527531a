//! `cargo xtask`: the project's checks, so that a contributor runs exactly what CI runs.

#![forbid(unsafe_code)]

mod ci;
mod source;
mod spec;
mod tidy;
mod tree;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "The checks of the Noctule project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Check sizes, names, crate edges, module docs and other rules that rustc does not know
    Tidy,
    /// Compare the specification's statements with the code that enforces and tests them
    Spec(spec::Options),
    /// Run what CI runs, in CI's order, and stop at the first failure
    Ci(ci::Options),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Not by returning it: a broken rule is no reason for a backtrace.
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let tree = tree::Tree::discover()?;
    match &arguments.task {
        Task::Tidy => tidy::run(&tree),
        Task::Spec(options) => spec::run(&tree, options),
        Task::Ci(options) => ci::run(&tree, options),
    }
}
