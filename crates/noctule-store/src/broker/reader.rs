//! The pieces that records are made of: numbers, bytes with their length before them, and fields
//! with tags.

use std::str;

use noctule_broker_core::Timestamp;
use noctule_packet::{PacketId, QoS, TopicFilter, TopicName};

use super::damaged::Damaged;

/// Appends bytes behind their length. A record with more of them than a length can say is refused
/// by the batch that it is for.
pub(super) fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// Appends a field that not every record has.
pub(super) fn put_tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_sized(out, bytes);
}

/// Appends a field whose length is known when it has been written.
pub(super) fn put_tagged_with(out: &mut Vec<u8>, tag: u8, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    write(out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

pub(super) fn put_time(out: &mut Vec<u8>, tag: u8, at: Option<Timestamp>) {
    if let Some(at) = at {
        put_tagged(out, tag, &at.as_millis().to_le_bytes());
    }
}

/// What is left to read of a record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many bytes are left.
    pub(super) const fn left(&self) -> usize {
        self.0.len()
    }

    pub(super) fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], Damaged> {
        let (found, rest) = self.0.split_first_chunk().ok_or(Damaged::Short(what))?;
        self.0 = rest;
        Ok(*found)
    }

    pub(super) fn byte(&mut self, what: &'static str) -> Result<u8, Damaged> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    pub(super) fn short(&mut self, what: &'static str) -> Result<u16, Damaged> {
        Ok(u16::from_le_bytes(self.array(what)?))
    }

    pub(super) fn word(&mut self, what: &'static str) -> Result<u32, Damaged> {
        Ok(u32::from_le_bytes(self.array(what)?))
    }

    pub(super) fn long(&mut self, what: &'static str) -> Result<u64, Damaged> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// A place, or another number that is counted up. None comes near the end of its eight bytes;
    /// where one seems to, what follows could not be counted.
    pub(super) fn number(&mut self, what: &'static str) -> Result<u64, Damaged> {
        self.long(what).and_then(|number| match number {
            0..=NUMBER_MAX => Ok(number),
            _ => Err(Damaged::Invalid(what)),
        })
    }

    /// Bytes with their length before them.
    pub(super) fn sized(&mut self, what: &'static str) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.word(what)?).unwrap_or(usize::MAX);
        let (found, rest) = self.0.split_at_checked(length).ok_or(Damaged::Short(what))?;
        self.0 = rest;
        Ok(found)
    }

    pub(super) fn text(&mut self, what: &'static str) -> Result<&'a str, Damaged> {
        str::from_utf8(self.sized(what)?).map_err(|_| Damaged::Invalid(what))
    }

    pub(super) fn topic(&mut self) -> Result<&'a str, Damaged> {
        let text = self.text("topic")?;
        let topic = TopicName::new(text).map_err(|_| Damaged::Invalid("topic"))?;
        Ok(topic.as_str())
    }

    pub(super) fn filter(&mut self) -> Result<&'a str, Damaged> {
        let text = self.text("filter")?;
        let filter = TopicFilter::new(text).map_err(|_| Damaged::Invalid("filter"))?;
        Ok(filter.as_str())
    }

    pub(super) fn packet_id(&mut self) -> Result<PacketId, Damaged> {
        let what = "packet identifier";
        PacketId::new(self.short(what)?).ok_or(Damaged::Invalid(what))
    }

    /// A Subscription Identifier.
    pub(super) fn identifier(&mut self) -> Result<u32, Damaged> {
        let what = "Subscription Identifier";
        match self.word(what)? {
            identifier @ 1..=IDENTIFIER_MAX => Ok(identifier),
            _ => Err(Damaged::Invalid(what)),
        }
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, Damaged> {
        Ok(Timestamp::from_millis(self.long("time")?))
    }

    /// The fields that not every record has, up to the end. Those of later versions are left out by
    /// whoever does not know them.
    pub(super) fn tagged(
        mut self,
        mut visit: impl FnMut(u8, &mut Self) -> Result<(), Damaged>,
    ) -> Result<(), Damaged> {
        while self.left() > 0 {
            let tag = self.byte("fields")?;
            let mut field = Self(self.sized("fields")?);
            visit(tag, &mut field)?;
        }
        Ok(())
    }

    /// All that is left.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.0
    }
}

/// What nothing that is counted up ever reaches.
const NUMBER_MAX: u64 = u64::MAX >> 1;

/// The largest number that a variable byte integer can say.
const IDENTIFIER_MAX: u32 = 268_435_455;

const QOS: u8 = 0b0011;
const RETAIN: u8 = 0b0100;

/// Quality of service and RETAIN in one byte.
pub(super) const fn flags(qos: QoS, retain: bool) -> u8 {
    qos.level() | if retain { RETAIN } else { 0 }
}

/// The quality of service and RETAIN, where the byte may have these other bits, too.
pub(super) fn read_flags(flags: u8, others: u8) -> Result<(QoS, bool), Damaged> {
    let qos = QoS::from_level(flags & QOS);
    let qos = qos.filter(|_| flags & !(QOS | RETAIN | others) == 0);
    Ok((qos.ok_or(Damaged::Invalid("flags"))?, flags & RETAIN != 0))
}
