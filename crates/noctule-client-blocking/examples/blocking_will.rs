//! What the server says when a device is suddenly gone: `cargo run --example blocking_will [URL]`.
//! It starts itself once more as the device, and kills that.

use std::env;
use std::error::Error;
use std::process::Command;
use std::time::Duration;

use noctule_client_blocking::{Client, QoS, WillOptions};

const TOPIC: &str = "noctule/will/status";

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    if env::args().nth(2).as_deref() == Some("device") {
        return device(&url);
    }

    let watcher = Client::builder(&*url).connect()?;
    let mut statuses = watcher.subscribe(TOPIC).send()?;
    let mut device = Command::new(env::current_exe()?).args([&*url, "device"]).spawn()?;
    while let Some(status) = statuses.recv() {
        println!("the device is {}", status.text().unwrap_or("?"));
        match status.text() {
            Some("online") => device.kill()?,
            _ => break,
        }
    }
    device.wait()?;
    watcher.shutdown(Duration::from_secs(5));
    Ok(())
}

fn device(url: &str) -> Result<(), Box<dyn Error>> {
    let (topic, payload) = (TOPIC.into(), (*b"gone without a word").into());
    let will = WillOptions { topic, payload, qos: QoS::AtLeastOnce, ..WillOptions::default() };
    let client = Client::builder(url).will(will).connect()?;
    client.publish(TOPIC, "online").qos(QoS::AtLeastOnce).send()?.wait();
    // A device that leaves with `shutdown` has no will; this one never does.
    let mut nothing = client.subscribe("noctule/will/nothing").send()?;
    nothing.recv();
    Ok(())
}
