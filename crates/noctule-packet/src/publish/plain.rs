//! The commonest PUBLISH: a topic, a payload and nothing else, read and written without the detour
//! over everything that it might have had.

use alloc::vec::Vec;

use super::{DUP, QOS_SHIFT};
use crate::wire::{put_variable, variable_length};
use crate::{Frame, PacketId, PacketType, QoS, TopicName, Version};

/// A PUBLISH of QoS 0 or 1 without RETAIN and without properties, on a topic that is known.
///
/// ```
/// use noctule_packet::{Framing, PlainPublish, TopicName, Version, split};
///
/// let Ok(Framing::Complete(frame)) = split(b"\x30\x07\0\x03a/b21", 1_024) else { panic!() };
/// let known = TopicName::new("a/b").unwrap();
/// let plain = PlainPublish::decode(&frame, Version::V3_1_1, known).unwrap();
/// assert_eq!((plain.packet_id, plain.payload), (None, &b"21"[..]));
///
/// let mut out = Vec::new();
/// plain.encode(Version::V5_0, None, &mut out);
/// assert_eq!(out, b"\x30\x08\0\x03a/b\021");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlainPublish<'a> {
    /// The topic.
    pub topic: TopicName<'a>,
    /// The packet identifier, exactly at QoS 1.
    pub packet_id: Option<PacketId>,
    /// The message itself.
    pub payload: &'a [u8],
    /// All of it behind the fixed header, if it was read, and whether that has properties.
    body: Option<(&'a [u8], bool)>,
}

const AT_LEAST_ONCE: u8 = QoS::AtLeastOnce as u8;
const FLAGS: u8 = AT_LEAST_ONCE << QOS_SHIFT;
const REPEATED: u8 = FLAGS | DUP;

impl<'a> PlainPublish<'a> {
    /// A message that was not read from a packet.
    pub const fn new(topic: TopicName<'a>, payload: &'a [u8]) -> Self {
        Self { topic, packet_id: None, payload, body: None }
    }

    /// Reads a PUBLISH that is plain and has the topic `known`. `None` for any other packet,
    /// well-formed or not: [`Publish::decode`](crate::Publish::decode) tells.
    #[inline]
    pub fn decode(frame: &Frame<'a>, version: Version, known: TopicName<'a>) -> Option<Self> {
        if frame.packet_type != PacketType::Publish || !frame.is_minimal() {
            return None;
        }
        let (length, rest) = frame.body.split_first_chunk()?;
        let (topic, mut rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        if topic != known.as_str().as_bytes() {
            return None;
        }
        let packet_id = match frame.flags {
            0 => None,
            FLAGS | REPEATED => {
                let (packet_id, behind) = rest.split_first_chunk()?;
                rest = behind;
                Some(PacketId::new(u16::from_be_bytes(*packet_id))?)
            }
            _ => return None,
        };
        if version.is_v5() {
            let (0, behind) = rest.split_first()? else { return None };
            rest = behind;
        }
        let body = Some((frame.body, version.is_v5()));
        Some(Self { topic: known, packet_id, payload: rest, body })
    }

    /// Its quality of service.
    pub const fn qos(&self) -> QoS {
        if self.packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce }
    }

    /// Appends the message as a PUBLISH for a receiver of this version: at QoS 1 with a packet
    /// identifier, at QoS 0 without. It repeats nothing, so DUP is not set.
    #[inline]
    pub fn encode(&self, version: Version, packet_id: Option<PacketId>, out: &mut Vec<u8>) {
        let is_alike = packet_id.is_some() == self.packet_id.is_some();
        let body = match self.body {
            Some((body, has_properties)) if is_alike && has_properties == version.is_v5() => body,
            _ => return self.encode_anew(version, packet_id, out),
        };
        // What came in goes out, but for the identifier.
        put_header(packet_id, body.len(), out);
        let identifier_at = out.len() + 2 + self.topic.as_str().len();
        out.extend_from_slice(body);
        if let Some(packet_id) = packet_id
            && let Some(place) = out.get_mut(identifier_at..identifier_at + 2)
        {
            place.copy_from_slice(&packet_id.value().to_be_bytes());
        }
    }

    fn encode_anew(&self, version: Version, packet_id: Option<PacketId>, out: &mut Vec<u8>) {
        let topic = self.topic.as_str().as_bytes();
        let behind_topic = packet_id.map_or(0, |_| 2) + usize::from(version.is_v5());
        put_header(packet_id, 2 + topic.len() + behind_topic + self.payload.len(), out);
        out.extend_from_slice(&u16::try_from(topic.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(topic);
        if let Some(packet_id) = packet_id {
            out.extend_from_slice(&packet_id.value().to_be_bytes());
        }
        if version.is_v5() {
            out.push(0);
        }
        out.extend_from_slice(self.payload);
    }
}

/// Appends the fixed header, and makes room for what follows.
#[inline]
fn put_header(packet_id: Option<PacketId>, remaining: usize, out: &mut Vec<u8>) {
    out.reserve(1 + variable_length(remaining) + remaining);
    let first = PacketType::Publish.value() << 4 | packet_id.map_or(0, |_| FLAGS);
    match u8::try_from(remaining) {
        Ok(remaining) if remaining < 0x80 => out.extend_from_slice(&[first, remaining]),
        _ => {
            out.push(first);
            put_variable(out, remaining);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, Publish, PublishProperties, TextRules, split};

    const VERSIONS: [Version; 3] = [Version::V3_1, Version::V3_1_1, Version::V5_0];

    fn publishes() -> Vec<Publish<'static>> {
        let mut publishes = Vec::new();
        let mut properties = PublishProperties::default();
        for topic in ["a", "a/b", "b/a"] {
            for qos in [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce] {
                for (dup, retain) in [(false, false), (true, false), (false, true)] {
                    for payload in [&b""[..], b"21.5", &[0; 200]] {
                        for message_expiry_interval in [None, Some(9)] {
                            properties.message_expiry_interval = message_expiry_interval;
                            publishes.push(Publish {
                                dup: dup && qos != QoS::AtMostOnce,
                                qos,
                                retain,
                                topic: TopicName::new(topic).ok(),
                                packet_id: PacketId::new(0x1234).filter(|_| qos as u8 > 0),
                                properties: properties.clone(),
                                payload,
                            });
                        }
                    }
                }
            }
        }
        publishes
    }

    /// What is read the short way is what the long way reads, and nothing more is read.
    #[test]
    fn it_reads_what_is_plain_and_only_that() {
        let known = TopicName::new("a/b").unwrap();
        let mut plain_ones = 0;
        for version in VERSIONS {
            for publish in publishes() {
                let mut bytes = Vec::new();
                publish.encode(version, &mut bytes).unwrap();
                let Ok(Framing::Complete(frame)) = split(&bytes, u32::MAX) else { panic!() };
                let read = Publish::decode(&frame, version, TextRules::Strict).unwrap();
                let is_plain = read.topic == Some(known)
                    && read.qos < QoS::ExactlyOnce
                    && !read.retain
                    && read.properties == PublishProperties::default();
                let found = PlainPublish::decode(&frame, version, known);
                assert_eq!(found.is_some(), is_plain, "{version} {read:?}");
                if let Some(found) = found {
                    plain_ones += 1;
                    assert_eq!((found.packet_id, found.payload), (read.packet_id, read.payload));
                    assert_eq!(found.qos(), read.qos);
                }
            }
        }
        assert!(plain_ones > 50, "{plain_ones}");
    }

    /// Whatever it was read from.
    #[test]
    fn it_writes_what_the_long_way_writes() {
        let known = TopicName::new("a/b").unwrap();
        let ids = [None, PacketId::new(7), PacketId::new(0xFFFE)];
        let mut written = 0;
        for from in VERSIONS {
            for publish in publishes() {
                let mut bytes = Vec::new();
                publish.encode(from, &mut bytes).unwrap();
                let Ok(Framing::Complete(frame)) = split(&bytes, u32::MAX) else { panic!() };
                let Some(plain) = PlainPublish::decode(&frame, from, known) else { continue };
                for (to, packet_id) in VERSIONS.into_iter().flat_map(|to| ids.map(|id| (to, id))) {
                    let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
                    let (topic, payload) = (Some(known), publish.payload);
                    let long = Publish { qos, topic, packet_id, payload, ..Publish::default() };
                    let (mut long_way, mut short_way) = (b"before".to_vec(), b"before".to_vec());
                    long.encode(to, &mut long_way).unwrap();
                    plain.encode(to, packet_id, &mut short_way);
                    assert_eq!(short_way, long_way, "{from} {publish:?} to {to} {packet_id:?}");
                    short_way.truncate(b"before".len());
                    PlainPublish::new(known, payload).encode(to, packet_id, &mut short_way);
                    assert_eq!(short_way, long_way, "anew to {to} {packet_id:?}");
                    written += 1;
                }
            }
        }
        assert!(written > 200, "{written}");
    }

    /// Cut anywhere, or with any one byte changed, it is never read as something else than the long
    /// way reads.
    #[test]
    fn what_is_damaged_is_never_read_differently() {
        let known = TopicName::new("a/b").unwrap();
        for version in VERSIONS {
            for publish in publishes().into_iter().filter(|publish| publish.payload.len() < 9) {
                let mut whole = Vec::new();
                publish.encode(version, &mut whole).unwrap();
                for at in 0..whole.len() {
                    for change in [1, 2, 8, 0x80, 0xFF] {
                        let mut bytes = whole.clone();
                        bytes[at] ^= change;
                        let Ok(Framing::Complete(frame)) = split(&bytes, u32::MAX) else {
                            continue;
                        };
                        let Some(found) = PlainPublish::decode(&frame, version, known) else {
                            continue;
                        };
                        let read = Publish::decode(&frame, version, TextRules::Strict).unwrap();
                        assert_eq!(read.topic, Some(known));
                        assert_eq!(
                            (read.packet_id, read.payload),
                            (found.packet_id, found.payload)
                        );
                        assert_eq!((read.qos, read.retain), (found.qos(), false));
                    }
                }
            }
        }
    }
}
