//! Connects, subscribes, publishes and receives: `cargo run --example blocking_hello [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::Client;

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let client = Client::builder(url).connect()?;
    let mut hello = client.subscribe("hello/#").send()?;

    let receipt = client.publish("hello/world", "it works").send()?;
    println!("published: {}", receipt.wait());

    if let Some(message) = hello.recv() {
        println!("received: {}: {}", message.topic(), message.text().unwrap_or("no text"));
    }
    let report = client.shutdown(Duration::from_secs(5));
    println!("everything done: {}", report.is_clean());
    Ok(())
}
