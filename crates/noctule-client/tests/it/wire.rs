//! A server that says what a test wants, byte by byte.

use std::time::Duration;

use noctule_client::{Backoff, Client, ClientBuilder, ReconnectSettings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::house::soon;

/// A connection that is accepted, without a session.
pub(crate) const CONNACK: [u8; 5] = [0x20, 3, 0, 0, 0];

/// A server that does what a test says.
pub(crate) struct Server(TcpListener);

impl Server {
    pub(crate) fn new() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        // So little that a few messages fill it.
        socket.set_recv_buffer_size(4_096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self(socket.listen(16).unwrap())
    }

    pub(crate) fn builder(&self) -> ClientBuilder {
        let (base, maximum) = (Duration::from_millis(1), Duration::from_millis(10));
        let backoff = Backoff { base, maximum, ..Backoff::default() };
        Client::builder(self.url())
            .client_id("c")
            .reconnect(ReconnectSettings { backoff, ..ReconnectSettings::default() })
    }

    pub(crate) fn url(&self) -> String {
        format!("mqtt://{}", self.0.local_addr().unwrap())
    }

    /// The next connection, of which nothing is read.
    pub(crate) async fn accept_raw(&self) -> TcpStream {
        soon(self.0.accept()).await.unwrap().0
    }

    /// The next connection, whose CONNECT is read.
    pub(crate) async fn accept(&self) -> TcpStream {
        self.accept_connect().await.0
    }

    /// The next connection, and what its CONNECT says.
    pub(crate) async fn accept_connect(&self) -> (TcpStream, Vec<u8>) {
        let mut stream = self.accept_raw().await;
        let (head, connect) = body(&mut stream).await;
        assert_eq!(head >> 4, 1);
        (stream, connect)
    }

    pub(crate) async fn accept_and_say(&self, bytes: &[u8]) -> TcpStream {
        let mut stream = self.accept().await;
        stream.write_all(bytes).await.unwrap();
        stream
    }
}

/// Reads a packet of less than 128 bytes. Its first byte.
pub(crate) async fn packet(stream: &mut TcpStream) -> u8 {
    body(stream).await.0
}

/// Reads a packet of less than 128 bytes. Its first byte, and what is behind the length.
pub(crate) async fn body(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    soon(stream.read_exact(&mut head)).await.unwrap();
    let mut body = vec![0; head[1].into()];
    soon(stream.read_exact(&mut body)).await.unwrap();
    (head[0], body)
}
