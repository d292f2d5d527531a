//! MQTT over WebSocket, with TLS or without:
//! `cargo run --example blocking_websocket [URL [CA.pem]]`, where the URL begins with `ws:` or
//! `wss:`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::Client;
use noctule_client_blocking::transport::{TlsClient, WebSocketOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "ws://localhost/mqtt".to_owned());

    // Headers are for gateways that want a token, for example.
    let options = WebSocketOptions::default().header("X-Greeting", "hello");
    let mut builder = Client::builder(url).websocket(options);
    if let Some(authority) = env::args().nth(2) {
        builder = builder.tls(TlsClient::builder().roots_file(authority).build()?);
    }

    let client = builder.connect()?;
    println!("connected by WebSocket");
    println!("published: {}", client.publish("noctule/websocket", "framed").send()?.wait());
    client.shutdown(Duration::from_secs(5));
    Ok(())
}
