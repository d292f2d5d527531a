//! How a message that has arrived is written: the flags, and what they come to.

use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use jiff::Zoned;
use noctule_client::Message;

use super::format::{Format, Unwritable};

const TOPIC_COLOR: &[u8] = b"\x1b[36m";
const NO_COLOR: &[u8] = b"\x1b[0m";

/// How a message that has arrived is written.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputFlags {
    /// Write the topic in front of the payload
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Write each message in this format, such as '%I %t %p'; what there is, stands below
    #[arg(
        short = 'F',
        long,
        value_name = "FORMAT",
        allow_hyphen_values = true,
        conflicts_with_all = ["verbose", "json"]
    )]
    format: Option<Format>,
    /// Write each message as a line of JSON
    #[arg(long, conflicts_with = "verbose")]
    json: bool,
    /// Write no end of line behind a message
    #[arg(short = 'N', long)]
    no_newline: bool,
    /// Whether topics have a colour; automatic is: on a terminal, unless NO_COLOR is set
    #[arg(long, value_name = "WHEN", default_value = "auto", value_enum)]
    color: When,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    Auto,
    Always,
    Never,
}

/// What the flags come to.
#[derive(Debug)]
pub(crate) struct Writer {
    style: Style,
    has_newline: bool,
    has_color: bool,
}

#[derive(Debug)]
enum Style {
    Payload,
    WithTopic,
    Format(Format),
}

impl OutputFlags {
    pub(crate) fn writer(&self) -> Writer {
        let style = match &self.format {
            Some(format) => Style::Format(format.clone()),
            None if self.json => Style::Format(Format::json()),
            None if self.verbose => Style::WithTopic,
            None => Style::Payload,
        };
        let has_color = match self.color {
            When::Auto => {
                let is_unwanted = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
                io::stdout().is_terminal() && !is_unwanted
            }
            When::Always => true,
            When::Never => false,
        };
        Writer { style, has_newline: !self.no_newline, has_color }
    }
}

impl Writer {
    /// Appends a message to `out`. What a payload is nobody knows, so its bytes are written as they
    /// are.
    pub(crate) fn write(&self, message: &Message, out: &mut Vec<u8>) -> Result<(), Unwritable> {
        let payload = message.payload();
        match &self.style {
            // As mosquitto_sub does: what is empty is no line.
            Style::Payload if payload.is_empty() => return Ok(()),
            Style::Payload => out.extend_from_slice(payload),
            Style::WithTopic => {
                let (color, plain) =
                    if self.has_color { (TOPIC_COLOR, NO_COLOR) } else { (&b""[..], &b""[..]) };
                out.extend_from_slice(color);
                out.extend_from_slice(message.topic().as_bytes());
                out.extend_from_slice(plain);
                out.push(b' ');
                out.extend_from_slice(if payload.is_empty() { b"(null)" } else { payload });
            }
            Style::Format(format) => {
                let before = out.len();
                if let Err(error) = format.write(message, &Zoned::now(), out) {
                    out.truncate(before);
                    return Err(error);
                }
            }
        }
        if self.has_newline {
            out.push(b'\n');
        }
        Ok(())
    }
}
