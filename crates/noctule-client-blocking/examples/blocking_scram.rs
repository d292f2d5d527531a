//! SCRAM, and again on the same connection:
//! `cargo run --example blocking_scram [URL [USER [PASSWORD]]]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::{Client, Scram, ScramMechanism};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let user = env::args().nth(2).unwrap_or_else(|| "alice".to_owned());
    let password = env::args().nth(3).unwrap_or_else(|| "pencil".to_owned());

    // The server never sees the password, and has to prove that it knows it, too. Other methods
    // implement the trait `Authenticator`.
    let scram = Scram::new(ScramMechanism::Sha256, user, password);
    let client = Client::builder(url).authentication(scram).connect()?;
    println!("authenticated by {}", ScramMechanism::Sha256.name());
    client.reauthenticate()?;
    println!("authenticated again");
    client.shutdown(Duration::from_secs(5));
    Ok(())
}
