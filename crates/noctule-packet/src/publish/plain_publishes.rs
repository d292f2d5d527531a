//! Plain publications that stand one behind the other.

use super::plain::PlainPublish;
use crate::{Framing, PacketType, TopicName, Version, split};

/// Reads [plain](PlainPublish) PUBLISH packets that stand one behind the other, up to the first
/// that is not plain or has another topic than the one at the front.
///
/// ```
/// use noctule_packet::{PlainPublishes, Version};
///
/// let stream = b"\x30\x04\0\x01a1\x30\x04\0\x01a2\xC0\0";
/// let mut packets = PlainPublishes::new(stream, Version::V3_1_1);
/// let payloads: Vec<_> = packets.by_ref().map(|plain| plain.payload).collect();
/// assert_eq!(payloads, [b"1", b"2"]);
/// assert_eq!(packets.rest(), b"\xC0\0");
/// ```
#[derive(Clone, Debug)]
pub struct PlainPublishes<'a> {
    rest: &'a [u8],
    version: Version,
    topic: Option<TopicName<'a>>,
}

impl<'a> PlainPublishes<'a> {
    /// Reads packets as a client of this version sends them.
    pub fn new(packets: &'a [u8], version: Version) -> Self {
        Self { rest: packets, version, topic: topic_of(packets) }
    }

    /// What was not read.
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for PlainPublishes<'a> {
    type Item = PlainPublish<'a>;

    fn next(&mut self) -> Option<PlainPublish<'a>> {
        let Ok(Framing::Complete(frame)) = split(self.rest, u32::MAX) else { return None };
        let plain = PlainPublish::decode(&frame, self.version, self.topic?)?;
        self.rest = self.rest.get(frame.length..)?;
        Some(plain)
    }
}

/// The topic of the packet at the front, if it is a PUBLISH.
fn topic_of(packets: &[u8]) -> Option<TopicName<'_>> {
    let Ok(Framing::Complete(frame)) = split(packets, u32::MAX) else { return None };
    let (length, rest) = frame.body.split_first_chunk()?;
    let topic = rest.get(..usize::from(u16::from_be_bytes(*length)))?;
    let topic = TopicName::new(core::str::from_utf8(topic).ok()?).ok()?;
    (frame.packet_type == PacketType::Publish).then_some(topic)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::{PacketId, Publish, QoS};

    fn packets(topics: &[&str]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (topic, number) in topics.iter().zip(1..) {
            let publish = Publish {
                qos: QoS::AtLeastOnce,
                topic: TopicName::new(topic).ok(),
                packet_id: PacketId::new(number),
                payload: topic.as_bytes(),
                ..Publish::default()
            };
            publish.encode(Version::V5_0, &mut bytes).unwrap();
        }
        bytes
    }

    fn read(bytes: &[u8]) -> (Vec<u16>, usize) {
        let mut packets = PlainPublishes::new(bytes, Version::V5_0);
        let ids = packets.by_ref().filter_map(|plain| Some(plain.packet_id?.value())).collect();
        (ids, packets.rest().len())
    }

    #[test]
    fn it_ends_before_another_topic_and_before_what_is_cut_short() {
        let all = packets(&["a/b", "a/b", "a/c", "a/b"]);
        let each = all.len() / 4;
        assert_eq!(read(&all), ([1, 2].into(), 2 * each));
        assert_eq!(read(&all[..each + 1]), ([1].into(), 1));
        assert_eq!(read(&all[..each - 1]), ([].into(), each - 1));
        assert_eq!(read(b""), ([].into(), 0));
    }

    #[test]
    fn it_ends_before_what_is_not_plain() {
        let mut bytes = packets(&["a", "a"]);
        let second = bytes.len() / 2;
        bytes[second] |= 1;
        assert_eq!(read(&bytes), ([1].into(), second), "RETAIN");
        bytes[second] = 0xC0;
        assert_eq!(read(&bytes), ([1].into(), second), "PINGREQ");
        bytes[0] = 0xC0;
        assert_eq!(read(&bytes), ([].into(), bytes.len()));
        let no_topic = b"\x32\x04\0\x09a\0";
        assert_eq!(read(no_topic), ([].into(), no_topic.len()));
    }
}
