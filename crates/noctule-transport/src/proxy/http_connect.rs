//! The CONNECT request of HTTP (RFC 9110, section 9.3.6).

use super::error::ProxyError;
use crate::handshake::Handshake;
use crate::http::{HeadReader, Response, basic_authorization};

/// A handshake that asks an HTTP proxy for a tunnel.
pub(crate) struct HttpConnect {
    output: Vec<u8>,
    head: HeadReader,
}

impl HttpConnect {
    /// `target` is the server's host and port.
    pub(crate) fn new(target: &str, credentials: Option<(&str, &[u8])>) -> Self {
        let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
        if let Some((user, password)) = credentials {
            request.push_str("Proxy-Authorization: ");
            request.push_str(&basic_authorization(user, password));
            request.push_str("\r\n");
        }
        request.push_str("\r\n");
        Self { output: request.into_bytes(), head: HeadReader::response() }
    }
}

impl Handshake for HttpConnect {
    type Done = ();
    type Error = ProxyError;

    fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    fn on_bytes(&mut self, input: &[u8]) -> Result<Option<()>, ProxyError> {
        let Some(head) = self.head.on_bytes(input)? else { return Ok(None) };
        let Response { status, reason, .. } = Response::parse(&head.bytes)?;
        if !(200..300).contains(&status) {
            return Err(ProxyError::Refused { status, reason });
        }
        if !head.rest.is_empty() {
            return Err(ProxyError::EarlyBytes);
        }
        Ok(Some(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(response: &str) -> Result<Option<()>, ProxyError> {
        HttpConnect::new("host:1883", None).on_bytes(response.as_bytes())
    }

    #[test]
    fn the_request_names_the_server_and_carries_the_credentials() {
        let text = |credentials| {
            String::from_utf8(HttpConnect::new("[::1]:8883", credentials).take_output()).unwrap()
        };
        assert_eq!(text(None), "CONNECT [::1]:8883 HTTP/1.1\r\nHost: [::1]:8883\r\n\r\n");
        let with = text(Some(("a", b"b")));
        assert!(with.ends_with("\r\nProxy-Authorization: Basic YTpi\r\n\r\n"), "{with}");
    }

    #[test]
    fn every_success_opens_and_all_else_does_not() {
        assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\n"), Ok(Some(())));
        assert_eq!(answer("HTTP/1.0 299 Fine\r\nA: b\r\n\r\n"), Ok(Some(())));
        assert_eq!(answer("HTTP/1.1 200 OK\r\n"), Ok(None));
        assert_eq!(answer("HTTP/1.1 200 OK\r\n\r\nx"), Err(ProxyError::EarlyBytes));
        assert_eq!(answer("\x05\x00"), Err(ProxyError::NotHttp));
        assert_eq!(answer("HTTP/1.1 abc OK\r\n\r\n"), Err(ProxyError::NotHttp));
        let refused = answer("HTTP/1.1 407 Who\x1b\r\n\r\n");
        assert_eq!(refused, Err(ProxyError::NotHttp), "a reason has no control characters");
        let refused = answer("HTTP/1.1 407 Who are you\r\nProxy-Authenticate: Basic\r\n\r\n");
        let text = refused.unwrap_err().to_string();
        assert!(text.starts_with("refused the tunnel: 407 Who are you; check the user"), "{text}");
        assert!(answer("HTTP/1.1 101 Switching\r\n\r\n").is_err());
    }
}
