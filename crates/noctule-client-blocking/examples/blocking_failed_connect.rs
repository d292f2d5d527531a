//! What a failure looks like: `cargo run --example blocking_failed_connect [URL]`. The exit status
//! is 1 if there was no connection.

use std::env;
use std::process::ExitCode;
use std::time::Duration;

use noctule_client_blocking::{
    Client, ConnectError, Ended, ReasonCode, ReconnectSettings, StopReason,
};

fn main() -> ExitCode {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    // By default a client that nobody refuses goes on trying. This one gives up at once.
    let reconnect = ReconnectSettings { includes_first: false, ..ReconnectSettings::default() };
    let error = match Client::builder(url).reconnect(reconnect).connect() {
        Ok(client) => {
            println!("connected: nothing has failed");
            client.shutdown(Duration::from_secs(5));
            return ExitCode::SUCCESS;
        }
        Err(error) => error,
    };

    // The text says what to do where that is known. Programs match.
    println!("error: {error}");
    match &error {
        ConnectError::Build(_) => println!("kind: the program asks for the impossible"),
        ConnectError::Stopped(reason) => match &**reason {
            StopReason::Transport(_) => println!("kind: the server was not reached"),
            StopReason::Ended(ended) => match &**ended {
                Ended::Refused(reason) if reason.code == ReasonCode::NotAuthorized => {
                    println!("kind: the server does not let us in");
                }
                _ => println!("kind: the server was reached, but there is no connection"),
            },
            _ => println!("kind: another one"),
        },
        _ => println!("kind: another one"),
    }
    ExitCode::FAILURE
}
