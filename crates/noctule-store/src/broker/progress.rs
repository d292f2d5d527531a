//! How far a session's queue is done, and how far the delivery of the messages behind that is.
//!
//! The packet identifiers of the messages that are left follow one another in the order of the
//! queue, so that a message's place and the first identifier say which one it has.

use std::collections::BTreeMap;
use std::ops::Range;

use noctule_broker_core::Step;
use noctule_packet::PacketId;

use super::damaged::Damaged;
use super::places::Places;
use super::reader::{Reader, put_tagged_with};

const PACKET_IDS: u16 = u16::MAX;
/// Of so many packet identifiers before the first one it is assumed that they were acknowledged a
/// moment ago, and not that they are nearly once around ahead: a batch that is read twice repeats
/// what was settled in it.
const SETTLED: u16 = 8_192;

const STEPS: u8 = 1;
const SKIPPED: u8 = 3;

const DONE: u64 = u64::MAX;

/// How far a queue is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last place up to which everything is done.
    up_to: u64,
    /// The packet identifier of the first message behind that.
    next: PacketId,
    /// What is known of messages with packet identifiers.
    steps: BTreeMap<PacketId, Step>,
    /// How many PUBRECs have come.
    releases: u64,
    /// Places behind that whose messages are gone without having had a packet identifier.
    skipped: Places,
}

impl Default for Progress {
    fn default() -> Self {
        Self {
            up_to: 0,
            next: PacketId::MIN,
            steps: BTreeMap::new(),
            releases: 0,
            skipped: Places::default(),
        }
    }
}

impl Progress {
    pub(super) const fn up_to(&self) -> u64 {
        self.up_to
    }

    pub(super) const fn next(&self) -> PacketId {
        self.next
    }

    /// Whether a message at this place is still to be delivered.
    pub(super) fn wants(&self, sequence: u64) -> bool {
        sequence > self.up_to && !self.skipped.contains(sequence)
    }

    /// The places whose messages are gone without having had a packet identifier.
    pub(super) const fn skipped(&self) -> &Places {
        &self.skipped
    }

    /// Of these places those whose messages are still to be delivered.
    pub(super) fn wanted(&self, among: Range<u64>) -> impl Iterator<Item = u64> {
        let first = among.start.max(self.up_to.saturating_add(1));
        self.skipped.gaps(first..among.end)
    }

    /// The last place that is known to have been taken.
    pub(super) fn last(&self) -> u64 {
        self.skipped.last().max(self.up_to)
    }

    /// Everything up to a place is done. What is behind it already says nothing new.
    pub(super) fn acknowledge(&mut self, up_to: u64, next: PacketId) {
        if up_to < self.up_to {
            return;
        }
        let passed = distance(self.next, next);
        if usize::from(passed) < self.steps.len() {
            let ids = std::iter::successors(Some(self.next), |id| Some(following(*id)));
            for packet_id in ids.take(usize::from(passed)) {
                self.steps.remove(&packet_id);
            }
        } else {
            let first = self.next;
            self.steps.retain(|packet_id, _| distance(first, *packet_id) >= passed);
        }
        (self.up_to, self.next) = (up_to, next);
        self.skipped.forget(up_to);
    }

    pub(super) fn skip(&mut self, sequence: u64) {
        if sequence > self.up_to {
            self.skipped.insert(sequence);
        }
    }

    pub(super) fn release(&mut self, packet_id: PacketId) {
        if !self.is_settled(packet_id) && !self.steps.contains_key(&packet_id) {
            self.steps.insert(packet_id, Step::Released(self.releases));
            self.releases += 1;
        }
    }

    pub(super) fn complete(&mut self, packet_id: PacketId) {
        if !self.is_settled(packet_id) {
            self.steps.insert(packet_id, Step::Done);
        }
    }

    fn is_settled(&self, packet_id: PacketId) -> bool {
        distance(self.next, packet_id) >= PACKET_IDS - SETTLED
    }

    /// How far the messages have come that are left, in order.
    pub(super) fn steps(&self) -> impl Iterator<Item = Step> {
        let ids = std::iter::successors(Some(self.next), |id| Some(following(*id)));
        // An identifier stands for one message only.
        let known = ids.take(usize::from(PACKET_IDS)).map(|id| self.steps.get(&id).copied());
        known.map(|step| step.unwrap_or(Step::Published)).chain(std::iter::repeat(Step::Published))
    }

    /// Which ones of those with packet identifiers places are that stand in order, counted from 1.
    pub(super) fn ranks(&self, places: impl IntoIterator<Item = u64>) -> impl Iterator<Item = u64> {
        let (mut skipped, mut passed) = (self.skipped.runs().peekable(), 0);
        places.into_iter().map(move |place| {
            while let Some((first, last)) = skipped.next_if(|(_, last)| *last <= place) {
                passed += last - first + 1;
            }
            let begun = skipped.peek().filter(|(first, _)| *first <= place);
            let passed = passed + begun.map_or(0, |(first, _)| place - first + 1);
            place.saturating_sub(self.up_to).saturating_sub(passed)
        })
    }

    /// How many messages there are up to the last one of which more is known than that it waits.
    pub(super) fn begun(&self) -> usize {
        let far = self.steps.keys().map(|packet_id| distance(self.next, *packet_id)).max();
        far.map_or(0, |far| usize::from(far) + 1)
    }

    /// The last place whose message was sent for sure: more is known of it than that it waits.
    pub(super) fn sent_for_sure(&self) -> u64 {
        let begun = self.up_to.saturating_add(self.begun() as u64);
        self.skipped.runs().fold(begun, |place, (first, last)| {
            if first <= place { place.saturating_add(last - first + 1) } else { place }
        })
    }

    /// Appends it as it stands in the state.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.up_to.to_le_bytes());
        out.extend_from_slice(&self.next.value().to_le_bytes());
        out.extend_from_slice(&self.releases.to_le_bytes());
        if !self.steps.is_empty() {
            put_tagged_with(out, STEPS, |out| {
                for (packet_id, step) in &self.steps {
                    let order = if let Step::Released(order) = step { *order } else { DONE };
                    out.extend_from_slice(&packet_id.value().to_le_bytes());
                    out.extend_from_slice(&order.to_le_bytes());
                }
            });
        }
        if !self.skipped.is_empty() {
            put_tagged_with(out, SKIPPED, |out| self.skipped.put(out));
        }
    }

    pub(super) fn read(mut reader: Reader<'_>) -> Result<Self, Damaged> {
        let (up_to, next) = (reader.number("sequence")?, reader.packet_id()?);
        let releases = reader.long("releases")?;
        let mut progress = Self { up_to, next, releases, ..Self::default() };
        reader.tagged(|tag, field| {
            while field.left() > 0 {
                match tag {
                    STEPS => {
                        let packet_id = field.packet_id()?;
                        let step = match field.long("steps")? {
                            DONE => Step::Done,
                            order => Step::Released(order),
                        };
                        progress.steps.insert(packet_id, step);
                    }
                    SKIPPED => progress.skipped.read(field)?,
                    _ => return Ok(()),
                }
            }
            Ok(())
        })?;
        progress.skipped.forget(up_to);
        Ok(progress)
    }
}

/// The packet identifier behind another one.
fn following(packet_id: PacketId) -> PacketId {
    PacketId::new(packet_id.value().wrapping_add(1)).unwrap_or(PacketId::MIN)
}

/// The packet identifier so many behind another one.
pub(super) fn ahead(packet_id: PacketId, count: u64) -> PacketId {
    let all = u64::from(PACKET_IDS);
    let ahead = (u64::from(packet_id.value()) - 1 + count % all) % all;
    u16::try_from(ahead + 1).ok().and_then(PacketId::new).unwrap_or(PacketId::MIN)
}

/// How many packet identifiers one is behind another.
const fn distance(first: PacketId, packet_id: PacketId) -> u16 {
    let (first, wanted) = (first.value(), packet_id.value());
    if wanted >= first { wanted - first } else { PACKET_IDS - first + wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(up_to: u64, skipped: &[u64], begun: u16) -> Progress {
        let mut progress = Progress { up_to, ..Progress::default() };
        skipped.iter().for_each(|place| progress.skip(*place));
        if let Some(packet_id) = PacketId::new(begun) {
            progress.release(packet_id);
        }
        progress
    }

    #[test]
    fn places_without_an_identifier_are_not_counted() {
        for (skipped, begun, sent) in [
            (&[][..], 0, 10),
            (&[], 3, 13),
            (&[11], 0, 10),
            (&[11, 12, 13], 1, 14),
            (&[12, 13, 20, 21], 3, 15),
            (&[12, 13, 16, 17], 3, 15),
            (&[12, 14, 16], 3, 15),
        ] {
            let progress = behind(10, skipped, begun);
            assert_eq!(progress.sent_for_sure(), sent, "{skipped:?}, {begun}");
            let rank = |place: &u64| {
                let before = skipped.iter().filter(|skipped| *skipped <= place).count();
                place - 10 - before as u64
            };
            let places = [11, 12, 13, 15, 16, 19, 20, 30];
            let ranks: Vec<u64> = places.iter().map(rank).collect();
            assert_eq!(progress.ranks(places).collect::<Vec<_>>(), ranks, "{skipped:?}");
            let wanted = (8..22).filter(|place| progress.wants(*place)).collect::<Vec<_>>();
            assert_eq!(progress.wanted(8..22).collect::<Vec<_>>(), wanted);
            let mut stored = Vec::new();
            progress.put(&mut stored);
            assert_eq!(Progress::read(Reader::new(&stored)), Ok(progress));
        }
    }

    /// A session that is never done with its oldest message may give up others for years.
    #[test]
    fn places_that_follow_one_another_take_the_room_of_one() {
        let many: Vec<u64> = (12..100_000).collect();
        let mut stored = Vec::new();
        behind(10, &many, 0).put(&mut stored);
        assert!(stored.len() < 50, "{} bytes", stored.len());
    }
}
