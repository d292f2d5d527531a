//! `noctule store`: looks into the directory of a broker that is stopped, and changes nothing.

mod contents;
mod dump;
mod line;
mod reading;
mod stats;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Error, Result};
use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches, Command, value_parser};

use self::line::Form;
use self::reading::Reading;

/// The subcommand's name.
pub(crate) const NAME: &str = "store";

const CHECK: &str = "check";
const STATS: &str = "stats";
const DUMP: &str = "dump";
const DIRECTORY: &str = "directory";
const FORMAT: &str = "format";
const JSON: &str = "json";

const EXIT_STATUSES: &str = "\
Exit status:
  0  Everything that is stored can be read
  1  A part of it is damaged
  2  There is no store to look at, or it is in use, or the command line is wrong";

const DAMAGED: u8 = 1;
const NOTHING_TO_SEE: u8 = 2;

pub(crate) fn command() -> Command {
    Command::new(NAME)
        .about("Look into the data of a broker that is stopped; nothing of it is changed")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(subcommand(CHECK, "Say whether everything that is stored can be read"))
        .subcommand(subcommand(STATS, "Count what is stored").arg(format()))
        .subcommand(
            dump::arguments(subcommand(DUMP, "Write what is stored, a line for each thing"))
                .arg(format()),
        )
}

fn subcommand(name: &'static str, about: &'static str) -> Command {
    let directory = Arg::new(DIRECTORY)
        .value_name("DIR")
        .value_parser(value_parser!(PathBuf))
        .required(true)
        .help("The broker's directory");
    Command::new(name).about(about).arg(directory).after_help(EXIT_STATUSES)
}

fn format() -> Arg {
    Arg::new(FORMAT)
        .long(FORMAT)
        .value_name("WORD")
        .value_parser(PossibleValuesParser::new(["text", JSON]))
        .default_value("text")
        .help("How lines look; json is one object a line")
}

pub(crate) fn run(matches: &ArgMatches) -> ExitCode {
    let Some((name, matches)) = matches.subcommand() else { return NOTHING_TO_SEE.into() };
    let Some(path) = matches.get_one::<PathBuf>(DIRECTORY) else { return NOTHING_TO_SEE.into() };
    match look(name, path, matches) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => DAMAGED.into(),
        Err(error) => {
            // If nobody can read it, the exit status still tells.
            let _ = writeln!(io::stderr(), "noctule {NAME} {name}: {error:#}");
            NOTHING_TO_SEE.into()
        }
    }
}

/// Whether the store is intact.
fn look(name: &str, path: &Path, matches: &ArgMatches) -> Result<bool> {
    let reading = Reading::of(path)?;
    let is_intact = reading.findings.is_intact();
    let state = if is_intact { "intact" } else { "damaged" };
    let found = format!("{} is {state}: {}", path.display(), reading.findings);
    let mut out = BufWriter::new(io::stdout().lock());
    let written = match name {
        CHECK => writeln!(out, "{found}").map_err(Error::from),
        STATS => stats::write(reading, form(matches), &mut out).map_err(Error::from),
        _ => dump::write(reading, form(matches), matches, &mut out),
    };
    match written.and_then(|()| Ok(out.flush()?)) {
        // Whoever reads has read enough.
        Err(error) if is_broken_pipe(&error) => {}
        result => result.context("cannot write all of what was found")?,
    }
    if !is_intact && name != CHECK {
        let _ = writeln!(io::stderr(), "noctule {NAME} {name}: {found}");
    }
    Ok(is_intact)
}

fn is_broken_pipe(error: &Error) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn form(matches: &ArgMatches) -> Form {
    let is_json = matches.get_one::<String>(FORMAT).is_some_and(|format| format == JSON);
    if is_json { Form::Json } else { Form::Text }
}
