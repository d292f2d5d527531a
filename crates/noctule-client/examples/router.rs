//! Patterns with names, handlers and groups: `cargo run --example router [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::{Client, QoS, ReasonCode, RoutedMessage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let client = Client::builder(url).connect().await?;
    let plant = client.group("noctule/plant").qos(QoS::AtLeastOnce);

    // A stream. `{unit=**}` takes any number of levels.
    let mut units = plant.route("{site}/unit/{unit=**}").await?;
    // A handler, called for one message after the other, which may call the client.
    let publisher = client.clone();
    let alarms = plant.route("{site}/alarm").handle(move |alarm: RoutedMessage| {
        let publisher = publisher.clone();
        async move {
            let site = alarm.capture("site").to_owned();
            let Some(text) = alarm.text() else { return Err(ReasonCode::PayloadFormatInvalid) };
            let topic = format!("noctule/plant/{site}/unit/siren");
            // Nobody waits for this receipt; the message is delivered in any case.
            drop(publisher.publish(&topic, text).send());
            Ok(()) // This acknowledges the alarm.
        }
    });
    alarms.await?;

    drop(client.publish("noctule/plant/north/unit/boiler/3", "hot").send()?);
    drop(client.publish("noctule/plant/south/alarm", "fire").qos(QoS::AtLeastOnce).send()?);
    for _ in 0..2 {
        let Some(message) = units.recv().await else { break };
        let (site, unit) = (message.capture("site"), message.capture("unit"));
        println!("{unit} in the {site}: {}", message.text().unwrap_or("no text"));
    }
    client.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
