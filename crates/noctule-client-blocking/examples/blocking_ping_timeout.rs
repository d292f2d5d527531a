//! Keep alive, and a server that falls silent:
//! `cargo run --example blocking_ping_timeout [URL [SECONDS]]`. It watches an idle connection for
//! so long, 5 seconds by default.

use std::env;
use std::error::Error;
use std::time::{Duration, Instant};

use noctule_client_blocking::{Client, ClientEvent, Ended};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let seconds = env::args().nth(2).map_or(Ok(5), |seconds| seconds.parse())?;

    // A ping after two silent seconds; without an answer for two more the connection is dead.
    let client = Client::builder(url)
        .keep_alive(Duration::from_secs(2))
        .ping_timeout(Duration::from_secs(2))
        .connect()?;
    let mut events = client.events();
    println!("connected, keep alive {} s", client.connected()?.keep_alive);

    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match events.recv_timeout(left) {
            Err(_) => println!("still connected after {seconds} s"),
            Ok(Some(ClientEvent::Disconnected { ended, .. })) => match *ended {
                Ended::PingTimeout => println!("no answer to a ping"),
                _ => println!("ended otherwise: {ended}"),
            },
            Ok(Some(_)) => continue,
            Ok(None) => println!("the client has ended"),
        }
        break;
    }
    // By now it is connecting again, if it had to.
    client.shutdown(Duration::from_secs(1));
    Ok(())
}
