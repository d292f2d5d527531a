//! What lies between a client and its server: a slow link, a link that breaks, a proxy.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How many bytes go through a slow link at once, and how much time is between two portions.
const PORTION_BYTES: usize = 2_048;
const PACE: Duration = Duration::from_millis(5);

/// How a link treats what a client sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Link {
    /// Slowly.
    Slow,
    /// The first connection breaks after so many bytes.
    BreaksAfter(usize),
    /// The client asks for the server with HTTP CONNECT.
    Proxy,
}

/// Starts a link to a server; where clients connect to it. It lives as long as the test.
pub(crate) fn start(server: SocketAddr, link: Link) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for (number, client) in listener.incoming().map_while(Result::ok).enumerate() {
            thread::spawn(move || carry(client, server, link, number == 0));
        }
    });
    address
}

fn carry(client: TcpStream, server: SocketAddr, link: Link, is_first: bool) {
    let mut from_client = client.try_clone().unwrap();
    let target = match link {
        Link::Proxy => accept_tunnel(&client),
        _ => server.to_string(),
    };
    let Ok(server) = TcpStream::connect(target) else { return };
    let mut to_server = server.try_clone().unwrap();
    thread::spawn(move || {
        let (mut server, mut client) = (server, client);
        let _ = std::io::copy(&mut server, &mut client);
        let _ = client.shutdown(Shutdown::Both);
    });
    // Nothing is ever sent here: waiting for it is the pace.
    let (_never, pace) = mpsc::channel::<()>();
    let mut carried = 0;
    let mut portion = [0; PORTION_BYTES];
    while let Ok(count @ 1..) = from_client.read(&mut portion) {
        if matches!(link, Link::Slow) {
            let _ = pace.recv_timeout(PACE);
        }
        carried += count;
        if matches!(link, Link::BreaksAfter(bytes) if is_first && carried > bytes) {
            let _ = from_client.shutdown(Shutdown::Both);
            break;
        }
        if to_server.write_all(&portion[..count]).is_err() {
            break;
        }
    }
    let _ = to_server.shutdown(Shutdown::Both);
}

/// Reads a request for a tunnel, grants it, and says where it leads. A client waits for the answer
/// before it sends more, so nothing of it is in the buffer.
fn accept_tunnel(client: &TcpStream) -> String {
    let mut lines = BufReader::new(client).lines().map(Result::unwrap);
    let request = lines.next().unwrap();
    let target = request.strip_prefix("CONNECT ").unwrap().split(' ').next().unwrap().to_owned();
    while lines.next().is_some_and(|line| !line.is_empty()) {}
    let mut client = client;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    target
}
