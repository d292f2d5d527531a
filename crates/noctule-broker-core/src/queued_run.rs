//! Messages that wait for one session, one behind the other, as they were read.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use noctule_packet::{PlainPublishes, QoS, Version};

use crate::message::Message;
use crate::stored::Reference;

/// Messages that came one after the other for one session, and wait for it in this order: PUBLISH
/// packets of QoS 1 with nothing but a payload and a topic, which all of them have.
///
/// ```
/// use noctule_broker_core::QueuedRun;
/// use noctule_packet::Version;
///
/// let packets = b"\x32\x06\0\x01a\0\x071\x32\x06\0\x01a\0\x082"[..].into();
/// let run = QueuedRun { session: 65_536, first: 10, count: 2, version: Version::V3_1_1, packets };
/// let found: Vec<_> = run.messages().map(|(message, it)| (it.sequence, message)).collect();
/// assert_eq!((found[1].0, &*found[1].1.payload), (11, &b"2"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRun<P = Box<[u8]>> {
    /// Which session.
    pub session: u64,
    /// The first one's place in its queue; the others have the places behind that.
    pub first: u64,
    /// How many they are.
    pub count: u32,
    /// The version that the packets are written in.
    pub version: Version,
    /// The packets, one behind the other; or where they are.
    pub packets: P,
}

impl<P> QueuedRun<P> {
    /// The same with its packets in another place.
    fn with<Q>(&self, packets: Q) -> QueuedRun<Q> {
        let Self { session, first, count, version, .. } = *self;
        QueuedRun { session, first, count, version, packets }
    }
}

impl QueuedRun<Range<usize>> {
    /// With its packets, which stand in the bytes of the input that it came with. In any other
    /// bytes there is nothing to keep.
    ///
    /// ```
    /// use noctule_broker_core::QueuedRun;
    /// use noctule_packet::Version;
    ///
    /// let input = b"\xc0\0\x32\x06\0\x01a\0\x071";
    /// let version = Version::V3_1_1;
    /// let run = QueuedRun { session: 65_536, first: 10, count: 1, version, packets: 2..10 };
    /// let kept = run.read_in(input).to_owned();
    /// assert_eq!(&*kept.packets, &input[2..]);
    /// ```
    pub fn read_in<'a>(&self, input: &'a [u8]) -> QueuedRun<&'a [u8]> {
        let packets = input.get(self.packets.clone()).unwrap_or_default();
        debug_assert!(!packets.is_empty(), "the bytes of another input");
        self.with(packets)
    }
}

impl QueuedRun<&[u8]> {
    /// With packets of its own.
    pub fn to_owned(&self) -> QueuedRun {
        self.with(self.packets.into())
    }
}

impl QueuedRun {
    /// Whether there are packets, and all are what they should be.
    pub fn is_whole(&self) -> bool {
        let mut packets = PlainPublishes::new(&self.packets, self.version);
        let count = packets.by_ref().filter(|plain| plain.qos() == QoS::AtLeastOnce).count();
        count > 0 && u32::try_from(count) == Ok(self.count) && packets.rest().is_empty()
    }

    /// Each message, and how it waits.
    pub fn messages(&self) -> impl Iterator<Item = (Arc<Message>, Reference)> {
        let (session, mut topic) = (self.session, None);
        PlainPublishes::new(&self.packets, self.version).zip(self.first..).map(
            move |(plain, sequence)| {
                let topic = topic.get_or_insert_with(|| Arc::from(plain.topic.as_str()));
                let (payload, qos) = (plain.payload.into(), plain.qos());
                let message = Arc::new(Message::plain(Arc::clone(topic), payload, qos));
                let (identifiers, group) = (Vec::new(), None);
                let reference =
                    Reference { session, sequence, qos, retain: false, identifiers, group };
                (message, reference)
            },
        )
    }
}
