//! What CONNECT says, to whom, and what short and endless times mean.

use std::time::Duration;

use noctule_client::{
    Backoff, Client, ClientBuilder, Jitter, QoS, ReconnectSettings, RequestError, State,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::house::{House, soon};
use crate::start::{connect, start};

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// The next CONNECT.
async fn connects(listener: &TcpListener) -> (TcpStream, Vec<u8>) {
    let (mut stream, _) = soon(listener.accept()).await.unwrap();
    let mut head = [0; 2];
    soon(stream.read_exact(&mut head)).await.unwrap();
    let mut packet = vec![0; head[1].into()];
    soon(stream.read_exact(&mut packet)).await.unwrap();
    (stream, packet)
}

fn says(packet: &[u8], text: &str) -> bool {
    packet.windows(text.len()).any(|window| window == text.as_bytes())
}

fn at_once(builder: ClientBuilder) -> ClientBuilder {
    let (base, maximum) = (Duration::from_millis(1), Duration::from_millis(10));
    let backoff = Backoff { base, maximum, ..Backoff::default() };
    builder.reconnect(ReconnectSettings { backoff, ..ReconnectSettings::default() })
}

#[tokio::test]
async fn each_server_sees_the_credentials_of_its_own_url() {
    for for_all in [false, true] {
        let [(first, one), (second, two), (third, three)] =
            [listen().await, listen().await, listen().await];
        let mut builder = Client::builder(format!("mqtt://sam:rope@{one}"))
            .or(format!("mqtt://frodo:ring@{two}"))
            .or(format!("mqtt://{three}"));
        if for_all {
            builder = builder.credentials("gandalf", "staff");
        }
        let client = start(at_once(builder)).unwrap();
        for (listener, own) in [(&first, "sam"), (&second, "frodo"), (&third, "")] {
            let own = if for_all { "gandalf" } else { own };
            let (_, packet) = connects(listener).await;
            for (name, password) in [("sam", "rope"), ("frodo", "ring"), ("gandalf", "staff")] {
                assert_eq!(says(&packet, name), name == own, "{own}");
                assert_eq!(says(&packet, password), name == own, "{own}");
            }
        }
        drop(client);
    }
}

#[tokio::test]
async fn what_is_short_is_not_nothing() {
    let (listener, address) = listen().await;
    let short = Duration::from_millis(900);
    let builder = Client::builder(format!("mqtt://{address}")).client_id("c");
    let client = start(builder.keep_alive(short).session_expiry(short)).unwrap();
    let (mut stream, packet) = connects(&listener).await;
    assert_eq!(packet[8..10], [0, 1], "keep alive");
    assert!(says(&packet, "\x11\0\0\0\x01"), "session expiry");
    stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
    soon(client.connected()).await.unwrap();
    drop(client.publish("t", "").expires_after(short).send().unwrap());
    let mut publish = [0; 11];
    soon(stream.read_exact(&mut publish)).await.unwrap();
    assert_eq!(publish[5..], [5, 2, 0, 0, 0, 1], "message expiry");
}

#[tokio::test]
async fn what_is_endless_is_no_reason_to_panic() {
    let forever = Duration::MAX;
    let backoff =
        Backoff { base: forever, maximum: forever, jitter: Jitter::None, ..Backoff::default() };
    let settings = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    let client = start(Client::builder("mqtt://127.0.0.1:1").reconnect(settings)).unwrap();
    let waits = client.publish("t", "").qos(QoS::AtLeastOnce).timeout(forever).send().unwrap();
    while !matches!(client.state(), State::Waiting(_)) {
        assert!(!matches!(client.state(), State::Stopped(_)), "{:?}", client.state());
        tokio::task::yield_now().await;
    }
    soon(client.shutdown(Duration::ZERO)).await;
    assert!(!soon(waits).await.is_delivered());

    let house = House::new();
    let client = connect(house.builder("c")).await.unwrap();
    let request = client.request("nobody", "").timeout(forever);
    let asks = tokio::time::timeout(Duration::from_millis(50), request.into_future());
    assert!(asks.await.is_err());
    assert!(matches!(
        soon(client.request("nobody", "").timeout(Duration::from_millis(50))).await,
        Err(RequestError::TimedOut(_))
    ));
}

#[tokio::test]
async fn a_pause_ends_when_the_user_wants_it() {
    let (listener, address) = listen().await;
    let hour = Duration::from_secs(3_600);
    let backoff = Backoff { base: hour, maximum: hour, jitter: Jitter::None, ..Backoff::default() };
    let settings = ReconnectSettings { backoff, ..ReconnectSettings::default() };
    let builder = Client::builder(format!("mqtt://{address}")).client_id("c");
    let client = start(builder.reconnect(settings)).unwrap();
    for _ in 0..3 {
        let stream = connects(&listener).await;
        // The pause before is over, and the next one has not begun.
        while matches!(client.state(), State::Waiting(_)) {
            tokio::task::yield_now().await;
        }
        drop(stream);
        while !matches!(client.state(), State::Waiting(_)) {
            tokio::task::yield_now().await;
        }
        client.reconnect_now();
    }
    let (mut stream, _) = connects(&listener).await;
    stream.write_all(&[0x20, 3, 0, 0, 0]).await.unwrap();
    soon(client.connected()).await.unwrap();
}
