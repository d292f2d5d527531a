//! One direction of one connection: what becomes of its bytes.

use noctule_packet::PacketType;

use super::packets::Packets;
use super::random::Random;
use super::{Cut, Toward};

/// Where a connection is to be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind so many bytes.
    Behind(u64),
    /// Within a packet: which one of its type, counted from 1.
    Within(PacketType, u64),
}

/// How bytes are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Splitting {
    pub(super) seed: u64,
    /// One byte at a time with 1.
    pub(super) most: u64,
}

/// Which bytes are corrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Corrupting {
    pub(super) seed: u64,
    pub(super) one_in: u64,
}

/// Where each connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cutting {
    pub(super) seed: u64,
    /// It does not get further than so many bytes.
    pub(super) most: u64,
    pub(super) cut: Cut,
}

/// What is to happen to the bytes of all connections.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub(super) cuts: Vec<(Toward, Place, Cut)>,
    pub(super) corrupt_at: Vec<(Toward, u64)>,
    pub(super) splitting: Option<Splitting>,
    pub(super) corrupting: Option<Corrupting>,
    pub(super) cutting: Option<Cutting>,
}

/// What to do with bytes that have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Pass on all up to here.
    Write(usize),
    Cut(Cut),
}

/// One direction of one connection.
#[derive(Debug)]
pub(super) struct Lane {
    toward: Toward,
    connection: u64,
    /// How many bytes there were so far.
    offset: u64,
    packets: Packets,
    counts: [u64; 16],
    /// Where a packet is to be cut whose header has been seen.
    armed: Option<(u64, Cut)>,
    split: Option<(Splitting, Random, u64)>,
    corrupt: Option<(Corrupting, Random, u64)>,
    end: Option<(Cutting, u64)>,
}

impl Lane {
    pub(super) fn new(toward: Toward, connection: u64) -> Self {
        Self {
            toward,
            connection,
            offset: 0,
            packets: Packets::default(),
            counts: [0; 16],
            armed: None,
            split: None,
            corrupt: None,
            end: None,
        }
    }

    /// What to do with these bytes, the next of the stream. A fault that happens once is taken out
    /// of `faults`.
    pub(super) fn pass(&mut self, faults: &mut Faults, bytes: &mut [u8]) -> Vec<Step> {
        self.arm(faults);
        let (mut steps, mut written) = (Vec::new(), 0);
        let length = bytes.len();
        for (index, byte) in bytes.iter_mut().enumerate() {
            let at = self.offset;
            if let Some(cut) = self.cut_before(faults, at) {
                write_up_to(&mut steps, &mut written, index);
                steps.push(Step::Cut(cut));
                return steps;
            }
            if self.splits_before(at) {
                write_up_to(&mut steps, &mut written, index);
            }
            // What packets there are, the sender says, not what is made of them.
            self.look(faults, at, *byte);
            if let Some((middle, cut)) = self.armed
                && middle <= at
            {
                write_up_to(&mut steps, &mut written, index);
                self.armed = None;
                steps.push(Step::Cut(cut));
                return steps;
            }
            if self.is_corrupt(faults, at) {
                *byte ^= 0x10;
            }
            self.offset += 1;
        }
        write_up_to(&mut steps, &mut written, length);
        // Nothing has to come for a cut behind what was passed on.
        if let Some(cut) = self.cut_before(faults, self.offset) {
            steps.push(Step::Cut(cut));
        }
        steps
    }

    /// Follows what was changed since the last bytes.
    fn arm(&mut self, faults: &Faults) {
        let direction = self.toward as u64;
        if self.split.as_ref().map(|(known, ..)| *known) != faults.splitting {
            self.split = faults.splitting.map(|splitting| {
                let mut random = Random::of(splitting.seed, self.connection, direction);
                let next = self.offset + random.up_to(splitting.most);
                (splitting, random, next)
            });
        }
        if self.end.map(|(known, _)| known) != faults.cutting {
            self.end = faults.cutting.map(|cutting| {
                let mut random = Random::of(cutting.seed, self.connection, direction);
                (cutting, random.up_to(cutting.most))
            });
        }
        if self.corrupt.as_ref().map(|(known, ..)| *known) != faults.corrupting {
            self.corrupt = faults.corrupting.map(|corrupting| {
                let mut random = Random::of(corrupting.seed, self.connection, direction);
                let next = self.offset + random.up_to(2 * corrupting.one_in) - 1;
                (corrupting, random, next)
            });
        }
    }

    fn cut_before(&mut self, faults: &mut Faults, at: u64) -> Option<Cut> {
        if let Some((cutting, _)) = self.end.filter(|(_, end)| *end <= at) {
            return Some(cutting.cut);
        }
        if let Some((_, cut)) = self.armed.filter(|(middle, _)| *middle == at) {
            self.armed = None;
            return Some(cut);
        }
        let toward = self.toward;
        let due = faults.cuts.iter().position(|(way, place, _)| {
            *way == toward && matches!(place, Place::Behind(count) if *count <= at)
        })?;
        Some(faults.cuts.remove(due).2)
    }

    fn look(&mut self, faults: &mut Faults, at: u64, byte: u8) {
        let Some(seen) = self.packets.pass(at, byte) else { return };
        let Some(packet_type) = seen.packet_type else { return };
        let count = &mut self.counts[usize::from(packet_type.value())];
        *count += 1;
        let wanted = Place::Within(packet_type, *count);
        let toward = self.toward;
        let due = faults.cuts.iter().position(|(way, place, _)| (*way, *place) == (toward, wanted));
        if let Some(due) = due {
            let (_, _, cut) = faults.cuts.remove(due);
            self.armed = Some((seen.middle(), cut));
        }
    }

    fn splits_before(&mut self, at: u64) -> bool {
        let Some((splitting, random, next)) = &mut self.split else { return false };
        if *next != at {
            return false;
        }
        *next += random.up_to(splitting.most);
        true
    }

    fn is_corrupt(&mut self, faults: &mut Faults, at: u64) -> bool {
        let toward = self.toward;
        if let Some(due) = faults.corrupt_at.iter().position(|known| *known == (toward, at)) {
            faults.corrupt_at.remove(due);
            return true;
        }
        let Some((corrupting, random, next)) = &mut self.corrupt else { return false };
        if *next != at {
            return false;
        }
        *next += random.up_to(2 * corrupting.one_in);
        true
    }
}

/// Passes on what comes before `index`, if that was not said yet.
fn write_up_to(steps: &mut Vec<Step>, written: &mut usize, index: usize) {
    if index > *written {
        steps.push(Step::Write(index));
        *written = index;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a stream that comes in pieces of this size: the bytes, where they were
    /// split, and whether it was cut.
    fn run(faults: &Faults, stream: &[u8], piece: usize) -> (Vec<u8>, Vec<usize>, Option<Cut>) {
        let mut faults = faults.clone();
        let mut lane = Lane::new(Toward::Server, 1);
        let (mut out, mut ends) = (Vec::new(), Vec::new());
        for piece in stream.chunks(piece) {
            let mut piece = piece.to_vec();
            let mut written = 0;
            for step in lane.pass(&mut faults, &mut piece) {
                match step {
                    Step::Write(end) => {
                        out.extend_from_slice(&piece[written..end]);
                        written = end;
                        ends.push(out.len());
                    }
                    Step::Cut(cut) => return (out, ends, Some(cut)),
                }
            }
        }
        (out, ends, None)
    }

    fn stream() -> Vec<u8> {
        // PINGREQ, PUBLISH of ten bytes, PUBLISH of ten bytes
        [vec![0xC0, 0], [0x30, 8, 0, 1, b't', 1, 2, 3, 4, 5].repeat(2)].concat()
    }

    #[test]
    fn cuts_do_not_depend_on_the_pieces() {
        let within = |packet_type, number| Place::Within(packet_type, number);
        for (place, expected) in [
            (Place::Behind(0), 0),
            (Place::Behind(5), 5),
            (within(PacketType::Pingreq, 1), 1),
            (within(PacketType::Publish, 1), 2 + 5),
            (within(PacketType::Publish, 2), 12 + 5),
        ] {
            for cut in [Cut::End, Cut::Reset] {
                let cuts = vec![(Toward::Client, Place::Behind(1), Cut::End)];
                let mut faults = Faults { cuts, ..Faults::default() };
                faults.cuts.push((Toward::Server, place, cut));
                for piece in 1..=stream().len() {
                    let (out, _, ended) = run(&faults, &stream(), piece);
                    assert_eq!((out.len(), ended), (expected, Some(cut)), "{place:?} {piece}");
                }
            }
        }
        let cuts = vec![(Toward::Server, within(PacketType::Publish, 3), Cut::End)];
        let faults = Faults { cuts, ..Faults::default() };
        assert_eq!(run(&faults, &stream(), 4), (stream(), vec![4, 8, 12, 16, 20, 22], None));
    }

    #[test]
    fn connections_are_cut_as_the_seed_says() {
        let length = |seed, piece| {
            let cutting = Some(Cutting { seed, most: 20, cut: Cut::End });
            let faults = Faults { cutting, ..Faults::default() };
            let (out, _, ended) = run(&faults, &stream(), piece);
            assert_eq!(ended, Some(Cut::End));
            out.len()
        };
        let lengths: Vec<usize> = (0..20).map(|seed| length(seed, 22)).collect();
        assert_eq!(lengths, (0..20).map(|seed| length(seed, 3)).collect::<Vec<_>>());
        assert!(lengths.iter().all(|length| (1..=20).contains(length)));
        assert!(lengths.iter().any(|length| *length != lengths[0]));
    }

    #[test]
    fn bytes_are_split_as_the_seed_says() {
        let whole = |most| {
            let splitting = Some(Splitting { seed: 3, most });
            let faults = Faults { splitting, ..Faults::default() };
            let (out, ends, _) = run(&faults, &stream(), 100);
            assert_eq!(out, stream());
            ends
        };
        assert_eq!(whole(1), (1..=22).collect::<Vec<_>>());
        assert_eq!(whole(6), whole(6));
        assert!(whole(6).len() > 3);
    }

    #[test]
    fn bytes_are_corrupted_as_the_seed_says() {
        let corrupting = Some(Corrupting { seed: 3, one_in: 4 });
        let faults = Faults { corrupting, ..Faults::default() };
        let (whole, ..) = run(&faults, &[0; 400], 400);
        for piece in [1, 7, 399] {
            assert_eq!(run(&faults, &[0; 400], piece).0, whole);
        }
        let corrupted = whole.iter().filter(|byte| **byte != 0).count();
        assert!((50..=150).contains(&corrupted), "{corrupted}");
        let faults = Faults { corrupt_at: vec![(Toward::Server, 3)], ..Faults::default() };
        assert_eq!(run(&faults, &[0; 5], 2).0, [0, 0, 0, 0x10, 0]);
    }
}
