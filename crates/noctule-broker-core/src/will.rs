//! Wills: what is published for a client that went without saying so, and when.

use alloc::boxed::Box;
use alloc::sync::Arc;

use noctule_packet::{ForwardedProperties, QoS};

use crate::effect::{Effect, Effects};
use crate::event::Event;
use crate::message::Message;
use crate::publication::Publication;
use crate::registry::SessionKey;
use crate::shard::Shard;
use crate::timers::Timer;

/// A will as CONNECT gave it.
#[derive(Clone, Debug)]
pub(crate) struct Will {
    topic: Box<str>,
    payload: Box<[u8]>,
    qos: QoS,
    retain: bool,
    properties: ForwardedProperties,
    message_expiry_interval: Option<u32>,
    /// In seconds.
    delay_interval: u32,
}

impl Will {
    pub(crate) fn new(will: &noctule_packet::Will<'_>, delay_max_seconds: u32) -> Self {
        Self {
            topic: will.topic.as_str().into(),
            payload: will.payload.into(),
            qos: will.qos,
            retain: will.retain,
            // [MQTT5-3.1.3-10]
            properties: ForwardedProperties::from_will(&will.properties),
            message_expiry_interval: will.properties.message_expiry_interval,
            delay_interval: will.properties.will_delay_interval.unwrap_or(0).min(delay_max_seconds),
        }
    }
}

impl Shard {
    /// The connection ended without giving up its will: it is due now, later, or at session end.
    // [MQTT5-3.1.2-8] [MQTT5-3.1.3-9] [MQTT311-3.1.2-8]
    pub(crate) fn schedule_will(&mut self, key: SessionKey, effects: &mut Effects) {
        let now = self.now;
        let Some(session) = self.registry.session_mut(key) else { return };
        let Some(will) = &session.will else { return };
        let delay = will.delay_interval.min(session.expiry_interval);
        if delay == 0 {
            self.publish_will(key, effects);
            return;
        }
        let at = now.plus_seconds(delay);
        session.will_at = Some(at);
        self.timers.set(at, Timer::Will(key));
    }

    /// Publishes the will, which is gone then.
    // [MQTT5-3.1.2-10] [MQTT5-3.1.2-14] [MQTT5-3.1.2-15] [MQTT311-3.1.2-10] [MQTT311-3.1.2-16]
    // [MQTT311-3.1.2-17]
    pub(crate) fn publish_will(&mut self, key: SessionKey, effects: &mut Effects) {
        let now = self.now;
        let Some(session) = self.registry.session_mut(key) else { return };
        if let Some(at) = session.will_at.take() {
            self.timers.cancel(at, Timer::Will(key));
        }
        let Some(will) = session.will.take() else { return };
        let client_id = Arc::clone(&session.client_id);
        let Will { topic, payload, qos, retain, properties, message_expiry_interval, .. } = *will;
        let expires_at = message_expiry_interval.map(|seconds| now.plus_seconds(seconds));
        let message = Arc::new(Message { topic, payload, qos, retain, properties, expires_at });
        self.statistics.wills_published += 1;
        effects
            .push(Effect::Event(Event::WillPublished { client_id, topic: message.topic.clone() }));
        if let Some(publication) = Publication::of(&message, Some(key)) {
            self.publish_on_behalf(publication, effects);
        }
    }
}
