//! A client that is given a domain finds its broker by SRV records.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering::SeqCst};

use noctule_client::{Client, ConnectError, Outcome, QoS};

use crate::house::{House, next, quickly, soon};
use crate::name_server::{answer, name_server};
use crate::start::connect;

#[tokio::test]
async fn the_records_are_looked_up_at_each_attempt() {
    let house = House::new();
    let port = Arc::new(AtomicU16::new(house.address.port()));
    let (now, questions) = (Arc::clone(&port), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&questions);
    let server = name_server(move |query, _| {
        count.fetch_add(1, SeqCst);
        vec![answer(query, &[(0, 0, now.load(SeqCst), "localhost")])]
    });
    let builder = Client::builder("mqtt+srv://plant.example").client_id("c").reconnect(quickly());
    let client = connect(builder.transport(move |transport| transport.name_servers([server])));
    let client = client.await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let receipt = client.publish("t", "1").qos(QoS::AtLeastOnce).send().unwrap();
    assert_eq!(soon(receipt).await, Outcome::DELIVERED);
    assert_eq!(next(&mut inbox).await.text(), Some("1"));
    assert_eq!(questions.load(SeqCst), 1);

    // The domain moves to another broker, which the client finds by itself.
    let other = House::new();
    port.store(other.address.port(), SeqCst);
    house.stop().await;
    let receipt = client.publish("t", "2").qos(QoS::AtLeastOnce).send().unwrap();
    assert_eq!(soon(receipt).await, Outcome::DELIVERED);
    assert_eq!(next(&mut inbox).await.text(), Some("2"));
    assert!(questions.load(SeqCst) > 1);
}

#[tokio::test]
async fn what_excludes_srv_is_an_error_before_connecting() {
    let proxy = || "socks5h://proxy.example".parse().unwrap();
    let failed = connect(Client::builder("mqtt+srv://plant.example").proxy(proxy())).await;
    let Err(ConnectError::Build(error)) = failed else { panic!("{failed:?}") };
    let text = error.to_string();
    assert!(text.contains("mqtt+srv://") && text.contains("proxy()"), "{text}");
    let failed = connect(Client::builder("mqtt+srv://plant.example:1883")).await;
    let Err(ConnectError::Build(error)) = failed else { panic!("{failed:?}") };
    let text = error.to_string();
    assert!(text.contains("mqtt+srv://") && text.contains("port"), "{text}");
}
