//! Messages of one publisher stay in order.
//!
//! Stands for: what a client publishes on a topic with one QoS reaches each subscriber in the order
//! in which it was published [MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-5] [MQTT311-4.6.0-6].
//! Only the first copy of a message counts, and a publisher that sends again sends late.

use noctule_packet::QoS;

use super::arrival::Arrived;
use super::publication::PublicationId;
use super::{Oracle, level};

impl Oracle {
    pub(super) fn check_order(&mut self, session: usize, id: PublicationId, arrived: &Arrived) {
        let message = self.publication(id);
        let is_first = self.sessions[session].got.get(&id).is_some_and(|got| got.live == 1);
        if message.is_will || !is_first || arrived.dup {
            return;
        }
        let sequence = (message.publisher, message.topic, level(message.qos), level(arrived.qos));
        let may_be_late = message.qos == QoS::AtLeastOnce && message.sends > 1;
        let last = self.sessions[session].last.get(&sequence).copied();
        // Of two connections the later one may be let in first, with what was sent at once.
        let may_be_late = may_be_late
            || message.qos == QoS::AtMostOnce
                && last.is_some_and(|last| self.publication(last).sent_on != message.sent_on);
        // What is routed again behind a power cut reaches those who have subscribed since, too, and
        // with QoS 0 those who were not there before.
        let is_known = self.expected(session, id).least.is_some();
        let is_new = !is_known || arrived.qos == QoS::AtMostOnce;
        let may_be_late = may_be_late || message.is_routed_again && is_new;
        match last {
            Some(last) if last > id => {
                if !may_be_late {
                    let (late, early) = (self.describe(id), self.describe(last));
                    let what = format!("client {} got {late} behind {early}", arrived.client);
                    self.find("[MQTT5-4.6.0-5] [MQTT5-4.6.0-6] [MQTT311-4.6.0-5]", what);
                }
            }
            _ => {
                self.sessions[session].last.insert(sequence, id);
            }
        }
    }
}
