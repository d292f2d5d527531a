//! From a new transport to CONNACK: what CONNECT says, and what the answer means for the session.

use alloc::boxed::Box;
use core::time::Duration;

use noctule_packet::{Connack, Connect, Frame, PacketType, QoS, ReasonCode, Version};
use noctule_session::{InboundAliases, Receiver, Timestamp};

use crate::auth::Task;
use crate::connect_options::CleanStart;
use crate::ended::{Ended, ServerReason};
use crate::event::{Epoch, Event};
use crate::fault::{Fault, ProtocolError};
use crate::negotiated::{Negotiated, owned};
use crate::operation::{Doubt, Outcome};
use crate::record::Record;
use crate::session::{ClientSession, Server, Status};
use crate::settings::Validation;

impl ClientSession {
    /// A transport is up: a new connection begins, and CONNECT is in the outbound buffer.
    pub fn transport_up(&mut self, now: Timestamp) -> Epoch {
        self.transport_down(now, crate::ended::TransportEnd::Failed);
        self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        self.outbound.clear();
        self.status = Status::Connecting;
        (self.is_accepted, self.ended) = (false, None);
        self.clocks.begin(now, self.settings.connect_timeout);
        if self.is_closed {
            self.end(now, None, Ended::ByUser);
            return self.epoch;
        }
        self.clean_start = self.asks_for_clean_start(now);
        if self.has_session && !self.is_unanswered {
            self.is_unanswered = true;
            self.records.note(|| Record::Connecting);
        }
        if self.authentication.name().is_some() {
            self.ask_method(now, Task::Connect);
        } else {
            self.write_connect(None);
        }
        self.epoch
    }

    // [MQTT5-3.1.0-1] [MQTT311-3.1.0-1]
    pub(crate) fn write_connect(&mut self, data: Option<&[u8]>) {
        let options = &self.settings.connect;
        let client_id = self.assigned_client_id.as_deref().unwrap_or(&options.client_id);
        let Some(mut connect) = options.packet(self.version, client_id, self.clean_start) else {
            return;
        };
        if let Some(name) = self.authentication.name() {
            connect.properties.authentication_method = Some(name);
            connect.properties.authentication_data = data;
        }
        // The options were checked, so they can be said.
        let _ = Connect::encode(&connect, self.outbound.bytes_mut());
    }

    fn asks_for_clean_start(&self, now: Timestamp) -> bool {
        let options = &self.settings.connect;
        match options.clean_start {
            CleanStart::Always => true,
            _ if self.is_session_unknown => true,
            // [MQTT311-3.1.2-4] [MQTT311-3.1.2-6] A session that ends with its connection.
            _ if !self.version.is_v5() => options.session_expiry_interval == 0,
            _ if self.is_session_doubted(now) => true,
            CleanStart::First => !self.has_session,
            CleanStart::Never => false,
        }
    }

    /// Whether the server may have begun a session that it could not tell us of: the one that we
    /// know may have expired before a CONNECT whose CONNACK has not arrived. The next CONNACK would
    /// say that a session is present and mean one that knows nothing of what is in flight, so only
    /// a clean start tells them apart.
    fn is_session_doubted(&self, now: Timestamp) -> bool {
        let lasts = self.session_expiry_interval;
        self.is_unanswered && lasts < u32::MAX && self.silence(now).as_secs() >= u64::from(lasts)
    }

    /// How long the server was not heard, as far as it had accepted us.
    fn silence(&self, now: Timestamp) -> Duration {
        let here = self.last_alive.map_or(Duration::ZERO, |last| now.since(last));
        here.saturating_add(self.earlier_silence)
    }

    /// CONNACK.
    pub(crate) fn on_connack(&mut self, now: Timestamp, frame: &Frame<'_>) -> Result<(), Fault> {
        // Servers that do not know 5.0 answer in the form that they know.
        let is_older = self.version.is_v5() && matches!(frame.body, [0, 1]);
        let version = if is_older { Version::V3_1_1 } else { self.version };
        let connack = Connack::decode(frame, version, self.settings.validation.text_rules())?;
        if connack.reason_code.is_error() {
            self.refused(now, &connack);
            return Ok(());
        }
        let session_present = self.session_present(&connack)?;
        if !self.verify(now, &connack)? {
            return Ok(());
        }
        let options = &self.settings.connect;
        let negotiated =
            Negotiated::new(version, options, self.client_id(), session_present, &connack);
        // [MQTT5-3.2.2-16]
        if version.is_v5() && negotiated.client_id.is_empty() {
            self.tolerate(ProtocolError::NoAssignedClientIdentifier)?;
        }
        self.accepted(now, negotiated);
        Ok(())
    }

    /// Whether the server goes on with a session, and may.
    fn session_present(&mut self, connack: &Connack<'_>) -> Result<bool, Fault> {
        if self.version == Version::V3_1 {
            return Ok(!self.clean_start && self.has_session);
        }
        if !connack.session_present {
            return Ok(false);
        }
        // [MQTT5-3.2.2-2] [MQTT311-3.2.2-1]
        if self.clean_start {
            return Err(ProtocolError::SessionAfterCleanStart.into());
        }
        // [MQTT5-3.2.2-4] Who asks for any session that there is knows that it has nothing of it.
        let is_welcome =
            !self.version.is_v5() || self.settings.connect.clean_start == CleanStart::Never;
        let is_strict = self.settings.validation == Validation::Strict;
        if !self.has_session && (is_strict || !is_welcome) {
            // Otherwise every connection from now on would end here.
            self.is_session_unknown = self.settings.connect.clean_start != CleanStart::Never;
            return Err(ProtocolError::UnknownSession.into());
        }
        Ok(true)
    }

    fn refused(&mut self, now: Timestamp, connack: &Connack<'_>) {
        let older = match self.version {
            Version::V5_0 => Version::V3_1_1,
            Version::V3_1_1 | Version::V3_1 => Version::V3_1,
        };
        let from = self.version;
        if connack.reason_code == ReasonCode::UnsupportedProtocolVersion
            && older >= self.settings.lowest_version
            && older < from
        {
            self.version = older;
            return self.end(now, None, Ended::Downgraded { from, to: older });
        }
        let reason = ServerReason {
            code: connack.reason_code,
            text: connack.properties.reason_string.map(Into::into),
            server_reference: connack.properties.server_reference.map(Into::into),
            user_properties: owned(&connack.properties.user_properties),
        };
        self.end(now, None, Ended::Refused(Box::new(reason)));
    }

    /// The server has accepted the connection: everything that CONNACK says holds from here on.
    fn accepted(&mut self, now: Timestamp, negotiated: Negotiated) {
        self.status = Status::Online;
        self.is_accepted = true;
        self.server = Server {
            // [MQTT5-3.2.2-15]
            maximum_packet_size: negotiated.maximum_packet_size,
            maximum_qos: negotiated.maximum_qos,
            retain_available: negotiated.retain_available,
        };
        if negotiated.is_client_id_assigned {
            self.assigned_client_id = Some(negotiated.client_id.clone());
        }
        self.clocks.connected(now, negotiated.keep_alive);
        if self.authentication.name().is_some() {
            self.clocks.authenticate_again(now, self.settings.reauthenticate_every);
        }
        self.aliases.reset(negotiated.topic_alias_maximum);
        self.inbound_aliases = InboundAliases::new(self.settings.connect.topic_alias_maximum);
        (self.is_unanswered, self.is_session_unknown) = (false, false);
        self.earlier_silence = Duration::ZERO;
        self.session_expiry_interval = negotiated.session_expiry_interval;
        let session_present = negotiated.session_present;
        let client_id = negotiated.client_id.clone();
        let receive_maximum = negotiated.receive_maximum.min(self.settings.limits.in_flight_max);
        let had_session = core::mem::replace(
            &mut self.has_session,
            !self.clean_start || negotiated.session_expiry_interval > 0,
        );
        self.negotiated = Some(Box::new(negotiated.clone()));
        let (epoch, negotiated) = (self.epoch, Box::new(negotiated));
        self.events.push(Event::Connected { epoch, negotiated });
        self.records.note(|| Record::SessionStarted { client_id, is_new: !session_present });
        let maximum =
            if self.version.is_v5() { self.settings.connect.receive_maximum } else { u16::MAX };
        if session_present {
            self.receiver.resume(maximum);
        } else {
            self.lose_session(had_session);
            self.receiver = Receiver::new(maximum);
        }
        self.sender.resume(receive_maximum);
        self.is_repeating = self.sender.has_repetitions();
        (self.repeated_alone, self.stray_releases) = (None, 0);
        self.remarks.clear();
        // Whoever cannot be asked whether it has forgotten them is told again.
        let are_lost = !session_present || self.version == Version::V3_1;
        if are_lost && self.settings.subscribes_again {
            self.subscriptions.lose();
        } else if !session_present {
            self.subscriptions.leave();
        }
        // Those too whose answer was due when a connection ended.
        self.subscribe_again();
        self.pump(now);
    }

    /// The server has nothing of what was before.
    // [MQTT5-3.2.2-5]
    fn lose_session(&mut self, had_session: bool) {
        if had_session {
            self.events.push(Event::SessionLost);
        }
        for release in core::mem::take(&mut self.releases) {
            self.finish_release(release);
        }
        self.held.forget_answers();
        self.in_flight_bytes = 0;
        let keep = self.settings.queue.keep;
        let anew = self.settings.redelivery.exactly_once_anew;
        let mut waiting = alloc::vec::Vec::new();
        for (outgoing, qos) in self.sender.reset() {
            let is_sent_anew = keep.keeps_message(qos) && (qos == QoS::AtLeastOnce || anew);
            if is_sent_anew && !outgoing.is_silent {
                waiting.push(outgoing);
            } else {
                let why = Doubt::SessionLost;
                self.finish(&outgoing, false, Outcome::Indeterminate { why });
            }
        }
        for mut outgoing in waiting.into_iter().rev() {
            // It has waited for its first transmission already.
            (outgoing.discarded, outgoing.was_sent) = (None, true);
            self.queue.push_front(outgoing);
        }
    }
}

/// Whether a packet may come before CONNACK.
// [MQTT5-3.2.0-1] [MQTT311-3.2.0-1]
pub(crate) const fn comes_before_connack(packet_type: PacketType) -> bool {
    matches!(packet_type, PacketType::Connack | PacketType::Auth)
}
