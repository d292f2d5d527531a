//! A session made of what was stored of it.

mod state;

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;

use noctule_packet::{PacketId, QoS, ReasonCode};
use noctule_session::Timestamp;

pub use state::compact;

use crate::event::Event;
use crate::operation::{OperationId, Stage};
use crate::outgoing::Outgoing;
use crate::record::Record;
use crate::restore::state::{Granted, Progress, State};
use crate::session::{ClientSession, Release};
use crate::settings::{Settings, SettingsError};

/// A publication of an earlier process that goes on, or whose end that process could not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Restored {
    /// Its name, which it keeps.
    pub operation: OperationId,
    /// Where to.
    pub topic: Box<str>,
    /// The quality of service.
    pub qos: QoS,
    /// How far it has come, at QoS 2.
    pub stage: Option<Stage>,
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

    /// The publications of earlier processes that end here, in the order in which they were
    /// accepted; once.
    pub fn take_restored(&mut self) -> Vec<Restored> {
        mem::take(&mut self.restored)
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
        for packet_id in state.abandoned {
            self.sender.restore_reserved(packet_id);
        }
        for packet_id in state.arrived {
            self.receiver.restore(packet_id);
        }
        for Granted { subscription, is_lost, interruptions } in state.subscriptions.into_values() {
            let code = ReasonCode::granted(subscription.options.qos);
            if is_lost {
                // It is asked for on the next connection, whatever the server knows by then, unless
                // that is left to the user.
                let again = self.settings.subscribes_again;
                self.subscriptions.restore_lost(subscription, interruptions, again);
            } else {
                self.subscriptions.insert(subscription, code);
            }
        }
        for (operation, (outcome, message, _)) in state.ended {
            self.records.note(|| Record::Finished { operation });
            if state.told.contains(&operation) {
                continue;
            }
            self.events.push(Event::published(operation, outcome, &message.topic));
            let (topic, qos) = (message.topic, message.qos);
            self.restored.push(Restored { operation, topic, qos, stage: None });
        }
        let mut in_flight = Vec::new();
        for (operation, (message, progress)) in state.messages {
            let Some(mut outgoing) = message.restore(now, operation) else { continue };
            outgoing.is_silent = state.told.contains(&operation);
            outgoing.interruptions = state.interruptions.get(&operation).copied().unwrap_or(0);
            if !outgoing.is_silent {
                let stage =
                    matches!(progress, Progress::Received { .. }).then_some(Stage::Received);
                let (topic, qos) = (message.topic, message.qos);
                self.restored.push(Restored { operation, topic, qos, stage });
            }
            self.has_suspect |= outgoing.interruptions >= self.settings.redelivery.suspicious();
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
        self.restored.sort_unstable_by_key(|restored| restored.operation);
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
                self.releases.push_back(Release::new(packet_id, operation, timeout, is_silent));
            }
        }
    }

    fn wait(&mut self, outgoing: Outgoing) {
        self.watch(outgoing.operation, outgoing.deadline(true));
        self.queue.push(outgoing);
    }
}
