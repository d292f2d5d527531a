//! One publication on its way through the shard, still in the read buffer as long as that is
//! enough.

use alloc::borrow::Cow;
use alloc::sync::Arc;

use noctule_packet::{ForwardedProperties, QoS, TopicName};
use noctule_session::Timestamp;

use crate::message::Message;
use crate::origin::Origin;
use crate::registry::SessionKey;

/// Who published something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Publisher {
    /// The broker itself.
    Nobody,
    /// A session of this shard.
    Session(SessionKey),
    /// One of another shard, by the number of its client identifier.
    Elsewhere(u64),
}

impl Publisher {
    /// The session, if it is one of this shard.
    pub(crate) fn session(self) -> Option<SessionKey> {
        match self {
            Self::Session(key) => Some(key),
            Self::Nobody | Self::Elsewhere(_) => None,
        }
    }
}

/// An Application Message that is being routed. It is copied into a [`Message`] of its exact size
/// only when somebody has to keep it.
#[derive(Debug)]
pub(crate) struct Publication<'a> {
    pub(crate) topic: TopicName<'a>,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: Cow<'a, ForwardedProperties>,
    pub(crate) expires_at: Option<Timestamp>,
    /// Who published it, for `no local` and for the order of its publications.
    pub(crate) publisher: Publisher,
    /// Which publication it is, if it has RETAIN set.
    pub(crate) origin: Origin,
    /// What the store calls it, if it knows it before it is routed; 0 otherwise.
    pub(crate) name: u64,
    /// Whether its publisher is promised nothing that has to be in the store: nobody waits for
    /// what is recorded of it, and if it is retained, that is in memory only.
    pub(crate) is_in_memory: bool,
    message: Option<Arc<Message>>,
}

impl<'a> Publication<'a> {
    /// A publication whose parts are borrowed.
    pub(crate) fn new(topic: TopicName<'a>, payload: &'a [u8], qos: QoS) -> Self {
        Self {
            topic,
            payload,
            qos,
            retain: false,
            properties: Cow::Owned(ForwardedProperties::empty()),
            expires_at: None,
            publisher: Publisher::Nobody,
            origin: Origin::default(),
            name: 0,
            is_in_memory: false,
            message: None,
        }
    }

    /// A publication of what is a message already; `None` if its topic is none, which cannot be.
    pub(crate) fn of(message: &'a Arc<Message>, publisher: Publisher) -> Option<Self> {
        Some(Self {
            topic: TopicName::new(&message.topic).ok()?,
            payload: &message.payload,
            qos: message.qos,
            retain: message.retain,
            properties: Cow::Borrowed(&message.properties),
            expires_at: message.expires_at,
            publisher,
            origin: Origin::default(),
            name: 0,
            is_in_memory: false,
            message: Some(Arc::clone(message)),
        })
    }

    /// The message to keep, made at the first call and shared from then on.
    pub(crate) fn message(&mut self) -> Arc<Message> {
        let message = self.message.get_or_insert_with(|| {
            Arc::new(Message {
                topic: self.topic.as_str().into(),
                payload: self.payload.into(),
                qos: self.qos,
                retain: self.retain,
                properties: self.properties.clone().into_owned(),
                expires_at: self.expires_at,
            })
        });
        Arc::clone(message)
    }

    /// Lets go of the message that this was made of: the first to keep it makes another.
    pub(crate) fn forget_message(&mut self) {
        self.message = None;
    }

    /// Whether [`Publication::message`] was made already.
    pub(crate) fn is_message(&self) -> bool {
        self.message.is_some()
    }

    /// What the message will count against byte limits.
    pub(crate) fn bytes(&self) -> usize {
        crate::message::bytes(self.topic.as_str(), self.payload, &self.properties)
    }

    /// Whether a stored session may be sent this only when it is stored that it waits there: at
    /// QoS 2 always, and whatever is routed again after a crash unless that is stored.
    // [MQTT5-4.3.3-2] [MQTT311-4.3.3-1]
    // [MQTT5-3.3.1-1] [MQTT311-3.3.1-1]
    pub(crate) const fn is_stored_first(&self, qos: QoS) -> bool {
        matches!(qos, QoS::ExactlyOnce) || self.name > 0
    }

    /// The Message Expiry Interval to send at `now`.
    pub(crate) fn remaining_expiry_interval(&self, now: Timestamp) -> Option<u32> {
        crate::message::remaining_expiry_interval(self.expires_at, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forgotten_message_is_made_again_and_then_shared() {
        let plain = Message::plain("a/b".into(), b"1"[..].into(), QoS::AtLeastOnce);
        let message = Arc::new(Message { retain: true, ..plain });
        let mut publication = Publication::of(&message, Publisher::Nobody).unwrap();
        assert!(Arc::ptr_eq(&publication.message(), &message));
        publication.forget_message();
        let copy = publication.message();
        assert_eq!((&copy, Arc::ptr_eq(&copy, &message)), (&message, false));
        assert!(Arc::ptr_eq(&publication.message(), &copy));
    }
}
