//! Looks at the bytes of a connection as they pass: how many they are, and which packets they make.

use std::fmt;
use std::sync::Arc;

use noctule_packet::{Framing, PacketType, split};

use crate::course::Course;
use crate::extensions::shielded;
use crate::metrics::{Counter, Metrics};
use crate::packet_log::{Direction, PacketLog};

/// What a PUBLISH begins with that is sent again, but for its lowest bits.
const REPEATED: u8 = (PacketType::Publish as u8) << 4 | 0b1000;

/// So much of each packet is kept for the packet log.
const LOGGED_MAX: usize = 64 * 1_024;

/// Looks at the bytes of one connection.
pub(crate) struct Tap {
    metrics: Option<Arc<dyn Metrics>>,
    log: Option<PacketLog>,
    sent: Strand,
    received: Strand,
}

impl fmt::Debug for Tap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Tap")
            .field("sent", &self.sent)
            .field("received", &self.received)
            .finish_non_exhaustive()
    }
}

impl Tap {
    /// What is wanted for a connection that begins, if anything is.
    pub(crate) fn of(course: &Course) -> Option<Box<Self>> {
        let extensions = course.shared.extensions();
        let (metrics, sink) = (extensions.metrics.clone(), extensions.packet_log.clone());
        let log = (sink.is_some() || course.trace.wants_packets()).then(|| PacketLog {
            sink,
            trace: course.trace.clone(),
            version: course.shared.with(|inner| inner.hub.session().version()),
            shows_user_name: extensions.logs_user_names,
        });
        if metrics.is_none() && log.is_none() {
            return None;
        }
        Some(Box::new(Self { metrics, log, sent: Strand::default(), received: Strand::default() }))
    }

    /// These bytes were written.
    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let (packets, repeated) = self.pass(Direction::Sent, bytes);
        self.count([
            (Counter::BytesSent, amount(bytes)),
            (Counter::PacketsSent, packets),
            (Counter::Retransmissions, repeated),
        ]);
    }

    /// These bytes were read.
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        let (packets, _) = self.pass(Direction::Received, bytes);
        let counts = [Counter::BytesReceived, Counter::PacketsReceived];
        self.count([(counts[0], amount(bytes)), (counts[1], packets)]);
    }

    /// How many packets have passed with these bytes, and how many of them are publications that
    /// are sent again.
    fn pass(&mut self, direction: Direction, bytes: &[u8]) -> (u64, u64) {
        let strand = match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        };
        let (mut packets, mut repeated) = (0, 0);
        let log = self.log.as_ref();
        strand.pass(bytes, log.map_or(0, |_| LOGGED_MAX), |passed| {
            let (begin, size) = match passed {
                Passed::Packet(begin, size) => {
                    packets += 1;
                    repeated += u64::from(begin.first().is_some_and(|it| it & !0b111 == REPEATED));
                    (begin, size)
                }
                Passed::Malformed(bytes) => (bytes, bytes.len()),
            };
            if let Some(log) = log {
                log.tell(direction, begin, size, None);
            }
        });
        (packets, repeated)
    }

    /// Nothing more passes. What was not finished is told.
    pub(crate) fn finish(&self) {
        let Some(log) = &self.log else { return };
        for (direction, strand) in
            [(Direction::Sent, &self.sent), (Direction::Received, &self.received)]
        {
            if let Some((begin, passed)) = strand.unfinished() {
                log.tell(direction, begin, strand.size.unwrap_or(passed), Some(passed));
            }
        }
    }

    fn count<const N: usize>(&self, counts: [(Counter, u64); N]) {
        let Some(metrics) = &self.metrics else { return };
        shielded(|| {
            for (counter, amount) in counts.into_iter().filter(|(_, amount)| *amount > 0) {
                metrics.count(counter, amount);
            }
        });
    }
}

fn amount(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// What has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Passed<'a> {
    /// A whole packet: its beginning, or all of it, and how many bytes it has.
    Packet(&'a [u8], usize),
    /// Bytes that begin no packet. Nothing behind them can be told apart.
    Malformed(&'a [u8]),
}

/// One direction of a connection, cut into packets. Of a packet that does not pass at once, its
/// beginning is kept.
#[derive(Debug, Default)]
pub(crate) struct Strand {
    begin: Vec<u8>,
    /// How many bytes of the packet have passed, and how many it has, once that is known.
    passed: usize,
    size: Option<usize>,
    is_lost: bool,
}

impl Strand {
    /// Bytes pass. Of each packet so many are to be told, if it has so many; what fits into its
    /// header is told in any case.
    pub(crate) fn pass(&mut self, bytes: &[u8], kept_max: usize, mut tell: impl FnMut(Passed<'_>)) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_lost {
            rest = match self.passed {
                0 => self.pass_whole(rest, &mut tell),
                _ => self.pass_part(rest, kept_max, &mut tell),
            };
        }
    }

    /// The beginning of a packet that has not passed as a whole, and how many bytes of it have.
    fn unfinished(&self) -> Option<(&[u8], usize)> {
        (self.passed > 0 && !self.is_lost).then_some((&self.begin, self.passed))
    }

    /// Nothing has begun: the first packet at once, if it is whole.
    fn pass_whole<'a>(&mut self, bytes: &'a [u8], tell: &mut impl FnMut(Passed<'_>)) -> &'a [u8] {
        match split(bytes, u32::MAX) {
            Ok(Framing::Complete(frame)) => {
                let (packet, behind) = bytes.split_at_checked(frame.length).unwrap_or((bytes, &[]));
                tell(Passed::Packet(packet, packet.len()));
                behind
            }
            Ok(Framing::Partial { .. }) => {
                // The next byte decides how it goes on.
                let (first, behind) = bytes.split_at_checked(1).unwrap_or((bytes, &[]));
                self.begin.extend_from_slice(first);
                self.passed = 1;
                behind
            }
            Err(_) => {
                self.is_lost = true;
                tell(Passed::Malformed(bytes));
                &[]
            }
        }
    }

    /// A packet has begun.
    fn pass_part<'a>(
        &mut self,
        bytes: &'a [u8],
        kept_max: usize,
        tell: &mut impl FnMut(Passed<'_>),
    ) -> &'a [u8] {
        let wanted = match self.size {
            None => 1,
            Some(size) => size - self.passed,
        };
        let (now, behind) = bytes.split_at_checked(wanted).unwrap_or((bytes, &[]));
        self.passed += now.len();
        let room = match self.size {
            None => 1,
            Some(_) => kept_max.saturating_sub(self.begin.len()),
        };
        self.begin.extend_from_slice(now.get(..room).unwrap_or(now));
        if self.size.is_none() {
            match split(&self.begin, u32::MAX) {
                Ok(Framing::Complete(frame)) => self.size = Some(frame.length),
                // One byte more may belong to the header.
                Ok(Framing::Partial { needed }) if needed > self.passed + 1 => {
                    self.size = Some(needed);
                }
                Ok(Framing::Partial { .. }) => {}
                Err(_) => {
                    self.is_lost = true;
                    tell(Passed::Malformed(&self.begin));
                    return &[];
                }
            }
        }
        if self.size == Some(self.passed) {
            tell(Passed::Packet(&self.begin, self.passed));
            self.begin.clear();
            (self.passed, self.size) = (0, None);
        }
        behind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// PINGREQ, two publications and the half of a third.
    const STREAM: &[u8] = b"\xC0\0\x30\x05\0\x01tab\x3A\x06\0\x01t\0\x07c\x30\x05\0";

    fn passes(parts: &[&[u8]], kept_max: usize) -> Vec<Vec<u8>> {
        let (mut strand, mut told) = (Strand::default(), Vec::new());
        for part in parts {
            strand.pass(part, kept_max, |passed| match passed {
                Passed::Packet(packet, size) => {
                    assert!(size >= packet.len());
                    told.push(packet.to_vec());
                }
                Passed::Malformed(bytes) => told.push([b"bad ", bytes].concat()),
            });
        }
        told
    }

    #[test]
    fn packets_are_told_however_they_are_cut() {
        let whole = passes(&[STREAM], 0);
        assert_eq!(whole.concat(), STREAM[..STREAM.len() - 3]);
        assert_eq!(whole.len(), 3);
        for one in 0..STREAM.len() {
            for other in one..STREAM.len() {
                let parts = [&STREAM[..one], &STREAM[one..other], &STREAM[other..]];
                assert_eq!(passes(&parts, 100), whole, "{one} {other}");
            }
        }
        let bytes: Vec<&[u8]> = STREAM.chunks(1).collect();
        assert_eq!(passes(&bytes, 100), whole);
    }

    #[test]
    fn no_more_is_kept_than_wanted() {
        let mut stream = vec![0x30, 0xE8, 0x07, 0, 1, b't'];
        stream.resize(3 + 1_000, b'x');
        stream.extend(STREAM);
        for size in [1, 7, 500, 1_002] {
            let parts: Vec<&[u8]> = stream.chunks(size).collect();
            let told = passes(&parts, 10);
            assert_eq!((told[0].len(), &told[0][..10], told.len()), (10, &stream[..10], 4));
        }
        let parts: Vec<&[u8]> = stream.chunks(2).collect();
        assert_eq!(passes(&parts, 0).len(), 4);
    }

    #[test]
    fn what_begins_no_packet_is_told_once() {
        assert_eq!(passes(&[b"\xC0\0\x03xyz", b"\xC0\0"], 0), [&b"\xC0\0"[..], b"bad \x03xyz"]);
        let parts: [&[u8]; 2] = [b"\x30\x80\x80", b"\x80\x80\x01"];
        assert_eq!(passes(&parts, 0), [b"bad \x30\x80\x80\x80\x80"]);
    }
}
