//! What other clients have suffered from.

use std::time::Duration;

use noctule_client::QoS;
use tokio::time::sleep;

use crate::house::{House, next, soon};
use crate::start::connect;

/// P-01: publishing from where messages are handled never stalls.
#[tokio::test]
async fn a_handler_publishes_a_hundred_thousand_times() {
    const MESSAGES: u32 = 100_000;
    const AT_ONCE: u32 = 64;
    let house = House::new();
    let client = house.client("c").await;
    let mut pings = soon(client.subscribe("ping")).await.unwrap();
    let ping = |number: u32| {
        client.publish("ping", &number.to_be_bytes()).qos(QoS::AtLeastOnce).send().unwrap()
    };
    let mut last = ping(0);
    for number in 1..AT_ONCE {
        last = ping(number);
    }
    for number in 0..MESSAGES {
        assert_eq!(next(&mut pings).await.payload(), number.to_be_bytes());
        last = ping(number + AT_ONCE);
    }
    assert!(soon(last).await.is_delivered());
}

/// P-02 and others: a burst is accepted at once, whatever its size, and arrives in order.
#[tokio::test]
async fn a_burst_arrives_in_order() {
    let house = House::new();
    let client = house.client("c").await;
    for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
        let mut inbox = soon(client.subscribe("t")).await.unwrap();
        let receipts: Vec<_> = (0..5_000)
            .map(|number| client.publish("t", &number.to_string()).qos(qos).send().unwrap())
            .collect();
        for number in 0..5_000 {
            assert_eq!(next(&mut inbox).await.text(), Some(&*number.to_string()), "{qos:?}");
        }
        for receipt in receipts {
            assert!(soon(receipt).await.is_delivered());
        }
    }
}

/// P-14: whoever is slow with a message loses no connection over it.
#[tokio::test]
async fn a_slow_handler_stays_connected() {
    let house = House::new();
    let client = house.builder("c").keep_alive(Duration::from_secs(1));
    let client = connect(client).await.unwrap();
    let mut events = client.events();
    let mut inbox = soon(client.subscribe("t").manual_acknowledgement(true)).await.unwrap();
    drop(client.publish("t", "1").qos(QoS::AtLeastOnce).send().unwrap());
    let message = next(&mut inbox).await;
    sleep(Duration::from_millis(3_500)).await;
    message.acknowledge();
    drop(client.publish("t", "2").qos(QoS::AtLeastOnce).send().unwrap());
    assert_eq!(next(&mut inbox).await.text(), Some("2"));
    let silent = tokio::time::timeout(Duration::from_millis(10), events.recv()).await;
    assert!(silent.is_err(), "{silent:?}");
}
