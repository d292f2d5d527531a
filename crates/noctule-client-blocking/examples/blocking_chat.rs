//! A chat on standard input: `cargo run --example blocking_chat [URL [NAME [ROOM]]]`. Start it
//! twice.

use std::env;
use std::error::Error;
use std::io::{BufRead, stdin};
use std::thread;
use std::time::Duration;

use noctule_client_blocking::{Client, QoS};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let name = env::args().nth(2).unwrap_or_else(|| "somebody".to_owned());
    let room = env::args().nth(3).unwrap_or_else(|| "lobby".to_owned());
    let client = Client::builder(url).connect()?;

    // `no_local`: the server leaves out what we say ourselves.
    let others = client.subscribe(&format!("noctule/chat/{room}/+")).no_local(true).send()?;
    let listening = thread::spawn(move || {
        for message in others {
            let speaker = message.topic().rsplit('/').next().unwrap_or_default();
            println!("{speaker}: {}", message.text().unwrap_or("(no text)"));
        }
    });
    println!("in {room} as {name}; say something");

    let topic = format!("noctule/chat/{room}/{name}");
    let mut said = 0;
    for line in stdin().lock().lines() {
        drop(client.publish(&topic, &line?).qos(QoS::AtLeastOnce).send()?);
        said += 1;
    }

    let report = client.shutdown(Duration::from_secs(5));
    listening.join().map_err(|_| "the listener has panicked")?;
    println!("said {said}, all delivered: {}", report.is_clean());
    Ok(())
}
