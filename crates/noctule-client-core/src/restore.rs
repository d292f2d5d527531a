//! A session made of what was stored of it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use noctule_packet::{PacketId, QoS, ReasonCode};
use noctule_session::Timestamp;

use crate::event::Event;
use crate::operation::{Doubt, OperationId, Outcome};
use crate::outgoing::Outgoing;
use crate::record::{Record, StoredMessage, StoredSubscription};
use crate::session::{ClientSession, Release};
use crate::settings::{Settings, SettingsError};

/// How far a stored message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Waiting { was_sent: bool },
    Sent { packet_id: PacketId, order: u64 },
    Received { packet_id: PacketId, sent: u64, order: u64 },
}

/// What a sequence of records amounts to.
#[derive(Debug, Default)]
struct State {
    messages: BTreeMap<OperationId, (StoredMessage, Progress)>,
    /// Whose end the user knows.
    told: BTreeSet<OperationId>,
    arrived: BTreeSet<PacketId>,
    subscriptions: BTreeMap<Box<str>, StoredSubscription>,
    client_id: Option<Box<str>>,
    is_unanswered: bool,
    last_operation: Option<OperationId>,
    /// Counts what was sent and received, to keep its order.
    order: u64,
    /// What ended because the server had forgotten the session.
    ended: BTreeMap<OperationId, Outcome>,
}

impl ClientSession {
    /// A session as the records leave it that another process was told to store. The operations
    /// that had not ended keep their names and end here.
    ///
    /// # Errors
    ///
    /// If the settings contradict each other.
    pub fn restore(
        settings: Settings,
        now: Timestamp,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Self, SettingsError> {
        let mut session = Self::new(settings)?;
        let anew = session.settings.redelivery.exactly_once_anew;
        let mut state = State::default();
        for record in records {
            state.apply(record, anew);
        }
        session.fill(now, state);
        Ok(session)
    }

    /// How long nothing had been heard of the server when this process began, as far as a clock
    /// knows that goes on between processes: the session may have expired.
    pub fn assume_silence(&mut self, now: Timestamp, silence: Duration) {
        (self.last_alive, self.earlier_silence) = (Some(now), silence);
    }

    fn fill(&mut self, now: Timestamp, state: State) {
        let options = &self.settings.connect;
        self.is_unanswered = state.is_unanswered;
        self.has_session = state.client_id.is_some() && options.session_expiry_interval > 0;
        if options.client_id.is_empty() {
            self.assigned_client_id = state.client_id;
        }
        let operation = state.last_operation.unwrap_or(OperationId::FIRST).next_process();
        self.next_operation = operation;
        self.records.note(|| Record::Opened { operation });
        for packet_id in state.arrived {
            self.receiver.restore(packet_id);
        }
        for subscription in state.subscriptions.into_values() {
            let code = ReasonCode::granted(subscription.options.qos);
            self.subscriptions.insert(subscription, code);
        }
        for (operation, outcome) in state.ended {
            self.records.note(|| Record::Finished { operation });
            if state.told.contains(&operation) {
                continue;
            }
            self.events.push(Event::Published { operation, outcome });
        }
        let mut in_flight = Vec::new();
        for (operation, (message, progress)) in state.messages {
            let Some(mut outgoing) = message.restore(now, operation) else { continue };
            outgoing.is_silent = state.told.contains(&operation);
            match progress {
                Progress::Waiting { was_sent } => {
                    outgoing.was_sent = was_sent;
                    self.wait(outgoing);
                }
                Progress::Sent { packet_id, order } => {
                    in_flight.push((order, packet_id, None, outgoing));
                }
                Progress::Received { packet_id, sent, order } => {
                    in_flight.push((sent, packet_id, Some(order), outgoing));
                }
            }
        }
        self.put_in_flight(in_flight);
    }

    /// Puts messages back in flight, in the order of their first transmission.
    fn put_in_flight(&mut self, mut in_flight: Vec<(u64, PacketId, Option<u64>, Outgoing)>) {
        in_flight.sort_unstable_by_key(|(order, ..)| *order);
        let mut received = Vec::new();
        for (_, packet_id, receipt, outgoing) in in_flight {
            let (operation, qos, bytes) = (outgoing.operation, outgoing.qos, outgoing.bytes());
            match self.sender.restore_published(packet_id, outgoing, qos) {
                Ok(()) => {
                    self.in_flight_bytes += bytes;
                    if let Some(order) = receipt {
                        received.push((order, packet_id, operation));
                    }
                }
                // Only records that were not ours can have two messages with one identifier.
                Err(mut outgoing) => {
                    outgoing.was_sent = true;
                    self.wait(outgoing);
                }
            }
        }
        received.sort_unstable_by_key(|(order, ..)| *order);
        for (_, packet_id, operation) in received {
            if let Some(outgoing) = self.sender.restore_released(packet_id) {
                self.in_flight_bytes = self.in_flight_bytes.saturating_sub(outgoing.bytes());
                let (timeout, is_silent) = (None, outgoing.is_silent);
                self.releases.push_back(Release { packet_id, operation, timeout, is_silent });
            }
        }
    }

    fn wait(&mut self, outgoing: Outgoing) {
        self.watch(outgoing.operation, outgoing.deadline(true));
        self.queue.push(outgoing);
    }
}

impl State {
    fn apply(&mut self, record: Record, exactly_once_anew: bool) {
        self.order += 1;
        let order = self.order;
        match record {
            Record::Opened { operation } => {
                self.last_operation = self.last_operation.max(Some(operation));
            }
            Record::SessionStarted { client_id, is_new } => {
                self.client_id = Some(client_id);
                self.is_unanswered = false;
                if is_new {
                    self.forget_session(exactly_once_anew);
                }
            }
            Record::Connecting => self.is_unanswered = true,
            Record::Accepted { operation, message } => {
                self.last_operation = self.last_operation.max(Some(operation));
                self.messages.insert(operation, (message, Progress::Waiting { was_sent: false }));
            }
            Record::Transmitted { operation, packet_id } => {
                if let Some((_, progress)) = self.messages.get_mut(&operation) {
                    *progress = Progress::Sent { packet_id, order };
                }
            }
            Record::Received { operation } => {
                if let Some((_, progress)) = self.messages.get_mut(&operation)
                    && let Progress::Sent { packet_id, order: sent } = *progress
                {
                    *progress = Progress::Received { packet_id, sent, order };
                }
            }
            Record::Told { operation } => {
                self.told.insert(operation);
            }
            Record::Finished { operation } => {
                self.last_operation = self.last_operation.max(Some(operation));
                self.told.remove(&operation);
                self.ended.remove(&operation);
                self.messages.remove(&operation);
            }
            Record::Arrived { packet_id } => {
                self.arrived.insert(packet_id);
            }
            Record::Released { packet_id } => {
                self.arrived.remove(&packet_id);
            }
            Record::Subscribed { subscription } => {
                self.subscriptions.insert(subscription.filter.clone(), subscription);
            }
            Record::Unsubscribed { filter } => {
                self.subscriptions.remove(&filter);
            }
        }
    }

    /// The server had no session: what was in flight waits again, or has ended.
    fn forget_session(&mut self, exactly_once_anew: bool) {
        self.arrived.clear();
        let Self { messages, ended, .. } = self;
        messages.retain(|operation, (message, progress)| {
            let outcome = match progress {
                Progress::Waiting { .. } => return true,
                Progress::Received { .. } => Outcome::DELIVERED,
                Progress::Sent { .. } if message.qos == QoS::AtLeastOnce || exactly_once_anew => {
                    *progress = Progress::Waiting { was_sent: true };
                    message.age_max = None;
                    return true;
                }
                Progress::Sent { .. } => Outcome::Indeterminate { why: Doubt::SessionLost },
            };
            ended.insert(*operation, outcome);
            false
        });
    }
}
