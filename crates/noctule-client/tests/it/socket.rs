//! What a program wants of the sockets, on each that its client connects.

use noctule_client::transport::SocketOptions;

use crate::start::start;
use crate::wire::{CONNACK, Server};

/// The numbers of Linux: `IPPROTO_TCP`, `TCP_MAXSEG`.
const MAXSEG: (i32, i32) = (6, 2);

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_option_by_number_is_set_for_each_connection() {
    let server = Server::new();
    let options = SocketOptions::default().raw(MAXSEG.0, MAXSEG.1, 700);
    let client = start(server.builder().socket(options)).unwrap();
    for _ in 0..3 {
        let stream = server.accept_and_say(&CONNACK).await;
        // What a client takes at most, it tells its server when it connects.
        let largest = socket2::SockRef::from(&stream).tcp_mss().unwrap();
        assert!((1..=700).contains(&largest), "{largest}");
    }
    drop(client);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn an_option_that_does_not_exist_is_named() {
    let builder = noctule_client::Client::builder("127.0.0.1:1")
        .socket(SocketOptions::default().raw(MAXSEG.0, -1, true))
        .reconnect(noctule_client::ReconnectSettings {
            includes_first: false,
            ..noctule_client::ReconnectSettings::default()
        });
    let error = crate::start::connect(builder).await.unwrap_err().to_string();
    assert!(error.contains("the socket option -1 of level 6 is not 1"), "{error}");
}
