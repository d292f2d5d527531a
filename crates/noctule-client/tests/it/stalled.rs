//! Servers that stop in the middle: that do not read, break off, drip or say nonsense.

use std::sync::Arc;
use std::time::Duration;

use noctule_client::{Client, ClientEvent, Ended, Events, QoS};
use noctule_client_core::TransportEnd;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::house::{next, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server, packet};

const SUBACK: [u8; 6] = [0x90, 4, 0, 1, 0, 2];
const PUBLISH: [u8; 7] = [0x30, 5, 0, 1, b't', 0, b'x'];
/// Far longer than a goodbye takes, and far shorter than for ever.
const PROMPT: Duration = Duration::from_secs(6);

/// Publishes more than any buffer on the way takes.
fn flood(client: &Client) {
    for _ in 0..150 {
        let publish = client.publish("t", &[7; 100_000]).qos(QoS::AtLeastOnce);
        drop(publish.send().unwrap());
    }
}

/// How the next connection ends.
async fn ended(events: &mut Events) -> Arc<Ended> {
    loop {
        if let ClientEvent::Disconnected { ended, .. } = soon(events.recv()).await.unwrap() {
            return ended;
        }
    }
}

#[tokio::test]
async fn a_server_that_reads_nothing_is_given_up_and_tried_again() {
    let server = Server::new();
    let builder = server.builder().keep_alive(Duration::from_secs(1));
    let client = start(builder.ping_timeout(Duration::from_millis(300))).unwrap();
    let mut events = client.events();
    let silent = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    flood(&client);
    let again = server.accept_and_say(&CONNACK).await;
    assert_eq!(*ended(&mut events).await, Ended::PingTimeout);
    soon(client.connected()).await.unwrap();
    drop((silent, again));
}

#[tokio::test]
async fn a_server_that_reads_nothing_and_makes_a_mistake_is_tried_again() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut events = client.events();
    let mut silent = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    flood(&client);
    silent.write_all(&CONNACK).await.unwrap();
    let again = server.accept_and_say(&CONNACK).await;
    assert!(matches!(*ended(&mut events).await, Ended::Fault(_)));
    drop((silent, again));
}

#[tokio::test]
async fn a_client_ends_in_time_although_its_server_reads_nothing() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let silent = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    flood(&client);
    let report = timeout(PROMPT, client.shutdown(Duration::from_millis(500))).await.unwrap();
    assert!(!report.is_clean());
    drop(silent);
}

#[tokio::test]
async fn a_server_may_drip() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let drip = async {
        let mut stream = server.accept().await;
        stream.set_nodelay(true).unwrap();
        for (bytes, answered) in [(&CONNACK[..], 8), (&SUBACK, 0), (&PUBLISH, 0)] {
            for byte in bytes {
                stream.write_all(&[*byte]).await.unwrap();
                sleep(Duration::from_millis(2)).await;
            }
            if answered > 0 {
                assert_eq!(packet(&mut stream).await >> 4, answered);
            }
        }
        stream
    };
    let user = async {
        let mut inbox = soon(client.subscribe("t")).await.unwrap();
        assert_eq!(next(&mut inbox).await.text(), Some("x"));
    };
    let (stream, ()) = tokio::join!(drip, user);
    drop(stream);
}

#[tokio::test]
async fn a_server_may_break_off_at_each_byte_of_its_connack() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut events = client.events();
    for count in 0..CONNACK.len() {
        drop(server.accept_and_say(&CONNACK[..count]).await);
        let ended = ended(&mut events).await;
        assert_eq!(*ended, Ended::Transport(TransportEnd::Closed), "{count}");
    }
    let stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn a_server_may_break_off_at_each_byte_of_its_suback() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let breaks_off = async {
        for count in 0..=SUBACK.len() {
            let mut stream = server.accept_and_say(&CONNACK).await;
            let mut head = [0; 4];
            soon(stream.read_exact(&mut head)).await.unwrap();
            assert_eq!(head[0], 0x82, "{count}");
            let mut suback = SUBACK;
            suback[2..4].copy_from_slice(&head[2..4]);
            stream.write_all(&suback[..count]).await.unwrap();
            if count == SUBACK.len() {
                return stream;
            }
        }
        unreachable!("the last time it does not break off");
    };
    let (stream, subscription) =
        tokio::join!(breaks_off, async { soon(client.subscribe("t")).await.unwrap() });
    assert_eq!(subscription.granted(), [QoS::ExactlyOnce]);
    drop(stream);
}

#[tokio::test]
async fn nonsense_ends_a_connection_and_not_the_client() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut events = client.events();
    for nonsense in [&[b'S'; 100][..], &[0xFF; 64], &[0; 64]] {
        let stream = server.accept_and_say(nonsense).await;
        assert!(matches!(*ended(&mut events).await, Ended::Fault(_)));
        drop(stream);
        let mut stream = server.accept_and_say(&CONNACK).await;
        stream.write_all(nonsense).await.unwrap();
        assert!(matches!(*ended(&mut events).await, Ended::Fault(_)));
        // DISCONNECT says what it thinks of that.
        assert_eq!(packet(&mut stream).await, 0xE0);
    }
    let stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    drop(stream);
}

#[tokio::test]
async fn half_a_connack_and_then_nothing_is_not_waited_with_for_ever() {
    let server = Server::new();
    let client = start(server.builder().connect_timeout(Duration::from_millis(500))).unwrap();
    let mut events = client.events();
    // However many attempts end before they have come so far.
    let halves = async {
        let mut streams = Vec::new();
        for _ in 0..100 {
            let mut stream = server.accept_raw().await;
            let _ = stream.write_all(&CONNACK[..3]).await;
            streams.push(stream);
        }
        streams.len()
    };
    tokio::select! {
        ended = ended(&mut events) => assert_eq!(*ended, Ended::ConnectTimeout),
        attempts = halves => panic!("nothing has come of {attempts} attempts"),
    }
}

#[tokio::test]
async fn half_a_packet_and_then_nothing_is_not_waited_with_for_ever() {
    let server = Server::new();
    let builder = server.builder().keep_alive(Duration::from_secs(1));
    let client = start(builder.ping_timeout(Duration::from_millis(200))).unwrap();
    let mut events = client.events();
    let stream = server.accept_and_say(&[&CONNACK[..], &PUBLISH[..4]].concat()).await;
    assert_eq!(*ended(&mut events).await, Ended::PingTimeout);
    drop(stream);
}

/// What the transport has taken of a QoS 0 message is not sent again, even if it has not taken what
/// comes behind.
#[tokio::test]
async fn what_was_sent_before_the_transport_stopped_is_not_sent_again() {
    let server = Server::new();
    let client = connect_to(&server).await;
    let (client, mut first) = client;
    let small = client.publish("t", "x").send().unwrap();
    let mut large = client.publish("t", &vec![7; 15_000_000]).send().unwrap();
    // The first has left, although the transport cannot take the second.
    assert!(soon(small).await.is_delivered());
    assert_eq!(packet(&mut first).await, 0x30);
    assert!(timeout(Duration::from_millis(100), &mut large).await.is_err());
    drop(first);
    let mut second = server.accept_and_say(&CONNACK).await;
    let mut head = [0; 2];
    soon(second.read_exact(&mut head)).await.unwrap();
    assert!(head[1] >= 128, "the small one came again");
}

async fn connect_to(server: &Server) -> (Client, TcpStream) {
    let (client, stream) = tokio::join!(connect(server.builder()), server.accept_and_say(&CONNACK));
    (client.unwrap(), stream)
}

/// A large publication that the server takes slowly, or not at all for a while, keeps nobody from
/// hearing what the server says.
#[tokio::test]
async fn what_a_server_says_is_heard_while_it_takes_a_large_message() {
    const LARGE: usize = 24 * 1_024 * 1_024;
    let server = Server::new();
    let client = start(server.builder().keep_alive(Duration::from_secs(1))).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let subscribe = tokio::spawn({
        let client = client.clone();
        async move { client.subscribe("t").await }
    });
    assert_eq!(packet(&mut stream).await, 0x82);
    stream.write_all(&SUBACK).await.unwrap();
    let mut messages = soon(subscribe).await.unwrap().unwrap();
    let receipt = client.publish("large", &vec![7; LARGE]).send().unwrap();
    // It reads the first of it, and then nothing.
    let mut head = [0; 5];
    soon(stream.read_exact(&mut head)).await.unwrap();
    assert_eq!(head[0], 0x30);
    for _ in 0..1_000 {
        stream.write_all(&PUBLISH).await.unwrap();
        next(&mut messages).await;
    }
    // And then all of it, speaking meanwhile.
    let (mut taken, mut buffer) = (0, vec![0; 64 * 1_024]);
    while taken < LARGE {
        taken += soon(stream.read(&mut buffer)).await.unwrap();
        stream.write_all(&PUBLISH).await.unwrap();
        next(&mut messages).await;
    }
    assert!(soon(receipt).await.is_delivered());
}

/// Whether the server reads DISCONNECT in the end: at once, after a while, or not.
#[tokio::test]
async fn disconnect_leaves_if_the_server_takes_it_in_time() {
    const LARGE: usize = 15_000_000;
    let pause = Duration::from_millis(400);
    for (is_busy, deadline, is_told) in [
        (false, Duration::ZERO, true),
        (true, Duration::ZERO, false),
        (true, Duration::from_secs(20), true),
    ] {
        let server = Server::new();
        let (client, mut stream) = connect_to(&server).await;
        if is_busy {
            drop(client.publish("t", &vec![7; LARGE]).send().unwrap());
        }
        let read = async {
            if is_busy {
                sleep(pause).await;
            }
            let mut said = Vec::new();
            let _ = stream.read_to_end(&mut said).await;
            said
        };
        let (report, said) = soon(async { tokio::join!(client.shutdown(deadline), read) }).await;
        assert_eq!(said.ends_with(&[0xE0, 0]), is_told, "{is_busy} {deadline:?}: {report:?}");
    }
}
