//! One attempt: the layers of a connection, from the bottom to the top.

#[cfg(feature = "tls")]
use std::sync::Arc;

use mio::net::TcpStream;

use super::attempt::Attempt;
#[cfg(feature = "srv")]
use super::service;
use super::shake::shake;
#[cfg(feature = "native-tls")]
use super::system_tls;
use super::{BoxedTransport, Connected, WebSocketStream, tcp};
use crate::builder::{ProxyLayer, Settings};
use crate::error::TransportError;
use crate::handshake::Handshake;
use crate::info::ConnectionInfo;
use crate::proxy::{HttpConnect, ProxyError, ProxyKind, Socks, SocksTarget};
use crate::stage::Stage;
use crate::websocket::{Frames, Hook, Role, Upgrade, WebSocketOptions};

#[cfg(feature = "tls")]
use super::TlsStream;
#[cfg(feature = "tls")]
use crate::builder::TlsLayer;
#[cfg(feature = "tls")]
use crate::info::TlsInfo;
#[cfg(feature = "native-tls")]
use crate::tls::system_failed;
#[cfg(feature = "tls")]
use crate::tls::{Engine, TlsError};

pub(super) fn dial(
    settings: &Settings,
    attempt: &mut Attempt<'_>,
) -> Result<Connected, TransportError> {
    let mut info = ConnectionInfo::default();
    #[cfg(feature = "srv")]
    if let Some(service) = &settings.service {
        let stream = service::reach(service, settings, attempt, &mut info)?;
        return Ok(Connected { stream, info });
    }
    let stream = reach(settings, attempt, &mut info)?;
    let stream = protect(stream, settings, attempt, &mut info)?;
    let stream = match &settings.websocket {
        Some(options) => upgrade(stream, options, settings, attempt, &mut info)?,
        None => stream,
    };
    Ok(Connected { stream, info })
}

/// TLS with the server, where the URL says so.
pub(super) fn protect(
    stream: BoxedTransport,
    settings: &Settings,
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    #[cfg(feature = "tls")]
    if let Some(layer) = &settings.tls {
        let (stream, tls) = secure(stream, layer, Stage::Tls, attempt)?;
        info.tls = Some(tls);
        return Ok(stream);
    }
    #[cfg(not(feature = "tls"))]
    let _ = (settings, attempt, info);
    Ok(stream)
}

/// The bytes that reach the server, before TLS and WebSocket; registered with the waiter.
fn reach(
    settings: &Settings,
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    if let Some(connector) = &settings.blocking_connector {
        attempt.enter(Stage::Connector);
        let mut stream = connector.connect(attempt).map_err(TransportError::Connector)?;
        attempt.waiter.register(&mut stream)?;
        return Ok(stream);
    }
    let (Some(host), Some(port)) = (settings.url.host(), settings.url.port()) else {
        return reach_unix(settings, attempt);
    };
    match &settings.proxy {
        Some(layer) => reach_through(layer, settings, (host, port), attempt, info),
        None => reach_tcp(host, port, settings, attempt, info),
    }
}

#[cfg(unix)]
fn reach_unix(
    settings: &Settings,
    attempt: &mut Attempt<'_>,
) -> Result<BoxedTransport, TransportError> {
    attempt.enter(Stage::Connecting);
    let path = settings.url.socket_path().unwrap_or(std::path::Path::new(""));
    // A Unix socket connects at once or says that its queue is full.
    let connected = mio::net::UnixStream::connect(path);
    let failed = |source| TransportError::UnixSocket { path: path.to_owned(), source };
    let mut stream = connected.map_err(failed)?;
    attempt.waiter.register(&mut stream)?;
    Ok(Box::new(stream))
}

#[cfg(not(unix))]
fn reach_unix(
    _settings: &Settings,
    _attempt: &mut Attempt<'_>,
) -> Result<BoxedTransport, TransportError> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
}

// [MQTT311-7.1.2-1]
pub(super) fn reach_tcp(
    host: &str,
    port: u16,
    settings: &Settings,
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    let mut stream: TcpStream = tcp::connect(host, port, &settings.socket, attempt)?;
    info.peer_address = stream.peer_addr().ok();
    info.local_address = stream.local_addr().ok();
    attempt.waiter.register(&mut stream)?;
    Ok(Box::new(stream))
}

/// The way to the server through a proxy.
fn reach_through(
    layer: &ProxyLayer,
    settings: &Settings,
    (host, port): (&str, u16),
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    let credentials = layer.proxy.credentials();
    match layer.proxy.kind() {
        ProxyKind::Http | ProxyKind::Https => {
            let handshake = HttpConnect::new(&settings.url.authority(), credentials);
            tunnel(layer, settings, handshake, attempt, info)
        }
        ProxyKind::Socks5h => {
            let target = SocksTarget::Name { host: host.to_owned(), port };
            tunnel(layer, settings, Socks::new(target, credentials), attempt, info)
        }
        ProxyKind::Socks5 => {
            let addresses = tcp::resolve(host, port, attempt)?;
            let mut last = TransportError::NoAddress { host: host.to_owned() };
            for address in addresses {
                let handshake = Socks::new(SocksTarget::Address(address), credentials);
                match tunnel(layer, settings, handshake, attempt, info) {
                    Ok(stream) => return Ok(stream),
                    Err(error) if error.is_about_the_target() => last = error,
                    Err(error) => return Err(error),
                }
            }
            Err(last)
        }
    }
}

/// A tunnel that a proxy opens.
fn tunnel<H: Handshake<Done = (), Error = ProxyError>>(
    layer: &ProxyLayer,
    settings: &Settings,
    mut handshake: H,
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    let proxy = &layer.proxy;
    let stream = reach_tcp(proxy.host(), proxy.port(), settings, attempt, info)?;
    #[cfg(feature = "tls")]
    let stream = match &layer.tls {
        Some(tls) => secure(stream, tls, Stage::ProxyTls, attempt)?.0,
        None => stream,
    };
    let mut stream = stream;
    attempt.enter(Stage::Proxy);
    let shaken = shake(&mut stream, &mut handshake, attempt)?;
    shaken.map_err(|failed| failed.into_error(Stage::Proxy, |error| layer.error(error)))?;
    Ok(stream)
}

#[cfg(feature = "tls")]
fn secure(
    stream: BoxedTransport,
    layer: &TlsLayer,
    stage: Stage,
    attempt: &mut Attempt<'_>,
) -> Result<(BoxedTransport, TlsInfo), TransportError> {
    attempt.enter(stage);
    let failed = |source: std::io::Error| match TlsError::from_handshake(&source, &layer.shown_name)
    {
        Some(error) => error.into(),
        None => TransportError::Broken { stage, source },
    };
    let config = match layer.client.engine() {
        Engine::Rustls(config) => Arc::clone(config),
        #[cfg(feature = "native-tls")]
        Engine::System(system) => {
            let connected = system_tls::connect(system, &layer.name, stream, attempt)?;
            let failed = |error| system_failed(&error, &layer.shown_name, stage);
            let stream = connected.map_err(failed)?;
            let info = stream.0.info();
            return Ok((Box::new(stream), info));
        }
    };
    let connection = rustls::ClientConnection::new(config, layer.name.clone());
    let connection = connection
        .map_err(|error| failed(std::io::Error::new(std::io::ErrorKind::InvalidData, error)))?;
    let mut stream = TlsStream::new(connection.into(), stream);
    attempt.retry(|| stream.handshake())?.map_err(failed)?;
    let rustls::Connection::Client(connection) = stream.connection() else {
        return Err(std::io::Error::from(std::io::ErrorKind::InvalidData).into());
    };
    let info = TlsInfo::of(connection);
    Ok((Box::new(stream), info))
}

fn upgrade(
    mut stream: BoxedTransport,
    options: &WebSocketOptions,
    settings: &Settings,
    attempt: &mut Attempt<'_>,
    info: &mut ConnectionInfo,
) -> Result<BoxedTransport, TransportError> {
    attempt.enter(Stage::Hook);
    let mut request = options.request(settings.host_header(), settings.url.request_target());
    match &options.hook {
        Some(Hook::Sync(hook)) => hook(&mut request).map_err(TransportError::Hook)?,
        // The builder has refused it.
        #[cfg(feature = "tokio")]
        Some(Hook::Async(_)) => {
            return Err(TransportError::Hook("an asynchronous hook cannot be waited for".into()));
        }
        None => {}
    }
    attempt.enter(Stage::WebSocket);
    let mut handshake = Upgrade::new(options, &request)?;
    let shaken = shake(&mut stream, &mut handshake, attempt)?;
    let upgraded =
        shaken.map_err(|failed| failed.into_error(Stage::WebSocket, TransportError::WebSocket))?;
    info.subprotocol = upgraded.subprotocol;
    let frames = Frames::new(Role::Client, options.longest_message());
    Ok(Box::new(WebSocketStream::new(stream, frames, upgraded.rest)))
}
