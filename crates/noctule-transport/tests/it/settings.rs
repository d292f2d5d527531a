//! Combinations that cannot work are refused before anything is connected, and no secret is shown.

use noctule_transport::blocking::{self, Attempt, BoxedTransport};
use noctule_transport::{
    BoxError, BuildError, ConnectFuture, Connector, DialerBuilder, Pin, Proxy, Scheme,
    SocketOptions, TlsClient, TlsServer, Url, WebSocketOptions,
};

use crate::authority::{Authority, Identity};

struct Own;

impl Connector for Own {
    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async { Err(BoxError::from("not now")) })
    }
}

impl blocking::Connector for Own {
    fn connect(&self, _attempt: &mut Attempt<'_>) -> Result<BoxedTransport, BoxError> {
        Err("not now".into())
    }
}

fn dialer(url: &str) -> DialerBuilder {
    DialerBuilder::new(url.parse::<Url>().unwrap())
}

fn tls() -> TlsClient {
    TlsClient::builder().dangerously_accept_any_certificate().build().unwrap()
}

fn proxy(url: &str) -> Proxy {
    url.parse().unwrap()
}

#[track_caller]
fn conflict(builder: &DialerBuilder, names: [&str; 2]) {
    for error in [builder.build().err(), builder.build_blocking().err()] {
        let Some(BuildError::Conflict { first, second, .. }) = error else { panic!("{error:?}") };
        assert_eq!([first.as_str(), second.as_str()], names);
    }
}

#[test]
fn what_excludes_each_other_is_named() {
    let websocket = WebSocketOptions::default;
    conflict(&dialer("mqtt://h").tls(tls()), ["mqtt://", "tls()"]);
    conflict(&dialer("ws://h").tls(tls()), ["ws://", "tls()"]);
    conflict(&dialer("unix:///s").tls(tls()), ["unix://", "tls()"]);
    conflict(&dialer("mqtts://h").websocket(websocket()), ["mqtts://", "websocket()"]);
    conflict(&dialer("mqtt://h/plant/site"), ["mqtt://", "a path"]);
    conflict(&dialer("unix:///s").proxy(proxy("http://p")), ["unix://", "proxy()"]);
    conflict(&dialer("unix:///s").socket(SocketOptions::default()), ["unix://", "socket()"]);
    let names = ["mqtts+srv://", "proxy()"];
    conflict(&dialer("mqtts+srv://h").proxy(proxy("socks5://p")), names);
    conflict(&dialer("mqtt+srv://h").tls(tls()), ["mqtt+srv://", "tls()"]);
    let names = ["proxy_tls()", "a proxy without TLS"];
    conflict(&dialer("mqtt://h").proxy_tls(tls()), names);
    conflict(&dialer("mqtt://h").proxy(proxy("http://p")).proxy_tls(tls()), names);
}

#[test]
fn an_own_stream_leaves_nothing_unheeded() {
    let of = |url| dialer(url).check_own_stream(&[Scheme::Mqtt, Scheme::Wss]);
    of("mqtt://h").unwrap();
    of("wss://h/plant").unwrap();
    let second = |result: Result<(), BuildError>| match result {
        Err(BuildError::Conflict { second, .. }) => second,
        other => panic!("{other:?}"),
    };
    assert_eq!(second(of("mqtts://h")), "mqtts://");
    assert_eq!(second(of("mqtt+srv://h")), "mqtt+srv://");
    assert_eq!(second(of("mqtt://h/plant")), "a path");
    let plain = || dialer("mqtt://h");
    for (set, name) in [
        (plain().tls(tls()), "tls()"),
        (plain().proxy_tls(tls()), "proxy_tls()"),
        (plain().websocket(WebSocketOptions::default()), "websocket()"),
        (plain().proxy(proxy("http://p")), "proxy()"),
        (plain().socket(SocketOptions::default()), "socket()"),
        (plain().name_servers([]), "name_servers()"),
        (plain().connector(Own), "connector()"),
        (plain().blocking_connector(Own), "blocking_connector()"),
    ] {
        assert_eq!(second(set.check_own_stream(&[Scheme::Mqtt])), name);
    }
}

#[test]
fn an_own_connector_stands_for_all_below_it() {
    let own = |url| dialer(url).connector(Own);
    let names = |error: Option<BuildError>| match error {
        Some(BuildError::Conflict { first, second, .. }) => [first, second],
        other => panic!("{other:?}"),
    };
    let error = own("mqtt://h").proxy(proxy("http://p")).build().err();
    assert_eq!(names(error), ["connector()", "proxy()"]);
    let error = own("mqtt://h").socket(SocketOptions::default()).build().err();
    assert_eq!(names(error), ["connector()", "socket()"]);
    assert_eq!(names(own("unix:///s").build().err()), ["connector()", "unix://"]);
    assert_eq!(names(own("mqtt+srv://h").build().err()), ["connector()", "mqtt+srv://"]);
    let error = own("mqtt://h").build_blocking().err();
    assert_eq!(names(error), ["build_blocking()", "connector()"]);
    let error = dialer("mqtt://h").blocking_connector(Own).build().err();
    assert_eq!(names(error), ["build()", "blocking_connector()"]);
    let hook = WebSocketOptions::default().async_hook(|request| async { Ok(request) });
    let error = dialer("ws://h").websocket(hook).build_blocking().err();
    assert_eq!(names(error), ["build_blocking()", "async_hook()"]);
}

#[test]
fn a_plain_url_can_end_in_a_slash() {
    assert!(dialer("mqtt://h/").build().is_ok());
}

#[test]
fn only_one_setting_decides_about_certificates() {
    let builder = TlsClient::builder;
    let pin = Pin::PublicKey([0; 32]);
    let roots = Authority::new().pem();
    for tls in [
        builder().dangerously_accept_any_certificate().pin(pin),
        builder().dangerously_accept_any_certificate().roots_pem(roots.as_str()),
        builder().pin(pin).pins_replace_roots().roots_pem(roots.as_str()),
        builder().pin(pin).pins_replace_roots().with_system_roots(),
    ] {
        let error = tls.build().unwrap_err();
        assert!(matches!(error, BuildError::Conflict { .. }), "{error:?}");
    }
    for tls in [builder().pins_replace_roots(), builder().alpn([""])] {
        let error = tls.build().unwrap_err();
        assert!(matches!(error, BuildError::Value { .. }), "{error:?}");
    }
}

#[test]
fn wrong_values_are_refused() {
    let websocket = |options| dialer("ws://h").websocket(options).build().err();
    for options in [
        WebSocketOptions::default().subprotocols(["mqtt, amqp"]),
        WebSocketOptions::default().subprotocols(Vec::<String>::new()),
        WebSocketOptions::default().header("A", "b\r\nC: d"),
        WebSocketOptions::default().header("Upgrade", "h2c"),
    ] {
        let error = websocket(options);
        assert!(matches!(error, Some(BuildError::Value { .. })), "{error:?}");
    }
    let named = TlsClient::builder().dangerously_accept_any_certificate().server_name("a b");
    assert!(matches!(named.build(), Err(BuildError::Value { setting: "server_name", .. })));
    let nobody = dialer("mqtt+srv://h").name_servers([]).build();
    assert!(matches!(nobody, Err(BuildError::Value { setting: "name_servers", .. })));
    let long = dialer("mqtt://h").proxy(proxy(&format!("socks5://{}:p@h", "u".repeat(256))));
    assert!(matches!(long.build(), Err(BuildError::Value { setting: "proxy", .. })));
}

/// The text with which a client certificate is refused.
fn refused(certificate: &str, key: &str) -> String {
    let tls = TlsClient::builder().dangerously_accept_any_certificate();
    let error = tls.client_certificate_pem(certificate, key).build().unwrap_err();
    let text = format!("{error} {error:?}");
    for line in key.lines().filter(|line| line.len() > 20 && !line.contains("---")) {
        assert!(!text.contains(line), "{text}");
    }
    error.to_string()
}

#[test]
fn files_and_keys_that_cannot_be_used_are_explained() {
    let missing = TlsClient::builder().roots_file("/no/such/ca.pem").build().unwrap_err();
    let text = missing.to_string();
    assert!(text.starts_with("cannot read \"/no/such/ca.pem\" for the trusted roots: "), "{text}");
    let empty = TlsClient::builder().roots_pem("nothing").build().unwrap_err().to_string();
    assert!(empty.contains("holds no certificate (-----BEGIN CERTIFICATE-----)"), "{empty}");

    let Identity { certificate, key, .. } = Identity::self_signed(&["a"], false);
    assert!(refused("", &key).contains("holds no certificate"));
    assert!(refused(&certificate, &certificate).contains("holds no private key"));
    let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    assert!(refused(&certificate, &encrypted).contains("is encrypted: decrypt it first"));
    let cut = key.replacen("MI", "M!", 1);
    assert!(refused(&certificate, &cut).contains("is no PEM"), "{}", refused(&certificate, &cut));
    let other = Identity::self_signed(&["a"], false);
    let text = refused(&certificate, &other.key);
    assert!(text.starts_with("TLS refuses the client certificate with its key: "), "{text}");
}

#[test]
fn a_server_has_its_own_checks() {
    let Identity { certificate, key, .. } = Identity::self_signed(&["a"], false);
    let server = || TlsServer::pem(certificate.as_str(), key.as_str());
    assert!(server().build().is_ok());
    assert!(server().client_certificates_optional().build().is_err());
    assert!(TlsServer::pem("", key.as_str()).build().is_err());
}

#[test]
fn no_debug_text_shows_a_secret() {
    let Identity { certificate, key, .. } = Identity::self_signed(&["a"], false);
    let tls = TlsClient::builder()
        .dangerously_accept_any_certificate()
        .client_certificate_pem(certificate.as_str(), key.as_str());
    let server = TlsServer::pem(certificate.as_str(), key.as_str());
    let options = WebSocketOptions::default().header("Authorization", "sesame");
    let dialer = dialer("wss://me:sesame@h/?sesame")
        .tls(tls.build().unwrap())
        .websocket(options.clone())
        .proxy(proxy("http://me:sesame@p"));
    let built = server.build().unwrap();
    let text = format!(
        "{tls:?} {:?} {server:?} {built:?} {options:?} {dialer:?} {:?} {:?}",
        tls.build().unwrap(),
        dialer.build().unwrap(),
        dialer.build_blocking().unwrap(),
    );
    assert!(!text.contains("sesame"), "{text}");
    let key_line = key.lines().nth(1).unwrap();
    assert!(!text.contains(key_line), "{text}");
}
