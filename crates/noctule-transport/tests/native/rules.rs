//! What the system's library cannot do is refused, and what it tells is passed on.

use std::sync::Arc;

use noctule_transport::{Pin, TlsBuilder, TlsServer, rustls};
use rcgen::{ExtendedKeyUsagePurpose, KeyPair};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivateSec1KeyDer};

use crate::authority::Authority;
use crate::by;
use crate::conversation::on_both;
use crate::server::tls_echo_server;
use crate::tls::{certificate_refused, dialer, trusting};

#[track_caller]
fn refused(tls: &TlsBuilder, names: [&str; 2]) {
    let text = tls.build().unwrap_err().to_string();
    assert!(names.iter().all(|name| text.contains(name)), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn what_only_rustls_can_do_is_refused() {
    let authority = Authority::new();
    refused(&trusting(&authority).pin(Pin::Certificate([7; 32])), ["native_tls", "pin"]);
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls = trusting(&authority).crypto_provider(Arc::clone(&provider));
    refused(&tls, ["native_tls", "crypto_provider"]);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
    refused(&by::tls().verifier(verifier.build().unwrap()), ["native_tls", "verifier"]);
    refused(&trusting(&authority).alpn([[0xff]]), ["native_tls", "alpn"]);
    let key = PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(vec![0x30]));
    let chain = vec![CertificateDer::from(authority.client().der)];
    refused(&by::tls().client_certificate_der(chain, key), ["native_tls", "openssl pkcs8"]);
    refused(&by::tls().roots_pem("nothing"), ["the trusted roots", "no certificate"]);
}

#[test]
fn a_certificate_in_der_is_shown_too() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let server = authority.server().server().client_roots_pem(clients.pem()).build().unwrap();
    let address = tls_echo_server(server);
    let client = clients.sign(&["device-7"], |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let key = KeyPair::from_pem(&client.key).unwrap().serialize_der();
    let tls = trusting(&authority)
        .client_certificate_der(vec![client.der.into()], key.try_into().unwrap());
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
}

#[test]
fn given_roots_stand_for_the_system_s_unless_both_are_wanted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let address = tls_echo_server(authority.server().server().build().unwrap());
    let tls = trusting(&other).roots_pem(authority.pem()).with_system_roots();
    on_both(&dialer("localhost", address, &tls), |outcome| {
        outcome.unwrap();
    });
    let text = certificate_refused(&authority.server(), &trusting(&other).with_system_roots());
    assert!(text.starts_with("TLS with localhost failed: "), "{text}");
}

#[test]
fn an_old_version_can_be_refused() {
    let authority = Authority::new();
    let identity = authority.server();
    let chain = vec![CertificateDer::from(identity.der.clone())];
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = rustls::ServerConfig::builder_with_protocol_versions(&[&rustls::version::TLS12])
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let address = tls_echo_server(TlsServer::from_config(Arc::new(config)));
    on_both(&dialer("localhost", address, &trusting(&authority)), |outcome| {
        outcome.unwrap();
    });
    let dialer = dialer("localhost", address, &trusting(&authority).tls13_only());
    on_both(&dialer, |outcome| {
        let text = outcome.unwrap_err().to_string();
        assert!(text.starts_with("TLS with localhost failed: "), "{text}");
    });
}
