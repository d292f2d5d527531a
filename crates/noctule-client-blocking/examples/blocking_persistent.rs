//! A session on disk that outlives the program: `cargo run --example blocking_persistent [URL]`.

use std::env::{args, temp_dir};
use std::error::Error;
use std::time::Duration;
use std::{fs, process};

use noctule_client_blocking::{Client, ClientBuilder, QoS};

const SOON: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn Error>> {
    let url = args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    // A device has a folder, a name and a lifetime; all three stay the same from run to run.
    let folder = temp_dir().join(format!("noctule-persistent-{}", process::id()));
    let device = |url: &str| -> ClientBuilder {
        let hour = Duration::from_secs(3_600);
        Client::builder(url).client_id("noctule-persistent").session_expiry(hour).store(&folder)
    };

    // Its first run subscribes, and ends.
    let client = device(&url).connect()?;
    client.subscribe("noctule/orders").send()?;
    println!("the session was there: {}", client.connected()?.session_present);
    client.shutdown(SOON);

    // Its second run finds no server, and ends with something left to say.
    let client = device("mqtt://localhost:1").start()?;
    let receipt = client.publish("noctule/values", "measured offline").qos(QoS::AtLeastOnce);
    let receipt = receipt.send()?;
    let report = client.shutdown(Duration::ZERO);
    println!("left in the store: {}", report.unfinished.queued);
    println!("the receipt: {}", receipt.wait());

    // Somebody else waits for values, and orders something.
    let other = Client::builder(&*url).connect()?;
    let mut values = other.subscribe("noctule/values").send()?;
    let order = other.publish("noctule/orders", "while you were away").qos(QoS::AtLeastOnce);
    println!("the order: {}", order.send()?.wait());

    // The third run goes on. Its orders are unclaimed, as this program has subscribed to nothing.
    // They are claimed before the connection is up, so that none is missed.
    let client = device(&url).start()?;
    let mut orders = client.unclaimed();
    println!("the session was there: {}", client.connected()?.session_present);
    if let (Some(order), Some(value)) = (orders.recv(), values.recv()) {
        println!("{}, {}", order.text().unwrap_or("?"), value.text().unwrap_or("?"));
    }
    client.shutdown(SOON);
    other.shutdown(SOON);

    // The end of it, here and at the server: a session without a lifetime takes its place.
    fs::remove_dir_all(&folder)?;
    Client::builder(url).client_id("noctule-persistent").connect()?.shutdown(SOON);
    Ok(())
}
