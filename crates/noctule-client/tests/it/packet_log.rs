//! The packet log.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use noctule_client::{
    AuthError, Authenticator, Client, ClientBuilder, Direction, PacketType, QoS, ReconnectSettings,
    Version, WillOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::house::{House, LONG, next, soon};
use crate::start::{connect, start};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(&self, builder: ClientBuilder) -> ClientBuilder {
        let lines = self.clone();
        builder.packet_log(move |line| lines.0.lock().unwrap().push(line.to_string()))
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// Waits for a line that begins like this.
    async fn line(&self, begin: &str) -> String {
        let found = async {
            loop {
                match self.all().into_iter().find(|line| line.starts_with(begin)) {
                    Some(line) => break line,
                    None => tokio::task::yield_now().await,
                }
            }
        };
        soon(found).await
    }
}

#[tokio::test]
async fn every_packet_is_a_line() {
    let house = House::new();
    let lines = Lines::default();
    let builder = lines.of(house.builder("c")).version(Version::V3_1_1);
    let client = connect(builder).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let receipt = client.publish("t", "21.5").qos(QoS::AtLeastOnce).retain(true).send().unwrap();
    assert!(soon(receipt).await.is_delivered());
    next(&mut inbox).await;
    soon(inbox.unsubscribe()).await.unwrap();
    soon(client.shutdown(LONG)).await;
    let all = lines.all();
    let find = |begin: &str| {
        let mut found = all.iter().filter(|line| line.starts_with(begin));
        let line = found.next().unwrap_or_else(|| panic!("{begin}: {all:#?}"));
        assert_eq!(found.next(), None, "{all:#?}");
        line.as_str()
    };
    assert_eq!(all.len(), 11, "{all:#?}");
    let connect = "sent CONNECT 3.1.1 \"c\", clean start, keep alive 60 (15 bytes)";
    assert_eq!(find("sent CONNECT"), connect);
    assert_eq!(find("received CONNACK"), "received CONNACK success (0x00) (4 bytes)");
    assert_eq!(find("sent SUBSCRIBE"), "sent SUBSCRIBE 1; \"t\", QoS 2 (8 bytes)");
    assert_eq!(find("received SUBACK"), "received SUBACK 1, granted QoS 2 (0x02) (5 bytes)");
    assert_eq!(find("sent PUBLISH"), "sent PUBLISH 2 \"t\" <4 bytes>, QoS 1, retain (11 bytes)");
    assert_eq!(find("received PUBACK"), "received PUBACK 2 (4 bytes)");
    assert_eq!(find("received PUBLISH"), "received PUBLISH 1 \"t\" <4 bytes>, QoS 1 (11 bytes)");
    assert_eq!(find("sent PUBACK"), "sent PUBACK 1 (4 bytes)");
    assert_eq!(find("sent UNSUBSCRIBE"), "sent UNSUBSCRIBE 3, \"t\" (7 bytes)");
    assert_eq!(find("received UNSUBACK"), "received UNSUBACK 3 (4 bytes)");
    assert_eq!(find("sent DISCONNECT"), "sent DISCONNECT success (0x00) (2 bytes)");
}

#[tokio::test]
async fn packets_larger_than_what_is_kept_are_lines_too() {
    let house = House::new();
    let lines = Lines::default();
    let builder = lines.of(house.builder("c")).version(Version::V3_1_1);
    let client = connect(builder).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    drop(client.publish("t", &vec![b'x'; 500_000]).send().unwrap());
    next(&mut inbox).await;
    for direction in ["sent", "received"] {
        let line = lines.line(&format!("{direction} PUBLISH")).await;
        let expected = format!("{direction} PUBLISH \"t\" <500000 bytes>, QoS 0 (500007 bytes)");
        assert_eq!(line, expected);
    }
}

/// Says something secret.
struct Secretive;

const SECRET: &str = "hunter2";

impl Authenticator for Secretive {
    fn method(&self) -> &str {
        "SECRETIVE"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(Some(SECRET.into()))
    }

    fn challenge(&mut self, _data: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(Some(SECRET.into()))
    }

    fn verify(&mut self, _data: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}

/// Serves one connection: it answers each packet with the next of these.
async fn serve(listener: TcpListener, answers: Vec<Vec<u8>>) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = [0; 1_024];
    for answer in answers {
        if stream.read(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        stream.write_all(&answer).await.unwrap();
    }
    while stream.read(&mut bytes).await.is_ok_and(|count| count > 0) {}
}

fn once() -> ReconnectSettings {
    ReconnectSettings { attempts_max: Some(1), ..ReconnectSettings::default() }
}

#[tokio::test]
async fn no_secret_is_in_any_line() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // AUTH and CONNACK with the method and data, PUBLISH, and DISCONNECT.
    let method = b"\x15\0\x09SECRETIVE\x16\0\x07hunter2";
    let auth = [b"\xF0\x18\x18\x16", &method[..]].concat();
    let connack = [b"\x20\x19\0\0\x16", &method[..]].concat();
    let publish = b"\x30\x0B\0\x01t\0hunter2".to_vec();
    let answers = vec![auth, connack, publish];
    let server = tokio::spawn(serve(listener, answers));
    let lines = Lines::default();
    let payload = SECRET.as_bytes().into();
    let will = WillOptions { topic: "gone".into(), payload, ..WillOptions::default() };
    let builder = Client::builder(format!("mqtt://{address}")).client_id("c");
    let builder = builder.credentials(SECRET, SECRET).will(will).authentication(Secretive);
    let client = connect(lines.of(builder).reconnect(once())).await.unwrap();
    drop(client.publish("t", SECRET).send().unwrap());
    lines.line("received PUBLISH").await;
    lines.line("sent PUBLISH").await;
    soon(client.shutdown(Duration::from_millis(50))).await;
    let all = lines.all();
    for begin in ["sent CONNECT", "received AUTH", "sent AUTH", "received CONNACK"] {
        let line = all.iter().find(|line| line.starts_with(begin)).unwrap();
        assert!(line.contains("authentication data <7 bytes>"), "{line}");
    }
    assert!(all[0].contains("user name <7 bytes>, password <7 bytes>"), "{all:#?}");
    assert!(all[0].contains("; will \"gone\" <7 bytes>"), "{all:#?}");
    assert!(!all.iter().any(|line| line.contains(SECRET)), "{all:#?}");
    server.abort();
}

#[tokio::test]
async fn user_names_are_shown_where_that_is_asked_for() {
    let house = House::new();
    let lines = Lines::default();
    let builder = lines.of(house.builder("c")).credentials("anna", SECRET);
    let client = connect(builder.packet_log_user_names(true)).await.unwrap();
    let line = lines.line("sent CONNECT").await;
    assert!(line.contains("user name \"anna\", password <7 bytes>"), "{line}");
    drop(client);
}

#[tokio::test]
async fn what_is_malformed_or_unfinished_is_told_as_that() {
    for (bytes, expected) in [
        (
            &b"\x20\x02\0\0\x36\x04\0\x01t!"[..],
            "received malformed PUBLISH of 6 bytes, QoS is 3: \
                                                36 04 00 01 … (6 bytes)",
        ),
        (
            b"\x20\x02\0\0\x0F\0",
            "received malformed packet of 2 bytes, packet type 0 does not \
                                 exist: 0f 00 (2 bytes)",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(serve(listener, vec![bytes.to_vec()]));
        let lines = Lines::default();
        let builder = Client::builder(format!("mqtt://{address}")).version(Version::V3_1_1);
        let client = start(lines.of(builder).reconnect(once())).unwrap();
        let line = lines.line("received malformed").await;
        assert_eq!(line, expected);
        drop(client);
        server.abort();
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 5]).await.unwrap();
        stream.write_all(b"\x20\x02\0\0\x30\x0A\0\x01thal").await.unwrap();
    });
    let lines = Lines::default();
    let builder = Client::builder(format!("mqtt://{address}")).version(Version::V3_1_1);
    let client = start(lines.of(builder).reconnect(once())).unwrap();
    let line = lines.line("received PUBLISH").await;
    let expected = "received PUBLISH \"t\" <7 bytes>, QoS 0 (the connection ended after 8 bytes \
                    of it)";
    assert_eq!(line, expected);
    soon(server).await.unwrap();
    drop(client);
}

#[tokio::test]
async fn a_line_says_what_it_is_about_and_a_sink_that_panics_stops_nothing() {
    let house = House::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let journal = Arc::clone(&seen);
    let builder = house.builder("c").packet_log(move |line| {
        assert_eq!(line.error(), None);
        journal.lock().unwrap().push((line.direction(), line.packet_type(), line.size()));
        std::panic::resume_unwind(Box::new("full"));
    });
    let client = connect(builder.version(Version::V3_1_1)).await.unwrap();
    soon(client.subscribe("t")).await.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0], (Direction::Sent, Some(PacketType::Connect), 15));
    assert_eq!(seen[1], (Direction::Received, Some(PacketType::Connack), 4));
    assert_eq!(seen[3], (Direction::Received, Some(PacketType::Suback), 5));
}
