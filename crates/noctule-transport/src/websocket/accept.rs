//! The server's side of the WebSocket handshake (RFC 6455, section 4.2).

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::handshake::machine::TryParse;
use tungstenite::handshake::server::{Request, create_response};
use tungstenite::http::header::{HOST, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_PROTOCOL};
use tungstenite::http::uri::PathAndQuery;
use tungstenite::http::{HeaderMap, Uri};
use tungstenite::protocol::Role;

use super::error::WebSocketError;
use super::frames::Frames;
use crate::handshake::Handshake;
use crate::http::HeadReader;

/// Opens WebSockets for clients that ask for them.
#[derive(Clone, Debug)]
pub struct WebSocketAcceptor {
    subprotocols: Vec<String>,
    paths: Vec<String>,
    message_bytes_max: u64,
}

impl Default for WebSocketAcceptor {
    fn default() -> Self {
        Self {
            subprotocols: vec!["mqtt".to_owned(), "mqttv3.1".to_owned()],
            paths: Vec::new(),
            message_bytes_max: u64::MAX,
        }
    }
}

impl WebSocketAcceptor {
    /// The sub-protocols to choose from, the best first; by default `mqtt` and `mqttv3.1`. A
    /// client that offers none of them is refused.
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Adds a path under which WebSockets are opened. Without any, every path will do.
    #[must_use]
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.paths.push(path.into());
        self
    }

    /// The longest message that is accepted.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: u64) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    pub(crate) fn frames(&self) -> Frames {
        Frames::new(Role::Server, self.message_bytes_max)
    }

    /// The status of a refusal and its reason, or the proof that the key was understood and the
    /// chosen sub-protocol.
    fn judge(&self, request: &Request) -> Result<(String, String), (u16, &'static str)> {
        let path = request.uri().path();
        if !self.paths.is_empty() && !self.paths.iter().any(|known| known == path) {
            return Err((404, "there is no WebSocket under this path"));
        }
        if request.headers().get_all(HOST).iter().count() != 1 {
            return Err((400, "a WebSocket needs one Host header"));
        }
        let response = create_response(request).map_err(|error| refusal(&error))?;
        let accept = response.headers().get(SEC_WEBSOCKET_ACCEPT).and_then(text);
        let accept = accept.unwrap_or_default().to_owned();
        let subprotocol = self.choose(request).ok_or((400, "no known sub-protocol is offered"))?;
        Ok((accept, subprotocol))
    }

    fn choose(&self, request: &Request) -> Option<String> {
        let lines = request.headers().get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(text);
        let offered: Vec<_> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
        self.subprotocols.iter().find(|known| offered.contains(&known.as_str())).cloned()
    }
}

/// The status that a request is refused with, and its reason.
fn refusal(error: &Error) -> (u16, &'static str) {
    let Error::Protocol(error) = error else { return (400, "the request is no HTTP") };
    match error {
        ProtocolError::WrongHttpVersion => (400, "a WebSocket needs HTTP/1.1"),
        ProtocolError::MissingUpgradeWebSocketHeader
        | ProtocolError::MissingConnectionUpgradeHeader => (426, "only WebSocket is spoken here"),
        ProtocolError::MissingSecWebSocketVersionHeader => (426, "the version of WebSocket is 13"),
        ProtocolError::MissingSecWebSocketKey | ProtocolError::InvalidSecWebSocketKey => {
            (400, "Sec-WebSocket-Key is 16 bytes in base64")
        }
        _ => (400, "the request is no HTTP"),
    }
}

/// The value of a header, if it is a text.
fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// What a client asked for when it opened a WebSocket.
#[derive(Clone, PartialEq, Eq)]
pub struct AcceptedRequest {
    target: Uri,
    subprotocol: String,
    headers: HeaderMap,
}

impl AcceptedRequest {
    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        self.target.path_and_query().map_or("/", PathAndQuery::as_str)
    }

    /// The chosen sub-protocol.
    #[must_use]
    pub fn subprotocol(&self) -> &str {
        &self.subprotocol
    }

    /// The values of the headers of this name.
    pub fn header<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.headers.get_all(name).iter().filter_map(text).map(str::trim)
    }
}

impl std::fmt::Debug for AcceptedRequest {
    /// Neither the query nor the values of headers are shown: they hold tokens.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AcceptedRequest")
            .field("path", &self.target.path())
            .field("subprotocol", &self.subprotocol)
            .finish_non_exhaustive()
    }
}

/// A handshake that waits for a client's request.
pub(crate) struct Acceptance<'a> {
    acceptor: &'a WebSocketAcceptor,
    head: HeadReader,
    output: Vec<u8>,
}

impl<'a> Acceptance<'a> {
    pub(crate) fn new(acceptor: &'a WebSocketAcceptor) -> Self {
        Self { acceptor, head: HeadReader::request(), output: Vec::new() }
    }

    fn refuse(&mut self, status: u16, problem: &'static str) -> WebSocketError {
        let (reason, more) = match status {
            404 => ("Not Found", ""),
            426 => (
                "Upgrade Required",
                "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
            ),
            _ => ("Bad Request", ""),
        };
        let length = problem.len() + 1;
        self.output = format!(
            "HTTP/1.1 {status} {reason}\r\n{more}Content-Type: text/plain\r\n\
             Content-Length: {length}\r\n\r\n{problem}\n"
        )
        .into_bytes();
        WebSocketError::Handshake { problem }
    }
}

impl Handshake for Acceptance<'_> {
    type Done = (AcceptedRequest, Vec<u8>);
    type Error = WebSocketError;

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn on_bytes(&mut self, input: &[u8]) -> Result<Option<Self::Done>, WebSocketError> {
        let Some(head) = self.head.on_bytes(input)? else { return Ok(None) };
        let request = match Request::try_parse(&head.bytes) {
            Ok(Some((_, request))) => request,
            Ok(None) => return Err(self.refuse(400, "the request is no HTTP")),
            Err(error) => {
                let (status, problem) = refusal(&error);
                return Err(self.refuse(status, problem));
            }
        };
        let (accept, subprotocol) =
            self.acceptor.judge(&request).map_err(|(status, why)| self.refuse(status, why))?;
        self.output = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        )
        .into_bytes();
        let (parts, ()) = request.into_parts();
        let (target, headers) = (parts.uri, parts.headers);
        Ok(Some((AcceptedRequest { target, subprotocol, headers }, head.rest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "GET /mqtt?token=x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
        Connection: keep-alive, Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqttv3.1, mqtt\r\n\r\n";

    fn answer(acceptor: &WebSocketAcceptor, request: &str) -> (bool, String) {
        let mut acceptance = Acceptance::new(acceptor);
        let is_open = acceptance.on_bytes(request.as_bytes()).is_ok_and(|done| done.is_some());
        (is_open, String::from_utf8(acceptance.take_output()).unwrap())
    }

    #[test]
    fn a_good_request_is_accepted_with_our_best_subprotocol() {
        let (is_open, answer) = answer(&WebSocketAcceptor::default().path("/mqtt"), REQUEST);
        assert!(is_open);
        assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
        assert!(answer.contains("Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{answer}");
        assert!(answer.contains("Protocol: mqtt\r\n"), "{answer}");
    }

    #[test]
    fn every_other_request_is_refused_with_a_status() {
        for (from, to, status) in [
            ("/mqtt", "/other", "404"),
            ("HTTP/1.1", "HTTP/1.0", "400"),
            ("Host: h\r\n", "", "400"),
            ("Upgrade: websocket\r\n", "", "426"),
            ("keep-alive, Upgrade", "keep-alive", "426"),
            ("Version: 13", "Version: 8", "426"),
            ("dGhlIHNhbXBsZSBub25jZQ==", "short==", "400"),
            ("mqttv3.1, mqtt", "amqp", "400"),
            ("Host: h", "Host\0: h", "400"),
        ] {
            let request = REQUEST.replacen(from, to, 1);
            let (is_open, answer) = answer(&WebSocketAcceptor::default().path("/mqtt"), &request);
            assert!(!is_open, "{request}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request} {answer}");
        }
    }
}
