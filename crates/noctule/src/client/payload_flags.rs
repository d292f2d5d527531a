//! What to send: the flags that say where a payload comes from.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, Status};

/// The largest packet of MQTT; a payload is smaller.
const PAYLOAD_BYTES_MAX: u64 = 268_435_455;

/// Where the payload comes from.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Message")]
#[group(id = "payload", multiple = false)]
pub(crate) struct PayloadFlags {
    /// This text
    #[arg(short = 'm', long, value_name = "TEXT", allow_hyphen_values = true)]
    message: Option<OsString>,
    /// The content of a file
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Everything from standard input
    #[arg(short = 's', long)]
    stdin_file: bool,
    /// Nothing: a message of no bytes, which with -r removes what is retained
    #[arg(short = 'n', long)]
    null_message: bool,
}

impl PayloadFlags {
    /// The payload, if one was given.
    pub(crate) fn read(&self) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(text) = &self.message {
            return Ok(Some(text.clone().into_vec()));
        }
        if let Some(path) = &self.file {
            let name = path.display();
            let file = File::open(path);
            let file =
                file.map_err(|error| Failure::local(format!("cannot read {name}"), &error))?;
            return read(file, &name.to_string()).map(Some);
        }
        if self.stdin_file {
            return read(io::stdin(), "standard input").map(Some);
        }
        Ok(self.null_message.then(Vec::new))
    }
}

fn read(source: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut payload = Vec::new();
    source
        .take(PAYLOAD_BYTES_MAX + 1)
        .read_to_end(&mut payload)
        .map_err(|error| Failure::local(format!("cannot read {name}"), &error))?;
    if payload.len() as u64 > PAYLOAD_BYTES_MAX {
        let message =
            format!("{name} has more than {PAYLOAD_BYTES_MAX} bytes, which no packet holds");
        return Err(Failure::new(Status::Local, message));
    }
    Ok(payload)
}
