//! A server that knows SCRAM and nothing else.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use noctule_auth::{ScramCredentials, ScramMechanism, ScramNonce, ScramPreparation, ScramServer};
use noctule_packet::{
    Auth, Connack, ConnackProperties, Framing, Packet, ReasonCode, TextRules, Version, split,
};

const MECHANISM: ScramMechanism = ScramMechanism::Sha256;

/// Starts a server for one client, whose URL it gives. It ends with that client, and tells how
/// often it has asked for the password.
pub(crate) fn start(user: &'static str, password: &'static str) -> (String, JoinHandle<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("mqtt://{}", listener.local_addr().unwrap());
    let preparation = ScramPreparation::SaslPrep;
    let credentials =
        ScramCredentials::derive(MECHANISM, preparation, password, &[5; 16], 4_096).unwrap();
    let serve = move || {
        let (stream, _) = listener.accept().unwrap();
        let mut connection = Connection { stream, read: Vec::new() };
        let last = connection.exchange(user, &credentials).expect("the client proves itself");
        connection.accept(&last);
        let mut rounds = 1;
        while let Some(last) = connection.exchange(user, &credentials) {
            connection.auth(ReasonCode::Success, &last);
            rounds += 1;
        }
        rounds
    };
    (url, thread::spawn(serve))
}

struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Connection {
    /// The authentication data of the next packet, or `None` if the client leaves.
    fn data(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Ok(Framing::Complete(frame)) = split(&self.read, u32::MAX) {
                let data = match Packet::decode(&frame, Version::V5_0, TextRules::Strict).unwrap() {
                    Packet::Connect(connect) => connect.properties.authentication_data,
                    Packet::Auth(auth) => auth.authentication_data,
                    _ => None,
                };
                let (data, length) = (data.map(<[u8]>::to_vec), frame.length);
                self.read.drain(..length);
                return data;
            }
            let mut bytes = [0; 1_024];
            let count = self.stream.read(&mut bytes).ok().filter(|count| *count > 0)?;
            self.read.extend_from_slice(&bytes[..count]);
        }
    }

    /// One exchange, up to the server's last word.
    fn exchange(&mut self, user: &str, credentials: &ScramCredentials) -> Option<Vec<u8>> {
        let mut server = ScramServer::new(MECHANISM);
        let identity = server.on_client_first(&self.data()?).unwrap();
        assert_eq!(identity.username(), user);
        let nonce = ScramNonce::from_bytes(&[7; 18]).unwrap();
        let challenge = server.challenge(credentials, nonce).unwrap();
        self.auth(ReasonCode::ContinueAuthentication, &challenge);
        Some(server.on_client_final(&self.data()?).unwrap().server_final)
    }

    fn auth(&mut self, reason_code: ReasonCode, data: &[u8]) {
        let (authentication_method, authentication_data) = (Some(MECHANISM.name()), Some(data));
        let auth =
            Auth { reason_code, authentication_method, authentication_data, ..Auth::default() };
        let mut bytes = Vec::new();
        auth.encode(Version::V5_0, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }

    fn accept(&mut self, data: &[u8]) {
        let properties = ConnackProperties {
            assigned_client_identifier: Some("assigned"),
            authentication_method: Some(MECHANISM.name()),
            authentication_data: Some(data),
            ..Default::default()
        };
        let connack = Connack { properties, ..Connack::default() };
        let mut bytes = Vec::new();
        connack.encode(Version::V5_0, &mut bytes).unwrap();
        self.stream.write_all(&bytes).unwrap();
    }
}
