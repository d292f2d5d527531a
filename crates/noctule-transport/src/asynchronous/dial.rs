//! One attempt: the layers of a connection, from the bottom to the top.

#[cfg(feature = "tls")]
use std::sync::Arc;

#[cfg(feature = "tls")]
use tokio_rustls::TlsConnector;

#[cfg(feature = "srv")]
use super::service;
use super::shake::shake;
#[cfg(feature = "native-tls")]
use super::system_tls;
use super::{BoxedStream, Connected, WebSocketStream, tcp};
use crate::builder::{ProxyLayer, Settings};
use crate::error::TransportError;
use crate::info::ConnectionInfo;
use crate::proxy::{HttpConnect, ProxyKind, Socks, SocksTarget};
use crate::stage::{Progress, Stage};
use crate::websocket::{Frames, Hook, Role, Upgrade, WebSocketOptions};

#[cfg(feature = "tls")]
use crate::builder::TlsLayer;
#[cfg(feature = "tls")]
use crate::info::TlsInfo;
#[cfg(feature = "native-tls")]
use crate::tls::system_failed;
#[cfg(feature = "tls")]
use crate::tls::{Engine, TlsError};

pub(super) async fn dial(
    settings: &Settings,
    progress: &Progress,
) -> Result<Connected, TransportError> {
    let mut info = ConnectionInfo::default();
    #[cfg(feature = "srv")]
    if let Some(service) = &settings.service {
        let stream = service::reach(service, settings, progress, &mut info).await?;
        return Ok(Connected { stream, info });
    }
    let stream = reach(settings, progress, &mut info).await?;
    let stream = protect(stream, settings, progress, &mut info).await?;
    let stream = match &settings.websocket {
        Some(options) => upgrade(stream, options, settings, progress, &mut info).await?,
        None => stream,
    };
    Ok(Connected { stream, info })
}

/// TLS with the server, where the URL says so.
pub(super) async fn protect(
    stream: BoxedStream,
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    #[cfg(feature = "tls")]
    if let Some(layer) = &settings.tls {
        progress.enter(Stage::Tls);
        let (stream, tls) = secure(stream, layer, Stage::Tls).await?;
        info.tls = Some(tls);
        return Ok(stream);
    }
    #[cfg(not(feature = "tls"))]
    let _ = (settings, progress, info);
    Ok(stream)
}

/// The bytes that reach the server, before TLS and WebSocket.
async fn reach(
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    if let Some(connector) = &settings.connector {
        progress.enter(Stage::Connector);
        return connector.connect().await.map_err(TransportError::Connector);
    }
    let (Some(host), Some(port)) = (settings.url.host(), settings.url.port()) else {
        return reach_unix(settings, progress).await;
    };
    if let Some(layer) = &settings.proxy {
        return reach_through(layer, settings, (host, port), progress, info).await;
    }
    reach_tcp(host, port, settings, progress, info).await
}

// [MQTT311-7.1.2-1]
pub(super) async fn reach_tcp(
    host: &str,
    port: u16,
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    let stream = tcp::connect(host, port, &settings.socket, progress).await?;
    info.peer_address = stream.peer_addr().ok();
    info.local_address = stream.local_addr().ok();
    Ok(Box::new(stream))
}

#[cfg(unix)]
async fn reach_unix(
    settings: &Settings,
    progress: &Progress,
) -> Result<BoxedStream, TransportError> {
    progress.enter(Stage::Connecting);
    let path = settings.url.socket_path().unwrap_or(std::path::Path::new(""));
    let connected = tokio::net::UnixStream::connect(path).await;
    let failed = |source| TransportError::UnixSocket { path: path.to_owned(), source };
    Ok(Box::new(connected.map_err(failed)?))
}

#[cfg(not(unix))]
async fn reach_unix(
    _settings: &Settings,
    _progress: &Progress,
) -> Result<BoxedStream, TransportError> {
    Err(std::io::Error::from(std::io::ErrorKind::Unsupported).into())
}

/// The way to the server through a proxy.
async fn reach_through(
    layer: &ProxyLayer,
    settings: &Settings,
    (host, port): (&str, u16),
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    let proxy = &layer.proxy;
    let name = || SocksTarget::Name { host: host.to_owned(), port };
    match proxy.kind() {
        ProxyKind::Http | ProxyKind::Https => {
            let mut stream = reach_proxy(layer, settings, progress, info).await?;
            let mut handshake = HttpConnect::new(&settings.url.authority(), proxy.credentials());
            progress.enter(Stage::Proxy);
            let shaken = shake(&mut stream, &mut handshake).await;
            shaken.map_err(|failed| failed.into_error(Stage::Proxy, |e| layer.error(e)))?;
            Ok(stream)
        }
        ProxyKind::Socks5h => tunnel(layer, settings, name(), progress, info).await,
        ProxyKind::Socks5 => {
            let addresses = tcp::resolve(host, port, progress).await?;
            let mut last = TransportError::NoAddress { host: host.to_owned() };
            for address in addresses {
                let target = SocksTarget::Address(address);
                match tunnel(layer, settings, target, progress, info).await {
                    Ok(stream) => return Ok(stream),
                    Err(error) if error.is_about_the_target() => last = error,
                    Err(error) => return Err(error),
                }
            }
            Err(last)
        }
    }
}

/// A tunnel that a SOCKS5 proxy opens.
async fn tunnel(
    layer: &ProxyLayer,
    settings: &Settings,
    target: SocksTarget,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    let mut stream = reach_proxy(layer, settings, progress, info).await?;
    let mut handshake = Socks::new(target, layer.proxy.credentials());
    progress.enter(Stage::Proxy);
    let shaken = shake(&mut stream, &mut handshake).await;
    shaken.map_err(|failed| failed.into_error(Stage::Proxy, |e| layer.error(e)))?;
    Ok(stream)
}

async fn reach_proxy(
    layer: &ProxyLayer,
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    let proxy = &layer.proxy;
    let stream = reach_tcp(proxy.host(), proxy.port(), settings, progress, info).await?;
    #[cfg(feature = "tls")]
    if let Some(tls) = &layer.tls {
        progress.enter(Stage::ProxyTls);
        return Ok(secure(stream, tls, Stage::ProxyTls).await?.0);
    }
    Ok(stream)
}

#[cfg(feature = "tls")]
async fn secure(
    stream: BoxedStream,
    layer: &TlsLayer,
    stage: Stage,
) -> Result<(BoxedStream, TlsInfo), TransportError> {
    let config = match layer.client.engine() {
        Engine::Rustls(config) => Arc::clone(config),
        #[cfg(feature = "native-tls")]
        Engine::System(system) => {
            let connected = system_tls::connect(system, &layer.name, stream).await;
            let failed = |error| system_failed(&error, &layer.shown_name, stage);
            let stream = connected.map_err(failed)?;
            let info = stream.info();
            return Ok((Box::new(stream), info));
        }
    };
    match TlsConnector::from(config).connect(layer.name.clone(), stream).await {
        Ok(stream) => {
            let info = TlsInfo::of(stream.get_ref().1);
            Ok((Box::new(stream), info))
        }
        Err(source) => match TlsError::from_handshake(&source, &layer.shown_name) {
            Some(error) => Err(error.into()),
            None => Err(TransportError::Broken { stage, source }),
        },
    }
}

async fn upgrade(
    mut stream: BoxedStream,
    options: &WebSocketOptions,
    settings: &Settings,
    progress: &Progress,
    info: &mut ConnectionInfo,
) -> Result<BoxedStream, TransportError> {
    progress.enter(Stage::Hook);
    let mut request = options.request(settings.host_header(), settings.url.request_target());
    match &options.hook {
        Some(Hook::Sync(hook)) => hook(&mut request).map_err(TransportError::Hook)?,
        Some(Hook::Async(hook)) => request = hook(request).await.map_err(TransportError::Hook)?,
        None => {}
    }
    progress.enter(Stage::WebSocket);
    let mut handshake = Upgrade::new(options, &request)?;
    let upgraded = shake(&mut stream, &mut handshake).await;
    let upgraded = upgraded
        .map_err(|failed| failed.into_error(Stage::WebSocket, TransportError::WebSocket))?;
    info.subprotocol = upgraded.subprotocol;
    let frames = Frames::new(Role::Client, options.longest_message());
    Ok(Box::new(WebSocketStream::new(stream, frames, upgraded.rest)))
}
