//! Messages that wait for one session one behind the other, as a record: PUBLISH packets as they
//! came.

use noctule_broker_core::{QueuedRun, Reference};
use noctule_packet::{PlainPublishes, Version};

use super::damaged::Damaged;
use super::message::put_plain;
use super::reader::{Reader, put_sized};

/// Appends all behind the kind.
pub(super) fn put_queued_run(run: &QueuedRun<impl AsRef<[u8]>>, out: &mut Vec<u8>) {
    out.extend_from_slice(&run.session.to_le_bytes());
    out.extend_from_slice(&run.first.to_le_bytes());
    out.extend_from_slice(&run.count.to_le_bytes());
    out.push(run.version.level());
    put_sized(out, run.packets.as_ref());
}

/// A version of the protocol, by its level in CONNECT.
pub(super) fn read_version(reader: &mut Reader<'_>) -> Result<Version, Damaged> {
    match reader.byte("version")? {
        3 => Ok(Version::V3_1),
        4 => Ok(Version::V3_1_1),
        5 => Ok(Version::V5_0),
        _ => Err(Damaged::Invalid("version")),
    }
}

/// Such a record, as its bytes: what does not wait any more needs no more of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueuedRunBytes<'a> {
    pub(super) session: u64,
    /// The places of its messages.
    pub(super) first: u64,
    pub(super) last: u64,
    count: u32,
    version: Version,
    packets: &'a [u8],
}

impl<'a> QueuedRunBytes<'a> {
    /// Looks at what is behind the kind.
    pub(super) fn look(mut reader: Reader<'a>) -> Result<Self, Damaged> {
        let (session, first) = (reader.number("session")?, reader.number("sequence")?);
        let (count, version) = (reader.word("messages")?, read_version(&mut reader)?);
        let packets = reader.sized("messages")?;
        reader.tagged(|_, _| Ok(()))?;
        let last = (first + u64::from(count)).checked_sub(1);
        let last = last.ok_or(Damaged::Invalid("messages"))?;
        Ok(Self { session, first, last, count, version, packets })
    }

    pub(super) fn read(self) -> Result<QueuedRun, Damaged> {
        let Self { session, first, count, version, packets, .. } = self;
        let run = QueuedRun { session, first, count, version, packets: packets.into() };
        if run.is_whole() { Ok(run) } else { Err(Damaged::Invalid("messages")) }
    }

    /// Shows each message that waits, as it stands where a message stands alone.
    pub(super) fn each(
        self,
        waits: impl Fn(&Reference) -> bool,
        mut visit: impl FnMut(&[u8], &Reference),
    ) {
        let mut message = Vec::new();
        let packets = PlainPublishes::new(self.packets, self.version);
        for (plain, sequence) in packets.zip(self.first..) {
            let (session, qos) = (self.session, plain.qos());
            let (retain, identifiers, group) = (false, Vec::new(), None);
            let reference = Reference { session, sequence, qos, retain, identifiers, group };
            if waits(&reference) {
                message.clear();
                put_plain(plain.topic.as_str(), plain.payload, qos, false, &mut message);
                visit(&message, &reference);
            }
        }
    }
}
