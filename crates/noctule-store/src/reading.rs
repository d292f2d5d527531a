//! Puts the frames of segments together again: tells a torn end from damage, and hands out every
//! record once.
//!
//! One write is outstanding at a time, and a failed one is repeated under its sequence number. So
//! what cannot be read is nothing that was promised if it is at the very end, or if the sequence
//! goes on behind it without a hole; everything else is damage.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::time::Duration;

use crate::disk::{Disk, DiskFile};
use crate::error::StoreError;
use crate::frame::{HEADER_BYTES, Home, Part, RECORD_HEADER_BYTES, parts};
use crate::recovery::Recovered;
use crate::scan::{Found, Frame, Scanner};
use crate::segment::{self, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::summary::{Quarantined, Summary, Torn};
use crate::view::LogView;

/// How much damage is set aside in files of its own.
const QUARANTINE_BYTES_MAX: u64 = 16 * 1_024 * 1_024;

pub(crate) type Visit<'v> = dyn FnMut(Recovered<'_>) -> Result<(), String> + 'v;

/// The file of a segment.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) length: u64,
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) header: Option<SegmentHeader>,
}

impl Segment {
    pub(crate) fn open(disk: &mut dyn Disk, number: u64) -> Result<Self, StoreError> {
        let name = segment::name(number);
        let file = disk.open(&name).map_err(StoreError::io("open", &name))?;
        let length = file.length().map_err(StoreError::io("read", &name))?;
        let mut header = None;
        if length >= SEGMENT_HEADER_BYTES as u64 {
            let mut bytes = [0; SEGMENT_HEADER_BYTES];
            file.read_at(&mut bytes, 0).map_err(StoreError::io("read", &name))?;
            header = SegmentHeader::decode(&bytes);
        }
        Ok(Self { number, length, file, header })
    }

    /// Its header, if it can be read and is not that of another.
    pub(crate) fn own_header(&self) -> Option<SegmentHeader> {
        self.header.filter(|header| header.number == self.number)
    }

    /// Whether its file was about to become another segment: it is free.
    pub(crate) fn is_void(&self) -> bool {
        self.header.is_some_and(|header| header.life != 0 && header.number != self.number)
    }

    /// Reads what is in it, up to this place.
    pub(crate) fn scanner(&self, end: u64) -> Scanner<'_> {
        let header = self.own_header();
        let home = Home { segment: self.number, life: header.map(|header| header.life) };
        let start = if header.is_some() { SEGMENT_HEADER_BYTES as u64 } else { 0 };
        Scanner::new(&*self.file, home, start, end)
    }

    pub(crate) fn failed_to_read(&self) -> impl Fn(io::Error) -> StoreError {
        let number = self.number;
        move |error| StoreError::io("read", segment::name(number))(error)
    }
}

/// Bytes that are no frame, and how many of them a last write has begun.
struct Gap {
    found: Quarantined,
    begun_bytes: u64,
}

pub(crate) struct Reading<'a, 'v> {
    view: &'a LogView,
    visit: &'a mut Visit<'v>,
    pub(crate) summary: Summary,
    /// The sequence number of the next frame.
    pub(crate) expected: Option<u64>,
    /// The last frame: the next one may be its repetition.
    held: Option<Frame>,
    /// What could not be read since.
    gaps: Vec<Gap>,
    /// Age and wall clock of the last frame.
    pub(crate) last: Option<(Duration, Duration)>,
    /// How far what was handed out reaches in each segment.
    pub(crate) ends: BTreeMap<u64, u64>,
}

impl<'a, 'v> Reading<'a, 'v> {
    pub(crate) fn new(view: &'a LogView, visit: &'a mut Visit<'v>) -> Self {
        Self {
            view,
            visit,
            summary: Summary::default(),
            expected: None,
            held: None,
            gaps: Vec::new(),
            last: None,
            ends: BTreeMap::new(),
        }
    }

    /// Reads the next segment, up to this place.
    pub(crate) fn read(&mut self, segment: &Segment, end: u64) -> Result<(), StoreError> {
        self.summary.segments += 1;
        let header = segment.own_header().filter(|header| !header.is_prepared());
        if let Some(header) = header {
            self.expected.get_or_insert(header.first_sequence);
        }
        let mut scanner = segment.scanner(end);
        loop {
            match scanner.next().map_err(segment.failed_to_read())? {
                Found::End => return Ok(()),
                Found::Frame(frame) => self.on_frame(frame),
                Found::Gap { offset, bytes, mut begun_bytes } => {
                    // The header of a segment is written with its first frame.
                    if begun_bytes == 0 && header.is_some() && offset == SEGMENT_HEADER_BYTES as u64
                    {
                        begun_bytes = bytes;
                    }
                    let (segment, reason) = (segment.number, "there is no batch".to_owned());
                    let found = Quarantined { segment, offset, bytes, reason };
                    self.gaps.push(Gap { found, begun_bytes });
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
                self.quarantine_gaps();
            }
        }
        // Whatever could not be read was written again.
        self.gaps.clear();
        self.expected = Some(sequence + 1);
        self.last = Some((frame.header.age, frame.header.wall));
        self.held = Some(frame);
    }

    /// The end of the log.
    pub(crate) fn end(&mut self) {
        self.deliver_held(true);
        // What is left was never synced.
        for Gap { found, begun_bytes } in mem::take(&mut self.gaps) {
            self.tear(found.segment, found.offset, begun_bytes);
        }
    }

    /// The end of a segment of which all is promised.
    pub(crate) fn end_of_sealed(mut self) -> Summary {
        self.deliver_held(false);
        self.quarantine_gaps();
        self.summary
    }

    fn tear(&mut self, segment: u64, offset: u64, bytes: u64) {
        match &mut self.summary.torn {
            _ if bytes == 0 => {}
            Some(torn) => torn.bytes += bytes,
            None => self.summary.torn = Some(Torn { segment, offset, bytes }),
        }
    }

    /// Hands out the records of the frame that is held, if it is whole or not the last.
    fn deliver_held(&mut self, is_last: bool) {
        let Some(frame) = self.held.take() else { return };
        let expected = usize::try_from(frame.header.body_bytes).unwrap_or(usize::MAX);
        let bytes = (HEADER_BYTES + frame.body.len()) as u64;
        let is_damaged = |part: Part<'_>| matches!(part, Part::Damaged { .. });
        if is_last && parts(&frame.body, expected, frame.header.mask).any(is_damaged) {
            // All of it or nothing: what of it could be read was not promised either.
            self.expected = Some(frame.header.sequence);
            return self.tear(frame.segment, frame.offset, bytes);
        }
        self.ends.insert(frame.segment, frame.offset + bytes);
        for part in parts(&frame.body, expected, frame.header.mask) {
            let start = frame.offset + HEADER_BYTES as u64;
            let (at, content, reason) = match part {
                Part::Record { at, content } => {
                    let (segment, sequence) = (frame.segment, frame.header.sequence);
                    let offset = start + (at + RECORD_HEADER_BYTES) as u64;
                    let record = Recovered { segment, sequence, offset, bytes: content };
                    match (self.visit)(record) {
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
            let (segment, offset, bytes) = (frame.segment, start + at as u64, content as u64);
            let content = frame.body.get(at..at + content).unwrap_or_default();
            self.quarantine(Quarantined { segment, offset, bytes, reason }, |_| {
                Ok(content.to_vec())
            });
        }
    }

    fn quarantine_gaps(&mut self) {
        for Gap { found, .. } in mem::take(&mut self.gaps) {
            let (name, offset, bytes) = (segment::name(found.segment), found.offset, found.bytes);
            self.quarantine(found, |disk| {
                let mut content = vec![0; usize::try_from(bytes).unwrap_or(0)];
                disk.open(&name)?.read_at(&mut content, offset)?;
                Ok(content)
            });
        }
    }

    /// Sets damage aside. That it is kept is a favour: that it cannot be kept changes nothing.
    fn quarantine(
        &mut self,
        found: Quarantined,
        content: impl FnOnce(&mut dyn Disk) -> io::Result<Vec<u8>>,
    ) {
        let so_far: u64 = self.summary.quarantined.iter().map(|found| found.bytes).sum();
        if so_far + found.bytes <= QUARANTINE_BYTES_MAX {
            let name = format!("damaged-{:016x}-{}.bin", found.segment, found.offset);
            let mut disk = self.view.disk();
            let _ = content(&mut **disk).and_then(|content| {
                let mut file = disk.create(&name)?;
                file.write_at(&content, 0)?;
                file.sync()
            });
        }
        self.summary.quarantined.push(found);
    }
}
