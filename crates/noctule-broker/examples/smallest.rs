//! The smallest broker: two lines of it, a client's view of it, and its end.

use std::error::Error;
use std::time::Duration;

use noctule_broker::Broker;
use noctule_testkit::Peer;

fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().listen("127.0.0.1:0").start()?;
    println!("listening on {}", broker.local_addrs()[0]);

    // Any MQTT client will do; a program would now wait with `broker.finished_blocking()`.
    let address = broker.local_addrs()[0].tcp().ok_or("no TCP listener")?;
    let client = Peer::v311(address, "visitor");
    client.disconnect();

    broker.stop_blocking(Duration::from_secs(1))?;
    Ok(())
}
