//! Real proxies between the client and Mosquitto: each with a password, for every transport.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use noctule_client::Client;
use noctule_client::transport::{Proxy, TlsClient};

use crate::authority::Authority;
use crate::conversation::{FAR, RUNS, SLOW, refused, speak};
use crate::mosquitto::Mosquitto;
use crate::program::{Folder, Running, find, free_address};

const START_LIMIT: Duration = Duration::from_secs(20);

/// A proxy that lets `me` in, with the password `pass`.
struct RealProxy {
    address: SocketAddr,
    _running: Running,
    _folder: Folder,
}

impl RealProxy {
    /// An HTTP proxy.
    fn tinyproxy() -> Option<Self> {
        let (program, folder, address) = (find("tinyproxy")?, Folder::new(), free_address());
        let config = format!(
            "Port {}\nListen 127.0.0.1\nBasicAuth me pass\nMaxClients 50\nTimeout 60\n",
            address.port()
        );
        let config = folder.write("tinyproxy.conf", &config);
        let mut command = Command::new(program);
        command.arg("-d").arg("-c").arg(config);
        Some(Self::start(&mut command, folder, address))
    }

    /// A SOCKS5 proxy.
    fn microsocks() -> Option<Self> {
        let (program, folder, address) = (find("microsocks")?, Folder::new(), free_address());
        let mut command = Command::new(program);
        command.args(["-i", "127.0.0.1", "-p", &address.port().to_string()]);
        command.args(["-u", "me", "-P", "pass"]);
        Some(Self::start(&mut command, folder, address))
    }

    fn start(command: &mut Command, folder: Folder, address: SocketAddr) -> Self {
        let running = Running::start(command.current_dir(folder.path()), &[address], START_LIMIT);
        Self { address, _running: running, _folder: folder }
    }

    fn proxy(&self, scheme: &str, password: &str) -> Proxy {
        format!("{scheme}://me:{password}@{}", self.address).parse().unwrap()
    }
}

/// Speaks through `proxy` over TCP, TLS, WebSocket and both.
async fn speak_through(proxy: &Proxy) {
    let authority = Authority::new("Plant");
    let identity = authority.server("localhost");
    let servers = [
        ("mqtt", Mosquitto::open("")),
        ("ws", Mosquitto::open("protocol websockets")),
        ("mqtts", Mosquitto::with_tls(&identity, "")),
        ("wss", Mosquitto::with_tls(&identity, "protocol websockets")),
    ];
    let tls = TlsClient::builder().roots_pem(authority.pem()).build().unwrap();
    for (scheme, server) in servers {
        let Some(server) = server else { return };
        for run in RUNS {
            let client = Client::builder(server.url(scheme)).proxy(proxy.clone());
            let client =
                if ["mqtts", "wss"].contains(&scheme) { client.tls(tls.clone()) } else { client };
            speak(run, client, if scheme.starts_with("ws") { SLOW } else { FAR }).await;
        }
    }
}

#[tokio::test]
async fn an_http_proxy_opens_tunnels_for_every_transport() {
    let Some(proxy) = RealProxy::tinyproxy() else { return };
    speak_through(&proxy.proxy("http", "pass")).await;
}

#[tokio::test]
async fn a_socks_proxy_opens_tunnels_for_every_transport() {
    let Some(proxy) = RealProxy::microsocks() else { return };
    for scheme in ["socks5", "socks5h"] {
        speak_through(&proxy.proxy(scheme, "pass")).await;
    }
}

#[tokio::test]
async fn an_http_proxy_says_why_it_refuses() {
    let Some(proxy) = RealProxy::tinyproxy() else { return };
    let nobody = free_address();
    let client = || Client::builder(format!("mqtt://{nobody}"));
    for error in refused(|| client().proxy(proxy.proxy("http", "guess"))).await {
        assert!(
            error.contains("401") && error.contains("check the user name and the password"),
            "{error}"
        );
        assert!(!error.contains("guess"), "{error}");
    }
    for error in refused(|| client().proxy(proxy.proxy("http", "pass"))).await {
        assert!(error.contains("500") && error.contains("cannot reach the server"), "{error}");
    }
}

#[tokio::test]
async fn a_socks_proxy_says_why_it_refuses() {
    let Some(proxy) = RealProxy::microsocks() else { return };
    let nobody = free_address();
    let client = || Client::builder(format!("mqtt://{nobody}"));
    for error in refused(|| client().proxy(proxy.proxy("socks5h", "guess"))).await {
        assert!(error.contains("password") || error.contains("credentials"), "{error}");
        assert!(!error.contains("guess"), "{error}");
    }
    for error in refused(|| client().proxy(proxy.proxy("socks5", "pass"))).await {
        assert!(error.contains("refused"), "{error}");
    }
}
