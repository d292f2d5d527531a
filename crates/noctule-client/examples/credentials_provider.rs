//! Reconnects with a new token each time: `cargo run --example credentials_provider [URL [COUNT]]`.
//! It ends at the connection of that number, 2 by default: restart the server to see it.

use std::env;
use std::error::Error;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use noctule_client::{
    Backoff, Client, ClientEvent, Credentials, CredentialsFuture, CredentialsProvider,
    ReconnectSettings,
};

/// Makes tokens; a real one would ask somebody, and its errors count as failed attempts.
#[derive(Default)]
struct Tokens(AtomicU32);

impl CredentialsProvider for Tokens {
    fn credentials(&self) -> CredentialsFuture<'_> {
        Box::pin(async move {
            let token = format!("token {}", self.0.fetch_add(1, Ordering::Relaxed) + 1);
            println!("the next attempt has {token}");
            let user_name = Some("thermometer".to_owned());
            Ok(Credentials { user_name, password: Some(token.into_bytes()) })
        })
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let mut missing: u32 = env::args().nth(2).map_or(Ok(2), |count| count.parse())?;
    let backoff = Backoff { maximum: Duration::from_secs(10), ..Backoff::default() };
    let reconnect = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    let client = Client::builder(url)
        .credentials_provider(Tokens::default())
        .reconnect(reconnect)
        .start()?;

    let mut events = client.events();
    while missing > 0 {
        match events.recv().await {
            Some(ClientEvent::Connected(_)) => {
                missing -= 1;
                println!("connected");
            }
            Some(ClientEvent::Disconnected { ended, .. }) => println!("disconnected: {ended}"),
            Some(ClientEvent::ConnectFailed { error }) => println!("failed: {error}"),
            Some(ClientEvent::Stopped { error }) => println!("no more attempts: {error:?}"),
            Some(_) => {}
            None => break,
        }
    }
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
