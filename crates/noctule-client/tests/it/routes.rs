//! Routes, typed payloads and requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use noctule_client::{
    CleanStart, Client, Json, Payload, PayloadError, QoS, ReasonCode, RequestError, RouteError,
    Version,
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::house::{House, next, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server, body};

#[tokio::test]
async fn names_are_read_out_of_topics() {
    let house = House::new();
    let client = house.client("c").await;
    let mut units = soon(client.route("plant/{site}/{unit=**}")).await.unwrap();
    let plant = client.group("plant").qos(QoS::AtMostOnce);
    let mut alarms = soon(plant.group("{site}").route("alarm")).await.unwrap();
    assert_eq!(alarms.subscription().granted(), [QoS::AtMostOnce]);
    drop(client.publish("plant/north/boiler/3", "1").send().unwrap());
    drop(client.publish("plant/south/alarm", "2").send().unwrap());
    let unit = soon(units.recv()).await.unwrap();
    assert_eq!((unit.capture("site"), unit.capture("unit")), ("north", "boiler/3"));
    assert_eq!((unit.capture("none"), unit.text()), ("", Some("1")));
    assert_eq!(soon(alarms.recv()).await.unwrap().capture("site"), "south");
    let error = soon(client.route("plant/{site}/{site}")).await.unwrap_err();
    assert!(matches!(error, RouteError::Pattern(_)), "{error}");
}

#[tokio::test]
async fn a_handler_acknowledges_refuses_and_may_call_the_client() {
    let house = House::new();
    let client = house.client("c").await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (handled, mut done) = mpsc::unbounded_channel();
    let (journal, publisher) = (Arc::clone(&seen), client.clone());
    let route = client.route("in/{number}").handle(move |message| {
        let (journal, handled) = (Arc::clone(&journal), handled.clone());
        let publisher = publisher.clone();
        async move {
            let number: u32 = message.capture("number").parse().unwrap();
            let receipt = publisher.publish("out", &message.payload().to_vec()).send();
            drop(receipt.unwrap());
            journal.lock().unwrap().push(number);
            handled.send(()).unwrap();
            if number == 2 { Err(ReasonCode::QuotaExceeded) } else { Ok(()) }
        }
    });
    let handler = soon(route).await.unwrap();
    for number in 1..=3 {
        let topic = format!("in/{number}");
        drop(client.publish(&topic, "x").qos(QoS::AtLeastOnce).send().unwrap());
    }
    for _ in 0..3 {
        soon(done.recv()).await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [1, 2, 3]);
    // The third is acknowledged, so the two before it are as well.
    while house.broker().statistics().await.unwrap().1.in_flight_messages > 0 {
        tokio::task::yield_now().await;
    }
    handler.stop();
}

#[tokio::test]
async fn payloads_have_types() {
    let house = House::new();
    let client = house.client("c").await;
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let publish = |payload: &str, content_type: Option<&'static str>| {
        let publish = client.publish("t", payload);
        let publish = match content_type {
            Some(content_type) => publish.content_type(content_type),
            None => publish,
        };
        drop(publish.send().unwrap());
    };
    publish("[1, 2]", Some("application/json; charset=utf-8"));
    publish("[3]", None);
    publish("[4]", Some("text/plain"));
    publish("{", Some("application/json"));
    assert_eq!(next(&mut inbox).await.decode::<Json<Vec<u32>>>().unwrap().0, [1, 2]);
    assert_eq!(next(&mut inbox).await.decode::<Json<Vec<u32>>>().unwrap().0, [3]);
    let text = next(&mut inbox).await;
    let error = text.decode::<Json<Vec<u32>>>().unwrap_err();
    assert!(matches!(error, PayloadError::ContentType { .. }), "{error}");
    assert_eq!(text.decode::<String>().unwrap(), "[4]");
    let error = next(&mut inbox).await.decode::<Json<Vec<u32>>>().unwrap_err();
    assert!(matches!(error, PayloadError::Json(_)), "{error}");
}

#[tokio::test]
async fn payloads_are_read_by_whoever_is_registered_for_their_content_type() {
    let house = House::new();
    let lines = |payload: &[u8]| {
        let text = std::str::from_utf8(payload)?;
        Ok(text.split(',').map(str::trim).map(Value::from).collect())
    };
    // Text that names no type is one line; what is registered comes before what is built in.
    let builder = house.builder("c").decoder("Application/X-Lines; v=1", lines);
    let builder = builder
        .decoder("", lines)
        .decoder("application/old+json", |_: &[u8]| Err("nobody reads that any more".into()));
    let client = connect(builder).await.unwrap();
    let mut inbox = soon(client.route("t/{n}")).await.unwrap();
    let mut read = async |payload: &[u8], content_type: Option<&'static str>| {
        let publish = client.publish("t/1", payload);
        let publish = match content_type {
            Some(content_type) => publish.content_type(content_type),
            None => publish,
        };
        drop(publish.send().unwrap());
        soon(inbox.recv()).await.unwrap().content::<Value>()
    };
    for (payload, content_type, expected) in [
        (&b"a, b"[..], Some("application/x-lines;charset=utf-8"), json!(["a", "b"])),
        (b"c", None, json!(["c"])),
        (b"[1.5]", Some("application/json"), json!([1.5])),
        (b"{}", Some("application/senml+JSON"), json!({})),
        (b"[1]", Some("text/plain"), json!("[1]")),
    ] {
        assert_eq!(read(payload, content_type).await.unwrap(), expected, "{content_type:?}");
    }
    let mut fails =
        async |payload: &[u8], content_type| read(payload, Some(content_type)).await.unwrap_err();
    assert!(matches!(fails(b"{", "application/json").await, PayloadError::Json(_)));
    assert!(matches!(fails(b"\xFF", "text/plain").await, PayloadError::Text(_)));
    let old = fails(b"1", "application/old+json").await;
    assert_eq!(old.to_string(), "the payload cannot be decoded: nobody reads that any more");
    let error = fails(b"<a/>", "application/xml").await;
    assert_eq!(error.to_string(), "there is no decoder for \"application/xml\": register one");
    assert_eq!(ReasonCode::from(error), ReasonCode::PayloadFormatInvalid);
}

/// A handler whose messages have types refuses what is none, and goes on.
#[tokio::test]
async fn what_a_handler_cannot_read_is_refused() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let route = client.route("t").handle(move |message| {
        let tell = tell.clone();
        async move {
            let numbers: Vec<u32> = message.content()?;
            tell.send(numbers).unwrap();
            Ok::<(), ReasonCode>(())
        }
    });
    let granting = async {
        let (_, subscribe) = body(&mut stream).await;
        stream.write_all(&[0x90, 4, subscribe[0], subscribe[1], 0, 2]).await.unwrap();
    };
    let (handler, ()) = soon(async { tokio::join!(route, granting) }).await;
    for (packet_id, payload) in [(1, "[1]"), (2, "[a]"), (3, "[3]")] {
        let head = [0x32, 6 + 3, 0, 1, b't', 0, packet_id, 0];
        stream.write_all(&[&head[..], payload.as_bytes()].concat()).await.unwrap();
    }
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 1]));
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 2, 0x99]));
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 3]));
    assert_eq!([told.recv().await.unwrap(), told.recv().await.unwrap()], [[1], [3]]);
    handler.unwrap().stop();
}

#[tokio::test]
async fn a_payload_of_parts_is_taken_apart() {
    let house = House::new();
    let client = house.client("c").await;
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let mut payload = Payload::new();
    payload.put_u32(7).put_f64(21.5).put_latin1("\u{b0}C").unwrap();
    drop(client.publish("t", &payload).send().unwrap());
    let message = next(&mut inbox).await;
    let mut reader = message.reader();
    assert_eq!((reader.take_u32().unwrap(), reader.take_f64().unwrap()), (7, 21.5));
    assert_eq!(reader.take_latin1(reader.remaining()).unwrap(), "\u{b0}C");
    drop(client.publish("t", b"\xb0C").send().unwrap());
    let message = next(&mut inbox).await;
    assert_eq!((message.text(), &*message.latin1()), (None, "\u{b0}C"));
}

#[tokio::test]
async fn a_request_has_one_answer_or_many() {
    let house = House::new();
    let server = house.client("s").await;
    let answering = server.clone();
    let handler = server.route("count/{to}").handle(move |request| {
        let answering = answering.clone();
        async move {
            for number in 1..=request.capture("to").parse::<u32>().unwrap() {
                let reply = answering.reply(&request, &number.to_string()).unwrap().send();
                drop(reply.unwrap());
            }
        }
    });
    soon(handler).await.unwrap();
    let client = house.client("c").await;
    for _ in 0..3 {
        let answer = soon(client.request("count/1", "")).await.unwrap();
        assert_eq!(answer.text(), Some("1"));
    }
    let mut answers = soon(client.request("count/3", "").stream()).await.unwrap();
    let mut other = soon(client.request("count/2", "").stream()).await.unwrap();
    for expected in ["1", "2", "3"] {
        assert_eq!(next(&mut answers).await.text(), Some(expected));
    }
    for expected in ["1", "2"] {
        assert_eq!(next(&mut other).await.text(), Some(expected));
    }
}

#[tokio::test]
async fn a_request_that_nobody_answers_ends() {
    let house = House::new();
    let client = house.client("c").await;
    // Nor does one that cannot even be sent.
    let offline = start(Client::builder("mqtt://127.0.0.1:1")).unwrap();
    for client in [client, offline] {
        let short = Duration::from_millis(30);
        // In a task of its own, nobody else's time-out wakes it.
        let request = async move { client.request("nobody", "").timeout(short).await };
        let error = soon(tokio::spawn(request)).await.unwrap().unwrap_err();
        assert!(matches!(error, RequestError::TimedOut(_)), "{error}");
    }
    let old = connect(house.builder("old").version(Version::V3_1_1)).await.unwrap();
    let error = soon(old.request("nobody", "")).await.unwrap_err();
    assert!(error.to_string().starts_with("MQTT 3.1.1 has no"), "{error}");
}

#[tokio::test]
async fn answers_come_below_the_clients_own_topic_in_every_run_of_its_program() {
    let house = House::new();
    let responder = house.client("responder").await;
    let mut questions = soon(responder.subscribe("question")).await.unwrap();
    for (below, expected) in
        [(None, "reply/a%2Fb/"), (None, "reply/a%2Fb/"), (Some("x"), "x/a%2Fb/")]
    {
        let mut builder = house.builder("a/b").session_expiry(Duration::from_secs(60));
        builder = builder.clean_start(CleanStart::Never);
        if let Some(below) = below {
            builder = builder.replies_below(below);
        }
        let client = connect(builder).await.unwrap();
        let answering = async {
            let question = next(&mut questions).await;
            let topic = question.properties().response_topic.unwrap().as_str().to_owned();
            drop(responder.reply(&question, "yes").unwrap().send().unwrap());
            topic
        };
        let (answer, topic) =
            soon(async { tokio::join!(client.request("question", ""), answering) }).await;
        assert_eq!(answer.unwrap().text(), Some("yes"));
        assert!(topic.starts_with(expected), "{topic}");
        soon(client.shutdown(Duration::from_secs(5))).await;
    }
    // Each run has asked for the same, so the session has grown with the other place only.
    let clients = house.broker().clients().await.unwrap();
    let session = clients.iter().find(|client| &*client.client_id == "a/b").unwrap();
    assert_eq!(session.subscriptions, 2);
}

#[tokio::test]
async fn a_handler_that_panics_over_a_message_goes_on_with_the_next() {
    let house = House::new();
    let client = house.client("c").await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = client.route("number/{n}").handle(move |message| {
        let tell = tell.clone();
        async move {
            let number: u32 = message.capture("n").parse().expect("a number");
            tokio::task::yield_now().await;
            tell.send(number).unwrap();
        }
    });
    let handler = soon(handler).await.unwrap();
    for topic in ["number/1", "number/none", "number/2"] {
        let receipt = client.publish(topic, "").qos(QoS::AtLeastOnce).send().unwrap();
        assert!(soon(receipt).await.is_delivered());
    }
    assert_eq!((soon(told.recv()).await, soon(told.recv()).await), (Some(1), Some(2)));
    soon(client.shutdown(Duration::from_secs(5))).await;
    assert!(!soon(handler.finished()).await);
}

#[tokio::test]
async fn subscriptions_and_events_are_streams_that_everybody_knows() {
    async fn first<T>(stream: impl futures_core::Stream<Item = T>) -> Option<T> {
        let mut stream = std::pin::pin!(stream);
        std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
    }
    let house = House::new();
    let client = house.client("c").await;
    let plain = soon(client.subscribe("a/b")).await.unwrap();
    let routed = soon(client.route("a/{name}")).await.unwrap();
    let events = client.events();
    drop(client.publish("a/b", "x").send().unwrap());
    assert_eq!(soon(first(plain)).await.unwrap().text(), Some("x"));
    assert_eq!(soon(first(routed)).await.unwrap().capture("name"), "b");
    soon(client.shutdown(Duration::ZERO)).await;
    assert!(soon(first(events)).await.is_some());
}
