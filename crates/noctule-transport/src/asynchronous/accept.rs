//! The server's ends of the handshakes, over any stream.

use tokio::io::{AsyncRead, AsyncWrite};

use super::WebSocketStream;
use super::shake::shake;
use crate::error::TransportError;
use crate::stage::Stage;
use crate::websocket::{Acceptance, AcceptedRequest, WebSocketAcceptor};

#[cfg(feature = "tls")]
use crate::tls::TlsServer;

impl WebSocketAcceptor {
    /// Waits for a client's request and answers it. Time-outs are up to the caller.
    ///
    /// # Errors
    /// When the connection breaks, or the request is refused; the client is then told why.
    pub async fn accept<S>(
        &self,
        mut stream: S,
    ) -> Result<(WebSocketStream<S>, AcceptedRequest), TransportError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let shaken = shake(&mut stream, &mut Acceptance::new(self)).await;
        let (request, early) = shaken
            .map_err(|failed| failed.into_error(Stage::WebSocket, TransportError::WebSocket))?;
        Ok((WebSocketStream::new(stream, self.frames(), early), request))
    }
}

#[cfg(feature = "tls")]
impl TlsServer {
    /// Passes the TLS handshake with a client. Time-outs are up to the caller.
    ///
    /// # Errors
    /// When the connection breaks or the handshake fails.
    pub async fn accept<S>(&self, stream: S) -> std::io::Result<tokio_rustls::server::TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        tokio_rustls::TlsAcceptor::from(self.config()).accept(stream).await
    }
}
