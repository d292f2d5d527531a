//! Keep alive, and a server that falls silent: `cargo run --example ping_timeout [URL [SECONDS]]`.
//! It watches an idle connection for so long, 5 seconds by default.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::{Client, ClientEvent, Ended};
use tokio::time::timeout;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let seconds = env::args().nth(2).map_or(Ok(5), |seconds| seconds.parse())?;

    // A ping after two silent seconds; without an answer for two more the connection is dead.
    let client = Client::builder(url)
        .keep_alive(Duration::from_secs(2))
        .ping_timeout(Duration::from_secs(2))
        .connect()
        .await?;
    let mut events = client.events();
    println!("connected, keep alive {} s", client.connected().await?.keep_alive);

    let watch = async {
        while let Some(event) = events.recv().await {
            if let ClientEvent::Disconnected { ended, .. } = event {
                return Some(ended);
            }
        }
        None
    };
    match timeout(Duration::from_secs(seconds), watch).await {
        Err(_) => println!("still connected after {seconds} s"),
        Ok(Some(ended)) if *ended == Ended::PingTimeout => println!("no answer to a ping"),
        Ok(ended) => println!("ended otherwise: {ended:?}"),
    }
    // By now it is connecting again, if it had to.
    client.shutdown(Duration::from_secs(1)).await;
    Ok(())
}
