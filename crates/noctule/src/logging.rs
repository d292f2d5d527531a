//! Sends log lines to the standard error stream.

use std::io::{self, IsTerminal};

use crate::configuration::{Configuration, LogFormat};

/// Starts logging. Called once, before the broker starts.
pub(crate) fn start(configuration: &Configuration) {
    let lines = tracing_subscriber::fmt()
        .with_max_level(configuration.log_level)
        .with_writer(io::stderr)
        // Complaining on the stream that failed would panic, and end the broker with its log.
        .log_internal_errors(false);
    match configuration.log_format {
        LogFormat::Text => lines.with_ansi(io::stderr().is_terminal()).init(),
        LogFormat::Json => lines.json().flatten_event(true).init(),
    }
}
