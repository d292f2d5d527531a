//! A chat on standard input: `cargo run --example chat [URL [NAME [ROOM]]]`. Start it twice.

use std::env;
use std::error::Error;
use std::io::{BufRead, stdin};
use std::time::Duration;

use noctule_client::{Client, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let name = env::args().nth(2).unwrap_or_else(|| "somebody".to_owned());
    let room = env::args().nth(3).unwrap_or_else(|| "lobby".to_owned());
    let client = Client::builder(url).connect().await?;

    // `no_local`: the server leaves out what we say ourselves.
    let filter = format!("noctule/chat/{room}/+");
    let mut others = client.subscribe(&filter).no_local(true).await?;
    let listening = tokio::spawn(async move {
        while let Some(message) = others.recv().await {
            let speaker = message.topic().rsplit('/').next().unwrap_or_default();
            println!("{speaker}: {}", message.text().unwrap_or("(no text)"));
        }
    });
    println!("in {room} as {name}; say something");

    // Standard input has no end that a task could be told of, so it has a thread.
    let speaker = client.clone();
    let speaking = tokio::task::spawn_blocking(move || -> Result<u32, String> {
        let topic = format!("noctule/chat/{room}/{name}");
        let mut said = 0;
        for line in stdin().lock().lines() {
            let line = line.map_err(|error| error.to_string())?;
            let receipt = speaker.publish(&topic, &line).qos(QoS::AtLeastOnce).send();
            drop(receipt.map_err(|error| error.to_string())?);
            said += 1;
        }
        Ok(said)
    });
    let said = speaking.await??;

    let report = client.shutdown(Duration::from_secs(5)).await;
    listening.await?;
    println!("said {said}, all delivered: {}", report.is_clean());
    Ok(())
}
