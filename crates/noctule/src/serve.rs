//! `noctule serve`: runs a broker until a signal ends it.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use noctule_broker::Handle;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::config_file;
use crate::configuration::Configuration;
use crate::key_table::KEYS;
use crate::{data_directory, logging, print_config};

/// The subcommand's name.
pub(crate) const NAME: &str = "serve";

const CONFIG: &str = "config";
const PRINT_CONFIG: &str = "print-config";

/// Signals that come within this time of the first one are the same wish: some programs signal a
/// process and then its group.
const SAME_WISH: Duration = Duration::from_millis(250);

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Run a broker; without arguments on 127.0.0.1:1883 and [::1]:1883, its data on disk")
        .arg(
            Arg::new(CONFIG)
                .long(CONFIG)
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("A TOML file with the same settings; flags take precedence over it"),
        )
        .arg(
            Arg::new(PRINT_CONFIG)
                .long(PRINT_CONFIG)
                .action(ArgAction::SetTrue)
                .help("Write a configuration file with every setting and its default, and end"),
        )
        .args(KEYS.iter().map(|key| key.argument()))
}

pub(crate) fn run(matches: &ArgMatches) -> Result<()> {
    if matches.get_flag(PRINT_CONFIG) {
        return print();
    }
    let mut configuration = Configuration::default();
    if let Some(path) = matches.get_one::<PathBuf>(CONFIG) {
        config_file::read(path, &mut configuration)?;
    }
    for key in KEYS {
        key.apply(matches, &mut configuration);
    }
    // Lives until the last line is written.
    let _log = logging::start(&configuration)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("cannot wait for signals")?;
    runtime.block_on(serve(&configuration))
}

fn print() -> Result<()> {
    match io::stdout().write_all(print_config::default_configuration().as_bytes()) {
        // Whoever reads has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write the configuration"),
    }
}

async fn serve(configuration: &Configuration) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // A file that reaches the limit of this process is a full disk then, and not its end.
    let _too_large = signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))?;
    let broker = data_directory::explain(configuration.builder()?.start())?;
    tokio::select! {
        result = broker.finished() => return Ok(result?),
        name = either(&mut interrupt, &mut terminate) => {
            info!(target: "noctule", signal = name, "stopping; a second signal ends at once");
        }
    }
    stop(configuration, &broker, &mut interrupt, &mut terminate).await
}

async fn stop(
    configuration: &Configuration,
    broker: &Handle,
    interrupt: &mut Signal,
    terminate: &mut Signal,
) -> Result<()> {
    tokio::select! {
        result = broker.stop(configuration.stop_deadline) => Ok(result?),
        name = another(interrupt, terminate) => {
            warn!(target: "noctule", signal = name, "ending at once");
            bail!("ended by a second signal before every connection was closed")
        }
    }
}

/// The next signal that is not an echo of the one before.
async fn another(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    let first = Instant::now();
    loop {
        let name = either(interrupt, terminate).await;
        if first.elapsed() > SAME_WISH {
            return name;
        }
    }
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) -> &'static str {
    tokio::select! {
        _ = interrupt.recv() => "SIGINT",
        _ = terminate.recv() => "SIGTERM",
    }
}
