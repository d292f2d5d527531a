//! TLS: who is trusted, who is not, and what the user is told.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use noctule_transport::{
    DialerBuilder, Pin, Stage, TlsBuilder, TlsClient, TlsError, TransportError, Url,
};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::AsyncReadExt;

use crate::authority::{Authority, Identity};
use crate::conversation::{FRONTS, Front, bytes, dial, on_both, refused_by_both, runtime};
use crate::server::{serve, silent_server, tls_echo_server};

fn dialer(host: &str, address: SocketAddr, tls: &TlsBuilder) -> DialerBuilder {
    let url: Url = format!("mqtts://{host}:{}", address.port()).parse().unwrap();
    DialerBuilder::new(url).tls(tls.build().unwrap())
}

fn trusting(authority: &Authority) -> TlsBuilder {
    TlsClient::builder().roots_pem(authority.pem())
}

/// The text with which both refuse the server's certificate.
#[track_caller]
fn certificate_refused(identity: &Identity, tls: &TlsBuilder) -> String {
    let address = tls_echo_server(identity.server().build().unwrap());
    refused_by_both(&dialer("localhost", address, tls), |error| {
        let is_certificate = matches!(error, TransportError::Tls(TlsError::Certificate { .. }));
        assert!(is_certificate, "{error:?}");
    })
}

#[test]
fn bytes_go_there_and_back() {
    let authority = Authority::new();
    let address = tls_echo_server(authority.server().server().build().unwrap());
    for host in ["localhost", "127.0.0.1"] {
        on_both(&dialer(host, address, &trusting(&authority)), |outcome| {
            let tls = outcome.unwrap().tls.unwrap();
            assert_eq!(tls.version.as_deref(), Some("TLSv1_3"));
            assert!(tls.cipher_suite.unwrap().starts_with("TLS13_"));
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
    assert_eq!(
        text,
        "the certificate of localhost is signed by no authority that is trusted here: give the \
         certificate of its authority as a trusted root (a CA file)"
    );
    let same_name = || Authority::named("Our plant");
    let text = certificate_refused(&same_name().server(), &trusting(&same_name()));
    assert!(text.contains("is signed with another key than that of the authority"), "{text}");
    let system = TlsClient::builder();
    let text = certificate_refused(&Authority::new().server(), &system);
    assert!(text.contains("signed by no authority"), "{text}");
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
    assert!(text.starts_with(start) && text.contains("days ago): renew it"), "{text}");
    let text = certificate_refused(&with_time(3001, 3002), &trusting(&authority));
    let start = "the certificate of localhost is not valid before 3001-01-01, and here it is 2";
    assert!(text.starts_with(start), "{text}");
}

#[test]
fn a_certificate_is_for_its_names() {
    let authority = Authority::new();
    let identity = authority.sign(&["broker.example", "*.plant.example", "10.0.0.1"], |_| {});
    let text = certificate_refused(&identity, &trusting(&authority));
    assert_eq!(
        text,
        "the certificate of localhost is not for localhost but for broker.example, \
         *.plant.example, 10.0.0.1: connect by one of its names, or set server_name"
    );
    let address = tls_echo_server(identity.server().build().unwrap());
    let renamed = trusting(&authority).server_name("site.plant.example");
    on_both(&dialer("localhost", address, &renamed), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn an_authority_is_no_server() {
    let identity = Identity::self_signed(&["localhost"], true);
    let tls = TlsClient::builder().roots_pem(identity.certificate.as_str());
    let text = certificate_refused(&identity, &tls);
    let start = "the certificate of localhost is that of an authority (CA:TRUE), which no server";
    assert!(text.starts_with(start), "{text}");
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
    assert!(text.ends_with(": it has none of the offered ALPN protocols"), "{text}");
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
            let error = TlsError::from_io(&error, "localhost").unwrap().to_string();
            assert!(error.ends_with(": it wants a client certificate"), "{error}");
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
        let error = TlsError::from_io(&error, "localhost").unwrap().to_string();
        assert!(error.ends_with(": it wants a client certificate"), "{error}");
    }
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
fn a_pin_is_demanded_beside_the_roots() {
    let authority = Authority::new();
    let identity = authority.server();
    let wrong = trusting(&authority).pin(Pin::PublicKey([7; 32]));
    let text = certificate_refused(&identity, &wrong);
    // The error shows what could be pinned.
    let shown = |start: &str| {
        let rest = text.split_once(start).unwrap().1;
        rest.split(' ').next().unwrap().parse::<Pin>().unwrap()
    };
    let address = tls_echo_server(identity.server().build().unwrap());
    for pin in [shown("has the pin "), shown("the fingerprint ")] {
        let tls = trusting(&authority).pin(Pin::Certificate([1; 32])).pin(pin);
        on_both(&dialer("localhost", address, &tls), |outcome| {
            outcome.unwrap();
        });
        let stranger = TlsClient::builder().roots_pem(Authority::new().pem()).pin(pin);
        let text = refused_by_both(&dialer("localhost", address, &stranger), |_| {});
        assert!(text.contains("signed by no authority"), "{text}");
    }
}

#[test]
fn a_pin_alone_can_decide() {
    let identity = Identity::self_signed(&["somewhere.else"], false);
    let address = tls_echo_server(identity.server().build().unwrap());
    let pin = Pin::Certificate(sha256(&identity.der));
    let tls = TlsClient::builder().pin(pin).pins_replace_roots();
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
    let other = Identity::self_signed(&["localhost"], false);
    let text = certificate_refused(&other, &tls);
    assert!(text.contains("was refused: it is not the pinned one"), "{text}");
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let suites = rustls::crypto::aws_lc_rs::default_provider().cipher_suites;
    let suite = suites.iter().find_map(|suite| suite.tls13());
    let hash = suite.map(|suite| suite.common.hash_provider.hash(bytes)).unwrap();
    let hash: Vec<u8> = hash.as_ref().to_vec();
    match hash.try_into() {
        Ok(hash) => hash,
        // The first suite may have SHA-384: take another.
        Err(_) => {
            let suite = suites.iter().filter_map(|suite| suite.tls13()).nth(1).unwrap();
            suite.common.hash_provider.hash(bytes).as_ref().try_into().unwrap()
        }
    }
}

#[test]
fn the_programs_own_verifier_can_decide() {
    let authority = Authority::new();
    let address = tls_echo_server(authority.server().server().build().unwrap());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let tls = TlsClient::builder().verifier(verifier.build().unwrap());
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn everybody_is_accepted_only_if_the_user_says_so_loudly() {
    let identity = Identity::self_signed(&["somewhere.else"], false);
    let address = tls_echo_server(identity.server().build().unwrap());
    let tls = TlsClient::builder().dangerously_accept_any_certificate();
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
        assert!(text.contains(expected), "{text}");
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
    let tls =
        TlsClient::builder().roots_file(file("ca.pem", &authority.pem())).client_certificate_files(
            file("client.pem", &client.certificate),
            file("client.key", &client.key),
        );
    let dialer = dialer("localhost", address, &tls);
    std::fs::remove_dir_all(&folder).unwrap();
    on_both(&dialer, |outcome| {
        outcome.unwrap();
    });
}
