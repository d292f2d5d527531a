//! Servers made for one test. Each has an address and a thread for every connection, and is gone
//! with the test's process.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use noctule_transport::TlsServer;
use rustls::{ServerConnection, StreamOwned};

/// Bytes both ways.
pub(crate) trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

/// Lets `handle` speak to everybody who connects.
pub(crate) fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handle = Arc::new(handle);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = Arc::clone(&handle);
            thread::spawn(move || handle(stream));
        }
    });
    address
}

/// Sends everything back until the other side has ended.
pub(crate) fn echo(stream: &mut dyn Stream) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        if stream.write_all(&buffer[..length]).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

pub(crate) fn echo_server() -> SocketAddr {
    serve(|mut stream| echo(&mut stream))
}

/// Passes the server's side of TLS and hands the bytes inside to `handle`.
pub(crate) fn tls_server(
    tls: TlsServer,
    handle: impl Fn(&mut StreamOwned<ServerConnection, TcpStream>) + Send + Sync + 'static,
) -> SocketAddr {
    serve(move |stream| {
        let connection = ServerConnection::new(tls.config()).unwrap();
        let mut stream = StreamOwned::new(connection, stream);
        handle(&mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    })
}

pub(crate) fn tls_echo_server(tls: TlsServer) -> SocketAddr {
    tls_server(tls, |stream| echo(stream))
}

/// Accepts connections and never says anything.
pub(crate) fn silent_server() -> SocketAddr {
    serve(|mut stream| {
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

/// Sends bytes one at a time, with a pause after each, until the other side has had enough.
pub(crate) fn drip(mut stream: TcpStream, bytes: &[u8]) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut ignored = [0; 1024];
    for byte in bytes.iter().cycle() {
        // Ends when the other side says something or the pause is over.
        let is_ended = stream.read(&mut ignored).is_ok_and(|length| length == 0);
        if is_ended || stream.write_all(&[*byte]).is_err() {
            return;
        }
    }
}
