//! What is done with the files of a log so that its commits need not wait for it: the next segment
//! gets ready, and what nobody needs goes.
//!
//! A file that is to be used again gets the header of its next life under its old name, which does
//! not count any more, and is then renamed; a new one gets its room and its header under a name
//! that never counts. So a segment has its header as soon as it has its name, and its name is
//! durable before anything is written into it.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, JoinHandle};

use crate::disk::{DiskFile, write_zeros};
use crate::error::StoreError;
use crate::log::{Active, Log};
use crate::segment::{self, PREPARED_NAME, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::view::LogView;

const PART_BYTES: u64 = 1 << 20;

/// What is to be done.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) view: LogView,
    pub(crate) removals: Vec<u64>,
    pub(crate) preparation: Option<Preparation>,
}

/// What has come of it.
#[derive(Debug)]
pub(crate) struct Done {
    /// Could not be removed.
    pub(crate) left: Vec<u64>,
    pub(crate) prepared: Option<Result<Active, StoreError>>,
}

/// A segment that is to get ready.
#[derive(Debug)]
pub(crate) struct Preparation {
    pub(crate) header: SegmentHeader,
    pub(crate) bytes: u64,
    /// The segment whose file is used again.
    pub(crate) from: Option<u64>,
    /// Whether nothing waits for it.
    pub(crate) is_ahead: bool,
}

impl Upkeep {
    pub(crate) fn run(self) -> Done {
        let Self { view, mut removals, preparation } = self;
        let prepared = preparation.map(|preparation| {
            let prepared = preparation.run(&view);
            if prepared.is_err() {
                removals.extend(preparation.files());
            }
            prepared
        });
        removals.retain(|number| !remove(&view, *number));
        Done { left: removals, prepared }
    }
}

/// Removes the file of a segment. Whether it is gone.
pub(crate) fn remove(view: &LogView, number: u64) -> bool {
    let removed = view.disk().remove(&segment::name(number));
    removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

impl Preparation {
    /// When it has failed, nobody knows what its file is like, nor under which of these names.
    pub(crate) fn files(&self) -> impl Iterator<Item = u64> {
        self.from.into_iter().chain([self.header.number])
    }

    pub(crate) fn run(&self, view: &LogView) -> Result<Active, StoreError> {
        self.make(view).inspect_err(|_| {
            // Its room is wanted on a disk that is full.
            let _ = view.disk().remove(PREPARED_NAME);
        })
    }

    fn make(&self, view: &LogView) -> Result<Active, StoreError> {
        let name = segment::name(self.header.number);
        let (from, mut file) = match self.from {
            Some(from) => {
                let from = segment::name(from);
                let opened = view.disk().open(&from);
                let file = opened.map_err(StoreError::io("open", &from))?;
                (from, file)
            }
            None => {
                let created = view.disk().create(PREPARED_NAME);
                let file = created.map_err(StoreError::io("create", PREPARED_NAME))?;
                (PREPARED_NAME.to_owned(), file)
            }
        };
        if file.length().map_err(StoreError::io("read", &from))? > self.bytes {
            file.truncate(self.bytes).map_err(StoreError::io("truncate", &from))?;
        }
        if self.is_ahead {
            write_all(&mut *file, self.bytes).map_err(StoreError::io("write", &from))?;
        } else {
            file.allocate(self.bytes).map_err(StoreError::io("allocate", &from))?;
        }
        file.write_at(&self.header.encode(), 0).map_err(StoreError::io("write", &from))?;
        file.sync().map_err(StoreError::io("sync", &from))?;
        view.disk().rename(&from, &name).map_err(StoreError::io("rename", &from))?;
        view.disk().sync_names().map_err(StoreError::io("sync", "the directory"))?;
        let (number, life) = (self.header.number, self.header.life);
        Ok(Active { number, life, length: SEGMENT_HEADER_BYTES as u64, is_new: true, file })
    }
}

/// Writes all of a file that is new: room that is only taken has to be noted as used, synced, with
/// each commit. No commit is to wait for more than a part of it to be synced.
fn write_all(file: &mut dyn DiskFile, bytes: u64) -> io::Result<()> {
    let mut length = file.length()?;
    while length < bytes {
        length = bytes.min(length + PART_BYTES);
        write_zeros(file, length)?;
        file.sync()?;
    }
    Ok(())
}

/// A thread that does it.
#[derive(Debug)]
pub(crate) struct Helper {
    jobs: Sender<Upkeep>,
    done: Receiver<Done>,
    is_busy: bool,
    is_preparing: bool,
    thread: JoinHandle<()>,
}

impl Helper {
    pub(crate) fn start() -> io::Result<Self> {
        let (jobs, upkeeps) = channel::<Upkeep>();
        let (results, done) = channel();
        let thread = Builder::new().name("noctule-segment".into()).spawn(move || {
            for upkeep in upkeeps {
                if results.send(upkeep.run()).is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { jobs, done, is_busy: false, is_preparing: false, thread })
    }

    /// Gives the log what is done, and takes what is to be done next.
    pub(crate) fn serve(&mut self, log: &mut Log) {
        if self.is_busy {
            self.collect(log, false);
        }
        if let Some(upkeep) = if self.is_busy { None } else { log.upkeep() } {
            self.is_preparing = upkeep.preparation.is_some();
            self.is_busy = self.jobs.send(upkeep).is_ok();
        }
    }

    /// Gives the log the next segment, if it is getting ready.
    pub(crate) fn hand_over(&mut self, log: &mut Log) {
        if self.is_busy {
            self.collect(log, self.is_preparing);
        }
    }

    pub(crate) fn stop(mut self, log: &mut Log) {
        if self.is_busy {
            self.collect(log, true);
        }
        drop(self.jobs);
        let _ = self.thread.join();
    }

    fn collect(&mut self, log: &mut Log, must_wait: bool) {
        let done = if must_wait { self.done.recv().ok() } else { self.done.try_recv().ok() };
        if let Some(done) = done {
            (self.is_busy, self.is_preparing) = (false, false);
            log.take_over(done);
        }
    }
}
