//! Opens what another process has left: finds the segments that count, and those whose files can be
//! used again.

use std::time::Duration;

use crate::error::StoreError;
use crate::frame::FrameHeader;
use crate::log::LogSettings;
use crate::reading::{Reading, Segment, Visit};
use crate::scan::Found;
use crate::segment::{self, FORMAT, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::summary::Summary;
use crate::view::LogView;

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
    /// The number of its segment.
    pub segment: u64,
    /// The sequence number of its batch.
    pub sequence: u64,
    /// Where in its segment its content begins.
    pub offset: u64,
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
    /// The segments whose files can be used again, in order.
    pub(crate) free: Vec<u64>,
    /// The last segment with a frame. It may be trimmed, and tells how old the store is all the
    /// same.
    pub(crate) newest: u64,
    pub(crate) next_segment: u64,
    pub(crate) next_sequence: u64,
    /// Age and wall clock of the last frame.
    pub(crate) last: Option<(Duration, Duration)>,
    pub(crate) summary: Summary,
}

/// Reads everything that counts: nothing of segments before `first` does.
pub(crate) fn recover(
    view: &LogView,
    settings: &LogSettings,
    first: u64,
    visit: &mut Visit<'_>,
) -> Result<Remains, StoreError> {
    let all = segments(view, settings)?;
    let next_segment = all.last().map_or(1, |last| last.number + 1).max(first);
    let (void, counting): (Vec<_>, Vec<_>) = all.into_iter().partition(Segment::is_void);
    let (older, mut segments): (Vec<_>, Vec<_>) =
        counting.into_iter().partition(|segment| segment.number < first);
    let base = segments
        .iter()
        .rposition(|segment| segment.own_header().is_some_and(|header| header.begins_anew))
        .unwrap_or(0);
    let obsolete = segments.drain(..base).map(|segment| segment.number).collect();
    let mut reading = Reading::new(view, visit);
    for segment in &mut segments {
        // What the last process wrote and did not sync is relied on from now on.
        segment.file.sync().map_err(StoreError::io("sync", segment::name(segment.number)))?;
        reading.read(segment, segment.length)?;
    }
    reading.end();
    let Reading { summary, mut expected, mut last, ends, .. } = reading;
    view.disk().sync_names().map_err(StoreError::io("sync", "the directory"))?;
    truncate_torn(&mut segments, &summary)?;

    let mut newest = ends.last_key_value().map_or(0, |(number, _)| *number);
    if ends.is_empty() {
        // All was trimmed, and the store is not younger for it.
        if let Some((number, header)) = last_frame(&older)? {
            newest = number;
            expected.get_or_insert(header.sequence + 1);
            last.get_or_insert((header.age, header.wall));
        }
    }
    let mut free: Vec<u64> = void.iter().chain(&older).map(|segment| segment.number).collect();
    let unused = segments.extract_if(.., |segment| {
        segment.own_header().is_some_and(|header| header.is_prepared())
            && !ends.contains_key(&segment.number)
    });
    free.extend(unused.map(|segment| segment.number));
    free.retain(|number| *number != newest);
    free.sort_unstable();
    let segments = segments.iter().map(|segment| {
        // Behind what was committed, a file that is used again has nothing of this life.
        let end = ends.get(&segment.number).copied().unwrap_or(SEGMENT_HEADER_BYTES as u64);
        // One whose header was torn is cut off to nothing.
        let end = if settings.uses_again() { end.min(segment.length) } else { segment.length };
        (segment.number, end)
    });
    Ok(Remains {
        segments: segments.collect(),
        obsolete,
        free,
        newest,
        next_segment,
        next_sequence: expected.unwrap_or(1),
        last,
        summary,
    })
}

/// Opens all segments, in order.
fn segments(view: &LogView, settings: &LogSettings) -> Result<Vec<Segment>, StoreError> {
    let mut disk = view.disk();
    let names = disk.names().map_err(StoreError::io("list", "the directory"))?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| segment::number(name)).collect();
    numbers.sort_unstable();
    let mut segments = Vec::new();
    for number in numbers {
        let (segment, name) = (Segment::open(&mut **disk, number)?, segment::name(number));
        if let Some(SegmentHeader { format, content, .. }) = segment.own_header() {
            if format > FORMAT {
                return Err(StoreError::NewerFormat { name, found: format, known: FORMAT });
            }
            if content != settings.content {
                let (found, wanted) = (content, settings.content);
                return Err(StoreError::OtherContent { name, found, wanted });
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// The last frame of these segments, and in which it is.
fn last_frame(segments: &[Segment]) -> Result<Option<(u64, FrameHeader)>, StoreError> {
    for segment in segments.iter().rev() {
        let (mut scanner, mut last) = (segment.scanner(segment.length), None);
        loop {
            match scanner.next().map_err(segment.failed_to_read())? {
                Found::End => break,
                Found::Frame(frame) => last = Some((segment.number, frame.header)),
                Found::Gap { .. } => {}
            }
        }
        if last.is_some() {
            return Ok(last);
        }
    }
    Ok(None)
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
