//! The client's side of the WebSocket handshake (RFC 6455, section 4.1).

use tungstenite::handshake::client::generate_key;
use tungstenite::handshake::derive_accept_key;

use super::error::WebSocketError;
use super::options::{UpgradeRequest, WebSocketOptions};
use crate::handshake::Handshake;
use crate::http::{HeadReader, Response, printable};

const SWITCHING_PROTOCOLS: u16 = 101;

/// A handshake that asks a server for a WebSocket.
pub(crate) struct Upgrade<'a> {
    options: &'a WebSocketOptions,
    key: String,
    output: Vec<u8>,
    head: HeadReader,
}

/// What a handshake led to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Upgraded {
    pub(crate) subprotocol: Option<String>,
    /// The first frames, if they came together with the response.
    pub(crate) rest: Vec<u8>,
}

impl<'a> Upgrade<'a> {
    pub(crate) fn new(
        options: &'a WebSocketOptions,
        request: &UpgradeRequest,
    ) -> Result<Self, WebSocketError> {
        request.check()?;
        let key = generate_key();
        let mut output = format!("GET {} HTTP/1.1\r\n", request.target());
        let mut line = |name: &str, value: &str| {
            for part in [name, ": ", value, "\r\n"] {
                output.push_str(part);
            }
        };
        for (name, value) in request.headers() {
            line(name, value);
        }
        line("Upgrade", "websocket");
        line("Connection", "Upgrade");
        line("Sec-WebSocket-Key", &key);
        line("Sec-WebSocket-Version", "13");
        if !options.offered().is_empty() {
            line("Sec-WebSocket-Protocol", &options.offered().join(", "));
        }
        output.push_str("\r\n");
        Ok(Self { options, key, output: output.into_bytes(), head: HeadReader::response() })
    }

    fn check(&self, response: &Response) -> Result<Option<String>, WebSocketError> {
        let headers = &response.headers;
        let wrong = |problem| Err(WebSocketError::Handshake { problem });
        if response.status != SWITCHING_PROTOCOLS {
            return Err(WebSocketError::Refused {
                status: response.status,
                reason: response.reason.clone(),
                location: headers.single("location").map(printable),
            });
        }
        if !headers.single("upgrade").is_some_and(|to| to.eq_ignore_ascii_case("websocket")) {
            return wrong("the server did not upgrade to websocket");
        }
        if !headers.has_element("connection", "upgrade") {
            return wrong("the server did not upgrade the connection");
        }
        if headers.single("sec-websocket-accept") != Some(&derive_accept_key(self.key.as_bytes())) {
            return wrong("the server's Sec-WebSocket-Accept does not belong to our key");
        }
        if headers.elements("sec-websocket-extensions").next().is_some() {
            return wrong("the server uses an extension that nobody asked for");
        }
        let mut lines = headers.all("sec-websocket-protocol");
        let (chosen, more) = (lines.next(), lines.next());
        if more.is_some() || !self.options.is_acceptable(chosen) {
            return Err(WebSocketError::Subprotocol {
                offered: self.options.offered().to_vec(),
                chosen: chosen.map(printable),
            });
        }
        Ok(chosen.map(str::to_owned))
    }
}

impl Handshake for Upgrade<'_> {
    type Done = Upgraded;
    type Error = WebSocketError;

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn on_bytes(&mut self, input: &[u8]) -> Result<Option<Upgraded>, WebSocketError> {
        let Some(head) = self.head.on_bytes(input)? else { return Ok(None) };
        let subprotocol = self.check(&Response::parse(&head.bytes)?)?;
        Ok(Some(Upgraded { subprotocol, rest: head.rest }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lets `respond` answer the request of a client, given the accept value.
    fn shake(
        options: &WebSocketOptions,
        respond: impl Fn(&str) -> String,
    ) -> Result<Option<Upgraded>, WebSocketError> {
        let request = options.request("host:80".to_owned(), "/mqtt?a=b".to_owned());
        let mut upgrade = Upgrade::new(options, &request).unwrap();
        let sent = String::from_utf8(upgrade.take_output()).unwrap();
        assert!(sent.starts_with("GET /mqtt?a=b HTTP/1.1\r\nHost: host:80\r\n"), "{sent}");
        let response = respond(&derive_accept_key(upgrade.key.as_bytes()));
        upgrade.on_bytes(response.as_bytes())
    }

    fn good(accept: &str) -> String {
        format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
             Connection: keep-alive, Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\
             Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
    }

    #[test]
    fn a_good_response_opens() {
        let upgraded = shake(&WebSocketOptions::default(), |accept| good(accept) + "rest");
        let rest = b"rest".to_vec();
        assert_eq!(upgraded, Ok(Some(Upgraded { subprotocol: Some("mqtt".into()), rest })));
    }

    #[test]
    fn a_response_that_breaks_a_rule_does_not_open() {
        for (from, to) in [
            ("Upgrade: WebSocket\r\n", ""),
            ("Upgrade: WebSocket", "Upgrade: h2c"),
            ("Connection: keep-alive, Upgrade", "Connection: keep-alive"),
            ("Accept: ", "Accept: A"),
            ("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"),
        ] {
            let changed = |accept: &str| good(accept).replacen(from, to, 1);
            let upgraded = shake(&WebSocketOptions::default(), changed);
            assert!(matches!(upgraded, Err(WebSocketError::Handshake { .. })), "{upgraded:?}");
        }
    }

    #[test]
    fn a_subprotocol_is_one_of_those_offered() {
        let with = |chosen: &'static str, options: &WebSocketOptions| {
            shake(options, |accept| {
                good(accept).replace("Sec-WebSocket-Protocol: mqtt\r\n", chosen)
            })
        };
        let both = WebSocketOptions::default().subprotocols(["mqtt", "mqttv3.1"]);
        let upgraded = with("Sec-WebSocket-Protocol: mqttv3.1\r\n", &both).unwrap().unwrap();
        assert_eq!(upgraded.subprotocol.as_deref(), Some("mqttv3.1"));
        let two = "Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: mqttv3.1\r\n";
        for (chosen, options) in [
            ("Sec-WebSocket-Protocol: amqp\r\n", &both),
            ("", &both),
            (two, &both),
            ("Sec-WebSocket-Protocol: mqttv3.1\r\n", &WebSocketOptions::default()),
        ] {
            let upgraded = with(chosen, options);
            assert!(matches!(upgraded, Err(WebSocketError::Subprotocol { .. })), "{upgraded:?}");
        }
        let lenient = WebSocketOptions::default().subprotocol_required(false);
        assert_eq!(with("", &lenient).unwrap().unwrap().subprotocol, None);
    }

    #[test]
    fn a_refusal_says_why_and_what_to_do() {
        let refused = |response: &'static str| {
            let refused = shake(&WebSocketOptions::default(), |_| response.to_owned());
            refused.unwrap_err().to_string()
        };
        assert_eq!(
            refused("HTTP/1.1 404 Not Found\r\n\r\n"),
            "the server refused the WebSocket handshake: 404 Not Found; check the path of the URL"
        );
        assert_eq!(
            refused("HTTP/1.1 301 Moved\r\nLocation: wss://other/x\r\n\r\n"),
            "the server refused the WebSocket handshake: 301 Moved; it moved to wss://other/x: \
             use that URL"
        );
    }

    #[test]
    fn a_hook_cannot_smuggle_a_second_request() {
        let options = WebSocketOptions::default();
        let check = |change: fn(&mut UpgradeRequest)| {
            let mut request = options.request("host".to_owned(), "/".to_owned());
            change(&mut request);
            Upgrade::new(&options, &request).err()
        };
        assert_eq!(check(|_| {}), None);
        assert_eq!(check(|request| request.set_header("X-Token", "a b")), None);
        for change in [
            |request: &mut UpgradeRequest| request.set_target("/ HTTP/1.1\r\nA: b"),
            |request: &mut UpgradeRequest| request.set_target("mqtt"),
            |request: &mut UpgradeRequest| request.set_header("A", "b\r\nC: d"),
            |request: &mut UpgradeRequest| request.set_header("A: b\r\nC", "d"),
            |request: &mut UpgradeRequest| request.set_header("", "d"),
            |request: &mut UpgradeRequest| request.set_header("sec-websocket-key", "mine"),
        ] {
            assert!(check(change).is_some());
        }
    }
}
