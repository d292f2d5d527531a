//! What time ends: silent connections, sessions, wills' delays, retained messages.

use noctule_packet::ReasonCode;

use crate::connection::{Connection, Phase};
use crate::effect::{Effect, Effects};
use crate::event::{Event, Limit, Reason};
use crate::input::ConnectionId;
use crate::registry::SessionKey;
use crate::session::Session;
use crate::shard::Shard;
use crate::stored::Record;
use crate::timers::Timer;

/// How much of a turn is left to what is due, whatever else there was to do.
const TIMERS: usize = 256;

impl Shard {
    /// The deadline of [`Shard::poll_timeout`] has passed.
    pub(crate) fn on_timeout(&mut self, effects: &mut Effects) {
        self.go_on_fanning_out(effects);
        // Fan-outs that use up every turn must not hold off what is due for ever.
        self.budget = self.budget.max(TIMERS);
        while self.budget > 0
            && let Some(timer) = self.timers.pop_due(self.now)
        {
            self.budget -= 1;
            match timer {
                Timer::Connection(id) => self.on_silence(id, effects),
                Timer::Throttle(id) => self.on_throttle_over(id, effects),
                // [MQTT5-4.1.0-2]
                Timer::SessionExpiry(key) => {
                    if let Some(session) = self.registry.session_mut(key) {
                        session.expires_at = None;
                    }
                    self.end_session(key, effects);
                }
                Timer::Will(key) => {
                    if let Some(session) = self.registry.session_mut(key) {
                        session.will_at = None;
                    }
                    self.publish_will(key, effects);
                    self.record_left(key, effects);
                }
                Timer::Retained(topic) => self.on_retained_due(&topic, effects),
                Timer::System => self.on_system_interval(effects),
            }
        }
    }

    /// Sets the deadline that a connection's silence runs into.
    pub(crate) fn watch(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        if let Some(at) = connection.timer.take() {
            self.timers.cancel(at, Timer::Connection(id));
        }
        connection.timer = match connection.phase {
            Phase::Connecting => Some(connection.heard + self.settings.limits.connect_timeout),
            Phase::Online(_) => connection.keep_alive.deadline(connection.heard),
            Phase::Closing => None,
        };
        if let Some(at) = connection.timer {
            self.timers.set(at, Timer::Connection(id));
        }
    }

    /// A connection's deadline has come. It was set for what was heard then; if there was more
    /// since, it is set anew, which spares every packet a change of the timers.
    // [MQTT5-3.1.2-22] [MQTT311-3.1.2-24] [MQTT31-3.1-12] [MQTT31-3.1-16]
    fn on_silence(&mut self, id: ConnectionId, effects: &mut Effects) {
        let timeout = self.settings.limits.connect_timeout;
        let Some(connection) = self.connections.find_mut(id) else { return };
        connection.timer = None;
        if matches!(connection.phase, Phase::Online(_)) && is_unheard(connection) {
            connection.heard = self.now;
        }
        let (phase, keep_alive, heard) =
            (connection.phase, connection.keep_alive, connection.heard);
        let is_answered = connection.parked.is_none();
        let deadline = match phase {
            Phase::Connecting => Some(heard + timeout),
            Phase::Online(_) => keep_alive.deadline(heard),
            Phase::Closing => None,
        };
        if deadline.is_some_and(|at| at > self.now) {
            self.watch(id);
            return;
        }
        let (code, text, setting, maximum) = match phase {
            Phase::Connecting => {
                let (code, text) = if is_answered {
                    (ReasonCode::MaximumConnectTime, "no CONNECT came in time")
                } else {
                    (ReasonCode::ServerUnavailable, "nobody has decided about the CONNECT in time")
                };
                (code, text, "limits.connect_timeout", timeout.as_secs())
            }
            Phase::Online(_) => {
                let text = "nothing came within 1.5 times the keep alive";
                let maximum = u64::from(keep_alive.seconds());
                (ReasonCode::KeepAliveTimeout, text, "keep alive in CONNECT", maximum)
            }
            Phase::Closing => return,
        };
        let limit = Some(Limit { setting, maximum, wanted: 0 });
        self.disconnect(id, Reason { code, text: text.into(), limit }, None, effects);
    }

    /// Ends a session: its will is due now, its subscriptions and messages are gone, and what a
    /// shared subscription had given to it goes to another member.
    pub(crate) fn end_session(&mut self, key: SessionKey, effects: &mut Effects) {
        // [MQTT5-3.1.2-8] [MQTT311-3.1.2-8] [MQTT31-3.1-13]
        self.publish_will(key, effects);
        // What the store has as the session's has to be the shared subscription's before.
        self.give_back_unfinished(key, effects);
        let kept = self.registry.session_mut(key).and_then(|session| session.kept.take());
        let Some(session) = self.registry.remove(key) else { return };
        let Session { client_id, expires_at, subscriptions, held_bytes, is_counted, .. } = session;
        self.settings.totals.stored_sessions.subtract(is_counted.into());
        self.memory.shrink(held_bytes);
        self.budget = self.budget.saturating_sub(subscriptions.len());
        for filter in subscriptions.filters() {
            self.unroute(key, filter, effects);
        }
        if let Some(at) = expires_at {
            self.timers.cancel(at, Timer::SessionExpiry(key));
        }
        self.statistics.sessions_ended += 1;
        if let Some(kept) = kept {
            self.records.forget_session(kept.name);
            self.stored.shrink(kept.counted_bytes);
            self.record(Record::SessionEnded { session: kept.name }, effects);
        }
        effects.push(Effect::Event(Event::SessionEnded { client_id }));
    }
}

/// Whether a client may have pinged without being heard, because nothing is read from it: a packet
/// of it waits for an answer, or it has not taken what it was sent. But whoever takes nothing for
/// that long is gone.
fn is_unheard(connection: &mut Connection) -> bool {
    let waiting = connection.outbound.len().max(1);
    let takes = waiting < connection.unread_behind;
    if takes {
        connection.unread_behind = waiting;
    }
    connection.parked.is_some() || takes
}
