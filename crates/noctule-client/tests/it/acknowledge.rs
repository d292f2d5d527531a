//! Who acknowledges what, and what a slow or forgetful reader brings about.

use noctule_client::{Acknowledged, OnFull, QoS, ReasonCode};

use crate::house::{House, next, soon};
use crate::start::connect;

#[tokio::test]
async fn messages_are_acknowledged_in_whatever_order() {
    let house = House::new();
    let client = house.client("c").await;
    let mut inbox = soon(client.subscribe("t").manual_acknowledgement(true)).await.unwrap();
    for number in ["1", "2", "3"] {
        drop(client.publish("t", number).qos(QoS::AtLeastOnce).send().unwrap());
    }
    let messages = [next(&mut inbox).await, next(&mut inbox).await, next(&mut inbox).await];
    let [first, second, third] = messages;
    assert_eq!(third.acknowledge(), Some(Acknowledged::Done));
    assert_eq!(second.refuse(ReasonCode::QuotaExceeded).unwrap(), Some(Acknowledged::Done));
    // Whatever had left before is there before this is answered.
    soon(client.publish("other", "").qos(QoS::AtLeastOnce).send().unwrap()).await;
    let waiting = house.broker().statistics().await.unwrap().1.in_flight_messages;
    assert_eq!(waiting, 3, "none leaves before the first");
    drop(first);
    while house.broker().statistics().await.unwrap().1.in_flight_messages > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_reader_that_takes_nothing_slows_its_server_down() {
    let house = House::new();
    let reader = house.builder("r").settings(|it| it.connect.receive_maximum = 10);
    let reader = connect(reader).await.unwrap();
    let mut inbox = soon(reader.subscribe("t")).await.unwrap();
    let writer = house.client("w").await;
    for number in 0..100 {
        let receipt = writer.publish("t", &number.to_string()).qos(QoS::AtLeastOnce).send();
        assert!(soon(receipt.unwrap()).await.is_delivered());
    }
    while inbox.waiting() < 10 {
        tokio::task::yield_now().await;
    }
    let (_, gauges) = house.broker().statistics().await.unwrap();
    assert_eq!((gauges.in_flight_messages, gauges.queued_messages), (10, 90));
    for number in 0..100 {
        assert_eq!(next(&mut inbox).await.text(), Some(&*number.to_string()));
    }
}

#[tokio::test]
async fn a_full_stream_drops_or_closes_if_it_is_told_to() {
    let house = House::new();
    let client = house.client("c").await;
    let drops = client.subscribe("t").capacity(2).on_full(OnFull::DropAtMostOnce);
    let mut drops = soon(drops).await.unwrap();
    let mut closes = soon(client.subscribe("t").capacity(2).on_full(OnFull::Close)).await.unwrap();
    let mut all = soon(client.subscribe("#")).await.unwrap();
    for number in ["1", "2", "3", "4"] {
        drop(client.publish("t", number).send().unwrap());
    }
    let last = client.publish("t", "5").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(soon(last).await.is_delivered());
    while next(&mut all).await.text() != Some("5") {}
    for expected in ["1", "2", "5"] {
        assert_eq!(next(&mut drops).await.text(), Some(expected));
    }
    assert_eq!(drops.dropped(), 2);
    for expected in [Some("1"), Some("2"), None] {
        let message = soon(closes.recv()).await;
        assert_eq!(message.as_ref().and_then(|message| message.text()), expected);
    }
}
