//! Writes several runs that follow each other anew as one, with what of them is still needed.
//!
//! It has its own handles of all files, so that whoever reads meanwhile does not wait for it.

use std::collections::BTreeMap;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::error::StoreError;
use crate::run::chunk::{Body, Message};
use crate::run::index::{Extent, Place};
use crate::run::new_run::NewRun;
use crate::run::reader::{Bits, Buffers, DamagedPart, Reading, Run};
use crate::run::set::RunSettings;

/// How far each run is read ahead.
const AHEAD_BYTES: u64 = 256 * 1_024;
/// How much a step reads, about.
const STEP_BYTES: u64 = 4 * 1_024 * 1_024;
/// How many runs are made one when there are too many. Each message is then written anew about as
/// often as 8 goes into the number of runs by division.
const WIDTH: usize = 8;

/// Which runs to merge, given the bytes of each that are alive and all its bytes.
pub(crate) fn choose(runs: &[(u64, u64)], settings: &RunSettings) -> Option<Range<usize>> {
    let is_sparse = |(alive, all): &(u64, u64)| {
        u128::from(*alive) * 100 < u128::from(*all) * u128::from(settings.alive_percent_min)
    };
    if let Some(start) = runs.iter().position(is_sparse) {
        let length = runs.iter().skip(start).take(WIDTH).take_while(|run| is_sparse(run)).count();
        return Some(start..start + length);
    }
    if runs.len() <= settings.runs_max.max(1) {
        return None;
    }
    let width = WIDTH.min(runs.len());
    let alive = |window: &[(u64, u64)]| window.iter().map(|run| run.0).sum::<u64>();
    let windows = runs.windows(width).enumerate();
    let (start, _) = windows.min_by_key(|(_, window)| alive(window))?;
    Some(start..start + width)
}

/// Several runs that become one, step by step and on any thread.
///
/// ```
/// # fn tend(runs: &mut noctule_store::Runs) -> Result<(), noctule_store::StoreError> {
/// while let Some(mut merge) = runs.begin_merge()? {
///     // Here others may use the runs.
///     let written = loop {
///         match merge.step() {
///             Ok(true) => {}
///             Ok(false) => break Ok(()),
///             Err(error) => break Err(error),
///         }
///     };
///     runs.end_merge(merge)?;
///     written?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Merge {
    run: NewRun,
    sources: Vec<Source>,
    marks: BTreeMap<u64, u64>,
    phase: Phase,
    damaged: Vec<DamagedPart>,
}

/// What is done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Which shared bodies of this source are needed is looked up.
    Counting(usize),
    /// They are copied.
    Bodies(usize),
    Messages,
    Done,
}

#[derive(Debug)]
struct Source {
    run: Arc<Run>,
    /// Which of its queues were done when it began.
    done: Bits,
    buffers: Buffers,
    place: Place,
    next: Option<Extent>,
    /// The shared bodies that are needed, by their place.
    shared: Vec<Shared>,
    /// From so many on references are added up.
    shared_max: usize,
    copied: usize,
}

#[derive(Clone, Copy, Debug)]
struct Shared {
    offset: u64,
    bytes: u32,
    references: u32,
    /// Where it is in the new run if it is shared there too, or [`UNREAD`].
    copy: u64,
}

/// A body that could not be read is at no place.
const UNREAD: u64 = u64::MAX;
/// How many references are kept at least before they are added up.
const REFERENCES: usize = 16 * 1_024;

impl Source {
    fn new(run: Arc<Run>) -> Self {
        let done = run.done.copy();
        let buffers = Buffers { ahead: AHEAD_BYTES, ..Buffers::default() };
        let place = Place::default();
        let (shared, shared_max) = (Vec::new(), REFERENCES);
        let mut source =
            Self { run, done, buffers, place, next: None, shared, shared_max, copied: 0 };
        source.advance();
        source
    }

    /// Goes on to the next queue that needs something.
    fn advance(&mut self) {
        self.next = loop {
            match self.run.index.next(&mut self.place) {
                Some(extent) if self.done.is_set(extent.part) => {}
                next => break next,
            }
        };
    }

    fn rewind(&mut self) {
        self.place = Place::default();
        self.advance();
    }

    /// Adds up references to the same body.
    fn count(&mut self) {
        self.shared.sort_unstable_by_key(|shared| shared.offset);
        self.shared.dedup_by(|next, first| {
            let is_same = next.offset == first.offset;
            if is_same {
                first.references += next.references;
            }
            is_same
        });
    }
}

impl Merge {
    pub(crate) fn new(run: NewRun, sources: Vec<Arc<Run>>, marks: BTreeMap<u64, u64>) -> Self {
        let sources = sources.into_iter().map(Source::new).collect();
        Self { run, sources, marks, phase: Phase::Counting(0), damaged: Vec::new() }
    }

    /// The new run, the numbers of the old ones, what could not be read, and whether it is done.
    pub(crate) fn into_parts(self) -> (NewRun, Vec<u64>, Vec<DamagedPart>, bool) {
        let numbers = self.sources.iter().map(|source| source.run.number).collect();
        (self.run, numbers, self.damaged, self.phase == Phase::Done)
    }

    /// How many messages the runs have that are merged, needed or not.
    pub fn messages(&self) -> u64 {
        self.sources.iter().map(|source| source.run.index.messages).sum()
    }

    /// Goes on for some megabytes. Whether there is more to do.
    ///
    /// # Errors
    ///
    /// If the system cannot read or write. Then it is given up, with
    /// [`Runs::end_merge`](crate::Runs::end_merge).
    pub fn step(&mut self) -> Result<bool, StoreError> {
        let mut read = 0;
        while read < STEP_BYTES && self.phase != Phase::Done {
            read += match self.phase {
                Phase::Counting(source) => self.count(source)?,
                Phase::Bodies(source) => self.copy_bodies(source)?,
                Phase::Messages => self.copy_messages()?,
                Phase::Done => 0,
            };
        }
        Ok(self.phase != Phase::Done)
    }

    /// Counts the references of a source's next queue to shared bodies.
    fn count(&mut self, at: usize) -> Result<u64, StoreError> {
        let Some(source) = self.sources.get_mut(at) else {
            self.phase = Phase::Bodies(0);
            return Ok(0);
        };
        let next = source.next.filter(|_| source.run.index.bodies > 0);
        let Some(extent) = next else {
            source.rewind();
            source.count();
            source.shared.shrink_to_fit();
            self.phase = Phase::Counting(at + 1);
            return Ok(0);
        };
        let mut unread = Vec::new();
        let Source { run, buffers, shared, .. } = source;
        let next = first_needed(&self.marks, extent.queue);
        let mut reading = reading(next, buffers, &mut unread);
        let _ = run.walk(&extent, &mut reading, &mut |message, _, _, _| {
            if let Body::Shared { offset, bytes } = message.body {
                shared.push(Shared { offset, bytes, references: 1, copy: UNREAD });
            }
            Ok(ControlFlow::Continue(()))
        })?;
        // Memory goes by bodies, not by references.
        if source.shared.len() >= source.shared_max {
            source.count();
            source.shared_max = REFERENCES.max(2 * source.shared.len());
        }
        source.advance();
        Ok(extent.bytes)
    }

    /// Copies a source's next shared body that several references need.
    fn copy_bodies(&mut self, at: usize) -> Result<u64, StoreError> {
        let Some(source) = self.sources.get_mut(at) else {
            self.phase = Phase::Messages;
            return Ok(0);
        };
        let Source { run, buffers, shared, copied, .. } = source;
        let Some(next) = shared.get_mut(*copied) else {
            self.phase = Phase::Bodies(at + 1);
            return Ok(0);
        };
        *copied += 1;
        if next.references > 1 {
            match run.body_ahead(&mut buffers.bodies, next.offset, next.bytes, AHEAD_BYTES)? {
                Ok(body) => next.copy = self.run.body(body)?,
                Err(damage) => self.damaged.push(damage),
            }
        }
        Ok(next.bytes.into())
    }

    /// Copies the messages of the next queue out of all sources that have some.
    fn copy_messages(&mut self) -> Result<u64, StoreError> {
        let Self { run: new, sources, marks, damaged, phase } = self;
        let nexts = sources.iter().filter_map(|source| source.next);
        let Some(queue) = nexts.map(|extent| extent.queue).min() else {
            new.finish()?;
            *phase = Phase::Done;
            return Ok(0);
        };
        let mut next = first_needed(marks, queue);
        let mut read = 0;
        for source in sources {
            let Some(extent) = source.next.filter(|extent| extent.queue == queue) else {
                continue;
            };
            let Source { run, buffers, shared, .. } = source;
            let mut reading = reading(next, buffers, damaged);
            let _ = run.walk(&extent, &mut reading, &mut |message, behind, window, damaged| {
                let body = match message.body {
                    Body::Own(_) => message.body,
                    Body::Shared { offset, bytes } => match find(shared, offset) {
                        // It is told already that it cannot be read.
                        Some(Shared { references: 2.., copy: UNREAD, .. }) => {
                            return Ok(ControlFlow::Continue(()));
                        }
                        Some(Shared { references: 2.., copy, .. }) => {
                            Body::Shared { offset: copy, bytes }
                        }
                        _ => match run.shared_body(window, offset, bytes, behind)? {
                            Ok(body) => Body::Own(body),
                            Err(damage) => {
                                damaged.push(damage);
                                return Ok(ControlFlow::Continue(()));
                            }
                        },
                    },
                };
                new.message(queue, &Message { body, ..*message })?;
                Ok(ControlFlow::Continue(()))
            })?;
            next = reading.next;
            buffers.shrink();
            read += extent.bytes;
            source.advance();
        }
        Ok(read)
    }
}

fn first_needed(marks: &BTreeMap<u64, u64>, queue: u64) -> u64 {
    marks.get(&queue).map_or(0, |mark| mark.saturating_add(1))
}

fn find(shared: &[Shared], offset: u64) -> Option<Shared> {
    let at = shared.binary_search_by_key(&offset, |shared| shared.offset).ok()?;
    shared.get(at).copied()
}

/// Everything of a queue from there on.
fn reading<'a>(
    next: u64,
    buffers: &'a mut Buffers,
    damaged: &'a mut Vec<DamagedPart>,
) -> Reading<'a> {
    Reading { next, messages: u64::MAX, bytes: u64::MAX, buffers, damaged }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: RunSettings = RunSettings { runs_max: 10, alive_percent_min: 25 };

    #[test]
    fn too_many_runs_are_merged_where_it_costs_least() {
        let runs = vec![(100, 100); 10];
        assert_eq!(choose(&runs, &SETTINGS), None);
        let mut runs = vec![(100, 100); 11];
        assert_eq!(choose(&runs, &SETTINGS), Some(0..8));
        runs[0].0 = 800;
        runs[0].1 = 800;
        assert_eq!(choose(&runs, &SETTINGS), Some(1..9));
        assert_eq!(choose(&[], &RunSettings { runs_max: 0, ..SETTINGS }), None);
        assert_eq!(choose(&[(1, 1)], &RunSettings { runs_max: 0, ..SETTINGS }), None);
        let three = [(1, 1); 3];
        assert_eq!(choose(&three, &RunSettings { runs_max: 2, ..SETTINGS }), Some(0..3));
    }

    #[test]
    fn a_run_that_is_hardly_needed_is_written_anew_with_its_like() {
        let mut runs = vec![(100, 100); 5];
        runs[2].0 = 25;
        assert_eq!(choose(&runs, &SETTINGS), None);
        runs[2].0 = 24;
        assert_eq!(choose(&runs, &SETTINGS), Some(2..3));
        runs[3].0 = 10;
        assert_eq!(choose(&runs, &SETTINGS), Some(2..4));
        runs[1].0 = u64::MAX / 2;
        runs[1].1 = u64::MAX;
        assert_eq!(choose(&runs, &SETTINGS), Some(2..4));
    }
}
