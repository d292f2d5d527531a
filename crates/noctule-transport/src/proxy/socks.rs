//! SOCKS5 (RFC 1928) with user name and password (RFC 1929).

use std::net::{IpAddr, SocketAddr};

use super::error::ProxyError;
use crate::handshake::Handshake;

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
const NO_AUTHENTICATION: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const NONE_ACCEPTABLE: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// What the proxy is to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SocksTarget {
    Address(SocketAddr),
    Name { host: String, port: u16 },
}

/// A handshake that asks a SOCKS5 proxy for a tunnel.
pub(crate) struct Socks {
    target: SocksTarget,
    credentials: Option<(Vec<u8>, Vec<u8>)>,
    step: Step,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// Which answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Method,
    Password,
    Reply,
}

impl Socks {
    /// Credentials are of 1 to 255 bytes each, a name has at most 255: it was checked before.
    pub(crate) fn new(target: SocksTarget, credentials: Option<(&str, &[u8])>) -> Self {
        let output = match credentials {
            Some(_) => vec![VERSION, 2, NO_AUTHENTICATION, USER_AND_PASSWORD],
            None => vec![VERSION, 1, NO_AUTHENTICATION],
        };
        let credentials =
            credentials.map(|(user, password)| (user.as_bytes().to_vec(), password.to_vec()));
        Self { target, credentials, step: Step::Method, input: Vec::new(), output }
    }

    fn on_method(&mut self, method: u8) -> Result<(), ProxyError> {
        match (method, &self.credentials) {
            (NO_AUTHENTICATION, _) => {
                self.send_request();
                Ok(())
            }
            (USER_AND_PASSWORD, Some((user, password))) => {
                self.output.push(PASSWORD_VERSION);
                push_short(&mut self.output, user);
                push_short(&mut self.output, password);
                self.step = Step::Password;
                Ok(())
            }
            (NONE_ACCEPTABLE, None) => Err(ProxyError::Methods {
                advice: "give it a user name and a password: socks5://USER:PASSWORD@HOST:PORT",
            }),
            (NONE_ACCEPTABLE, Some(_)) => Err(ProxyError::Methods {
                advice: "it takes neither user name and password nor a connection without them",
            }),
            _ => Err(ProxyError::NotSocks { problem: "it chose a method that was not offered" }),
        }
    }

    fn send_request(&mut self) {
        self.output.extend_from_slice(&[VERSION, CONNECT, 0]);
        let port = match &self.target {
            SocksTarget::Address(address) => {
                match address.ip() {
                    IpAddr::V4(ip) => {
                        self.output.push(IPV4);
                        self.output.extend_from_slice(&ip.octets());
                    }
                    IpAddr::V6(ip) => {
                        self.output.push(IPV6);
                        self.output.extend_from_slice(&ip.octets());
                    }
                }
                address.port()
            }
            SocksTarget::Name { host, port } => {
                self.output.push(NAME);
                push_short(&mut self.output, host.as_bytes());
                *port
            }
        };
        self.output.extend_from_slice(&port.to_be_bytes());
        self.step = Step::Reply;
    }

    /// Acts on the awaited answer once all of it is there; whether the tunnel is open.
    fn on_answer(&mut self) -> Result<Option<bool>, ProxyError> {
        match (self.step, self.input.as_slice()) {
            (Step::Method, [VERSION, method]) => {
                let method = *method;
                self.input.clear();
                self.on_method(method)?;
                Ok(Some(false))
            }
            (Step::Password, [PASSWORD_VERSION, 0]) => {
                self.input.clear();
                self.send_request();
                Ok(Some(false))
            }
            (Step::Password, [PASSWORD_VERSION, _]) => Err(ProxyError::Credentials),
            (Step::Reply, [VERSION, 0, 0, kind, first, rest @ ..]) => {
                let length = match *kind {
                    IPV4 => 4,
                    IPV6 => 16,
                    NAME => 1 + usize::from(*first),
                    _ => return Err(not_socks("its reply has an address of no known kind")),
                };
                // The address began with `first`; the port has two bytes.
                Ok((rest.len() == length - 1 + 2).then_some(true))
            }
            (Step::Reply, [VERSION, code, ..]) if *code != 0 => Err(unreachable(*code)),
            (Step::Reply, [VERSION, 0, reserved, ..]) if *reserved != 0 => {
                Err(not_socks("a reserved byte of its reply is not 0"))
            }
            (Step::Method | Step::Reply, [version, ..]) if *version != VERSION => {
                Err(not_socks("its version is not 5"))
            }
            (Step::Password, [version, ..]) if *version != PASSWORD_VERSION => {
                Err(not_socks("the version of its authentication is not 1"))
            }
            _ => Ok(None),
        }
    }
}

impl Handshake for Socks {
    type Done = ();
    type Error = ProxyError;

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn on_bytes(&mut self, input: &[u8]) -> Result<Option<()>, ProxyError> {
        for (index, byte) in input.iter().enumerate() {
            self.input.push(*byte);
            let Some(is_open) = self.on_answer()? else { continue };
            // The proxy waits for us now, so nothing can have come behind its answer.
            if index + 1 < input.len() {
                return Err(ProxyError::EarlyBytes);
            }
            return Ok(is_open.then_some(()));
        }
        Ok(None)
    }
}

fn push_short(to: &mut Vec<u8>, bytes: &[u8]) {
    let length = u8::try_from(bytes.len()).unwrap_or(u8::MAX);
    to.push(length);
    to.extend_from_slice(bytes.get(..usize::from(length)).unwrap_or(bytes));
}

fn not_socks(problem: &'static str) -> ProxyError {
    ProxyError::NotSocks { problem }
}

fn unreachable(code: u8) -> ProxyError {
    let meaning = match code {
        1 => "it failed",
        2 => "its rules do not allow it",
        3 => "the network cannot be reached",
        4 => "the host cannot be reached",
        5 => "the server refused the connection",
        6 => "the way is too long",
        7 => "it has no CONNECT",
        8 => "it knows no addresses of this kind",
        _ => "for a reason without a name",
    };
    ProxyError::Unreachable { code, meaning }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named() -> SocksTarget {
        SocksTarget::Name { host: "ab".to_owned(), port: 0x0102 }
    }

    /// Plays the proxy's answers, each cut into single bytes or not, and collects what we send.
    fn play(
        target: SocksTarget,
        credentials: Option<(&str, &[u8])>,
        answers: &[&[u8]],
        step: usize,
    ) -> Result<(bool, Vec<Vec<u8>>), ProxyError> {
        let mut socks = Socks::new(target, credentials);
        let mut sent = vec![socks.take_output()];
        let mut is_open = false;
        for answer in answers {
            for part in answer.chunks(step) {
                is_open = socks.on_bytes(part)?.is_some();
            }
            sent.push(socks.take_output());
        }
        Ok((is_open, sent))
    }

    #[test]
    fn a_tunnel_is_opened_with_and_without_a_password() {
        let reply = [5, 0, 0, 1, 10, 0, 0, 1, 4, 210];
        for step in [1, 99] {
            let (is_open, sent) = play(named(), None, &[&[5, 0], &reply], step).unwrap();
            assert!(is_open);
            assert_eq!(sent[0], [5, 1, 0]);
            assert_eq!(sent[1], [5, 1, 0, 3, 2, b'a', b'b', 1, 2]);
            let answers: [&[u8]; 3] = [&[5, 2], &[1, 0], &[5, 0, 0, 3, 1, b'x', 0, 0]];
            let (is_open, sent) = play(named(), Some(("me", b"pw")), &answers, step).unwrap();
            assert!(is_open);
            assert_eq!(sent[0], [5, 2, 0, 2]);
            assert_eq!(sent[1], [1, 2, b'm', b'e', 2, b'p', b'w']);
        }
    }

    #[test]
    fn addresses_are_sent_as_such() {
        for (address, bytes) in [
            ("10.0.0.1:258", vec![1, 10, 0, 0, 1, 1, 2]),
            ("[::1]:258", [vec![4], vec![0; 15], vec![1, 1, 2]].concat()),
        ] {
            let target = SocksTarget::Address(address.parse().unwrap());
            let (is_open, sent) = play(target, None, &[&[5, 0]], 99).unwrap();
            assert!(!is_open);
            assert_eq!(sent[1][3..], bytes);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_answer_makes_it_panic(answer: Vec<u8>, step in 1..9_usize) {
            let _ = play(named(), Some(("me", b"pw")), &[&answer], step);
        }
    }

    #[test]
    fn every_answer_that_opens_nothing_is_an_error_of_its_own() {
        let password: Option<(&str, &[u8])> = Some(("me", b"pw"));
        for (credentials, answers, expected) in [
            (None, vec![&b"HTTP/1.1 400"[..]], not_socks("its version is not 5")),
            (None, vec![&[5, 2]], not_socks("it chose a method that was not offered")),
            (None, vec![&[5, 0, 5]], ProxyError::EarlyBytes),
            (password, vec![&[5, 2], &[1, 1]], ProxyError::Credentials),
            (
                password,
                vec![&[5, 2], &[5, 0]],
                not_socks("the version of its authentication is not 1"),
            ),
            (None, vec![&[5, 0], &[5, 5]], unreachable(5)),
            (None, vec![&[5, 0], &[4]], not_socks("its version is not 5")),
            (None, vec![&[5, 0], &[5, 0, 1]], not_socks("a reserved byte of its reply is not 0")),
            (
                None,
                vec![&[5, 0], &[5, 0, 0, 2, 0]],
                not_socks("its reply has an address of no known kind"),
            ),
            (None, vec![&[5, 0], &[5, 0, 0, 1, 1, 1, 1, 1, 1, 1, 9]], ProxyError::EarlyBytes),
        ] {
            let played = play(named(), credentials, &answers, 99);
            assert_eq!(played, Err(expected));
        }
        for credentials in [None, password] {
            let played = play(named(), credentials, &[&[5, 0xff]], 1);
            assert!(matches!(played, Err(ProxyError::Methods { .. })), "{played:?}");
        }
    }
}
