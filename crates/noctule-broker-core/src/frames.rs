//! One publication's encoded forms: made once for all receivers that get the same bytes.

use alloc::vec::Vec;
use core::ops::Range;

use noctule_packet::{PacketId, PublishHead, QoS};

use crate::session::Identifiers;

/// What makes two receivers' PUBLISH packets differ, but for the packet identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Class<'a> {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: &'a [u32],
}

/// The encoded forms of the publication that is being fanned out.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    v5: bool,
    qos: QoS,
    retain: bool,
    identifiers: Identifiers,
    range: Range<usize>,
    /// Where in the packet its identifier stands.
    packet_id_at: Option<usize>,
}

/// How much memory is kept for the next publication.
const BYTES_KEPT_MAX: usize = 256 * 1024;
/// More classes than this are encoded each time.
const CLASSES_MAX: usize = 8;

impl Frames {
    /// Another publication comes.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > BYTES_KEPT_MAX {
            self.bytes = Vec::new();
        }
        self.entries.clear();
    }

    /// Appends the packet of this class to `out`, with this packet identifier. `payload` is empty
    /// if it is sent by other means; `head` counts it all the same.
    pub(crate) fn append(
        &mut self,
        class: Class<'_>,
        head: &PublishHead<'_>,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        let v5 = head.version.is_v5();
        if let Some(entry) = self.entries.iter().find(|entry| entry.v5 == v5 && entry.is(class)) {
            let start = out.len();
            out.extend_from_slice(self.bytes.get(entry.range.clone()).unwrap_or_default());
            patch(out, entry.packet_id_at.map(|at| start + at), head.packet_id);
            return;
        }
        let start = out.len();
        let packet_id_at = head.encode(out).map(|at| at - start);
        out.extend_from_slice(payload);
        if self.entries.len() < CLASSES_MAX {
            let from = self.bytes.len();
            self.bytes.extend_from_slice(out.get(start..).unwrap_or_default());
            let range = from..self.bytes.len();
            let Class { qos, retain, identifiers } = class;
            let identifiers = identifiers.into();
            self.entries.push(Entry { v5, qos, retain, identifiers, range, packet_id_at });
        }
    }
}

impl Entry {
    fn is(&self, class: Class<'_>) -> bool {
        let Class { qos, retain, identifiers } = class;
        self.qos == qos && self.retain == retain && *self.identifiers == *identifiers
    }
}

fn patch(out: &mut [u8], at: Option<usize>, packet_id: Option<PacketId>) {
    let (Some(at), Some(packet_id)) = (at, packet_id) else { return };
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&packet_id.value().to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use noctule_packet::Version;

    const PAYLOAD: &[u8] = b"payload";

    fn head<'a>(version: Version, class: &Class<'a>, packet_id: u16) -> PublishHead<'a> {
        PublishHead {
            version,
            dup: false,
            qos: class.qos,
            retain: class.retain,
            topic: "a/b",
            packet_id: PacketId::new(packet_id),
            topic_alias: None,
            message_expiry_interval: None,
            subscription_identifiers: class.identifiers,
            forwarded: &[],
            payload_length: PAYLOAD.len(),
        }
    }

    fn classes() -> Vec<(Version, Class<'static>)> {
        let mut classes = Vec::new();
        for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
            for retain in [false, true] {
                let plain = Class { qos, retain, identifiers: &[] };
                let identified = Class { identifiers: &[7, 300], ..plain };
                classes.extend([
                    (Version::V5_0, plain),
                    (Version::V5_0, identified),
                    (Version::V3_1_1, plain),
                ]);
            }
        }
        classes
    }

    /// More classes than are kept, several rounds, another identifier each time.
    #[test]
    fn every_receiver_gets_the_packet_of_its_class_with_its_identifier() {
        let mut frames = Frames::default();
        let mut packet_id = 0;
        for _ in 0..3 {
            for (version, class) in classes() {
                packet_id += 1;
                let head = head(version, &class, packet_id);
                let mut expected = b"before".to_vec();
                head.encode(&mut expected);
                expected.extend_from_slice(PAYLOAD);
                let mut out = b"before".to_vec();
                frames.append(class, &head, PAYLOAD, &mut out);
                assert_eq!(out, expected, "{class:?}");
            }
        }
        assert_eq!(frames.entries.len(), CLASSES_MAX);
    }

    #[test]
    fn the_next_publication_is_not_taken_for_the_last_one() {
        let mut frames = Frames::default();
        let (version, class) = &classes()[0];
        let (mut first, mut second) = (Vec::new(), Vec::new());
        frames.append(*class, &head(*version, class, 1), PAYLOAD, &mut first);
        frames.clear();
        let other = PublishHead { topic: "c", ..head(*version, class, 1) };
        frames.append(*class, &other, PAYLOAD, &mut second);
        assert_ne!(first, second);
    }

    #[test]
    fn the_memory_of_a_large_publication_is_given_back() {
        let mut frames = Frames::default();
        let (version, class) = &classes()[0];
        let payload = std::vec![0; BYTES_KEPT_MAX + 1];
        let large = PublishHead { payload_length: payload.len(), ..head(*version, class, 1) };
        frames.append(*class, &large, &payload, &mut Vec::new());
        assert!(frames.bytes.capacity() > BYTES_KEPT_MAX);
        frames.clear();
        assert!(frames.bytes.capacity() <= BYTES_KEPT_MAX);
    }
}
