//! What only rustls decides about: pins, the program's own verifier, authorities that are servers.

use std::sync::Arc;

use noctule_transport::{Pin, TlsClient};
use rustls::client::WebPkiServerVerifier;
#[cfg(feature = "aws-lc-rs")]
use rustls::crypto::aws_lc_rs as crypto;
#[cfg(not(feature = "aws-lc-rs"))]
use rustls::crypto::ring as crypto;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::authority::{Authority, Identity};
use crate::conversation::{on_both, refused_by_both};
use crate::server::tls_echo_server;
use crate::tls::{certificate_refused, dialer, trusting};

#[test]
fn an_authority_is_no_server() {
    let identity = Identity::self_signed(&["localhost"], true);
    let tls = TlsClient::builder().roots_pem(identity.certificate.as_str());
    let text = certificate_refused(&identity, &tls);
    let start = "the certificate of localhost is that of an authority (CA:TRUE), which no server";
    assert!(text.starts_with(start), "{text}");
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
    let suites = crypto::default_provider().cipher_suites;
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
    let provider = Arc::new(crypto::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    let tls = TlsClient::builder().verifier(verifier.build().unwrap());
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
}
