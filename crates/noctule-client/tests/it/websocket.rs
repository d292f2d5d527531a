//! MQTT in WebSocket frames, against a server that cuts them as it likes.

use noctule_client::transport::WebSocketAcceptor;
use noctule_client::{Client, ClientEvent, Version};
use noctule_packet::spec;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::house::soon;
use crate::start::start;

#[tokio::test]
async fn packets_come_in_any_binary_frames_and_in_no_others() {
    spec!("MQTT5-6.0.0-1", "MQTT5-6.0.0-2", "MQTT5-6.0.0-3");
    spec!("MQTT311-6.0.0-1", "MQTT311-6.0.0-2", "MQTT311-6.0.0-3");
    for (version, connack) in
        [(Version::V5_0, &[0x20, 3, 0, 0, 0][..]), (Version::V3_1_1, &[0x20, 2, 0, 0])]
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/mqtt", listener.local_addr().unwrap());
        let client = start(Client::builder(url).client_id("c").version(version)).unwrap();
        let mut events = client.events();
        let (mut socket, _) = soon(listener.accept()).await.unwrap();
        let (mut frames, request) =
            soon(WebSocketAcceptor::default().accept(&mut socket)).await.unwrap();
        assert_eq!(request.subprotocol(), "mqtt");
        assert_eq!(soon(frames.read_u8()).await.unwrap(), 0x10, "a CONNECT");
        for byte in connack {
            // A frame for each byte.
            frames.write_u8(*byte).await.unwrap();
            frames.flush().await.unwrap();
        }
        soon(client.connected()).await.unwrap();
        // What is left unread goes with it; the answer to a ping follows in a text frame.
        drop(frames);
        socket.write_all(b"\x81\x02\xd0\x00").await.unwrap();
        let is_end = |event: &ClientEvent| matches!(event, ClientEvent::Disconnected { .. });
        soon(events.wait_for(is_end)).await.unwrap();
        let end = client.last_end().unwrap().to_string();
        assert!(end.contains("sent a text frame"), "{end}");
    }
}
