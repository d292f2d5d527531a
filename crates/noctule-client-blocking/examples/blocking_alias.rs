//! Topic aliases, numbers in place of long topics: `cargo run --example blocking_alias [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::Client;

const LONG: &str = "noctule/alias/a/topic/that/is/much/longer/than/what/it/has/to/say";

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    // How many the server may use towards us; 0 forbids it. The program sees whole topics.
    let client = Client::builder(url)
        .settings(|settings| settings.connect.topic_alias_maximum = 4)
        .connect()?;
    let maximum = client.connected()?.topic_alias_maximum;
    println!("the server takes aliases: {}", maximum > 0);

    let mut values = client.subscribe("noctule/alias/#").send()?;
    for value in ["1", "2", "3"] {
        drop(client.publish(LONG, value).send()?);
    }
    for _ in 0..3 {
        let Some(message) = values.recv() else { break };
        let is_whole = &**message.topic() == LONG;
        println!("{}: whole topic: {is_whole}", message.text().unwrap_or("no text"));
    }
    client.shutdown(Duration::from_secs(5));
    Ok(())
}
