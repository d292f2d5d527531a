//! Patterns with names, handlers and groups: `cargo run --example blocking_router [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::{Client, QoS, ReasonCode, RoutedMessage};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let client = Client::builder(url).connect()?;
    let plant = client.group("noctule/plant").qos(QoS::AtLeastOnce);

    // An iterator. `{unit=**}` takes any number of levels.
    let units = plant.route("{site}/unit/{unit=**}").send()?;
    // A handler on a thread of its own, called for one message after the other, which may call
    // the client.
    let publisher = client.clone();
    plant.route("{site}/alarm").handle(move |alarm: RoutedMessage| {
        let site = alarm.capture("site");
        let Some(text) = alarm.text() else { return Err(ReasonCode::PayloadFormatInvalid) };
        // Nobody waits for this receipt; the message is delivered in any case.
        drop(publisher.publish(&format!("noctule/plant/{site}/unit/siren"), text).send());
        Ok(()) // This acknowledges the alarm.
    })?;

    drop(client.publish("noctule/plant/north/unit/boiler/3", "hot").send()?);
    drop(client.publish("noctule/plant/south/alarm", "fire").qos(QoS::AtLeastOnce).send()?);
    for message in units.take(2) {
        let (site, unit) = (message.capture("site"), message.capture("unit"));
        println!("{unit} in the {site}: {}", message.text().unwrap_or("no text"));
    }
    client.shutdown(Duration::from_secs(5));
    Ok(())
}
