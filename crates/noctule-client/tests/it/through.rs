//! Servers that are reached another way than the endpoints, because the program decides so.

use std::time::Duration;

use noctule_client::transport::{DialerBuilder, Url, WebSocketOptions};
use noctule_client::{
    ClientEvent, ConnectionEnd, NextAttempt, ReconnectSettings, Redirect, Redirects,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::house::{quickly, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server, body};

const SHORT: Duration = Duration::from_millis(20);

/// Reads the head of a request for a proxy, says that it is done, and is the server then.
async fn accept_through_proxy(server: &Server) -> (TcpStream, String, Vec<u8>) {
    let mut stream = server.accept_raw().await;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(stream.read_u8()).await.unwrap());
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
    let (_, connect) = body(&mut stream).await;
    (stream, String::from_utf8(head).unwrap(), connect)
}

#[tokio::test]
async fn the_program_may_have_the_server_reached_another_way() {
    let [server, proxy] = [Server::new(), Server::new()];
    let proxy_url = proxy.url().replace("mqtt://", "http://");
    let mut asked = 0;
    let decide = move |_: &ConnectionEnd, _: u32| {
        asked += 1;
        let url: Url = "mqtt://frodo:ring@server.invalid".parse().unwrap();
        let dialer = DialerBuilder::new(url);
        let dialer = match asked {
            1 => dialer.proxy(proxy_url.parse().unwrap()),
            3 => dialer.websocket(WebSocketOptions::default()),
            _ => return NextAttempt::AsPlanned,
        };
        NextAttempt::Through { dialer: Box::new(dialer), after: SHORT }
    };
    let redirect = Redirect { allowed: Redirects::Anywhere, ..Redirect::default() };
    let settings = ReconnectSettings { redirect, ..quickly() };
    let client = start(server.builder().reconnect(settings).reconnector(decide)).unwrap();
    let mut events = client.events();
    drop(server.accept_and_say(&[0x20, 3, 0, 0x89, 0]).await);
    let (mut stream, head, connect) = accept_through_proxy(&proxy).await;
    assert!(head.starts_with("CONNECT server.invalid:1883 "), "{head}");
    assert!(connect.ends_with(b"\0\x05frodo\0\x04ring"), "{connect:?}");
    // Where it refers to is reached as it is itself.
    stream.write_all(b"\x20\x13\0\x9c\x10\x1c\0\x0dother.invalid").await.unwrap();
    let (mut stream, head, connect) = accept_through_proxy(&proxy).await;
    assert!(head.starts_with("CONNECT other.invalid:1883 "), "{head}");
    assert!(!connect.ends_with(b"ring"), "{connect:?}");
    stream.write_all(&[0x20, 3, 0, 0x89, 0]).await.unwrap();
    // What contradicts itself is a failed attempt, and no more.
    let is_wrong = |event: &ClientEvent| match event {
        ClientEvent::ConnectFailed { error } => error.contains("websocket()"),
        _ => false,
    };
    assert!(soon(events.wait_for(is_wrong)).await.is_some());
    // After that everything is as it was.
    let _stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
}
