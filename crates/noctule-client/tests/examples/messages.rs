//! What is done with messages.

use noctule_broker::{Broker, Handle};

use crate::example::{Example, check};

/// A broker, and its URL.
pub(crate) fn broker() -> (Handle, String) {
    let broker = Broker::builder().shards(2).listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    (broker, url)
}

/// Runs an example against a broker of its own.
fn alone(name: &str, expected: &[&str]) {
    let (_broker, url) = broker();
    check(name, &[&url], expected);
}

#[test]
fn hello() {
    alone(
        "hello",
        &["published: delivered", "received: hello/world: it works", "everything done: true"],
    );
}

#[test]
fn qos() {
    let (_broker, url) = broker();
    let lines = [
        "AtMostOnce: delivered (success)",
        "AtMostOnce: arrived with AtMostOnce",
        "AtLeastOnce: delivered (success)",
        "AtLeastOnce: arrived with AtLeastOnce",
        "ExactlyOnce: delivered (success)",
        "ExactlyOnce: arrived with ExactlyOnce",
    ];
    check("qos", &[&url], &lines);
    for (level, lines) in ["0", "1", "2"].iter().zip(lines.chunks(2)) {
        check("qos", &[&url, level], lines);
    }
}

#[test]
fn will() {
    alone("will", &["the device is online", "the device is gone without a word"]);
}

#[test]
fn persistent() {
    alone(
        "persistent",
        &[
            "the session was there: false",
            "left in the store: 1",
            "the receipt: it is not known whether it was delivered: it is in the store, and the \
             next start goes on with it",
            "the order: delivered",
            "the session was there: true",
            "while you were away, measured offline",
        ],
    );
}

#[test]
fn manual_ack() {
    alone(
        "manual_ack",
        &[
            "order sent: delivered",
            "order sent: delivered",
            "order sent: delivered",
            "2 pizzas: accepted, in time: true",
            "gibberish: refused, in time: true",
            "1 salad: accepted, in time: true",
        ],
    );
}

#[test]
fn router() {
    alone("router", &["boiler/3 in the north: hot", "siren in the south: fire"]);
}

#[test]
fn request_response() {
    alone(
        "request_response",
        &[
            "one answer: 1",
            "one of several: 1",
            "one of several: 2",
            "one of several: 3",
            "no answer within 200ms",
        ],
    );
}

#[test]
fn observe() {
    alone(
        "observe",
        &[
            "published: delivered",
            "traceparent: 00-5bd66ef5095369c7-53ce929d0e0e4736-01",
            "received: 21.5",
            "delivered: 1",
            // CONNECT, SUBSCRIBE, PUBLISH, PUBACK and DISCONNECT.
            "packets sent: 5",
            "acknowledgements measured: 1",
        ],
    );
}

#[test]
fn alias() {
    alone(
        "alias",
        &[
            "the server takes aliases: true",
            "1: whole topic: true",
            "2: whole topic: true",
            "3: whole topic: true",
        ],
    );
}

#[test]
fn chat() {
    let (_broker, url) = broker();
    let mut anna = Example::start("chat", &[&url, "anna", "attic"]);
    anna.prints(&["in attic as anna; say something"]);
    let mut berta = Example::start("chat", &[&url, "berta", "attic"]);
    berta.prints(&["in attic as berta; say something"]);
    berta.hears("is anybody here?");
    anna.prints(&["berta: is anybody here?"]);
    anna.hears("I am");
    berta.prints(&["anna: I am"]);
    berta.hears("bye");
    berta.hears_no_more();
    berta.prints(&["said 2, all delivered: true"]);
    assert_eq!(berta.ends(), Some(0));
    anna.prints(&["berta: bye"]);
    anna.hears_no_more();
    anna.prints(&["said 1, all delivered: true"]);
    assert_eq!(anna.ends(), Some(0));
}
