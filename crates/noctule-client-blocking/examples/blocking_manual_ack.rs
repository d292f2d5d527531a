//! Acknowledges a message when it is dealt with, and refuses one:
//! `cargo run --example blocking_manual_ack [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::{Acknowledged, Client, QoS, ReasonCode};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let client = Client::builder(url).connect()?;
    let mut orders = client.subscribe("noctule/orders").manual_acknowledgement(true).send()?;
    for order in ["2 pizzas", "gibberish", "1 salad"] {
        let receipt = client.publish("noctule/orders", order).qos(QoS::AtLeastOnce).send()?;
        println!("order sent: {}", receipt.wait());
    }

    for _ in 0..3 {
        let Some(order) = orders.recv() else { break };
        let text = order.text().unwrap_or_default().to_owned();
        let is_order = text.starts_with(char::is_numeric);
        // Until then the server counts the message as under way. An `Acknowledged::Stale` would
        // say that its connection is gone, and that it will come again.
        let said = if is_order {
            order.acknowledge()
        } else {
            order.refuse(ReasonCode::PayloadFormatInvalid)?
        };
        let verdict = if is_order { "accepted" } else { "refused" };
        println!("{text}: {verdict}, in time: {}", said == Some(Acknowledged::Done));
    }
    client.shutdown(Duration::from_secs(5));
    Ok(())
}
