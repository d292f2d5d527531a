//! Mosquitto over every transport.

use noctule_client::Client;
use noctule_client::transport::TlsClient;

use crate::authority::Authority;
use crate::conversation::{FAR, SLOW, converse, refused};
use crate::mosquitto::{Mosquitto, PASSWORD, USER};
use crate::program::Folder;

fn trusting(authority: &Authority) -> TlsClient {
    TlsClient::builder().roots_pem(authority.pem()).build().unwrap()
}

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_does_not() {
    let Some(server) = Mosquitto::with_password("") else { return };
    let client = || Client::builder(server.url("mqtt"));
    converse(FAR, || client().credentials(USER, PASSWORD)).await;
    converse(FAR, || {
        Client::builder(format!("mqtt://berta:hush%20%2F%20%40%20100%25@{}", server.address))
    })
    .await;
    for error in refused(|| client().credentials(USER, "wrong")).await {
        assert!(error.contains("not authorized"), "{error}");
        assert!(!error.contains("wrong"), "{error}");
    }
    for error in refused(client).await {
        assert!(error.contains("not authorized"), "{error}");
    }
}

#[tokio::test]
async fn tls_is_for_servers_that_are_known() {
    let authority = Authority::new("Plant");
    let Some(server) = Mosquitto::with_tls(&authority.server("localhost"), "") else { return };
    let client = || Client::builder(server.url("mqtts"));
    converse(FAR, || client().tls(trusting(&authority))).await;
    let roots = server.folder.write("roots.pem", &authority.pem());
    let from_file = TlsClient::builder().roots_file(roots).build().unwrap();
    converse(FAR, || client().tls(from_file.clone())).await;
    let stranger = trusting(&Authority::new("Stranger"));
    for error in refused(|| client().tls(stranger.clone())).await {
        assert!(error.contains("no authority that is trusted"), "{error}");
    }
    let by_address = || Client::builder(format!("mqtts://{}", server.address));
    for error in refused(|| by_address().tls(trusting(&authority))).await {
        assert!(error.contains("127.0.0.1") && error.contains("localhost"), "{error}");
    }
}

/// The server takes the name in the certificate for the user's, and only lets that one publish.
#[tokio::test]
async fn a_client_shows_a_certificate() {
    let (authority, folder) = (Authority::new("Plant"), Folder::new());
    let (server, device) = (authority.server("localhost"), authority.client("device-7"));
    folder.write("server.pem", &server.certificate);
    folder.write("server.key", &server.key);
    folder.write("authority.pem", &authority.pem());
    folder.write("rights", "user device-7\ntopic readwrite interop/#\n");
    let certificate = folder.write("device.pem", &device.certificate);
    let key = folder.write("device.key", &device.key);
    let options = "certfile server.pem\nkeyfile server.key\ncafile authority.pem\n\
        require_certificate true\nuse_identity_as_username true\nacl_file rights";
    let Some(server) = Mosquitto::start(folder, options) else { return };
    let client = |tls: &TlsClient| Client::builder(server.url("mqtts")).tls(tls.clone());
    let roots = || TlsClient::builder().roots_pem(authority.pem());
    let from_memory = roots().client_certificate_pem(device.certificate, device.key);
    let from_memory = from_memory.build().unwrap();
    converse(FAR, || client(&from_memory)).await;
    let from_files = roots().client_certificate_files(certificate, key).build().unwrap();
    converse(FAR, || client(&from_files)).await;
    let without = roots().build().unwrap();
    for error in refused(|| client(&without)).await {
        // TLS 1.3 only tells when the handshake is over for the client.
        assert!(error.contains("certificate") || error.contains("broke"), "{error}");
    }
}

#[tokio::test]
async fn websocket_carries_packets_of_every_size() {
    let Some(server) = Mosquitto::open("protocol websockets") else { return };
    converse(SLOW, || Client::builder(server.url("ws"))).await;
    // What is no HTTP is given up, not waited for.
    refused(|| Client::builder(server.url("mqtt"))).await;
}

#[tokio::test]
async fn websocket_goes_through_tls() {
    let authority = Authority::new("Plant");
    let identity = authority.server("localhost");
    let Some(server) = Mosquitto::with_tls(&identity, "protocol websockets") else { return };
    converse(SLOW, || Client::builder(server.url("wss")).tls(trusting(&authority))).await;
    for error in refused(|| Client::builder(server.url("ws"))).await {
        assert!(error.contains("WebSocket"), "{error}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_enough() {
    let folder = Folder::new();
    let socket = folder.path().join("socket");
    let options = format!("allow_anonymous true\nlistener 0 {}", socket.display());
    let Some(_server) = Mosquitto::start(folder, &options) else { return };
    converse(FAR, || Client::builder(format!("unix://{}", socket.display()))).await;
}
