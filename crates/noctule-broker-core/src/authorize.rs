//! The three questions to authorisation: publish and subscribe may be answered later, read is
//! answered at once.

use crate::connection::Parked;
use crate::effect::Effects;
use crate::input::ConnectionId;
use crate::settings::Settings;
use crate::shard::Shard;

impl Settings {
    /// Whether a delivery may happen, from the rules that are held.
    pub(crate) fn may_read(&self, client_id: &str, topic: &str) -> bool {
        self.read_rules.as_ref().is_none_or(|rules| (rules.0)(client_id, topic))
    }
}

impl Shard {
    /// Authorisation has answered about the packet that a connection is stopped at.
    pub(crate) fn on_authorized(&mut self, id: ConnectionId, allowed: bool, effects: &mut Effects) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let flow = match connection.parked.take() {
            Some(Parked::Publish(parked)) => {
                self.on_publish_authorized(id, *parked, allowed, effects)
            }
            Some(Parked::Subscribe(parked)) => {
                self.on_subscribe_authorized(id, *parked, allowed, effects)
            }
            other => {
                connection.parked = other;
                return;
            }
        };
        self.settle(id, flow, effects);
    }
}
