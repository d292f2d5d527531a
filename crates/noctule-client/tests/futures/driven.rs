//! What only clients have whose runtime is the program's: futures that may be dropped, and streams
//! that somebody else opens.

use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use async_net::TcpStream;
use futures_io::{AsyncRead, AsyncWrite};
use noctule_client::transport::{BoxError, Proxy, Scheme, SocketOptions, Url, WebSocketOptions};
use noctule_client::{Client, ClientBuilder, ReconnectSettings, Runtime};
use tokio::time::timeout;

use crate::abandoned::expect_end;
use crate::house::{House, soon};
use crate::start::{Smol, start};
use crate::wire::{CONNACK, Server, packet};

/// How a stream is opened that is not to be what a client expects.
enum Odd {
    Never,
    Refused,
    Clinging,
}

impl Runtime for Odd {
    type Stream = Clinging;

    async fn open(&self, url: &Url) -> Result<Clinging, BoxError> {
        match self {
            Self::Never => pending().await,
            Self::Refused => Err("the cable is out".into()),
            Self::Clinging => Smol.open(url).await.map(Clinging),
        }
    }

    fn schemes(&self) -> &[Scheme] {
        &[Scheme::Mqtt, Scheme::Mqtts]
    }

    async fn sleep(&self, time: Duration) {
        Smol.sleep(time).await;
    }
}

/// A stream that never finishes saying farewell.
struct Clinging(TcpStream);

impl AsyncRead for Clinging {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(context, bytes)
    }
}

impl AsyncWrite for Clinging {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

fn start_with(builder: ClientBuilder, runtime: Odd) -> Client {
    let (client, driver) = builder.drive(runtime).unwrap();
    thread::spawn(|| async_io::block_on(driver));
    client
}

/// Why the first attempt, which is the only one, has failed.
async fn failure(runtime: Odd) -> String {
    let reconnect = ReconnectSettings { includes_first: false, ..ReconnectSettings::default() };
    let builder = Client::builder("mqtts://nowhere").reconnect(reconnect);
    let client = start_with(builder.connect_timeout(Duration::from_millis(20)), runtime);
    soon(client.connected()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_stream_that_does_not_open_is_a_failed_attempt() {
    let error = failure(Odd::Never).await;
    assert!(error.contains("no connection within 20ms"), "{error}");
    let error = failure(Odd::Refused).await;
    assert!(error.contains("nowhere:8883: the cable is out"), "{error}");
}

#[tokio::test]
async fn a_client_ends_although_its_stream_does_not() {
    let house = House::new();
    let builder = house.builder("c").connect_timeout(Duration::MAX);
    let client = start_with(builder, Odd::Clinging);
    soon(client.connected()).await.unwrap();
    let patience = Duration::from_secs(6);
    assert!(timeout(patience, client.shutdown(patience)).await.unwrap().is_clean());
}

#[tokio::test]
async fn nobody_waits_for_a_client_whose_future_is_dropped() {
    let (client, driver) = Client::builder("mqtt://127.0.0.1:1").drive(Smol).unwrap();
    expect_end(client, || drop(driver)).await;
    let (client, driver) = Client::builder("mqtt://127.0.0.1:1").drive(Smol).unwrap();
    // It goes well with tokio, too.
    let task = tokio::spawn(driver);
    expect_end(client, || task.abort()).await;
}

#[tokio::test]
async fn it_pings_when_nothing_else_is_sent() {
    let server = Server::new();
    let client = start(server.builder().keep_alive(Duration::from_secs(1))).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    assert_eq!(packet(&mut stream).await >> 4, 12);
    drop(client);
}

#[test]
fn what_would_be_ignored_is_an_error_that_names_it() {
    let plain = || Client::builder("mqtt://h");
    let proxy: Proxy = "http://p".parse().unwrap();
    for (builder, name) in [
        (Client::builder("mqtts://h"), "mqtts://"),
        (plain().or("wss://h"), "wss://"),
        (plain().proxy(proxy), "proxy()"),
        (plain().socket(SocketOptions::default()), "socket()"),
        (plain().websocket(WebSocketOptions::default()), "websocket()"),
    ] {
        let Err(error) = builder.drive(Smol) else { panic!("{name} is ignored") };
        assert!(error.to_string().contains(name), "{error}");
    }
}

/// A route is handled where no runtime is tokio's.
#[test]
fn a_route_is_handled_on_any_runtime() {
    let broker = noctule_broker::Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let (client, driver) = Client::builder(url).drive(Smol).unwrap();
    thread::spawn(|| async_io::block_on(driver));
    let (tell, told) = std::sync::mpsc::channel();
    let route = client.route("room/{name}").handling(move |message| {
        let name = message.capture("name").to_owned();
        assert_ne!(name, "none", "there is no such room");
        let tell = tell.clone();
        async move { tell.send(name).unwrap() }
    });
    let (handler, handling) = async_io::block_on(route).unwrap();
    let worker = thread::spawn(|| async_io::block_on(handling));
    for topic in ["room/a", "room/none", "room/b"] {
        drop(client.publish(topic, "").send().unwrap());
    }
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], ["a", "b"]);
    handler.stop();
    assert!(!handler.wait(), "it has panicked over one");
    worker.join().unwrap();

    // Whoever drops the work has it end.
    let route = client.route("other").handling(async |_| {});
    let (handler, handling) = async_io::block_on(route).unwrap();
    drop(handling);
    assert!(handler.wait());
}
