//! Opens what another process has left: finds the segments that count, tells a torn end from
//! damage, and hands out every record once.
//!
//! One write is outstanding at a time, and a failed one is repeated under its sequence number. So
//! what cannot be read is nothing that was promised if it is at the very end, or if the sequence
//! goes on behind it without a hole; everything else is damage.

use std::time::Duration;

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::frame::{HEADER_BYTES, Part, RECORD_HEADER_BYTES, parts};
use crate::log::LogSettings;
use crate::scan::{Found, Frame, Scanner};
use crate::segment::{self, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::summary::{Quarantined, Summary, Torn};

/// How much damage is set aside in files of its own.
const QUARANTINE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;

/// What is done about damage. A torn end is none: nobody was promised what was in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repair {
    /// What cannot be read is set aside, and everything else is used.
    #[default]
    Salvage,
    /// The store is not opened.
    Refuse,
    /// All of it is set aside, and the store begins empty.
    Empty,
}

/// A record as it was found.
#[derive(Clone, Copy, Debug)]
pub struct Recovered<'a> {
    /// The sequence number of its batch.
    pub sequence: u64,
    /// Its content.
    pub bytes: &'a [u8],
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Remains {
    /// The segments that count, with their bytes.
    pub(crate) segments: Vec<(u64, u64)>,
    /// The segments that a newer one has made void.
    pub(crate) obsolete: Vec<u64>,
    pub(crate) next_segment: u64,
    pub(crate) next_sequence: u64,
    /// Age and wall clock of the last frame.
    pub(crate) last: Option<(Duration, Duration)>,
    pub(crate) summary: Summary,
}

type Visit<'v> = dyn FnMut(Recovered<'_>) -> Result<(), String> + 'v;

struct Segment {
    number: u64,
    length: u64,
    file: Box<dyn DiskFile>,
    header: Option<SegmentHeader>,
}

/// Reads everything that counts.
pub(crate) fn recover(
    disk: &mut dyn Disk,
    settings: &LogSettings,
    visit: &mut Visit<'_>,
) -> Result<Remains, StoreError> {
    let mut segments = segments(disk, settings)?;
    let next_segment = segments.last().map_or(1, |last| last.number + 1);
    let base = segments
        .iter()
        .rposition(|segment| segment.header.is_some_and(|header| header.begins_anew))
        .unwrap_or(0);
    let obsolete = segments.drain(..base).map(|segment| segment.number).collect();
    let mut reading = Reading {
        disk,
        visit,
        summary: Summary { segments: segments.len() as u64, ..Summary::default() },
        expected: None,
        held: None,
        gaps: Vec::new(),
        last: None,
    };
    for segment in &mut segments {
        // What the last process wrote and did not sync is relied on from now on.
        segment.file.sync().map_err(StoreError::io("sync", segment::name(segment.number)))?;
        reading.read(segment)?;
    }
    reading.end();
    let Reading { summary, expected, last, .. } = reading;
    disk.sync_names().map_err(StoreError::io("sync", "the directory"))?;
    truncate_torn(&mut segments, &summary)?;
    Ok(Remains {
        segments: segments.iter().map(|segment| (segment.number, segment.length)).collect(),
        obsolete,
        next_segment,
        next_sequence: expected.unwrap_or(1),
        last,
        summary,
    })
}

/// Opens all segments, in order.
fn segments(disk: &mut dyn Disk, settings: &LogSettings) -> Result<Vec<Segment>, StoreError> {
    let names = disk.names().map_err(StoreError::io("list", "the directory"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in numbers {
        let name = segment::name(number);
        let file = disk.open(&name).map_err(StoreError::io("open", &name))?;
        let length = file.length().map_err(StoreError::io("read", &name))?;
        let mut header = None;
        if length >= SEGMENT_HEADER_BYTES as u64 {
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            file.read_at(&mut bytes, 0).map_err(StoreError::io("read", &name))?;
            header = SegmentHeader::decode(&bytes).filter(|header| header.number == number);
        }
        if let Some(header) = header {
            if header.format > FORMAT {
                let found = header.format;
                return Err(StoreError::NewerFormat { name, found, known: FORMAT });
            }
            if header.content != settings.content {
                let (found, wanted) = (header.content, settings.content);
                return Err(StoreError::OtherContent { name, found, wanted });
            }
        }
        segments.push(Segment { number, length, file, header });
    }
    Ok(segments)
}

/// Cuts a torn end off where it begins with a whole frame, so that it is told once.
fn truncate_torn(segments: &mut [Segment], summary: &Summary) -> Result<(), StoreError> {
    let Some(torn) = &summary.torn else { return Ok(()) };
    let Some(segment) = segments.iter_mut().find(|segment| segment.number == torn.segment) else {
        return Ok(());
    };
    let name = segment::name(segment.number);
    segment.file.truncate(torn.offset).map_err(StoreError::io("truncate", &name))?;
    segment.file.sync().map_err(StoreError::io("sync", &name))?;
    segment.length = torn.offset;
    Ok(())
}

struct Reading<'a, 'v> {
    disk: &'a mut dyn Disk,
    visit: &'a mut Visit<'v>,
    summary: Summary,
    /// The sequence number of the next frame.
    expected: Option<u64>,
    /// The last frame: the next one may be its repetition.
    held: Option<Frame>,
    /// What could not be read since.
    gaps: Vec<(Quarantined, Vec<u8>)>,
    last: Option<(Duration, Duration)>,
}

impl Reading<'_, '_> {
    fn read(&mut self, segment: &Segment) -> Result<(), StoreError> {
        let Segment { number, length, file, header } = segment;
        let start = match header {
            Some(header) => {
                self.expected.get_or_insert(header.first_sequence);
                SEGMENT_HEADER_BYTES as u64
            }
            None => 0,
        };
        let mut scanner = Scanner::new(&**file, *number, start, *length);
        let failed = |error| StoreError::io("read", segment::name(*number))(error);
        loop {
            match scanner.next().map_err(failed)? {
                Found::End => return Ok(()),
                Found::Frame(frame) => self.on_frame(frame),
                Found::Gap { offset, bytes } => {
                    let kept = usize::try_from(bytes.min(QUARANTINE_BYTES_MAX)).unwrap_or(0);
                    let mut content = vec![0; kept];
                    file.read_at(&mut content, offset).map_err(failed)?;
                    let reason = "there is no batch".to_owned();
                    let gap = Quarantined { segment: *number, offset, bytes, reason };
                    self.gaps.push((gap, content));
                }
            }
        }
    }

    fn on_frame(&mut self, frame: Frame) {
        let sequence = frame.header.sequence;
        let expected = self.expected.unwrap_or(sequence);
        let repeats = self.held.as_ref().is_some_and(|held| held.header.sequence == sequence);
        if !repeats {
            if sequence < expected {
                return;
            }
            self.deliver_held(false);
            if sequence > expected {
                self.summary.missing_batches += sequence - expected;
                for (gap, content) in std::mem::take(&mut self.gaps) {
                    self.quarantine(gap, &content);
                }
            }
        }
        // Whatever could not be read was written again.
        self.gaps.clear();
        self.expected = Some(sequence + 1);
        self.last = Some((frame.header.age, frame.header.wall));
        self.held = Some(frame);
    }

    fn end(&mut self) {
        self.deliver_held(true);
        // What is left was never synced.
        for (gap, _) in std::mem::take(&mut self.gaps) {
            self.tear(gap.segment, gap.offset, gap.bytes);
        }
    }

    fn tear(&mut self, segment: u64, offset: u64, bytes: u64) {
        match &mut self.summary.torn {
            Some(torn) => torn.bytes += bytes,
            None => self.summary.torn = Some(Torn { segment, offset, bytes }),
        }
    }

    /// Hands out the records of the frame that is held, if it is whole or not the last.
    fn deliver_held(&mut self, is_last: bool) {
        let Some(frame) = self.held.take() else { return };
        let expected = usize::try_from(frame.header.body_bytes).unwrap_or(usize::MAX);
        let is_damaged = |part: Part<'_>| matches!(part, Part::Damaged { .. });
        if is_last && parts(&frame.body, expected).any(is_damaged) {
            let bytes = (HEADER_BYTES + frame.body.len()) as u64;
            // All of it or nothing: what of it could be read was not promised either.
            self.expected = Some(frame.header.sequence);
            return self.tear(frame.segment, frame.offset, bytes);
        }
        for part in parts(&frame.body, expected) {
            let (at, content, reason) = match part {
                Part::Record { at, content } => {
                    let sequence = frame.header.sequence;
                    match (self.visit)(Recovered { sequence, bytes: content }) {
                        Ok(()) => {
                            self.summary.records += 1;
                            self.summary.bytes += content.len() as u64;
                            continue;
                        }
                        Err(reason) => (at, RECORD_HEADER_BYTES + content.len(), reason),
                    }
                }
                Part::Damaged { at, bytes, reason } => (at, bytes, reason.to_owned()),
            };
            let offset = frame.offset + (HEADER_BYTES + at) as u64;
            let (segment, bytes) = (frame.segment, content as u64);
            let found = Quarantined { segment, offset, bytes, reason };
            let content = frame.body.get(at..at + content).unwrap_or_default();
            self.quarantine(found, content);
        }
    }

    /// Sets damage aside. That it is kept is a favour: that it cannot be kept changes nothing.
    fn quarantine(&mut self, found: Quarantined, content: &[u8]) {
        let so_far: u64 = self.summary.quarantined.iter().map(|found| found.bytes).sum();
        if so_far + found.bytes <= QUARANTINE_BYTES_MAX {
            let name = format!("damaged-{:016x}-{}.bin", found.segment, found.offset);
            let _ = self.disk.create(&name).and_then(|mut file| {
                file.write_at(content, 0)?;
                file.sync()
            });
        }
        self.summary.quarantined.push(found);
    }
}
