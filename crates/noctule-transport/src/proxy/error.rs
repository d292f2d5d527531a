//! What a proxy can answer instead of opening a tunnel.

use thiserror::Error;

use crate::http::HeadError;

/// Why a proxy opened no tunnel. The text continues "the proxy HOST:PORT".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyError {
    /// An HTTP proxy answered CONNECT with another status than success.
    #[error("refused the tunnel: {status} {reason}{}", status_advice(*.status))]
    Refused {
        /// The status.
        status: u16,
        /// The proxy's words for it.
        reason: String,
    },
    /// The answer is no HTTP.
    #[error("does not answer in HTTP/1.1: check its port and whether it is an HTTP proxy")]
    NotHttp,
    /// The head of the answer has no end.
    #[error("sent an answer of more than {limit} bytes")]
    HeadTooLong {
        /// How long it may be.
        limit: usize,
    },
    /// Bytes came through the tunnel although nobody had been asked anything.
    #[error("sent bytes behind its answer, although the server had not been asked anything")]
    EarlyBytes,
    /// The answer is no SOCKS5.
    #[error(
        "does not answer in SOCKS5 ({problem}): check its port and whether it is a SOCKS5 proxy"
    )]
    NotSocks {
        /// What is wrong with the answer.
        problem: &'static str,
    },
    /// A SOCKS5 proxy accepts none of our ways to authenticate.
    #[error("accepts none of our ways to authenticate: {advice}")]
    Methods {
        /// What to do.
        advice: &'static str,
    },
    /// A SOCKS5 proxy refuses the credentials.
    #[error("refuses the user name or the password")]
    Credentials,
    /// A SOCKS5 proxy cannot reach the server, or may not.
    #[error("cannot open the tunnel: {meaning} (code {code})")]
    Unreachable {
        /// The proxy's code.
        code: u8,
        /// What the code means.
        meaning: &'static str,
    },
}

fn status_advice(status: u16) -> &'static str {
    match status {
        // Tinyproxy before 1.11.2 says 401.
        401 | 407 => "; check the user name and the password: http://USER:PASSWORD@HOST:PORT",
        403 | 405 => "; it may allow only certain ports or hosts",
        500 | 502..=504 => "; it cannot reach the server",
        _ => "",
    }
}

impl From<HeadError> for ProxyError {
    fn from(error: HeadError) -> Self {
        match error {
            HeadError::NotHttp => Self::NotHttp,
            HeadError::TooLong => Self::HeadTooLong { limit: crate::http::HEAD_BYTES_MAX },
        }
    }
}
