//! One publication's encoded forms: made once for all receivers that get the same bytes.

use alloc::vec::Vec;
use core::ops::Range;

use noctule_packet::{PacketId, PublishHead, QoS};

use crate::session::Identifiers;

/// What makes two receivers' PUBLISH packets differ, but for the packet identifier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) v5: bool,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) identifiers: Identifiers,
}

/// The encoded forms of the publication that is being fanned out.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    class: Class,
    range: Range<usize>,
    /// Where in the packet its identifier stands.
    packet_id_at: Option<usize>,
}

/// More classes than this are encoded each time.
const CLASSES_MAX: usize = 8;

impl Frames {
    /// Another publication comes.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.entries.clear();
    }

    /// Appends the packet of this class to `out`, with this packet identifier. `payload` is empty
    /// if it is sent by other means; `head` counts it all the same.
    pub(crate) fn append(
        &mut self,
        class: &Class,
        head: &PublishHead<'_>,
        payload: &[u8],
        out: &mut Vec<u8>,
    ) {
        if let Some(entry) = self.entries.iter().find(|entry| entry.class == *class) {
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
            self.entries.push(Entry { class: class.clone(), range, packet_id_at });
        }
    }
}

fn patch(out: &mut [u8], at: Option<usize>, packet_id: Option<PacketId>) {
    let (Some(at), Some(packet_id)) = (at, packet_id) else { return };
    if let Some(place) = out.get_mut(at..at + 2) {
        place.copy_from_slice(&packet_id.value().to_be_bytes());
    }
}
