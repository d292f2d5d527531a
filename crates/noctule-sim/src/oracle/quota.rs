//! What is in flight to a client.
//!
//! Stands for: never more unacknowledged QoS 1 and 2 messages than the client's Receive Maximum
//! [MQTT5-3.3.4-9] [MQTT5-4.9.0-1]; no packet identifier that is in use [MQTT5-2.2.1-4]
//! [MQTT311-2.3.1-4]; no packet larger than the client takes [MQTT5-3.1.2-24].

use noctule_packet::PacketId;

use super::Oracle;

impl Oracle {
    /// A packet has come.
    pub(crate) fn packet_size(&mut self, client: usize, bytes: usize, maximum: Option<u32>) {
        if maximum.is_some_and(|maximum| bytes > maximum as usize) {
            let what = format!("client {client} got {bytes} bytes in a packet, takes {maximum:?}");
            self.find("[MQTT5-3.1.2-24]", what);
        }
    }

    /// A QoS 1 or 2 message has come.
    pub(crate) fn in_flight(
        &mut self,
        client: usize,
        packet_id: PacketId,
        (is_new, dup): (bool, bool),
        (count, maximum): (usize, u16),
    ) {
        let packet_id = packet_id.value();
        if !is_new && !dup {
            let what =
                format!("client {client} got packet identifier {packet_id} while it is used");
            self.find("[MQTT5-2.2.1-4] [MQTT311-2.3.1-4]", what);
        }
        if count > usize::from(maximum) {
            let what = format!("client {client} has {count} in flight, takes {maximum}");
            self.find("[MQTT5-3.3.4-9]", what);
        }
    }
}
