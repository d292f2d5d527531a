//! How connections end, and the session: by the user, by a fault, with the transport.

use core::fmt;

use noctule_packet::{Disconnect, PacketType, ReasonCode, UserProperties, Version};
use noctule_session::Timestamp;

use crate::ended::{Ended, TransportEnd};
use crate::event::Event;
use crate::operation::{Doubt, DropCause, Outcome};
use crate::session::{ClientSession, Status};
use crate::stall::Stall;
use crate::text::{are_texts, is_text};

/// What DISCONNECT says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DisconnectOptions<'a> {
    /// Why, 5.0 only.
    pub reason: ReasonCode,
    /// A new lifetime of the session in seconds, 5.0 only.
    pub session_expiry_interval: Option<u32>,
    /// The reason in words, 5.0 only.
    pub reason_string: Option<&'a str>,
    /// The user properties, 5.0 only.
    pub user_properties: UserProperties<'a>,
}

/// Why a DISCONNECT cannot be said. The connection goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisconnectRefused {
    /// The version has no such thing.
    NotInVersion {
        /// What.
        option: &'static str,
        /// The version.
        version: Version,
    },
    /// A value that no DISCONNECT may carry.
    InvalidValue {
        /// What.
        option: &'static str,
    },
    /// A session that ends with its connection cannot be prolonged.
    SessionExpiryFromZero,
}

impl fmt::Display for DisconnectRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotInVersion { option, version } => {
                write!(f, "MQTT {version} has no {option} in DISCONNECT")
            }
            Self::InvalidValue { option } => {
                write!(f, "{option} has a value that no DISCONNECT may carry")
            }
            Self::SessionExpiryFromZero => {
                f.write_str("the Session Expiry Interval cannot be raised from 0 in DISCONNECT")
            }
        }
    }
}

impl core::error::Error for DisconnectRefused {}

/// What had not ended when a session was closed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unfinished {
    /// Messages that were not sent.
    pub queued: usize,
    /// Messages that were sent and not acknowledged.
    pub in_flight: usize,
    /// Requests without an answer.
    pub requests: usize,
    /// Whether the messages are in the store, for the next process.
    pub are_stored: bool,
}

impl ClientSession {
    /// Ends the connection, with everything that is in the outbound buffer before it. The session
    /// goes on.
    ///
    /// # Errors
    ///
    /// If that cannot be said.
    pub fn disconnect(
        &mut self,
        now: Timestamp,
        options: &DisconnectOptions<'_>,
    ) -> Result<(), DisconnectRefused> {
        self.check_disconnect(options)?;
        if self.status == Status::Online {
            let disconnect = Disconnect {
                reason_code: options.reason,
                session_expiry_interval: options.session_expiry_interval,
                reason_string: options.reason_string,
                server_reference: None,
                user_properties: options.user_properties.clone(),
            };
            let mut packet = alloc::vec::Vec::new();
            let maximum = usize::try_from(self.server.maximum_packet_size).unwrap_or(usize::MAX);
            // [MQTT5-3.14.2-3] [MQTT5-3.14.2-4]
            if disconnect.encode(self.version, &mut packet).is_err() || packet.len() > maximum {
                return Err(DisconnectRefused::InvalidValue { option: "reason_string" });
            }
            self.release_unasked();
            self.outbound.push(&packet);
            if let Some(seconds) = options.session_expiry_interval {
                self.session_expiry_interval = seconds;
            }
        }
        self.end(now, None, Ended::ByUser);
        Ok(())
    }

    /// Whether a DISCONNECT can be said in the version that is spoken, or will be.
    ///
    /// # Errors
    ///
    /// If it cannot.
    pub fn check_disconnect(
        &self,
        options: &DisconnectOptions<'_>,
    ) -> Result<(), DisconnectRefused> {
        let version = self.version;
        // [MQTT5-3.14.2-1]
        let is_ours = options.reason.allowed_in(PacketType::Disconnect);
        if !is_ours {
            return Err(DisconnectRefused::InvalidValue { option: "reason" });
        }
        if version.is_v5() {
            let rules = self.settings.validation.text_rules();
            if !options.reason_string.is_none_or(|text| is_text(rules, text)) {
                return Err(DisconnectRefused::InvalidValue { option: "reason_string" });
            }
            if !are_texts(rules, &options.user_properties) {
                return Err(DisconnectRefused::InvalidValue { option: "user_properties" });
            }
            // [MQTT5-3.14.2-2]
            let raises = options.session_expiry_interval.is_some_and(|seconds| seconds > 0);
            let is_zero = self.settings.connect.session_expiry_interval == 0;
            return if raises && is_zero {
                Err(DisconnectRefused::SessionExpiryFromZero)
            } else {
                Ok(())
            };
        }
        let missing = [
            (options.reason != ReasonCode::Success, "reason"),
            (options.session_expiry_interval.is_some(), "session_expiry_interval"),
            (options.reason_string.is_some(), "reason_string"),
            (!options.user_properties.is_empty(), "user_properties"),
        ];
        match missing.into_iter().find(|(is_there, _)| *is_there) {
            Some((_, option)) => Err(DisconnectRefused::NotInVersion { option, version }),
            None => Ok(()),
        }
    }

    /// The connection is to end: nothing more is read, and what is in the outbound buffer is the
    /// last that is written.
    // [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT311-3.14.4-1] [MQTT311-3.14.4-2]
    pub(crate) fn end(&mut self, now: Timestamp, tell: Option<ReasonCode>, ended: Ended) {
        match self.status {
            Status::Offline | Status::Closing => return,
            Status::Connecting => self.outbound.discard(),
            // Nothing gets through.
            Status::Online if ended == Ended::PingTimeout => self.outbound.discard(),
            Status::Online => {
                if let Some(reason_code) = tell.filter(|_| self.version.is_v5()) {
                    let sayable = reason_code.allowed_in(PacketType::Disconnect);
                    let reason_code =
                        if sayable { reason_code } else { ReasonCode::UnspecifiedError };
                    let disconnect = Disconnect { reason_code, ..Disconnect::default() };
                    let _ = disconnect.encode(self.version, self.outbound.bytes_mut());
                }
            }
        }
        self.status = Status::Closing;
        self.clocks.close(now);
        self.ended = Some(ended);
    }

    /// The transport is gone, or could not be opened. `why` counts if nothing else has ended the
    /// connection before.
    pub fn transport_down(&mut self, now: Timestamp, why: TransportEnd) {
        if self.status == Status::Offline {
            return;
        }
        self.status = Status::Offline;
        self.take_unwritten_back(now);
        self.outbound.clear();
        self.releasing.clear();
        self.authentication.reset();
        self.stall = Stall::default();
        self.is_repeating = false;
        let alone = self.repeated_alone.take();
        let (epoch, was_connected) = (self.epoch, self.is_accepted);
        if was_connected {
            self.last_alive = Some(self.clocks.last_heard());
        }
        let ended = self.ended.take().unwrap_or(Ended::Transport(why));
        let is_wanted = ended == Ended::ByUser;
        self.events.push(Event::Disconnected { epoch, was_connected, ended });
        self.count_interruptions(is_wanted, alone);
        self.requests_interrupted();
        while let Some(outgoing) = self.queue.pop_unkept(self.settings.queue.keep) {
            self.finish_dropped(&outgoing, DropCause::Offline);
        }
        self.pump(now);
    }

    /// The transport has taken bytes from the front of the outbound buffer.
    pub fn written(&mut self, now: Timestamp, count: usize) {
        if count == 0 {
            return;
        }
        self.clocks.written(now);
        self.outbound.advance(count);
        while let Some((operation, timeout)) = self.outbound.next_written() {
            self.unwatch(operation, timeout);
            self.events.push(Event::delivered(operation));
        }
        self.pump(now);
    }

    /// Ends the session for good: with DISCONNECT if there is a connection, and with an outcome for
    /// every operation. What a durable session has not finished stays in the store.
    pub fn close(&mut self, now: Timestamp) -> Unfinished {
        self.close_with(now, &DisconnectOptions::default())
    }

    /// The same, with more to say in DISCONNECT; without it, if it cannot be said.
    pub fn close_with(&mut self, now: Timestamp, options: &DisconnectOptions<'_>) -> Unfinished {
        if self.is_closed {
            return Unfinished::default();
        }
        let unfinished = Unfinished {
            queued: self.queue.len(),
            in_flight: self.sender.in_flight(),
            requests: self.requests.len(),
            are_stored: self.records.is_durable,
        };
        self.is_closed = true;
        if self.disconnect(now, options).is_err() {
            let _ = self.disconnect(now, &DisconnectOptions::default());
        }
        let is_durable = core::mem::take(&mut self.records.is_durable);
        while let Some(outgoing) = self.queue.pop_oldest() {
            if is_durable {
                let why = Doubt::Stored;
                self.finish(&outgoing, true, Outcome::Indeterminate { why });
            } else {
                self.finish_dropped(&outgoing, DropCause::Closed);
            }
        }
        let why = if is_durable { Doubt::Stored } else { Doubt::Closed };
        for release in core::mem::take(&mut self.releases) {
            self.finish_release(release);
        }
        for (outgoing, _) in self.sender.reset() {
            self.finish(&outgoing, false, Outcome::Indeterminate { why });
        }
        self.end_all_requests(DropCause::Closed, Doubt::Closed);
        self.in_flight_bytes = 0;
        unfinished
    }
}
