//! What a sequence of records amounts to, and the shortest sequence that amounts to the same.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use noctule_packet::{PacketId, QoS};

use crate::operation::{Doubt, OperationId, Outcome};
use crate::record::{Record, StoredMessage, StoredSubscription};
use crate::settings::Settings;

/// How far a stored message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    Waiting { was_sent: bool },
    Sent { packet_id: PacketId, order: u64 },
    Received { packet_id: PacketId, sent: u64, order: u64 },
}

/// A stored subscription.
#[derive(Debug)]
pub(super) struct Granted {
    pub(super) subscription: StoredSubscription,
    /// Whether the server has forgotten it and not granted it again since.
    pub(super) is_lost: bool,
    /// How many connections in a row have ended before it answered what asked for that.
    pub(super) interruptions: u16,
}

/// What a sequence of records amounts to.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) messages: BTreeMap<OperationId, (StoredMessage, Progress)>,
    /// Whose end the user knows.
    pub(super) told: BTreeSet<OperationId>,
    pub(super) arrived: BTreeSet<PacketId>,
    /// How many connections in a row have ended with a message in flight.
    pub(super) interruptions: BTreeMap<OperationId, u16>,
    pub(super) subscriptions: BTreeMap<Box<str>, Granted>,
    pub(super) client_id: Option<Box<str>>,
    pub(super) is_unanswered: bool,
    pub(super) last_operation: Option<OperationId>,
    /// Counts what was sent and received, to keep its order.
    order: u64,
    /// What ended because the server had forgotten the session.
    pub(super) ended: BTreeMap<OperationId, (Outcome, StoredMessage, Progress)>,
    /// Packet identifiers that the server may have kept a message under that we gave up.
    pub(super) abandoned: BTreeSet<PacketId>,
}

impl State {
    pub(super) fn apply(&mut self, record: Record, exactly_once_anew: bool) {
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
            Record::Interrupted { operation, interruptions } => {
                self.interruptions.insert(operation, interruptions);
            }
            Record::Told { operation } => {
                self.told.insert(operation);
            }
            Record::Finished { operation } => {
                self.last_operation = self.last_operation.max(Some(operation));
                self.told.remove(&operation);
                self.interruptions.remove(&operation);
                self.ended.remove(&operation);
                self.messages.remove(&operation);
            }
            Record::Abandoned { packet_id } => {
                self.abandoned.insert(packet_id);
            }
            Record::Arrived { packet_id } => {
                self.arrived.insert(packet_id);
            }
            Record::Released { packet_id } => {
                self.arrived.remove(&packet_id);
            }
            Record::Subscribed { subscription } => {
                let filter = subscription.filter.clone();
                let granted = Granted { subscription, is_lost: false, interruptions: 0 };
                self.subscriptions.insert(filter, granted);
            }
            Record::Unsubscribed { filter } => {
                self.subscriptions.remove(&filter);
            }
            Record::SubscriptionInterrupted { filter, interruptions } => {
                if let Some(granted) = self.subscriptions.get_mut(&filter) {
                    granted.interruptions = interruptions;
                }
            }
        }
    }

    /// The server had no session: what was in flight waits again, or has ended.
    fn forget_session(&mut self, exactly_once_anew: bool) {
        self.arrived.clear();
        self.abandoned.clear();
        for granted in self.subscriptions.values_mut() {
            granted.is_lost = true;
        }
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
            ended.insert(*operation, (outcome, message.clone(), *progress));
            false
        });
    }
}

/// The shortest sequence of records that amounts to the same as this one: what a store keeps when
/// it throws away what is over. The settings are those of the session.
pub fn compact(settings: &Settings, records: impl IntoIterator<Item = Record>) -> Vec<Record> {
    let mut state = State::default();
    for record in records {
        state.apply(record, settings.redelivery.exactly_once_anew);
    }
    state.into_records()
}

impl State {
    fn into_records(self) -> Vec<Record> {
        let mut records = Vec::new();
        records.extend(self.last_operation.map(|operation| Record::Opened { operation }));
        let (before, now): (Vec<_>, Vec<_>) =
            self.messages.into_iter().partition(|(_, (_, progress))| {
                matches!(progress, Progress::Waiting { was_sent: true })
            });
        let (lost, granted): (Vec<_>, Vec<_>) =
            self.subscriptions.into_values().partition(|granted| granted.is_lost);
        // What belongs to a session that is gone stands before the record that says so.
        let has_past = !before.is_empty() || !self.ended.is_empty() || !lost.is_empty();
        for (operation, (_, message, progress)) in self.ended {
            records.push(Record::Accepted { operation, message });
            records.push(Record::Transmitted { operation, packet_id: PacketId::MIN });
            if let Progress::Received { .. } = progress {
                records.push(Record::Received { operation });
            }
        }
        for (operation, (message, _)) in before {
            records.push(Record::Accepted { operation, message });
            records.push(Record::Transmitted { operation, packet_id: PacketId::MIN });
        }
        for Granted { subscription, interruptions, .. } in lost {
            let filter = subscription.filter.clone();
            records.push(Record::Subscribed { subscription });
            if interruptions > 0 {
                records.push(Record::SubscriptionInterrupted { filter, interruptions });
            }
        }
        if let Some(client_id) = self.client_id {
            records.push(Record::SessionStarted { client_id, is_new: has_past });
        }
        records.extend(self.is_unanswered.then_some(Record::Connecting));
        let mut steps = Vec::new();
        for (operation, (message, progress)) in now {
            records.push(Record::Accepted { operation, message });
            match progress {
                Progress::Waiting { .. } => {}
                Progress::Sent { packet_id, order } => {
                    steps.push((order, Record::Transmitted { operation, packet_id }));
                }
                Progress::Received { packet_id, sent, order } => {
                    steps.push((sent, Record::Transmitted { operation, packet_id }));
                    steps.push((order, Record::Received { operation }));
                }
            }
        }
        steps.sort_unstable_by_key(|(order, _)| *order);
        records.extend(steps.into_iter().map(|(_, record)| record));
        let counts = self.interruptions.into_iter().filter(|(_, count)| *count > 0);
        records.extend(
            counts
                .map(|(operation, interruptions)| Record::Interrupted { operation, interruptions }),
        );
        records.extend(self.told.into_iter().map(|operation| Record::Told { operation }));
        let packet_ids = self.abandoned.into_iter();
        records.extend(packet_ids.map(|packet_id| Record::Abandoned { packet_id }));
        let packet_ids = self.arrived.into_iter();
        records.extend(packet_ids.map(|packet_id| Record::Arrived { packet_id }));
        let subscriptions = granted.into_iter().map(|granted| granted.subscription);
        records.extend(subscriptions.map(|subscription| Record::Subscribed { subscription }));
        records
    }
}
