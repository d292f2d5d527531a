//! The program's own way to a server, with TLS and WebSocket over it.

use std::net::{SocketAddr, TcpStream};

use noctule_transport::blocking::{self, Attempt, BoxedTransport};
use noctule_transport::{
    BoxError, BoxedStream, ConnectFuture, Connector, DialerBuilder, TransportError, Url,
};

use crate::authority::Authority;
use crate::conversation::{Front, bytes};
use crate::server::{echo_server, tls_server};
use crate::websocket::websocket_echo;

/// Connects to an address that the URL does not name.
struct Elsewhere(SocketAddr);

impl Connector for Elsewhere {
    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async {
            let stream = tokio::net::TcpStream::connect(self.0).await?;
            Ok(Box::new(stream) as BoxedStream)
        })
    }
}

impl blocking::Connector for Elsewhere {
    fn connect(&self, attempt: &mut Attempt<'_>) -> Result<BoxedTransport, BoxError> {
        assert!(attempt.deadline().is_some());
        let stream = TcpStream::connect(self.0)?;
        stream.set_nonblocking(true)?;
        Ok(Box::new(mio::net::TcpStream::from_std(stream)))
    }
}

#[track_caller]
fn check(builder: &DialerBuilder, address: SocketAddr) {
    let for_tokio = builder.clone().connector(Elsewhere(address));
    Front::Tokio.converse(&for_tokio, &bytes(100_000)).unwrap();
    let for_thread = builder.clone().blocking_connector(Elsewhere(address));
    Front::Thread.converse(&for_thread, &bytes(100_000)).unwrap();
}

#[test]
fn it_is_used_as_it_is_or_with_the_layers_of_the_url() {
    let builder = |url: &str| DialerBuilder::new(url.parse::<Url>().unwrap());
    check(&builder("mqtt://nowhere.invalid"), echo_server());
    let authority = Authority::new();
    let identity = authority.sign(&["nowhere.invalid"], |_| {});
    let address = tls_server(identity.server().build().unwrap(), |stream| websocket_echo(stream));
    let tls = crate::by::tls().roots_pem(authority.pem()).build().unwrap();
    check(&builder("wss://nowhere.invalid").tls(tls), address);
}

struct Broken;

impl Connector for Broken {
    fn connect(&self) -> ConnectFuture<'_> {
        Box::pin(async { Err(BoxError::from("the tunnel is down")) })
    }
}

#[test]
fn its_error_is_told() {
    let builder = DialerBuilder::new("mqtt://h".parse::<Url>().unwrap()).connector(Broken);
    let error = Front::Tokio.converse(&builder, b"").unwrap_err();
    assert!(matches!(error, TransportError::Connector(_)), "{error:?}");
    assert_eq!(error.to_string(), "the program's own connector failed: the tunnel is down");
}
