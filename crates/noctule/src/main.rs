//! The command line of Noctule.
#![forbid(unsafe_code)]

mod client;
mod command_line;
mod config_file;
mod configuration;
mod data_directory;
mod key;
mod key_table;
mod logging;
mod print_config;
mod publish;
mod publishing;
mod receiving;
mod rpc;
mod serve;
mod store;
mod subscribe;
mod value;

use std::env;
use std::future::Future;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{ArgMatches, Command};

use crate::client::failure::Failure;

fn main() -> ExitCode {
    let matches = match command_line::read(command(), env::args_os()) {
        Ok(matches) => matches,
        Err(status) => return status,
    };
    match matches.subcommand() {
        Some((serve::NAME, matches)) => serve(matches),
        Some((publish::NAME, matches)) => {
            let flags = publish::flags(matches);
            let is_quiet = flags.as_ref().is_ok_and(|flags| flags.connect.quiet);
            finish(publish::PROGRAM, is_quiet, flags.and_then(|flags| wait(publish::run(&flags))))
        }
        Some((subscribe::NAME, matches)) => {
            let flags = subscribe::flags(matches);
            let is_quiet = flags.as_ref().is_ok_and(|flags| flags.connect.quiet);
            let result = flags.and_then(|flags| wait(subscribe::run(&flags)));
            finish(subscribe::PROGRAM, is_quiet, result)
        }
        Some((rpc::NAME, matches)) => {
            let flags = rpc::flags(matches);
            let is_quiet = flags.as_ref().is_ok_and(|flags| flags.connect.quiet);
            finish(rpc::PROGRAM, is_quiet, flags.and_then(|flags| wait(rpc::run(&flags))))
        }
        Some((store::NAME, matches)) => store::run(matches),
        _ => ExitCode::SUCCESS,
    }
}

/// Runs a client to its end.
fn wait(client: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("cannot start the client", &error))?;
    let result = runtime.block_on(client);
    // Names are looked up by threads that nothing can stop.
    runtime.shutdown_background();
    result
}

fn finish(program: &str, is_quiet: bool, result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(program, is_quiet),
    }
}

fn serve(matches: &ArgMatches) -> ExitCode {
    match serve::run(matches) {
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
        .about("MQTT: a broker that is small, fast and correct, and clients for the command line")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(serve::command())
        .subcommand(publish::command())
        .subcommand(subscribe::command())
        .subcommand(rpc::command())
        .subcommand(store::command())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
