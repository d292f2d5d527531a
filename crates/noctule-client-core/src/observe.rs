//! What a session tells whoever counts and measures it: nothing is gathered unless that is asked
//! for.

use alloc::vec::Vec;

use noctule_packet::QoS;

use crate::event::{Event, Events};
use crate::operation::{OperationId, Outcome, RequestOutcome};
use crate::session::ClientSession;

/// Something to be counted, or the beginning or the end of something to be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Observation {
    /// A publication was accepted.
    Accepted {
        /// Which.
        operation: OperationId,
        /// Its quality of service.
        qos: QoS,
    },
    /// A publication has ended.
    Published {
        /// Which.
        operation: OperationId,
        /// How.
        outcome: OutcomeKind,
    },
    /// Subscriptions were asked for.
    SubscribeBegun {
        /// The operation.
        operation: OperationId,
    },
    /// A SUBSCRIBE has ended.
    Subscribed {
        /// The operation.
        operation: OperationId,
        /// Whether the server has answered.
        is_answered: bool,
    },
    /// A message has arrived.
    Received {
        /// Whether the server says that it may have sent it before.
        dup: bool,
    },
    /// A message of QoS 0 has arrived and was dropped, see [`Event::Stalled`].
    MessageDropped,
    /// PINGREQ is on its way.
    PingSent,
    /// PINGRESP has come.
    PingAnswered,
    /// The connection has ended, and with it what was waited for on it.
    Disconnected,
}

/// How a publication ended, without the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutcomeKind {
    /// [`Outcome::Delivered`].
    Delivered,
    /// [`Outcome::Rejected`].
    Rejected,
    /// [`Outcome::Indeterminate`].
    Indeterminate,
    /// [`Outcome::Dropped`].
    Dropped,
}

impl Outcome {
    /// The outcome without its reasons.
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Delivered { .. } => OutcomeKind::Delivered,
            Self::Rejected { .. } => OutcomeKind::Rejected,
            Self::Indeterminate { .. } => OutcomeKind::Indeterminate,
            Self::Dropped { .. } => OutcomeKind::Dropped,
        }
    }
}

impl Observation {
    /// What there is to observe in an event that the user is told.
    fn of(event: &Event) -> Option<Self> {
        match event {
            Event::Published { operation, outcome, .. } => {
                Some(Self::Published { operation: *operation, outcome: outcome.kind() })
            }
            Event::Subscribed { operation, outcome, .. } => {
                let is_answered = matches!(outcome, RequestOutcome::Answered { .. });
                Some(Self::Subscribed { operation: *operation, is_answered })
            }
            Event::Message { message, .. } => Some(Self::Received { dup: message.dup() }),
            Event::Disconnected { .. } => Some(Self::Disconnected),
            _ => None,
        }
    }
}

/// The observations that nobody has taken yet, if somebody wants them.
#[derive(Debug, Default)]
pub(crate) struct Observations(Option<Vec<Observation>>);

impl Observations {
    #[inline]
    pub(crate) fn note(&mut self, observation: Observation) {
        if let Some(list) = &mut self.0 {
            list.push(observation);
        }
    }

    #[inline]
    pub(crate) fn note_event(&mut self, event: &Event) {
        if let Some(list) = &mut self.0 {
            list.extend(Observation::of(event));
        }
    }
}

impl Events {
    #[inline]
    pub(crate) fn observe(&mut self, observation: Observation) {
        self.observations.note(observation);
    }
}

impl ClientSession {
    /// Gathers observations from now on, which [`ClientSession::take_observations`] is to take away
    /// after each call.
    pub fn observe(&mut self) {
        self.events.observations.0.get_or_insert_with(Vec::new);
    }

    /// What there was to observe since this was called last, in order. Ends are observed when
    /// [`ClientSession::next_event`] tells them.
    pub fn take_observations(&mut self) -> impl Iterator<Item = Observation> + '_ {
        self.events.observations.0.iter_mut().flat_map(|list| list.drain(..))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use noctule_packet::TopicName;
    use noctule_session::Timestamp;

    use super::*;
    use crate::{Publication, Settings};

    fn observed(is_wanted: bool) -> Vec<Observation> {
        let now = Timestamp::default();
        let mut settings = Settings::default();
        settings.connect.client_id = "c".into();
        let mut session = ClientSession::new(settings).unwrap();
        if is_wanted {
            session.observe();
        }
        let topic = TopicName::new("t").unwrap();
        let publication = Publication::new(topic, b"").qos(QoS::AtLeastOnce);
        session.publish(now, &publication).unwrap();
        session.transport_up(now);
        session.receive(now, b"\x20\x03\0\0\0\x30\x04\0\x01t\0\x40\x02\0\x01");
        assert!(session.take_observations().count() <= 1, "nobody was told more");
        while session.next_event().is_some() {}
        session.take_observations().collect()
    }

    #[test]
    fn what_is_told_is_observed_if_that_is_wanted() {
        assert_eq!(observed(false), vec![]);
        let operation = OperationId::FIRST;
        let expected = [
            Observation::Received { dup: false },
            Observation::Published { operation, outcome: OutcomeKind::Delivered },
        ];
        assert_eq!(observed(true), expected);
    }
}
