//! Tells `tracing` what happens to the connection: one span for each attempt and what becomes of
//! it. Passwords, tokens and authentication data are in nothing that it tells.

use std::time::Duration;

use noctule_client_core::{ClientEvent, Ended, Negotiated};
use noctule_packet::ReasonCode;
use tracing::{Level, Span, debug, enabled, error, info, info_span, trace, warn};

use crate::packet_log::PacketLine;

/// What every span and event names as its target; packets name the other one.
const TARGET: &str = "noctule_client";
const PACKETS: &str = "noctule_client::packets";

/// Tells what happens to the connection of a client.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    /// That of the attempt that is being made, or of the connection that it has come to.
    span: Span,
    client_id: String,
}

impl Trace {
    pub(crate) const fn new() -> Self {
        Self { span: Span::none(), client_id: String::new() }
    }

    /// An attempt begins.
    pub(crate) fn attempt(&mut self, endpoint: &str, client_id: &str, attempt: u32) {
        self.client_id = client_id.to_owned();
        self.span = info_span!(
            target: TARGET, parent: None, "connection", endpoint, client_id, attempt,
        );
        debug!(target: TARGET, parent: &self.span, "connecting");
    }

    /// Another server than the user's is asked, because that one has named it.
    pub(crate) fn redirected(&self, reference: &str, with_credentials: bool) {
        info!(
            target: TARGET, parent: &self.span, server = reference, with_credentials,
            "following a redirection",
        );
    }

    /// The server has accepted the connection.
    pub(crate) fn connected(&self, negotiated: &Negotiated) {
        info!(
            target: TARGET,
            parent: &self.span,
            version = %negotiated.version,
            session_present = negotiated.session_present,
            assigned_client_id = negotiated.is_client_id_assigned.then_some(&*negotiated.client_id),
            session_expiry_interval = negotiated.session_expiry_interval,
            keep_alive = negotiated.keep_alive,
            receive_maximum = negotiated.receive_maximum,
            maximum_qos = negotiated.maximum_qos.level(),
            maximum_packet_size = negotiated.maximum_packet_size,
            topic_alias_maximum = negotiated.topic_alias_maximum,
            retain_available = negotiated.retain_available,
            "connected",
        );
    }

    /// There was no transport.
    pub(crate) fn failed(&mut self, error: &str) {
        warn!(target: TARGET, parent: &self.span, error, "not connected");
        self.span = Span::none();
    }

    /// The transport broke.
    pub(crate) fn broken(&self, error: &str) {
        debug!(target: TARGET, parent: &self.span, error, "the transport broke");
    }

    /// The connection has ended, or the server did not accept it.
    pub(crate) fn ended(&mut self, ended: &Ended, was_connected: bool) {
        match ended {
            Ended::ByUser => info!(target: TARGET, parent: &self.span, "disconnected"),
            _ if was_connected => {
                warn!(target: TARGET, parent: &self.span, reason = %ended, "connection lost");
            }
            _ => warn!(target: TARGET, parent: &self.span, reason = %ended, "connection refused"),
        }
        self.span = Span::none();
    }

    /// Whether somebody wants to see the packets.
    pub(crate) fn wants_packets(&self) -> bool {
        enabled!(target: PACKETS, Level::TRACE)
    }

    /// A packet was sent or received.
    pub(crate) fn packet(&self, line: &PacketLine<'_>) {
        trace!(target: PACKETS, parent: &self.span, "{line}");
    }

    /// The user wants no connection for now.
    pub(crate) fn offline(&self) {
        let client_id = &*self.client_id;
        info!(target: TARGET, client_id, "offline");
    }

    /// Something has happened to the session.
    pub(crate) fn session(&self, event: &ClientEvent) {
        let parent = &self.span;
        match event {
            ClientEvent::SessionLost => {
                warn!(target: TARGET, parent: parent, "the server has lost the session");
            }
            ClientEvent::Resubscribed { filter, code: Some(code), .. } if !code.is_error() => {
                debug!(target: TARGET, parent: parent, %filter, "subscribed again");
            }
            ClientEvent::Resubscribed { filter, code, .. } => {
                let reason = code.map(ReasonCode::name);
                warn!(target: TARGET, parent: parent, %filter, reason, "subscription lost");
            }
            ClientEvent::Stalled { held_bytes } => {
                warn!(target: TARGET, parent: parent, held_bytes, "nobody takes messages");
            }
            ClientEvent::Reauthenticated => {
                info!(target: TARGET, parent: parent, "authenticated again");
            }
            ClientEvent::Tolerated(error) => {
                warn!(target: TARGET, parent: parent, %error, "a mistake of the server");
            }
            _ => {}
        }
    }

    /// The next attempt comes so much later.
    pub(crate) fn waiting(&self, delay: Duration) {
        let client_id = &*self.client_id;
        info!(target: TARGET, client_id, ?delay, "another attempt follows");
    }

    /// There are no more attempts; why, if nobody wanted that.
    pub(crate) fn stopped(&self, reason: Option<&str>) {
        let client_id = &*self.client_id;
        match reason {
            Some(reason) => error!(target: TARGET, client_id, reason, "given up"),
            None => info!(target: TARGET, client_id, "stopped"),
        }
    }
}

/// The server has refused a subscription of the user's.
pub(crate) fn subscription_refused(client_id: &str, filter: &str, code: ReasonCode) {
    let reason = code.name();
    warn!(target: TARGET, client_id, filter, reason, "subscription refused");
}
