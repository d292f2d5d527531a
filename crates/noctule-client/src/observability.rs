//! What a program can put into a client to see what it does: the options for it.

use std::sync::Arc;

use crate::builder::ClientBuilder;
use crate::interceptor::Interceptor;
use crate::metrics::Metrics;
use crate::packet_log::PacketLine;

impl<D> ClientBuilder<D> {
    /// Tells what is counted and measured. [`Figures`](crate::Figures) keep it, and several
    /// clients may have the same. Without it nothing is counted.
    pub fn metrics(mut self, metrics: impl Metrics + 'static) -> Self {
        self.extensions.metrics = Some(Arc::new(metrics));
        self
    }

    /// Tells of each packet that is sent and received, as a line of text without secrets: without
    /// passwords, authentication data, payloads and user names. It is called by the client's own
    /// task or thread and should return at once; what it panics with goes no further.
    ///
    /// Without it, the packets go to `tracing` (feature `tracing`), as events of the level `TRACE`
    /// with the target `noctule_client::packets`, if its subscriber wants them when a connection
    /// begins.
    ///
    /// ```
    /// use noctule_client::Client;
    ///
    /// let builder = Client::builder("mqtt://localhost").packet_log(|line| eprintln!("{line}"));
    /// ```
    ///
    /// ```text
    /// sent CONNECT 5.0 "", clean start, keep alive 60, receive maximum 65535 (32 bytes)
    /// received CONNACK success (0x00), assigned client identifier "auto-1" (17 bytes)
    /// sent PUBLISH 1 "house/kitchen" <4 bytes>, QoS 1 (24 bytes)
    /// received PUBACK 1 (4 bytes)
    /// ```
    pub fn packet_log(mut self, log: impl Fn(&PacketLine<'_>) + Send + Sync + 'static) -> Self {
        self.extensions.packet_log = Some(Arc::new(log));
        self
    }

    /// Whether the packet log shows user names; it does not by default.
    pub const fn packet_log_user_names(mut self, shows: bool) -> Self {
        self.extensions.logs_user_names = shows;
        self
    }

    /// Lets every message pass an interceptor, on its way out and in. Several work together: the
    /// first one is the nearest to the user.
    pub fn interceptor(mut self, interceptor: impl Interceptor + 'static) -> Self {
        self.extensions.interceptors.push(Arc::new(interceptor));
        self
    }
}
