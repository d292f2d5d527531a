//! What `tracing` is told.

use std::io;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use noctule_broker::Farewell;
use noctule_client::{Client, QoS, ReasonCode, ReconnectSettings, Redirect, Redirects};
use tokio::io::AsyncWriteExt;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::house::{House, LONG, quickly, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server, body};

/// The clients whose lines are kept.
const CLIENTS: [&str; 4] = ["traced", "in-vain", "redirected", "forgotten"];

/// The lines of these tests. Clients on threads of their own only find a subscriber that is
/// everybody's, so others come, too.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<String>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = String::from_utf8_lossy(bytes);
        if CLIENTS.iter().any(|client| line.contains(&format!("client_id=\"{client}\""))) {
            self.0.lock().unwrap().push_str(&line);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

static LINES: LazyLock<Lines> = LazyLock::new(|| {
    let lines = Lines::default();
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(lines.clone())
        .init();
    lines
});

/// The lines so far in which a text stands.
fn lines(text: &str) -> Vec<String> {
    let all = LINES.0.lock().unwrap();
    all.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

/// Waits until there is a line with all these texts, and gives it.
async fn line(texts: &[&str]) -> String {
    let found = async {
        loop {
            let found =
                lines(texts[0]).into_iter().find(|it| texts.iter().all(|text| it.contains(text)));
            match found {
                Some(line) => break line,
                None => tokio::task::yield_now().await,
            }
        }
    };
    soon(found).await
}

#[tokio::test]
async fn each_attempt_is_a_span_and_what_becomes_of_it_its_events() {
    let _ = &*LINES;
    let house = House::new();
    let url = format!("mqtt://tokenlike:hunter2@{}", house.address);
    let builder = Client::builder(url).client_id("traced").reconnect(quickly());
    let client = connect(builder).await.unwrap();
    let place = format!("endpoint=\"mqtt://{}\" client_id=\"traced\" attempt=1", house.address);
    line(&[&place, "connecting"]).await;
    let connected = line(&[&place, "INFO", "connected"]).await;
    for negotiated in ["version=5.0", "session_present=false", "keep_alive=60", "receive_maximum="]
    {
        assert!(connected.contains(negotiated), "{connected}");
    }
    assert!(house.broker().kick("traced").await.unwrap());
    line(&[&place, "WARN", "connection lost", "reason=the server disconnected"]).await;
    line(&["client_id=\"traced\"", "another attempt follows", "delay="]).await;
    line(&["client_id=\"traced\" attempt=2", "connected version"]).await;
    drop(client.publish("t", "hunter2").qos(QoS::AtLeastOnce).send().unwrap());
    soon(client.shutdown(LONG)).await;
    line(&["client_id=\"traced\" attempt=2", "disconnected"]).await;
    line(&["client_id=\"traced\"", "stopped"]).await;
    // The packets are there, too.
    line(&["client_id=\"traced\"", "TRACE", "noctule_client::packets", "sent CONNECT"]).await;
    line(&["client_id=\"traced\"", "TRACE", "sent PUBLISH 1 \"t\" <7 bytes>, QoS 1"]).await;
    line(&["client_id=\"traced\"", "TRACE", "received PUBACK 1"]).await;
    assert_eq!(lines("hunter2"), [""; 0]);
    assert_eq!(lines("tokenlike"), [""; 0]);
}

#[tokio::test]
async fn an_end_in_vain_is_told_as_an_error() {
    let _ = &*LINES;
    let settings = ReconnectSettings { attempts_max: Some(2), ..quickly() };
    let builder = Client::builder("mqtt://127.0.0.1:1").client_id("in-vain").reconnect(settings);
    let client = start(builder).unwrap();
    assert!(soon(client.connected()).await.is_err());
    for attempt in ["attempt=1", "attempt=2"] {
        line(&["client_id=\"in-vain\"", attempt, "WARN", "not connected", "127.0.0.1:1"]).await;
    }
    line(&["client_id=\"in-vain\"", "ERROR", "given up", "reason="]).await;
}

#[tokio::test]
async fn a_redirection_is_told() {
    let _ = &*LINES;
    let [from, to] = [House::new(), House::new()];
    let allowed = Redirects::To(vec!["127.0.0.1".into()]);
    let redirect = Redirect { allowed, ..Redirect::default() };
    let settings = ReconnectSettings { redirect, ..quickly() };
    let builder = from.builder("redirected").reconnect(settings);
    let _client = connect(builder).await.unwrap();
    let farewell = Farewell::from(Duration::ZERO).use_another_server(to.address.to_string());
    soon(from.broker().stop(farewell)).await.unwrap();
    let server = format!("server=\"{}\"", to.address);
    line(&["client_id=\"redirected\"", "following a redirection", &server]).await;
}

#[tokio::test]
async fn what_becomes_of_the_session_is_told() {
    let _ = &*LINES;
    let server = Server::new();
    let client = start(server.builder().client_id("forgotten").session_expiry(LONG)).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let mut answers = Vec::new();
    for codes in [[0, 0], [0, 0x87]] {
        let answering = async {
            let (_, bytes) = body(&mut stream).await;
            let suback = [0x90, 5, bytes[0], bytes[1], 0, codes[0], codes[1]];
            stream.write_all(&suback).await.unwrap();
        };
        let (answer, ()) = tokio::join!(soon(client.subscribe("a").and("b")), answering);
        answers.extend(answer);
    }
    assert_eq!(answers.len(), 1);
    line(&["client_id=\"forgotten\"", "WARN", "subscription refused", "filter=\"b\""]).await;
    drop(stream);
    let mut stream = server.accept_and_say(&CONNACK).await;
    let (_, bytes) = body(&mut stream).await;
    stream.write_all(&[0x90, 5, bytes[0], bytes[1], 0, 0, 0x87]).await.unwrap();
    line(&["client_id=\"forgotten\"", "WARN", "lost the session"]).await;
    line(&["client_id=\"forgotten\"", "DEBUG", "subscribed again", "filter=a"]).await;
    let refused = ["client_id=\"forgotten\"", "WARN", "subscription lost", "filter=b"];
    assert!(line(&refused).await.contains(ReasonCode::NotAuthorized.name()));
}
