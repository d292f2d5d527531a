//! What tells `tracing` what happens, where that is not wanted: it tells nothing.

use std::time::Duration;

use noctule_client_core::{ClientEvent, Ended, Negotiated};
use noctule_packet::ReasonCode;

use crate::packet_log::PacketLine;

/// Tells nobody.
#[derive(Clone, Debug)]
pub(crate) struct Trace;

impl Trace {
    pub(crate) const fn new() -> Self {
        Self
    }

    pub(crate) fn attempt(&mut self, _endpoint: &str, _client_id: &str, _attempt: u32) {}

    pub(crate) fn redirected(&self, _reference: &str, _with_credentials: bool) {}

    pub(crate) fn connected(&self, _negotiated: &Negotiated) {}

    pub(crate) fn failed(&mut self, _error: &str) {}

    pub(crate) fn broken(&self, _error: &str) {}

    pub(crate) fn ended(&mut self, _ended: &Ended, _was_connected: bool) {}

    pub(crate) fn wants_packets(&self) -> bool {
        false
    }

    pub(crate) fn packet(&self, _line: &PacketLine<'_>) {}

    pub(crate) fn offline(&self) {}

    pub(crate) fn session(&self, _event: &ClientEvent) {}

    pub(crate) fn waiting(&self, _delay: Duration) {}

    pub(crate) fn stopped(&self, _reason: Option<&str>) {}
}

pub(crate) fn subscription_refused(_client_id: &str, _filter: &str, _code: ReasonCode) {}
