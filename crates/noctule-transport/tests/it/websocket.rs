//! WebSocket against another implementation, and against servers that do not keep to it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use noctule_transport::blocking::Waiter;
use noctule_transport::{
    DialerBuilder, Stage, TransportError, Url, WebSocketAcceptor, WebSocketError, WebSocketOptions,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tungstenite::Message;
use tungstenite::handshake::server::{Request, Response};

use crate::authority::Authority;
use crate::conversation::{FRONTS, Front, bytes, dial, on_both, refused_by_both, runtime};
use crate::server::{Stream, drip, serve, tls_server};

fn dialer(address: SocketAddr, path: &str) -> DialerBuilder {
    DialerBuilder::new(format!("ws://{address}{path}").parse::<Url>().unwrap())
}

/// Accepts as a server with another implementation does.
fn accept<S: Read + Write>(stream: S, inspect: impl FnOnce(&Request)) -> tungstenite::WebSocket<S> {
    #[expect(clippy::result_large_err, reason = "the other implementation wants it so")]
    let choose = |request: &Request, mut response: Response| {
        inspect(request);
        let offered = request.headers().get("sec-websocket-protocol").unwrap();
        let first = offered.to_str().unwrap().split(',').next().unwrap().parse().unwrap();
        response.headers_mut().insert("sec-websocket-protocol", first);
        Ok(response)
    };
    match tungstenite::accept_hdr(stream, choose) {
        Ok(socket) => socket,
        Err(error) => panic!("{error}"),
    }
}

/// Sends every message back, cut into two with a ping between.
pub(crate) fn websocket_echo(stream: &mut dyn Stream) {
    let mut socket = accept(stream, |_| {});
    while let Ok(message) = socket.read() {
        let Message::Binary(payload) = message else { continue };
        let (first, second) = payload.split_at(payload.len() / 2);
        for part in [first, second] {
            let sent = socket.send(Message::Ping(bytes(125).into()));
            if sent.and_then(|()| socket.send(Message::Binary(part.to_vec().into()))).is_err() {
                return;
            }
        }
    }
}

fn echo_server() -> SocketAddr {
    serve(|mut stream| websocket_echo(&mut stream))
}

#[test]
fn bytes_go_there_and_back() {
    on_both(&dialer(echo_server(), "/mqtt"), |outcome| {
        assert_eq!(outcome.unwrap().subprotocol.as_deref(), Some("mqtt"));
    });
}

#[test]
fn both_sides_can_write_a_lot_at_once() {
    let dialer = dialer(echo_server(), "");
    for front in FRONTS {
        front.converse(&dialer, &bytes(3_000_000)).unwrap();
    }
}

#[test]
fn it_goes_through_tls() {
    let authority = Authority::new();
    let server = authority.server().server().build().unwrap();
    let address = tls_server(server, |stream| websocket_echo(stream));
    let url: Url = format!("wss://localhost:{}/mqtt", address.port()).parse().unwrap();
    let tls = crate::by::tls().roots_pem(authority.pem()).build().unwrap();
    on_both(&DialerBuilder::new(url.clone()).tls(tls), |outcome| {
        let info = outcome.unwrap();
        assert!(info.tls.is_some() && info.subprotocol.is_some());
    });
    let stranger = crate::by::tls().roots_pem(Authority::new().pem()).build().unwrap();
    refused_by_both(&DialerBuilder::new(url).tls(stranger), |error| {
        assert!(matches!(error, TransportError::Tls(_)), "{error:?}");
    });
}

/// A server that notes the requests it gets.
fn noting_server() -> (SocketAddr, Arc<std::sync::Mutex<Vec<String>>>) {
    let noted = Arc::new(std::sync::Mutex::new(Vec::new()));
    let for_server = Arc::clone(&noted);
    let address = serve(move |stream| {
        let mut socket = accept(stream, |request| {
            let header = |name: &str| {
                let value = request.headers().get(name).map(|value| value.to_str().unwrap());
                value.unwrap_or("-").to_owned()
            };
            for_server.lock().unwrap().push(format!(
                "{} {} {} {}",
                request.uri(),
                header("sec-websocket-protocol"),
                header("x-fixed"),
                header("x-token"),
            ));
        });
        while let Ok(message) = socket.read() {
            if message.is_binary() && socket.send(message).is_err() {
                return;
            }
        }
    });
    (address, noted)
}

#[test]
fn a_hook_changes_the_request_of_every_attempt() {
    let (address, noted) = noting_server();
    let attempts = Arc::new(AtomicUsize::new(0));
    let options = WebSocketOptions::default()
        .subprotocols(["mqttv3.1", "mqtt"])
        .header("X-Fixed", "yes")
        .hook(move |request| {
            let attempt = attempts.fetch_add(1, Ordering::Relaxed);
            request.set_target(format!("{}&signature={attempt}", request.target()));
            request.set_header("x-token", format!("token {attempt}"));
            Ok(())
        });
    let dialer = dialer(address, "/mqtt?a=b").websocket(options);
    on_both(&dialer, |outcome| {
        assert_eq!(outcome.unwrap().subprotocol.as_deref(), Some("mqttv3.1"));
    });
    let expected = [
        "/mqtt?a=b&signature=0 mqttv3.1, mqtt yes token 0",
        "/mqtt?a=b&signature=1 mqttv3.1, mqtt yes token 1",
    ];
    assert_eq!(*noted.lock().unwrap(), expected);
}

#[test]
fn headers_and_hooks_are_for_those_who_may_see_them() {
    let (address, noted) = noting_server();
    let options = WebSocketOptions::default().header("X-Fixed", "secret").hook(|request| {
        request.set_header("x-token", "secret");
        Ok(())
    });
    let dialer = dialer(address, "/mqtt").websocket(options).without_credentials();
    on_both(&dialer, |outcome| {
        outcome.unwrap();
    });
    assert_eq!(*noted.lock().unwrap(), ["/mqtt mqtt - -"; 2]);
}

#[test]
fn a_hook_may_wait_or_fail() {
    let (address, noted) = noting_server();
    let waiting = WebSocketOptions::default().async_hook(|mut request| async move {
        tokio::task::yield_now().await;
        request.set_header("X-Token", "fresh");
        Ok(request)
    });
    let dialer = dialer(address, "");
    Front::Tokio.converse(&dialer.clone().websocket(waiting), b"x").unwrap();
    assert_eq!(*noted.lock().unwrap(), ["/mqtt mqtt - fresh"]);
    let failing = WebSocketOptions::default().hook(|_| Err("no credentials".into()));
    let text = refused_by_both(&dialer.clone().websocket(failing), |error| {
        assert!(matches!(error, TransportError::Hook(_)), "{error:?}");
    });
    assert_eq!(text, "the WebSocket handshake hook failed: no credentials");
    let wrong = WebSocketOptions::default().hook(|request| {
        request.set_header("A", "b\r\nEvil: yes");
        Ok(())
    });
    refused_by_both(&dialer.websocket(wrong), |error| {
        let is_header = matches!(error, TransportError::WebSocket(WebSocketError::Header { .. }));
        assert!(is_header, "{error:?}");
    });
}

/// A server that answers every handshake with `answer` and then sends `frames`.
fn scripted(answer: &'static str, frames: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            request.push(byte[0]);
        }
        let request = String::from_utf8(request).unwrap();
        let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().split('\r').next().unwrap();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let _ = stream.write_all(answer.replace("ACCEPT", &accept).as_bytes());
        let _ = stream.write_all(frames);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n";

#[test]
fn a_refusal_has_its_status_and_reason() {
    let address = scripted("HTTP/1.1 403 Not you\r\nContent-Length: 0\r\n\r\n", b"");
    let text = refused_by_both(&dialer(address, ""), |error| {
        let TransportError::WebSocket(WebSocketError::Refused { status, reason, .. }) = error
        else {
            panic!("{error:?}")
        };
        assert_eq!((*status, reason.as_str()), (403, "Not you"));
    });
    assert!(text.contains("403 Not you; check the credentials"), "{text}");
}

#[test]
fn what_is_no_websocket_server_is_told_apart() {
    for (answer, expected) in [
        ("\x20\x02\0\0", "does not speak HTTP/1.1"),
        ("HTTP/1.1 200 OK\r\n\r\n", "refused the WebSocket handshake: 200 OK"),
        ("HTTP/1.1 101 Go\r\n\r\n", "did not upgrade to websocket"),
        ("", "the connection broke while waiting for the server's WebSocket handshake"),
        ("HTTP/1.1 101 Go", "the connection broke while waiting"),
    ] {
        let text = refused_by_both(&dialer(scripted(answer, b""), ""), |_| {});
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn a_head_without_an_end_is_given_up() {
    let address = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 101 Go\r\n");
        while stream.write_all(b"X-More: and more, and more, and more\r\n").is_ok() {}
    });
    refused_by_both(&dialer(address, ""), |error| {
        let is_long =
            matches!(error, TransportError::WebSocket(WebSocketError::HeadTooLong { .. }));
        assert!(is_long, "{error:?}");
    });
}

#[test]
fn a_handshake_in_drips_times_out() {
    let address = serve(|stream| drip(stream, b"HTTP/1.1 101 Go\r\nX-Slow: very"));
    let dialer = dialer(address, "").connect_timeout(Duration::from_millis(150));
    refused_by_both(&dialer, |error| {
        let is_late = matches!(error, TransportError::TimedOut { stage: Stage::WebSocket, .. });
        assert!(is_late, "{error:?}");
    });
}

/// All that can be read, and how it ends.
fn read_all(front: Front, dialer: &DialerBuilder) -> (Vec<u8>, io::Result<()>) {
    let mut all = Vec::new();
    let ended = match front {
        Front::Tokio => runtime().block_on(async {
            let mut connected = dialer.build().unwrap().dial().await.unwrap();
            loop {
                match connected.stream.read_buf(&mut all).await {
                    Ok(0) => break Ok(()),
                    Ok(_) => {}
                    Err(error) => break Err(error),
                }
            }
        }),
        Front::Thread => {
            let mut waiter = Waiter::new().unwrap();
            let mut connected = dial(dialer, &mut waiter).unwrap();
            loop {
                let mut buffer = [0; 3];
                match connected.stream.read(&mut buffer) {
                    Ok(0) => break Ok(()),
                    Ok(length) => all.extend_from_slice(&buffer[..length]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        waiter.wait(Some(Duration::from_secs(10))).unwrap();
                    }
                    Err(error) => break Err(error),
                }
            }
        }
    };
    (all, ended)
}

#[test]
fn frames_that_come_with_the_handshake_are_not_lost() {
    let frames = b"\x89\x01p\x02\x03abc\x00\x00\x80\x02de\x88\x02\x03\xe8";
    for front in FRONTS {
        let (bytes, ended) = read_all(front, &dialer(scripted(ACCEPTED, frames), ""));
        assert_eq!(bytes, b"abcde");
        ended.unwrap();
    }
}

#[test]
fn a_server_that_breaks_the_rules_is_an_error_after_what_came_before() {
    for (frames, expected) in [
        (&b"\x82\x01a\x81\x01b"[..], "sent a text frame"),
        (b"\x82\x01a\x82\x81mask!", "a server does not mask"),
        (b"\x82\x01a\xf2\x00", "a reserved bit"),
        (b"\x82\x01a\x82\x7f\x00\x00\x00\x00\x7f\xff\xff\xff", "message_bytes_max"),
        (b"\x82\x01a\x88\x04\x03\xf0no", "closed the WebSocket with code 1008: no"),
        (b"\x82\x01a\x82\x05abc", "unexpected end of file"),
    ] {
        for front in FRONTS {
            let (bytes, ended) = read_all(front, &dialer(scripted(ACCEPTED, frames), ""));
            assert_eq!(bytes[..1], *b"a", "{expected}");
            let text = ended.unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}

/// A large packet over a slow link is a sign of life long before its frame is whole.
#[test]
fn what_has_arrived_of_a_frame_is_handed_on() {
    let address = serve(|stream| {
        let mut stream = accept(stream, |_| {}).into_inner();
        for part in [&b"\x82\x0ahello"[..], b"world"] {
            stream.write_all(part).unwrap();
            // The second half is only sent when the first one was answered.
            let mut answer = [0; 7];
            stream.read_exact(&mut answer).unwrap();
        }
    });
    for front in FRONTS {
        front.alternate(&dialer(address, ""), &[b"hello", b"world"]);
    }
}

#[test]
fn an_end_between_frames_is_the_end() {
    for front in FRONTS {
        let (bytes, ended) = read_all(front, &dialer(scripted(ACCEPTED, b"\x82\x01a"), ""));
        assert_eq!(bytes, b"a");
        ended.unwrap();
    }
}

#[test]
fn a_flood_of_pings_keeps_no_thread_busy() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let address = serve(move |stream| {
        let mut socket = accept(stream, |_| {});
        for _ in 0..3000 {
            socket.send(Message::Ping(bytes(60).into())).unwrap();
        }
        sender.send(()).unwrap();
        while socket.read().is_ok_and(|message| !message.is_close()) {}
    });
    let mut waiter = Waiter::new().unwrap();
    let mut connected = dial(&dialer(address, ""), &mut waiter).unwrap();
    receiver.recv().unwrap();
    let error = connected.stream.read(&mut [0; 4096]).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::Interrupted);
}

#[test]
fn the_servers_side_speaks_with_another_client() {
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::task::spawn_blocking(move || other_client(address));
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = WebSocketAcceptor::default().path("/mqtt");
        let (mut stream, request) = acceptor.accept(stream).await.unwrap();
        assert_eq!((request.target(), request.subprotocol()), ("/mqtt?x", "mqtt"));
        let mut received = vec![0; 100_000];
        stream.read_exact(&mut received).await.unwrap();
        assert!(received == bytes(100_000));
        stream.write_all(&received).await.unwrap();
        stream.flush().await.unwrap();
        assert_eq!(stream.read(&mut received).await.unwrap(), 0, "the client has closed");
        stream.shutdown().await.unwrap();
        client.await.unwrap();
    });
}

fn other_client(address: SocketAddr) {
    let stream = TcpStream::connect(address).unwrap();
    let request = tungstenite::client::ClientRequestBuilder::new(
        format!("ws://{address}/mqtt?x").parse().unwrap(),
    )
    .with_sub_protocol("mqtt");
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();
    socket.send(Message::Binary(bytes(100_000).into())).unwrap();
    let mut received = Vec::new();
    while received.len() < 100_000 {
        received.extend_from_slice(&socket.read().unwrap().into_data());
    }
    assert!(received == bytes(100_000));
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
}

#[test]
fn the_servers_side_tells_others_why_they_are_refused() {
    runtime().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client =
            tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let refused = WebSocketAcceptor::default().accept(stream).await;
        let is_handshake =
            matches!(refused, Err(TransportError::WebSocket(WebSocketError::Handshake { .. })));
        assert!(is_handshake);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    });
}
