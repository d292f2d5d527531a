//! Enhanced authentication by SCRAM, with a server that knows nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use noctule_auth::{ScramCredentials, ScramMechanism, ScramNonce, ScramPreparation, ScramServer};
use noctule_client::{
    AuthError, Authenticator, Client, ClientEvent, ConnectError, Ended, Scram, StopReason,
};
use noctule_packet::{
    Auth, Connack, ConnackProperties, Framing, Packet, PacketType, ReasonCode, TextRules, Version,
    split,
};

use crate::house::soon;
use crate::start::{connect, start};
use crate::wire::Server;

const V5: Version = Version::V5_0;

/// One connection to such a server.
struct Exchange {
    stream: TcpStream,
    read: Vec<u8>,
    mechanism: ScramMechanism,
}

impl Exchange {
    /// The authentication data of the next CONNECT or AUTH; `None` if the client leaves.
    fn next(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Ok(Framing::Complete(frame)) = split(&self.read, u32::MAX) {
                let data = match Packet::decode(&frame, V5, TextRules::Strict).unwrap() {
                    Packet::Connect(connect) => {
                        connect.properties.authentication_data.map(<[u8]>::to_vec)
                    }
                    Packet::Auth(auth) => auth.authentication_data.map(<[u8]>::to_vec),
                    _ => None,
                };
                let (length, is_message) = (frame.length, frame.packet_type == PacketType::Publish);
                self.read.drain(..length);
                if is_message {
                    continue;
                }
                return data;
            }
            let mut bytes = [0; 1_024];
            let count = self.stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
            self.read.extend_from_slice(&bytes[..count]);
        }
    }

    fn auth(&mut self, reason_code: ReasonCode, data: &[u8]) {
        let auth = Auth {
            reason_code,
            authentication_method: Some(self.mechanism.name()),
            authentication_data: Some(data),
            ..Auth::default()
        };
        let mut bytes = Vec::new();
        auth.encode(V5, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    /// Goes through one exchange; the server's last word.
    fn run(&mut self, credentials: &ScramCredentials) -> Option<Vec<u8>> {
        let mut server = ScramServer::new(self.mechanism);
        let identity = server.on_client_first(&self.next()?).unwrap();
        assert_eq!(identity.username(), "alice");
        let nonce = ScramNonce::from_bytes(&[7; 18]).unwrap();
        let challenge = server.challenge(credentials, nonce).unwrap();
        self.auth(ReasonCode::ContinueAuthentication, &challenge);
        match server.on_client_final(&self.next()?) {
            Ok(accepted) => Some(accepted.server_final),
            Err(_) => None,
        }
    }

    fn connack(&mut self, reason_code: ReasonCode, data: Option<&[u8]>) {
        let properties = ConnackProperties {
            authentication_method: data.map(|_| self.mechanism.name()),
            authentication_data: data,
            ..Default::default()
        };
        let connack = Connack { reason_code, properties, ..Default::default() };
        let mut bytes = Vec::new();
        connack.encode(V5, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }
}

/// SCRAM by somebody who uses the client in the middle of it, and takes his time.
struct Meddler {
    scram: Scram,
    client: Arc<OnceLock<Client>>,
}

impl Meddler {
    fn meddle(&self) {
        if let Some(client) = self.client.get() {
            let _ = client.state();
            drop(client.publish("t", "from the method").send());
            thread::yield_now();
        }
    }
}

impl Authenticator for Meddler {
    fn method(&self) -> &str {
        self.scram.method()
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        self.meddle();
        self.scram.start()
    }

    fn challenge(&mut self, data: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        self.meddle();
        self.scram.challenge(data)
    }

    fn verify(&mut self, data: Option<&[u8]>) -> Result<(), AuthError> {
        self.meddle();
        self.scram.verify(data)
    }
}

/// A server for one client, which it asks for its password as often as the client wants.
pub(crate) fn server(mechanism: ScramMechanism, lies: bool) -> (String, JoinHandle<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let serve = move || {
        let preparation = ScramPreparation::SaslPrep;
        let derive = ScramCredentials::derive(mechanism, preparation, "pencil", &[5; 16], 4_096);
        let credentials = derive.unwrap();
        let (stream, _) = listener.accept().unwrap();
        let mut exchange = Exchange { stream, read: Vec::new(), mechanism };
        let Some(mut last) = exchange.run(&credentials) else {
            exchange.connack(ReasonCode::NotAuthorized, None);
            return 0;
        };
        if lies {
            last[5] ^= 1;
        }
        exchange.connack(ReasonCode::Success, Some(&last));
        let mut rounds = 1;
        while let Some(last) = exchange.run(&credentials) {
            exchange.auth(ReasonCode::Success, &last);
            rounds += 1;
        }
        rounds
    };
    (url, thread::spawn(serve))
}

#[tokio::test]
async fn both_sides_prove_themselves_and_do_it_again() {
    for mechanism in [ScramMechanism::Sha1, ScramMechanism::Sha256, ScramMechanism::Sha512] {
        let (url, server) = server(mechanism, false);
        let scram = Scram::new(mechanism, "alice", "pencil");
        assert!(!format!("{scram:?}").contains("pencil"));
        let client =
            connect(Client::builder(url).client_id("c").authentication(scram)).await.unwrap();
        soon(client.reauthenticate()).await.unwrap();
        soon(client.reauthenticate()).await.unwrap();
        soon(client.shutdown(Duration::ZERO)).await;
        assert_eq!(server.join().unwrap(), 3);
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_server_that_lies_end_the_attempt_for_good() {
    let mechanism = ScramMechanism::Sha256;
    for (password, lies, expected) in
        [("wrong", false, "not authorized"), ("pencil", true, "authentication failed")]
    {
        let (url, server) = server(mechanism, lies);
        let scram = Scram::new(mechanism, "alice", password);
        let error =
            connect(Client::builder(url).client_id("c").authentication(scram)).await.unwrap_err();
        assert!(error.to_string().to_lowercase().contains(expected), "{error}");
        server.join().unwrap();
    }
}

#[tokio::test]
async fn a_method_may_use_the_client_and_is_asked_again_by_time() {
    let mechanism = ScramMechanism::Sha256;
    let (url, server) = server(mechanism, false);
    let client = Arc::new(OnceLock::new());
    let scram = Scram::new(mechanism, "alice", "pencil");
    let method = Meddler { scram, client: Arc::clone(&client) };
    let builder = Client::builder(url).client_id("c").authentication(method);
    let builder = builder.reauthenticate_every(Duration::from_millis(50));
    let connected = connect(builder).await.unwrap();
    let mut events = connected.events();
    assert!(client.set(connected.clone()).is_ok());
    for _ in 0..2 {
        while !matches!(soon(events.recv()).await.unwrap(), ClientEvent::Reauthenticated) {}
    }
    soon(connected.shutdown(Duration::ZERO)).await;
    assert!(server.join().unwrap() >= 3);
}

/// Panics when it is asked.
struct Panics;

impl Authenticator for Panics {
    fn method(&self) -> &str {
        "PANICS"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        panic!("this is what the test is about");
    }

    fn challenge(&mut self, _: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(None)
    }

    fn verify(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}

#[tokio::test]
async fn a_method_that_panics_fails_and_ends_nothing_else() {
    let server = Server::new();
    let client = start(server.builder().authentication(Panics)).unwrap();
    let Err(ConnectError::Stopped(reason)) = soon(client.connected()).await else { panic!() };
    let StopReason::Ended(ended) = &*reason else { panic!("{reason}") };
    let Ended::Authentication(error) = &**ended else { panic!("{ended}") };
    assert_eq!(&*error.message, "the method has panicked: this is what the test is about");
}
