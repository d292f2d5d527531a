//! How packet identifiers follow from sequence numbers, so that nothing but the sequence is kept.

use noctule_packet::PacketId;

/// How many packet identifiers there are.
pub(crate) const PACKET_IDS: u64 = u16::MAX as u64;

/// The packet identifier of a sequence number: 1 for 0, then up to 65,535, then 1 again.
///
/// While fewer than 65,535 numbers are in use in a row, no identifier stands for two of them.
// [MQTT5-2.2.1-3] [MQTT5-2.2.1-4] [MQTT311-2.3.1-1] [MQTT311-2.3.1-2] [MQTT311-2.3.1-4]
pub(crate) fn packet_id_of(sequence: u64) -> PacketId {
    let value = 1 + sequence % PACKET_IDS;
    match u16::try_from(value).ok().and_then(PacketId::new) {
        Some(packet_id) => packet_id,
        None => PacketId::MIN,
    }
}

/// How far behind the sequence number `first` the nearest number with this packet identifier lies.
pub(crate) fn distance(first: u64, packet_id: PacketId) -> u64 {
    let wanted = u64::from(packet_id.value()) - 1;
    (wanted + PACKET_IDS - first % PACKET_IDS) % PACKET_IDS
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_packet::spec;

    #[test]
    fn identifiers_run_from_1_to_65535_and_start_again() {
        spec!("MQTT5-2.2.1-3", "MQTT311-2.3.1-1");
        for (sequence, expected) in [(0, 1), (1, 2), (65_534, 65_535), (65_535, 1), (65_536, 2)] {
            assert_eq!(packet_id_of(sequence).value(), expected, "sequence {sequence}");
        }
    }

    #[test]
    fn distance_finds_the_sequence_again() {
        for first in [0, 1, 65_533, 65_534, 65_535, 200_000] {
            for ahead in [0, 1, 2, 65_534] {
                assert_eq!(distance(first, packet_id_of(first + ahead)), ahead);
            }
        }
    }
}
