//! TLS: who is trusted, who is not, and what the user is told.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use noctule_transport::{DialerBuilder, Stage, TlsBuilder, TlsError, TransportError, Url};
use tokio::io::AsyncReadExt;

use crate::authority::{Authority, Identity};
use crate::by;
use crate::conversation::{FRONTS, Front, bytes, dial, on_both, refused_by_both, runtime};
use crate::server::{serve, silent_server, tls_echo_server};

pub(crate) fn dialer(host: &str, address: SocketAddr, tls: &TlsBuilder) -> DialerBuilder {
    let url: Url = format!("mqtts://{host}:{}", address.port()).parse().unwrap();
    DialerBuilder::new(url).tls(tls.build().unwrap())
}

pub(crate) fn trusting(authority: &Authority) -> TlsBuilder {
    by::tls().roots_pem(authority.pem())
}

/// The text with which both refuse the server's certificate.
#[track_caller]
pub(crate) fn certificate_refused(identity: &Identity, tls: &TlsBuilder) -> String {
    let address = tls_echo_server(identity.server().build().unwrap());
    refused_by_both(&dialer("localhost", address, tls), |error| {
        let is_certificate = match error {
            TransportError::Tls(TlsError::Certificate { .. }) => by::TELLS,
            TransportError::Tls(TlsError::Failed { .. }) => !by::TELLS,
            _ => false,
        };
        assert!(is_certificate, "{error:?}");
    })
}

/// Demands our own words, if it is for us to choose them.
#[track_caller]
fn told(text: &str, is_right: impl Fn(&str) -> bool) {
    assert!(!text.is_empty() && (!by::TELLS || is_right(text)), "{text}");
}

#[test]
fn bytes_go_there_and_back() {
    let authority = Authority::new();
    let address = tls_echo_server(authority.server().server().build().unwrap());
    for host in ["localhost", "127.0.0.1"] {
        on_both(&dialer(host, address, &trusting(&authority)), |outcome| {
            let tls = outcome.unwrap().tls.unwrap();
            assert_eq!(tls.version.as_deref(), by::TELLS.then_some("TLSv1_3"));
            let is_modern = |suite: &str| suite.starts_with("TLS13_");
            assert_eq!(tls.cipher_suite.as_deref().is_some_and(is_modern), by::TELLS);
            assert_eq!(tls.alpn, None);
        });
    }
}

#[test]
fn both_sides_can_write_a_lot_at_once() {
    let authority = Authority::new();
    let address = tls_echo_server(authority.server().server().build().unwrap());
    let dialer = dialer("localhost", address, &trusting(&authority));
    for front in FRONTS {
        front.converse(&dialer, &bytes(3_000_000)).unwrap();
    }
}

#[test]
fn a_stranger_is_not_trusted() {
    let text = certificate_refused(&Authority::new().server(), &trusting(&Authority::new()));
    told(&text, |text| {
        text == "the certificate of localhost is signed by no authority that is trusted here: give \
                 the certificate of its authority as a trusted root (a CA file)"
    });
    let same_name = || Authority::named("Our plant");
    let text = certificate_refused(&same_name().server(), &trusting(&same_name()));
    told(&text, |text| text.contains("is signed with another key than that of the authority"));
    let system = by::tls();
    let text = certificate_refused(&Authority::new().server(), &system);
    told(&text, |text| text.contains("signed by no authority"));
}

#[test]
fn a_certificate_has_its_time() {
    let authority = Authority::new();
    let with_time = |from: i32, to: i32| {
        authority.sign(&["localhost"], |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 2, 3);
        })
    };
    let text = certificate_refused(&with_time(2001, 2002), &trusting(&authority));
    let start = "the certificate of localhost expired on 2002-02-03 (";
    told(&text, |text| text.starts_with(start) && text.contains("days ago): renew it"));
    let text = certificate_refused(&with_time(3001, 3002), &trusting(&authority));
    let start = "the certificate of localhost is not valid before 3001-01-01, and here it is 2";
    told(&text, |text| text.starts_with(start));
}

#[test]
fn a_certificate_is_for_its_names() {
    let authority = Authority::new();
    let identity = authority.sign(&["broker.example", "*.plant.example", "10.0.0.1"], |_| {});
    let text = certificate_refused(&identity, &trusting(&authority));
    told(&text, |text| {
        text == "the certificate of localhost is not for localhost but for broker.example, \
                 *.plant.example, 10.0.0.1: connect by one of its names, or set server_name"
    });
    let address = tls_echo_server(identity.server().build().unwrap());
    let renamed = trusting(&authority).server_name("site.plant.example");
    on_both(&dialer("localhost", address, &renamed), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn application_protocols_are_agreed_on() {
    let authority = Authority::new();
    let server = authority.server().server().alpn(["mqtt", "x-other"]).build().unwrap();
    let address = tls_echo_server(server);
    let tls = trusting(&authority).alpn(["x-other", "unknown"]);
    on_both(&dialer("localhost", address, &tls), |outcome| {
        assert_eq!(outcome.unwrap().tls.unwrap().alpn.as_deref(), Some(&b"x-other"[..]));
    });
    let tls = trusting(&authority).alpn(["unknown"]);
    let text = refused_by_both(&dialer("localhost", address, &tls), |_| {});
    told(&text, |text| text.ends_with(": it has none of the offered ALPN protocols"));
}

#[test]
fn a_client_shows_its_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server().server().client_roots_pem(clients.pem()).build().unwrap();
    let address = tls_echo_server(server);
    let Identity { certificate, key, .. } = clients.client();
    let tls = trusting(&authority).client_certificate_pem(certificate.as_str(), key.as_str());
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
    for tls in [
        trusting(&authority),
        trusting(&authority)
            .client_certificate_pem(Authority::new().client().certificate, key.as_str()),
    ] {
        // The second has a key that does not belong to its certificate.
        let Ok(client) = tls.build() else { continue };
        for front in FRONTS {
            let url: Url = format!("mqtts://localhost:{}", address.port()).parse().unwrap();
            let dialer = DialerBuilder::new(url).tls(client.clone());
            let error = first_read(front, &dialer).unwrap_err();
            told(&ended_by(&error), |text| text.ends_with(": it wants a client certificate"));
        }
    }
}

#[test]
fn a_client_keeps_its_certificate_from_those_who_are_not_to_see_it() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server().server().client_roots_pem(clients.pem()).build().unwrap();
    let address = tls_echo_server(server);
    let Identity { certificate, key, .. } = clients.client();
    let tls = trusting(&authority).client_certificate_pem(certificate.as_str(), key.as_str());
    let dialer = dialer("localhost", address, &tls);
    on_both(&dialer, |outcome| {
        outcome.unwrap();
    });
    for front in FRONTS {
        let error = first_read(front, &dialer.clone().without_credentials()).unwrap_err();
        told(&ended_by(&error), |text| text.ends_with(": it wants a client certificate"));
    }
}

fn ended_by(error: &io::Error) -> String {
    let known = TlsError::from_io(error, "localhost");
    known.map_or_else(|| error.to_string(), |error| error.to_string())
}

/// With TLS 1.3 the server's judgement comes after the handshake.
fn first_read(front: Front, dialer: &DialerBuilder) -> io::Result<usize> {
    let mut buffer = [0];
    match front {
        Front::Tokio => runtime().block_on(async {
            let mut connected = dialer.build().unwrap().dial().await.unwrap();
            connected.stream.read(&mut buffer).await
        }),
        Front::Thread => {
            let mut waiter = noctule_transport::blocking::Waiter::new().unwrap();
            let mut connected = dial(dialer, &mut waiter).unwrap();
            loop {
                match connected.stream.read(&mut buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        waiter.wait(Some(Duration::from_secs(10))).unwrap();
                    }
                    result => return result,
                }
            }
        }
    }
}

#[test]
fn a_server_may_ask_for_certificates_without_demanding_them() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server().server().client_roots_pem(clients.pem());
    let server = server.client_certificates_optional().build().unwrap();
    let address = tls_echo_server(server);
    on_both(&dialer("localhost", address, &trusting(&authority)), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn everybody_is_accepted_only_if_the_user_says_so_loudly() {
    let identity = Identity::self_signed(&["somewhere.else"], false);
    let address = tls_echo_server(identity.server().build().unwrap());
    let tls = by::tls().dangerously_accept_any_certificate();
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn a_server_without_tls_is_told_apart() {
    let authority = Authority::new();
    for (answer, expected) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "does not speak TLS: check the port"),
        (b"\x20\x02\x00\x05", "does not speak TLS: check the port"),
        (b"", "closed the connection in the TLS handshake"),
    ] {
        let address = serve(move |mut stream| {
            let mut start = [0; 64];
            let _ = stream.read(&mut start);
            let _ = stream.write_all(answer);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = io::copy(&mut stream, &mut io::sink());
        });
        let text = refused_by_both(&dialer("localhost", address, &trusting(&authority)), |_| {});
        told(&text, |text| text.contains(expected));
    }
}

#[test]
fn a_handshake_that_never_ends_times_out() {
    let address = silent_server();
    let dialer = dialer("127.0.0.1", address, &trusting(&Authority::new()));
    refused_by_both(&dialer.connect_timeout(Duration::from_millis(100)), |error| {
        let is_tls = matches!(error, TransportError::TimedOut { stage: Stage::Tls, .. });
        assert!(is_tls, "{error:?}");
    });
}

#[test]
fn old_versions_can_be_refused() {
    let authority = Authority::new();
    let server = authority.server().server().tls13_only().build().unwrap();
    let address = tls_echo_server(server);
    on_both(&dialer("localhost", address, &trusting(&authority).tls13_only()), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn certificates_and_keys_come_from_files_too() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let (server, client) = (authority.server(), clients.client());
    let folder = std::env::temp_dir().join(format!("noctule-tls-{}", std::process::id()));
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let server = noctule_transport::TlsServer::files(
        file("server.pem", &server.certificate),
        file("server.key", &server.key),
    );
    let server = server.client_roots_file(file("clients.pem", &clients.pem())).build().unwrap();
    let address = tls_echo_server(server);
    let tls = by::tls().roots_file(file("ca.pem", &authority.pem())).client_certificate_files(
        file("client.pem", &client.certificate),
        file("client.key", &client.key),
    );
    let dialer = dialer("localhost", address, &tls);
    std::fs::remove_dir_all(&folder).unwrap();
    on_both(&dialer, |outcome| {
        outcome.unwrap();
    });
}
