//! What all subcommands have in common: the flag for help, and what somebody is told who writes a
//! flag that there is not.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Arg, ArgAction, ArgMatches, Command, Error};

/// The exit status for a command line that is wrong.
const USAGE: u8 = 2;

/// `--help`, where `-h` is the host.
pub(crate) fn help_flag() -> Arg {
    let help = Arg::new("help").long("help").action(ArgAction::Help).help("Print this");
    // Without a heading it stands with the first flags, as its last.
    help.help_heading(None).display_order(999)
}

/// Reads the command line. If that is all there is to do, or if it is wrong, the exit status.
pub(crate) fn read(
    command: Command,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<ArgMatches, ExitCode> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = program(&command, &arguments);
    command.try_get_matches_from(arguments).map_err(|error| {
        if !error.use_stderr() {
            // Whoever reads the help may have read enough of it.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        // Without any argument, the help is the message.
        if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
            let _ = error.print();
        } else {
            let _ = writeln!(io::stderr(), "{}", one_line(&error, program.clone()));
        }
        ExitCode::from(USAGE)
    })
}

/// What was called, with its subcommands.
fn program(command: &Command, arguments: &[OsString]) -> String {
    let (mut program, mut command) = (command.get_name().to_owned(), command);
    for argument in arguments.iter().skip(1) {
        let name = argument.to_str().unwrap_or_default();
        let Some(subcommand) = command.find_subcommand(name) else { break };
        program = format!("{program} {}", subcommand.get_name());
        command = subcommand;
    }
    program
}

/// What is wrong, and where help is, without the usage that clap repeats.
fn one_line(error: &Error, mut program: String) -> String {
    let text = error.render().to_string();
    let mut message = String::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(usage) = line.strip_prefix("Usage: ") {
            let words = usage.split(' ').take_while(|word| !word.starts_with(['<', '[', '-']));
            program = words.collect::<Vec<_>>().join(" ");
            break;
        }
        if line.starts_with("For more information") {
            break;
        }
        if !message.is_empty() {
            message.push_str(if message.ends_with(':') { " " } else { "; " });
        }
        message.push_str(line);
    }
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    format!("{program}: {message}; see {program} --help")
}
