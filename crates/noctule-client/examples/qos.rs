//! Publishes at QoS 0, 1 and 2 and tells how it ended: `cargo run --example qos [URL [LEVEL]]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::{Client, Outcome, QoS};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let levels = match env::args().nth(2).as_deref() {
        None => vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce],
        Some("0") => vec![QoS::AtMostOnce],
        Some("1") => vec![QoS::AtLeastOnce],
        Some("2") => vec![QoS::ExactlyOnce],
        Some(other) => return Err(format!("{other:?} is not 0, 1 or 2").into()),
    };
    let client = Client::builder(url).connect().await?;
    let mut levels_heard = client.subscribe("noctule/qos").await?;

    for qos in levels {
        let receipt = client.publish("noctule/qos", "22.5").qos(qos).send()?;
        match receipt.await {
            // QoS 0: the transport has it. QoS 1 and 2: the server has it.
            Outcome::Delivered { reason, .. } => println!("{qos:?}: delivered ({})", reason.name()),
            Outcome::Rejected { reason, .. } => println!("{qos:?}: rejected ({})", reason.name()),
            Outcome::Indeterminate { why } => println!("{qos:?}: nobody knows: {why}"),
            Outcome::Dropped { why } => println!("{qos:?}: certainly not delivered: {why}"),
        }
        if let Some(message) = levels_heard.recv().await {
            println!("{qos:?}: arrived with {:?}", message.qos());
        }
    }
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
