//! The blocking client: no future in sight.

use std::thread;
use std::time::Duration;

use noctule_broker::Broker;
use noctule_client::blocking::Client;
use noctule_client::{ClientEvent, Origin, QoS, ReconnectSettings, State, TimedOut};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn it_publishes_and_subscribes_without_a_runtime() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let client = Client::builder(format!("mqtt://{address}")).connect().unwrap();
    let mut inbox = client.subscribe("t").send().unwrap();
    assert_eq!(inbox.recv_timeout(SHORT).unwrap_err(), TimedOut);
    let publisher = client.clone();
    let receipts = thread::spawn(move || {
        let publish =
            |number: u32| publisher.publish("t", &number.to_string()).qos(QoS::AtLeastOnce).send();
        (0..1_000).map(|number| publish(number).unwrap()).collect::<Vec<_>>()
    });
    let texts: Vec<_> =
        inbox.by_ref().take(1_000).map(|message| message.text().unwrap().to_owned()).collect();
    assert_eq!(texts, (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
    for receipt in receipts.join().unwrap() {
        assert!(receipt.wait().is_delivered());
    }
    let mut events = client.events();
    inbox.unsubscribe().send().unwrap();
    client.idle();
    assert!(client.shutdown(LONG).is_clean());
    assert!(events.any(|event| matches!(event, ClientEvent::Stopped { error: None })));
}

#[test]
fn nobody_waits_for_ever() {
    let settings = ReconnectSettings { includes_first: false, ..Default::default() };
    let nobody = Client::builder("mqtt://127.0.0.1:1").reconnect(settings);
    let error = nobody.connect().unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let client = Client::builder("mqtt://127.0.0.1:1").start().unwrap();
    let mut receipt = client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap();
    assert_eq!(receipt.wait_timeout(SHORT), Err(TimedOut));
    let report = client.shutdown(SHORT);
    assert_eq!(report.unfinished.queued, 1);
    assert!(!receipt.wait().is_delivered());
}

#[test]
fn it_routes_and_requests() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let server = Client::builder(&*url).connect().unwrap();
    let answering = server.clone();
    let handler = move |request: noctule_client::RoutedMessage| {
        let text = request.capture("name").to_uppercase();
        drop(answering.reply(&request, &text).unwrap().send().unwrap());
    };
    server.route("upper/{name}").handle(handler).unwrap();
    let client = Client::builder(&*url).connect().unwrap();
    assert_eq!(client.request("upper/noctule", "").send().unwrap().text(), Some("NOCTULE"));
    let error = client.request("nobody", "").timeout(SHORT).send().unwrap_err();
    assert!(error.to_string().starts_with("no answer came within"), "{error}");
}

#[test]
fn it_goes_offline_and_comes_back() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let client = Client::builder(format!("mqtt://{address}")).connect().unwrap();
    let mut inbox = client.subscribe("t").send().unwrap();
    client.disconnect();
    assert!(matches!(client.state(), State::Offline));
    assert_eq!(client.last_end().map(|end| end.origin()), Some(Origin::User));
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    client.start();
    assert!(receipt.wait().is_delivered());
    assert_eq!(inbox.recv_timeout(LONG).unwrap().unwrap().text(), Some("x"));
    let before = client.connected().unwrap();
    client.reconnect();
    assert!(!std::sync::Arc::ptr_eq(&before, &client.connected().unwrap()));
}
