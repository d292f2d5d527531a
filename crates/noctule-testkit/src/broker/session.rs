//! What a test broker knows of one client: its subscriptions, and the messages on their way to it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use noctule_packet::{QoS, SubscriptionOptions, TopicFilter, TopicName};

use crate::OwnedPublish;

/// A message, and when it is of no use any more.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    publish: OwnedPublish,
    stored_at: Duration,
}

impl Stored {
    pub(crate) const fn new(publish: OwnedPublish, now: Duration) -> Self {
        Self { publish, stored_at: now }
    }

    /// The message with the lifetime that is left, if any is.
    pub(crate) fn alive(&self, now: Duration) -> Option<OwnedPublish> {
        let mut publish = self.publish.clone();
        if let Some(lifetime) = publish.message_expiry_interval {
            let passed = now.saturating_sub(self.stored_at).as_secs();
            let passed = u32::try_from(passed).unwrap_or(u32::MAX);
            publish.message_expiry_interval = Some(lifetime.checked_sub(passed)?);
            if lifetime <= passed {
                return None;
            }
        }
        Some(publish)
    }
}

/// A message that was sent and is not acknowledged.
#[derive(Debug)]
pub(crate) struct InFlight {
    pub(crate) publish: OwnedPublish,
    pub(crate) is_released: bool,
}

/// A subscription that was granted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscribed {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
}

/// What is known of one client.
#[derive(Debug, Default)]
pub(crate) struct Session {
    /// How many seconds it outlives its connection, as the specification counts them.
    pub(crate) expiry: u32,
    /// When it ends, if that is known.
    pub(crate) ends_at: Option<Duration>,
    pub(crate) connection: Option<u64>,
    pub(crate) subscriptions: BTreeMap<String, Subscribed>,
    pub(crate) waiting: VecDeque<Stored>,
    pub(crate) in_flight: VecDeque<InFlight>,
    /// QoS 2 messages that were received and not released.
    pub(crate) received: BTreeSet<u16>,
    pub(crate) receive_maximum: usize,
    last_packet_id: u16,
}

impl Session {
    /// Its connection is gone. Whether it ends with it.
    pub(crate) fn leave(&mut self, now: Duration) -> bool {
        self.connection = None;
        // [MQTT5-3.1.2-23]
        self.ends_at =
            (self.expiry < u32::MAX).then(|| now + Duration::from_secs(self.expiry.into()));
        self.expiry == 0
    }

    /// A packet identifier that is not in use.
    pub(crate) fn next_packet_id(&mut self) -> u16 {
        loop {
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            let id = Some(self.last_packet_id);
            if self.in_flight.iter().all(|message| message.publish.packet_id != id) {
                return self.last_packet_id;
            }
        }
    }

    /// The message as this client's subscriptions want it, if one does.
    pub(crate) fn wants(&self, publish: &OwnedPublish, is_own: bool) -> Option<OwnedPublish> {
        let topic = TopicName::new(&publish.topic).ok()?;
        let mut wanted: Option<OwnedPublish> = None;
        for (filter, subscribed) in &self.subscriptions {
            let is_for_it = TopicFilter::new(filter)
                .is_ok_and(|filter| filter.share_name().is_none() && filter.matches(topic));
            if !is_for_it || is_own && subscribed.options.no_local {
                continue;
            }
            let copy = wanted.get_or_insert_with(|| forwarded(publish));
            copy.qos = copy.qos.max(subscribed.options.qos.min(publish.qos));
            copy.retain |= subscribed.options.retain_as_published && publish.retain;
            copy.subscription_identifiers.extend(subscribed.identifier);
        }
        wanted
    }

    /// The message as a member of this shared subscription gets it.
    pub(crate) fn shared_copy(publish: &OwnedPublish, subscribed: Subscribed) -> OwnedPublish {
        let mut copy = forwarded(publish);
        copy.qos = subscribed.options.qos.min(publish.qos);
        copy.retain = subscribed.options.retain_as_published && publish.retain;
        copy.subscription_identifiers.extend(subscribed.identifier);
        copy
    }
}

/// The message as a server sends it on, at QoS 0 so far.
pub(crate) fn forwarded(publish: &OwnedPublish) -> OwnedPublish {
    OwnedPublish {
        dup: false,
        qos: QoS::AtMostOnce,
        retain: false,
        packet_id: None,
        topic_alias: None,
        subscription_identifiers: Vec::new(),
        ..publish.clone()
    }
}
