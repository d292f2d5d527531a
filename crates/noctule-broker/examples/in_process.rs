//! Publishing and subscribing from the program that embeds the broker, without a socket.

use std::error::Error;
use std::thread;
use std::time::Duration;

use noctule_broker::{Broker, Publication, QoS, SubscriptionRequest};

fn main() -> Result<(), Box<dyn Error>> {
    let broker = Broker::builder().start()?;

    let request = SubscriptionRequest::new("sensor/+/temperature").qos(QoS::AtLeastOnce);
    let mut temperatures = broker.subscribe_blocking(request)?;

    let publisher = broker.clone();
    let sensors = thread::spawn(move || {
        for (sensor, value) in [("roof", "19.5"), ("cellar", "11.0"), ("oven", "180.0")] {
            let publication = Publication::new(format!("sensor/{sensor}/temperature"), value)
                .qos(QoS::AtLeastOnce)
                .user_property("unit", "Celsius");
            // Returns when the broker has accepted the message.
            publisher.publish_blocking(publication)?;
        }
        Ok::<(), noctule_broker::PublishError>(())
    });

    for _ in 0..3 {
        let message = temperatures.next_blocking().ok_or("the broker has stopped")?;
        println!("{}: {}", message.topic, message.text().unwrap_or("not text"));
    }
    sensors.join().expect("the sensors do not panic")?;

    broker.stop_blocking(Duration::from_secs(1))?;
    assert_eq!(temperatures.next_blocking(), None, "a stream ends with its broker");
    Ok(())
}
