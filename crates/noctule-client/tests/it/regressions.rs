//! What other clients have suffered from.

use std::time::Duration;

use noctule_broker::Farewell;
use noctule_client::{
    Backoff, Client, ClientEvent, QoS, QueueSettings, ReconnectSettings, Redirect, Redirects,
};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::house::{House, next, soon};
use crate::start::{connect, start};

fn quickly() -> ReconnectSettings {
    let (base, maximum) = (Duration::from_millis(10), Duration::from_millis(50));
    let backoff = Backoff { base, maximum, ..Backoff::default() };
    ReconnectSettings { backoff, ..ReconnectSettings::default() }
}

/// P-01: publishing from where messages are handled never stalls.
#[tokio::test]
async fn a_handler_publishes_a_hundred_thousand_times() {
    const MESSAGES: u32 = 100_000;
    const AT_ONCE: u32 = 64;
    let house = House::new();
    let client = house.client("c").await;
    let ping = |client: &Client, number: u32| {
        client.publish("ping", &number.to_be_bytes()).qos(QoS::AtLeastOnce).send().unwrap()
    };
    let (publisher, mut expected) = (client.clone(), 0);
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = client.route("ping").handle(move |message| {
        assert_eq!(message.payload(), u32::to_be_bytes(expected));
        let receipt = ping(&publisher, expected + AT_ONCE);
        expected += 1;
        if expected.is_multiple_of(MESSAGES / 100) {
            tell.send(receipt).unwrap();
        }
        async {}
    });
    soon(handler).await.unwrap();
    for number in 0..AT_ONCE {
        drop(ping(&client, number));
    }
    for _ in 0..100 {
        let receipt = soon(told.recv()).await.expect("the handler has not panicked");
        assert!(soon(receipt).await.is_delivered());
    }
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
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = client.route("t").handle(move |message| {
        let tell = tell.clone();
        async move {
            if message.text() == Some("1") {
                sleep(Duration::from_millis(3_500)).await;
            }
            tell.send(message.text().map(str::to_owned)).unwrap();
        }
    });
    soon(handler).await.unwrap();
    let subscribed = soon(events.recv()).await;
    assert!(matches!(subscribed, Some(ClientEvent::Subscribed { .. })), "{subscribed:?}");
    for text in ["1", "2"] {
        let receipt = client.publish("t", text).qos(QoS::AtLeastOnce).send().unwrap();
        assert!(soon(receipt).await.is_delivered());
    }
    for text in ["1", "2"] {
        assert_eq!(soon(told.recv()).await.unwrap().as_deref(), Some(text));
    }
    let is_news = |event: &ClientEvent| !matches!(event, ClientEvent::PingAnswered { .. });
    let news = tokio::time::timeout(Duration::from_millis(10), events.wait_for(is_news)).await;
    assert!(news.is_err(), "{news:?}");
}

/// P-09: a message of a megabyte needs no setting.
#[tokio::test]
async fn a_large_message_arrives_with_default_settings() {
    let house = House::new();
    let client = house.client("c").await;
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let payload = vec![7; 1024 * 1024 - 100];
    let receipt = client.publish("t", &payload).qos(QoS::AtLeastOnce).send().unwrap();
    assert!(soon(receipt).await.is_delivered());
    assert_eq!(next(&mut inbox).await.payload(), payload);
}

/// P-15: every call is allowed where messages are handled.
#[tokio::test]
async fn a_handler_may_call_whatever_the_client_has() {
    let house = House::new();
    let client = house.client("c").await;
    let (handled, mut done) = mpsc::unbounded_channel();
    let inner = client.clone();
    let route = client.route("t").handle(move |_| {
        let (client, handled) = (inner.clone(), handled.clone());
        async move {
            let other = client.subscribe("other").await.unwrap();
            let receipt = client.publish("other", "x").qos(QoS::ExactlyOnce).send().unwrap();
            assert!(receipt.await.is_delivered());
            assert!(client.state().is_connected());
            other.unsubscribe().await.unwrap();
            handled.send(client.negotiated().is_some()).unwrap();
        }
    });
    soon(route).await.unwrap();
    for _ in 0..3 {
        drop(client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap());
        assert!(soon(done.recv()).await.unwrap());
    }
}

/// P-16: handing a message over waits for nothing, whatever the client's task is kept from doing.
#[tokio::test]
async fn a_message_is_handed_over_while_the_runtime_is_busy() {
    let house = House::new();
    let client = house.client("c").await;
    // Nothing is awaited in between, so that no other task of this thread can run.
    let receipts: Vec<_> = (0..20_000)
        .map(|_| client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap())
        .collect();
    for receipt in receipts {
        assert!(soon(receipt).await.is_delivered());
    }
}

/// P-27: handlers and requests belong to the client, not to a connection.
#[tokio::test]
async fn handlers_and_requests_survive_their_connection() {
    let house = House::new();
    let address = house.address;
    let server = connect(house.builder("s").reconnect(quickly())).await.unwrap();
    let client = connect(house.builder("c").reconnect(quickly())).await.unwrap();
    let answering = server.clone();
    let handler = server.route("double/{number}").handle(move |request| {
        let doubled = 2 * request.capture("number").parse::<u32>().unwrap();
        drop(answering.reply(&request, &doubled.to_string()).unwrap().send().unwrap());
        async {}
    });
    soon(handler).await.unwrap();
    assert_eq!(soon(client.request("double/4", "")).await.unwrap().text(), Some("8"));
    house.stop().await;
    for client in [&server, &client] {
        while client.state().is_connected() {
            tokio::task::yield_now().await;
        }
    }
    let house = House::at(address);
    soon(server.connected()).await.unwrap();
    // The handler's subscription is asked for again before anything new is answered.
    soon(server.subscribe("x")).await.unwrap();
    assert_eq!(soon(client.request("double/5", "")).await.unwrap().text(), Some("10"));
    drop(house);
}

/// P-30: a server sends its clients elsewhere, and they go if they may.
#[tokio::test]
async fn a_redirection_is_followed_where_that_is_allowed() {
    let [from, to] = [House::new(), House::new()];
    let redirect =
        Redirect { allowed: Redirects::To(vec!["127.0.0.1".into()]), ..Redirect::default() };
    let settings = ReconnectSettings { redirect, ..quickly() };
    let client = connect(from.builder("c").reconnect(settings)).await.unwrap();
    let farewell = Farewell::from(Duration::ZERO).use_another_server(to.address.to_string());
    soon(from.broker().stop(farewell)).await.unwrap();
    while to.broker().clients().await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    soon(client.connected()).await.unwrap();
}

/// P-02: whoever waits for room waits for something that can come.
#[tokio::test]
async fn a_message_that_no_queue_can_take_is_refused_and_not_waited_with() {
    let queue = QueueSettings { bytes_max: 1_000, ..QueueSettings::default() };
    let client = start(Client::builder("mqtt://127.0.0.1:1").queue(queue)).unwrap();
    let waits = client.publish("t", &[0; 2_000]).qos(QoS::AtLeastOnce).send_when_ready();
    let error = soon(waits).await.unwrap_err();
    assert!(error.to_string().contains("queue.bytes_max"), "{error}");
}

#[tokio::test]
async fn whoever_waits_for_an_answer_behind_messages_that_only_he_takes_gets_it() {
    let house = House::new();
    let settings = |settings: &mut noctule_client::Settings| {
        settings.limits.held_bytes_max = 64 * 1_024;
    };
    let client = connect(house.builder("c").settings(settings)).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let flooder = house.client("f").await;
    for _ in 0..400 {
        drop(flooder.publish("t", &[b'.'; 1_024]).send().unwrap());
    }
    soon(flooder.idle()).await;
    next(&mut inbox).await;
    let receipt = client.publish("other", "").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(soon(receipt).await.is_delivered());
    drop(soon(client.subscribe("more")).await.unwrap());
}
