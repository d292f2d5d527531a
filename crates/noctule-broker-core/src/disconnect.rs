//! The end of a connection: by the client's DISCONNECT, by a lost transport, or by the broker.

use alloc::sync::Arc;

use noctule_packet::{Disconnect, ReasonCode};

use crate::connection::{Flow, Parked, Phase};
use crate::effect::{Effect, Effects};
use crate::event::{Ended, Event, Reason};
use crate::fault::{Fault, ProtocolError};
use crate::input::{Command, ConnectionId};
use crate::registry::SessionKey;
use crate::shard::Shard;
use crate::stored::Record;
use crate::timers::Timer;

impl Shard {
    pub(crate) fn on_disconnect(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        disconnect: &Disconnect<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let maximum = self.settings.limits.session_expiry_interval_max_seconds;
        let requested = self.connections.find(id).map(|known| known.requested_expiry_interval);
        if let Some(session) = self.registry.session_mut(key)
            && let Some(interval) = disconnect.session_expiry_interval
        {
            // What CONNECT said counts, not what a limit has made of it.
            if requested == Some(0) && interval > 0 {
                return Err(ProtocolError::SessionExpiryFromZero.into());
            }
            session.expiry_interval = interval.min(maximum);
            session.count(&self.settings.totals.stored_sessions);
        }
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::PublishWillAnyway) {
            self.end(id, Ended::ByClient(disconnect.reason_code), effects);
            return Ok(Flow::Wait);
        }
        // [MQTT5-3.14.4-3] [MQTT5-3.1.2-10] [MQTT311-3.14.4-3] [MQTT311-3.1.2-10] [MQTT31-3.1-13]
        if disconnect.reason_code == ReasonCode::Success
            && let Some(session) = self.registry.session_mut(key)
        {
            session.will = None;
        }
        self.end(id, Ended::ByClient(disconnect.reason_code), effects);
        Ok(Flow::Wait)
    }

    /// Lets the store know until when it has to keep a session, and its will.
    pub(crate) fn record_left(&mut self, key: SessionKey, effects: &mut Effects) {
        let Some(session) = self.registry.session_mut(key) else { return };
        let sent = session.sent_up_to();
        let Some(kept) = &mut session.kept else { return };
        let has_will = session.will_at.is_some();
        let had_will = core::mem::replace(&mut kept.has_will, has_will);
        let left = Record::SessionLeft {
            session: kept.name,
            expiry_interval: session.expiry_interval,
            expires_at: session.expires_at,
            will_at: session.will_at,
            sent,
        };
        // A will that was given up must not be published after a crash. [MQTT5-3.1.2-10]
        if had_will {
            self.record(left, effects);
        } else {
            self.record_leisurely(left, effects);
        }
    }

    /// The transport is gone; the connection's name may be used again.
    pub(crate) fn on_closed(&mut self, id: ConnectionId, effects: &mut Effects) {
        if self.connections.find(id).is_some_and(|connection| connection.session().is_some()) {
            self.end(id, Ended::ConnectionLost, effects);
        } else {
            self.close(id, effects);
        }
        self.forget(id);
    }

    /// Ends the connection of a client that was let in, and what ends with it.
    pub(crate) fn end(&mut self, id: ConnectionId, ended: Ended, effects: &mut Effects) {
        let Some(connection) = self.connections.find(id) else { return };
        let Some(key) = connection.session() else { return };
        self.close(id, effects);
        let Some(session) = self.registry.session(key) else { return };
        let client_id = Arc::clone(&session.client_id);
        effects.push(Effect::Event(Event::Disconnected { connection: id, client_id, ended }));
        self.release_session(key, effects);
    }

    /// The session has no connection any more: its will is due, and its own end may be.
    pub(crate) fn release_session(&mut self, key: SessionKey, effects: &mut Effects) {
        let now = self.now;
        let Some(session) = self.registry.session_mut(key) else { return };
        session.connection = None;
        // What is still owed is a part of the session, but for QoS 0.
        session.replays.end_at_most_once();
        session.replays.is_expecting = false;
        // [MQTT5-4.1.0-2] [MQTT311-3.1.2-6] [MQTT31-3.1-9] [MQTT31-3.14-2]
        if session.expiry_interval == 0 {
            self.end_session(key, effects);
            return;
        }
        // [MQTT5-3.1.2-23] [MQTT5-4.1.0-2] [MQTT311-4.1.0-1]
        if session.expiry_interval != crate::session::NEVER {
            let at = now.plus_seconds(session.expiry_interval);
            session.expires_at = Some(at);
            self.timers.set(at, Timer::SessionExpiry(key));
        }
        self.give_back_unsent(key, effects);
        self.put_away_unsent(key);
        self.lend_window(key, effects);
        self.schedule_will(key, effects);
        self.record_left(key, effects);
    }

    /// Writes what is in the outbound buffer and takes nothing more from the connection.
    // [MQTT5-3.14.4-1] [MQTT5-3.14.4-2] [MQTT311-3.14.4-1] [MQTT311-3.14.4-2] [MQTT31-3.14-1]
    pub(crate) fn close(&mut self, id: ConnectionId, effects: &mut Effects) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        if connection.phase == Phase::Closing {
            return;
        }
        connection.phase = Phase::Closing;
        let parked = connection.parked.take();
        if let Some(at) = connection.timer.take() {
            self.timers.cancel(at, Timer::Connection(id));
        }
        effects.push(Effect::Close { connection: id });
        match parked {
            // A session whose CONNACK was not sent yet is left as by a lost connection.
            Some(Parked::Connect(connecting)) => {
                if let Some(key) = connecting.session
                    && self.registry.session(key).is_some_and(|known| known.connection == Some(id))
                {
                    self.release_session(key, effects);
                }
            }
            Some(Parked::Publish(parked) | Parked::Room(parked)) => {
                self.withdraw(parked.session, parked.acknowledgement);
            }
            Some(Parked::Refused(_) | Parked::Subscribe(_) | Parked::Unsubscribe(_))
            | Some(Parked::FanOut)
            | None => {}
        }
    }

    pub(crate) fn on_command(&mut self, command: &Command, effects: &mut Effects) {
        match command {
            Command::Kick { client_id, reason } => {
                let key = self.registry.find(client_id);
                let session = key.and_then(|key| self.registry.session(key));
                if let Some(connection) = session.and_then(|session| session.connection) {
                    let text = "the operator disconnected the client".into();
                    let reason = Reason { code: *reason, text, limit: None };
                    self.disconnect(connection, reason, None, effects);
                }
            }
            Command::Stop { reason, server_reference } => {
                self.stopping = Some(*reason);
                let ids: alloc::vec::Vec<_> = self.connections.iter().map(|(id, _)| id).collect();
                for id in ids {
                    let text = "the server stops".into();
                    let reason = Reason { code: *reason, text, limit: None };
                    self.disconnect(id, reason, server_reference.as_deref(), effects);
                }
            }
        }
    }
}
