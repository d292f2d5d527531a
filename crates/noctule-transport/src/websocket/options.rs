//! What a user can set about WebSocket, and the request that a hook may change.

use std::fmt;
use std::sync::Arc;

use super::error::WebSocketError;
use crate::build_error::BuildError;
use crate::error::BoxError;
use crate::http::{is_header_name, is_header_value};

#[cfg(feature = "tokio")]
use std::pin::Pin;

/// The sub-protocol of MQTT 3.1.1 and 5.0. [MQTT5-6.0.0-3] [MQTT311-6.0.0-3]
const SUBPROTOCOL: &str = "mqtt";
/// The largest packet of MQTT, with its header.
const LARGEST_PACKET: u64 = 268_435_460;
/// What the handshake itself writes, and no hook can.
const RESERVED_HEADERS: [&str; 8] = [
    "upgrade",
    "connection",
    "sec-websocket-key",
    "sec-websocket-version",
    "sec-websocket-protocol",
    "sec-websocket-extensions",
    "content-length",
    "transfer-encoding",
];

/// Options of WebSocket connections.
#[derive(Clone)]
pub struct WebSocketOptions {
    subprotocols: Vec<String>,
    is_subprotocol_required: bool,
    headers: Vec<(String, String)>,
    message_bytes_max: u64,
    pub(crate) hook: Option<Hook>,
}

/// The program's own say in each handshake.
#[derive(Clone)]
pub(crate) enum Hook {
    Sync(SyncHook),
    #[cfg(feature = "tokio")]
    Async(AsyncHook),
}

type SyncHook = Arc<dyn Fn(&mut UpgradeRequest) -> Result<(), BoxError> + Send + Sync>;
#[cfg(feature = "tokio")]
type AsyncHook = Arc<dyn Fn(UpgradeRequest) -> HookFuture + Send + Sync>;
/// What an asynchronous hook returns.
#[cfg(feature = "tokio")]
pub(crate) type HookFuture = Pin<Box<dyn Future<Output = Result<UpgradeRequest, BoxError>> + Send>>;

impl Default for WebSocketOptions {
    fn default() -> Self {
        Self {
            subprotocols: vec![SUBPROTOCOL.to_owned()],
            is_subprotocol_required: true,
            headers: Vec::new(),
            message_bytes_max: LARGEST_PACKET,
            hook: None,
        }
    }
}

impl fmt::Debug for WebSocketOptions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header_names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("WebSocketOptions")
            .field("subprotocols", &self.subprotocols)
            .field("is_subprotocol_required", &self.is_subprotocol_required)
            .field("header_names", &header_names)
            .field("message_bytes_max", &self.message_bytes_max)
            .field("has_hook", &self.hook.is_some())
            .finish()
    }
}

impl WebSocketOptions {
    /// The sub-protocols to offer, the best first. The default is `mqtt`; MQTT 3.1 is `mqttv3.1`.
    #[must_use]
    pub fn subprotocols<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Whether a server that chooses none of the offered sub-protocols is left again (it is, by
    /// default). Some servers do not say what they chose.
    #[must_use]
    pub fn subprotocol_required(mut self, is_required: bool) -> Self {
        self.is_subprotocol_required = is_required;
        self
    }

    /// Adds a header to every handshake.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub(crate) fn without_credentials(self) -> Self {
        Self { headers: Vec::new(), hook: None, ..self }
    }

    /// The longest message that is accepted. It costs no memory: messages are not collected.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: u64) -> Self {
        self.message_bytes_max = bytes;
        self
    }

    /// Lets the program change the request of every attempt, for example to sign its URL.
    #[must_use]
    pub fn hook<F>(mut self, hook: F) -> Self
    where
        F: Fn(&mut UpgradeRequest) -> Result<(), BoxError> + Send + Sync + 'static,
    {
        self.hook = Some(Hook::Sync(Arc::new(hook)));
        self
    }

    /// The same for a program that has to wait for something, such as fresh credentials. The
    /// blocking client cannot use it and says so.
    #[cfg(feature = "tokio")]
    #[must_use]
    pub fn async_hook<F, R>(mut self, hook: F) -> Self
    where
        F: Fn(UpgradeRequest) -> R + Send + Sync + 'static,
        R: Future<Output = Result<UpgradeRequest, BoxError>> + Send + 'static,
    {
        self.hook = Some(Hook::Async(Arc::new(move |request| Box::pin(hook(request)))));
        self
    }

    pub(crate) fn check(&self) -> Result<(), BuildError> {
        let value = |setting, problem: String| Err(BuildError::Value { setting, problem });
        if let Some(name) = self.subprotocols.iter().find(|name| !is_header_name(name)) {
            return value("subprotocols", format!("cannot hold {name:?}: it is no HTTP token"));
        }
        if self.subprotocols.is_empty() && self.is_subprotocol_required {
            let problem = "is empty: name one, or say subprotocol_required(false)";
            return value("subprotocols", problem.to_owned());
        }
        for (name, text) in &self.headers {
            check_header(name, text).or_else(|error| value("header", error.to_string()))?;
        }
        Ok(())
    }

    pub(crate) fn request(&self, host: String, target: String) -> UpgradeRequest {
        let mut headers = vec![("Host".to_owned(), host)];
        headers.extend(self.headers.iter().cloned());
        UpgradeRequest { target, headers }
    }

    pub(crate) fn offered(&self) -> &[String] {
        &self.subprotocols
    }

    pub(crate) fn is_acceptable(&self, chosen: Option<&str>) -> bool {
        match chosen {
            Some(chosen) => self.subprotocols.iter().any(|offered| offered == chosen),
            None => !self.is_subprotocol_required,
        }
    }

    pub(crate) fn longest_message(&self) -> u64 {
        self.message_bytes_max
    }
}

/// The request that opens a WebSocket, as a hook gets it.
#[derive(Clone, PartialEq, Eq)]
pub struct UpgradeRequest {
    target: String,
    headers: Vec<(String, String)>,
}

impl UpgradeRequest {
    /// Path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Asks for another path or query, for example a signed one.
    pub fn set_target(&mut self, target: impl Into<String>) {
        self.target = target.into();
    }

    /// Host and port that the request goes to.
    #[must_use]
    pub fn host(&self) -> &str {
        self.header("host").unwrap_or_default()
    }

    /// The value of a header, by its name in any case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(there, _)| there.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a header, in place of one of the same name.
    pub fn set_header(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let name = name.into();
        self.headers.retain(|(there, _)| !there.eq_ignore_ascii_case(&name));
        self.headers.push((name, value.into()));
    }

    /// All headers that the program may change.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    pub(crate) fn check(&self) -> Result<(), WebSocketError> {
        let is_target = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
        if !self.target.starts_with('/') || !self.target.bytes().all(is_target) {
            return Err(WebSocketError::Target);
        }
        self.headers.iter().try_for_each(|(name, value)| check_header(name, value))
    }
}

impl fmt::Debug for UpgradeRequest {
    /// Neither the query nor the values of headers are shown: they hold tokens and signatures.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        let names: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        formatter
            .debug_struct("UpgradeRequest")
            .field("path", &path)
            .field("header_names", &names)
            .finish_non_exhaustive()
    }
}

fn check_header(name: &str, value: &str) -> Result<(), WebSocketError> {
    let wrong = |problem| Err(WebSocketError::Header { name: name.to_owned(), problem });
    if !is_header_name(name) {
        return wrong("the name is no HTTP token");
    }
    if !is_header_value(value) {
        return wrong("the value has a line break or another control character");
    }
    if RESERVED_HEADERS.contains(&name.to_ascii_lowercase().as_str()) {
        return wrong("the handshake writes it itself");
    }
    Ok(())
}
