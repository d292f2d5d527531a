//! Proxies: those that open a tunnel for every kind of connection, and those that do not.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use noctule_transport::{DialerBuilder, Proxy, ProxyError, Stage, TlsClient, TransportError, Url};

use crate::authority::Authority;
use crate::conversation::{on_both, refused_by_both};
use crate::server::{drip, echo_server, serve, silent_server, tls_echo_server, tls_server};
use crate::tunnel::{HttpProxy, Known, SocksProxy};
use crate::websocket::websocket_echo;

/// Servers of every kind, all with one certificate, and what reaches them.
struct Servers {
    authority: Authority,
    urls: [String; 4],
}

impl Servers {
    fn start() -> Self {
        let authority = Authority::new();
        let tls = authority.server().server().build().unwrap();
        let ports = [
            echo_server().port(),
            tls_echo_server(tls.clone()).port(),
            serve(|mut stream| websocket_echo(&mut stream)).port(),
            tls_server(tls, |stream| websocket_echo(stream)).port(),
        ];
        let schemes = ["mqtt", "mqtts", "ws", "wss"];
        let urls = std::array::from_fn(|n| format!("{}://localhost:{}", schemes[n], ports[n]));
        Self { authority, urls }
    }

    fn tls(&self) -> TlsClient {
        crate::by::tls().roots_pem(self.authority.pem()).build().unwrap()
    }

    fn dialers(&self) -> impl Iterator<Item = DialerBuilder> {
        self.urls.iter().map(|url| {
            let url: Url = url.parse().unwrap();
            let is_tls = url.scheme().is_tls();
            let dialer = DialerBuilder::new(url);
            if is_tls { dialer.tls(self.tls()) } else { dialer }
        })
    }
}

fn proxy(text: &str) -> Proxy {
    text.parse().unwrap()
}

#[test]
fn every_kind_of_connection_goes_through_every_kind_of_proxy() {
    let servers = Servers::start();
    let credentials = Some(Known { user: "me", password: "pass:word" });
    let known = "me:pass%3Aword";
    let http = HttpProxy::start(credentials, None);
    let tls = servers.authority.server().server().build().unwrap();
    let https = HttpProxy::start(credentials, Some(tls));
    let socks = SocksProxy::start(credentials);
    for dialer in servers.dialers() {
        for url in [
            format!("http://{known}@{}", http.address),
            format!("https://{known}@localhost:{}", https.address.port()),
            format!("socks5://{known}@{}", socks.address),
            format!("socks5h://{known}@{}", socks.address),
        ] {
            let dialer = dialer.clone().proxy(proxy(&url));
            let is_tls = url.starts_with("https");
            let dialer = if is_tls { dialer.proxy_tls(servers.tls()) } else { dialer };
            on_both(&dialer, |outcome| {
                let info = outcome.unwrap();
                let port = info.peer_address.unwrap().port();
                let ports = [http.address.port(), https.address.port(), socks.address.port()];
                assert!(ports.contains(&port));
            });
        }
    }
}

#[test]
fn the_proxy_gets_a_name_or_an_address() {
    let port = echo_server().port();
    let dialer = |scheme: &str, socks: &SocksProxy| {
        let url: Url = format!("mqtt://localhost:{port}").parse().unwrap();
        DialerBuilder::new(url).proxy(proxy(&format!("{scheme}://{}", socks.address)))
    };
    let socks = SocksProxy::start(None);
    on_both(&dialer("socks5h", &socks), |outcome| drop(outcome.unwrap()));
    assert_eq!(socks.asked(), ["localhost", "localhost"]);
    // If localhost has two addresses, the one where nobody listens may be asked for first.
    let socks = SocksProxy::start(None);
    on_both(&dialer("socks5", &socks), |outcome| drop(outcome.unwrap()));
    assert!(socks.asked().iter().all(|host| ["127.0.0.1", "::1"].contains(&host.as_str())));
}

fn through(url: &str) -> DialerBuilder {
    DialerBuilder::new("mqtt://broker.invalid:1883".parse::<Url>().unwrap()).proxy(proxy(url))
}

#[track_caller]
fn check_refused(url: &str, expected: &ProxyError) -> String {
    refused_by_both(&through(url), |error| {
        let TransportError::Proxy { source, .. } = error else { panic!("{error:?}") };
        assert_eq!(source, expected);
    })
}

#[test]
fn missing_and_wrong_credentials_are_told_apart() {
    let known = Some(Known { user: "me", password: "right" });
    let http = HttpProxy::start(known, None).address;
    let refused =
        ProxyError::Refused { status: 407, reason: "Proxy Authentication Required".into() };
    for credentials in ["", "me:wrong@"] {
        let text = check_refused(&format!("http://{credentials}{http}"), &refused);
        let start = format!("the proxy {http} refused the tunnel: 407 Proxy Authentication");
        assert!(text.starts_with(&start), "{text}");
        assert!(!text.contains("wrong"), "{text}");
    }
    let socks = SocksProxy::start(known).address;
    let text = check_refused(&format!("socks5h://me:wrong@{socks}"), &ProxyError::Credentials);
    assert_eq!(text, format!("the proxy {socks} refuses the user name or the password"));
    let text = refused_by_both(&through(&format!("socks5h://{socks}")), |_| {});
    assert!(text.contains("accepts none of our ways to authenticate: give it a user"), "{text}");
}

#[test]
fn a_server_that_the_proxy_cannot_reach_is_told() {
    let http = HttpProxy::start(None, None).address;
    let refused = ProxyError::Refused { status: 502, reason: "Bad Gateway".into() };
    let text = check_refused(&format!("http://{http}"), &refused);
    assert!(text.ends_with("502 Bad Gateway; it cannot reach the server"), "{text}");
    let socks = SocksProxy::start(None).address;
    let text = refused_by_both(&through(&format!("socks5h://{socks}")), |_| {});
    assert!(
        text.ends_with("cannot open the tunnel: the host cannot be reached (code 4)"),
        "{text}"
    );
}

#[test]
fn all_addresses_are_asked_for_before_socks_gives_up() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let socks = SocksProxy::start(None);
    let url: Url = format!("mqtt://localhost:{port}").parse().unwrap();
    let dialer = DialerBuilder::new(url).proxy(proxy(&format!("socks5://{}", socks.address)));
    let text = refused_by_both(&dialer, |_| {});
    assert!(text.contains("cannot open the tunnel: "), "{text}");
    let addresses = std::net::ToSocketAddrs::to_socket_addrs(&("localhost", port)).unwrap();
    let distinct: std::collections::BTreeSet<SocketAddr> = addresses.collect();
    assert_eq!(socks.asked().len(), 2 * distinct.len());
}

/// A proxy that reads once, answers, and then listens without a word.
fn answering(answer: &'static [u8]) -> SocketAddr {
    serve(move |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(answer);
        let _ = io::copy(&mut stream, &mut io::sink());
    })
}

#[test]
fn garbage_is_no_answer() {
    check_refused(&format!("http://{}", answering(b"\x05\x00")), &ProxyError::NotHttp);
    check_refused(
        &format!("http://{}", answering(b"HTTP/1.1 200 OK\r\n\r\n\x20\x02")),
        &ProxyError::EarlyBytes,
    );
    let socks = |answer| format!("socks5h://{}", answering(answer));
    let problem = "its version is not 5";
    check_refused(&socks(b"HTTP/1.1 400 Bad Request"), &ProxyError::NotSocks { problem });
    check_refused(&socks(b"\x05\x00\x05\x00\x00\x01"), &ProxyError::EarlyBytes);
}

#[test]
fn an_answer_without_an_end_is_given_up() {
    let address = serve(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-More: and more, and more, and more\r\n").is_ok() {}
    });
    let limit = 16 * 1024;
    check_refused(&format!("http://{address}"), &ProxyError::HeadTooLong { limit });
}

#[test]
fn a_proxy_that_hangs_up_is_told() {
    let address = serve(|mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = io::copy(&mut stream, &mut io::sink());
    });
    for scheme in ["http", "socks5h"] {
        let text = refused_by_both(&through(&format!("{scheme}://{address}")), |error| {
            let is_proxy = matches!(error, TransportError::Broken { stage: Stage::Proxy, .. });
            assert!(is_proxy, "{error:?}");
        });
        assert!(text.starts_with("the connection broke while waiting for the proxy's"), "{text}");
    }
}

#[test]
fn a_proxy_that_drips_or_is_silent_times_out() {
    let http = serve(|stream| drip(stream, b"HTTP/1.1 200 OK\r\nX-Slow: very"));
    let socks = serve(|stream| drip(stream, b"\x05"));
    for (url, stage) in [
        (format!("http://{http}"), Stage::Proxy),
        (format!("http://{}", silent_server()), Stage::Proxy),
        (format!("https://{}", silent_server()), Stage::ProxyTls),
        (format!("socks5h://{}", silent_server()), Stage::Proxy),
        (format!("socks5h://{socks}"), Stage::Proxy),
    ] {
        let dialer = through(&url).connect_timeout(Duration::from_millis(100));
        let outcomes = Mutex::new(Vec::new());
        refused_by_both(&dialer, |error| outcomes.lock().unwrap().push(format!("{error:?}")));
        for outcome in outcomes.into_inner().unwrap() {
            // A drip of version bytes is soon a method that nobody offered.
            let is_expected = outcome.contains(&format!("TimedOut {{ stage: {stage:?}"))
                || (url == format!("socks5h://{socks}") && outcome.contains("NotSocks"));
            assert!(is_expected, "{url} {outcome}");
        }
    }
}

#[test]
fn a_proxy_that_is_not_there_or_not_trusted_is_named() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = refused_by_both(&through(&format!("http://{address}")), |_| {});
    assert!(text.starts_with(&format!("cannot connect to {address}: ")), "{text}");
    let authority = Authority::new();
    let tls = authority.server().server().build().unwrap();
    let proxy = HttpProxy::start(None, Some(tls));
    let url = format!("https://localhost:{}", proxy.address.port());
    let text = refused_by_both(&through(&url), |error| {
        assert!(matches!(error, TransportError::Tls(_)), "{error:?}");
    });
    assert!(text.contains("the certificate of localhost is signed by no authority"), "{text}");
}

#[test]
fn nothing_is_asked_of_a_proxy_beyond_the_tunnel() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let for_proxy = Arc::clone(&heard);
    let address = serve(move |mut stream| {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).unwrap_or(0);
        for_proxy.lock().unwrap().push(request[..length].to_vec());
        let _ = stream.write_all(b"HTTP/1.1 500 No\r\n\r\n");
    });
    refused_by_both(&through(&format!("http://{address}")), |_| {});
    let expected =
        b"CONNECT broker.invalid:1883 HTTP/1.1\r\nHost: broker.invalid:1883\r\n\r\n".to_vec();
    assert_eq!(*heard.lock().unwrap(), [expected.clone(), expected]);
}
