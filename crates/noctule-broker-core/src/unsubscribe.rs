//! UNSUBSCRIBE, and the end of a subscription for any reason.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::{Packet, ReasonCode, TopicFilter, Unsuback, Unsubscribe};

use crate::connection::{Flow, Parked};
use crate::effect::{Effect, Effects, Token, Waiting};
use crate::event::Event;
use crate::fault::Fault;
use crate::input::ConnectionId;
use crate::persist::Awaiting;
use crate::registry::SessionKey;
use crate::router::Target;
use crate::shard::Shard;
use crate::stored::Record;
use crate::subscribe::ParkedUnsubscribe;

impl Shard {
    pub(crate) fn on_unsubscribe(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        unsubscribe: &Unsubscribe<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        self.check_user_properties(unsubscribe.user_properties.len())?;
        let step = self.next_step(id);
        let token = Token(Waiting::Packet { connection: id, step });
        let (mut codes, mut parts) = (Vec::new(), 0);
        // [MQTT5-3.10.4-6] [MQTT311-3.10.4-6]
        for filter in unsubscribe.filters.iter() {
            let known = self.remove_subscription(key, filter.as_str(), effects);
            codes.push(if known { ReasonCode::Success } else { ReasonCode::NoSubscriptionExisted });
            let session = self.registry.session_mut(key);
            let Some(session) = session.filter(|_| known) else { continue };
            let client_id = Arc::clone(&session.client_id);
            let filter: Box<str> = filter.as_str().into();
            if let Some(kept) = session.queue_kept() {
                parts += 1;
                let (session, filter) = (kept.name, filter.clone());
                self.record(Record::Unsubscribed { session, filter }, effects);
                self.await_durable(Awaiting::Packet(token), effects);
            }
            effects.push(Effect::Event(Event::Unsubscribed { client_id, filter }));
        }
        let parked = ParkedUnsubscribe { packet_id: unsubscribe.packet_id, codes, parts };
        if parts > 0 {
            self.set_parked(id, Parked::Unsubscribe(Box::new(parked)));
            return Ok(Flow::Wait);
        }
        self.finish_unsubscribe(id, parked)
    }

    /// Answers with UNSUBACK.
    pub(crate) fn finish_unsubscribe(
        &mut self,
        id: ConnectionId,
        parked: ParkedUnsubscribe,
    ) -> Result<Flow, Fault> {
        let ParkedUnsubscribe { packet_id, codes, .. } = parked;
        // [MQTT5-2.2.1-6] [MQTT5-3.10.4-4] [MQTT5-3.10.4-5] [MQTT5-3.11.3-1] [MQTT5-3.11.3-2]
        // [MQTT311-2.3.1-7] [MQTT311-3.10.4-4] [MQTT311-3.10.4-5] [MQTT31-3.11-1]
        self.send_answer(id, &Packet::Unsuback(Unsuback::new(packet_id, codes)))?;
        Ok(Flow::Next)
    }

    /// Ends a subscription. What is in flight for it goes on: it belongs to the session.
    /// Whether there was one.
    // [MQTT5-3.10.4-3] [MQTT311-3.10.4-3]
    pub(crate) fn remove_subscription(
        &mut self,
        key: SessionKey,
        filter: &str,
        effects: &mut Effects,
    ) -> bool {
        let Some(session) = self.registry.session_mut(key) else { return false };
        // [MQTT5-3.10.4-1] [MQTT311-3.10.4-1]
        if session.subscriptions.remove(filter).is_none() {
            return false;
        }
        self.end_replay(key, filter);
        self.unroute(key, filter, effects);
        true
    }

    /// Ends what a subscription that its session has no more means for others.
    pub(crate) fn unroute(&mut self, key: SessionKey, filter: &str, effects: &mut Effects) {
        self.subscriptions -= 1;
        let Ok(parsed) = TopicFilter::new(filter) else { return };
        let change = match parsed.share_name() {
            // [MQTT5-3.10.4-2] [MQTT311-3.10.4-2]
            None => self.router.unsubscribe(parsed.filter(), Target::Session(key)),
            Some(_) => self.leave(key, parsed, effects),
        };
        if self.group_elsewhere(filter).is_none() {
            self.change_routes(filter, change, Token::nobody(), effects);
        }
    }
}
