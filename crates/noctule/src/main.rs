//! The command line of Noctule.
#![forbid(unsafe_code)]

mod config_file;
mod configuration;
mod key;
mod key_table;
mod logging;
mod print_config;
mod serve;
mod value;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Command;

fn main() -> ExitCode {
    let matches = command().get_matches();
    let result = match matches.subcommand() {
        Some((serve::NAME, matches)) => serve::run(matches),
        _ => Ok(()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody can read it, the exit status still tells.
            let _ = writeln!(io::stderr(), "noctule: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command() -> Command {
    Command::new("noctule")
        .version(env!("CARGO_PKG_VERSION"))
        .about("An MQTT broker: small, fast, correct")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
