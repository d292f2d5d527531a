//! One connection: moves bytes between a transport and the session, whoever waits for the
//! transport.

use std::io;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use noctule_client_core::{Status, TransportEnd};

use crate::course::Course;
use crate::shared::{Inner, earlier};
#[cfg(feature = "store")]
use crate::store::Journal;
#[cfg(not(feature = "store"))]
use crate::store_off::Journal;
use crate::tap::Tap;

/// How much is read at once, unless a packet is larger.
const READ_BYTES: usize = 64 * 1_024;
/// How much is taken out of the session at once to be written.
const WRITE_BYTES: usize = 64 * 1_024;
/// How often reading and writing go round before others get their turn.
const ROUNDS: usize = 16;

/// How long a transport may take to say farewell, as TLS and WebSocket do.
pub(crate) const GOODBYE: Duration = Duration::from_secs(1);

/// A transport that is read and written without waiting.
pub(crate) trait Line {
    /// Reads; 0 bytes are the end.
    fn poll_read(&mut self, bytes: &mut [u8]) -> Poll<io::Result<usize>>;

    /// Writes.
    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>>;

    /// Sends on what was written.
    fn poll_flush(&mut self) -> Poll<io::Result<()>>;
}

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct Connection {
    /// What was taken out of the session, and how much of it is written.
    writing: Vec<u8>,
    written: usize,
    /// How much of that the session knows.
    told: usize,
    /// The batch of the store that has to be durable before it is written, or 0.
    waits_for: u64,
    /// What the transport was given may wait in it.
    needs_flush: bool,
    /// What was read: `reading[..filled]` is not consumed.
    reading: Vec<u8>,
    filled: usize,
    /// What was not consumed is half a packet: it is nothing new until there is more.
    is_half: bool,
    /// Why the transport has failed.
    error: Option<io::Error>,
    /// What looks at the bytes as they pass, if somebody wants it.
    tap: Option<Box<Tap>>,
}

/// What a turn has come to.
#[derive(Debug)]
pub(crate) enum Turn {
    /// There may be more to do at once.
    Again,
    /// Nothing can be done before this time, before the transport is ready or before the waker is
    /// used.
    Rest(Option<Instant>),
    /// The connection has ended.
    Over(TransportEnd),
}

/// What a step has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Progress,
    Blocked,
}

impl Connection {
    pub(crate) fn new() -> Self {
        let (writing, reading) = (Vec::new(), vec![0; READ_BYTES]);
        Self {
            writing,
            written: 0,
            told: 0,
            waits_for: 0,
            needs_flush: false,
            reading,
            filled: 0,
            is_half: false,
            error: None,
            tap: None,
        }
    }

    /// With whatever looks at the bytes of a client's connection that begins.
    pub(crate) fn observed(mut self, course: &Course) -> Self {
        self.tap = Tap::of(course);
        self
    }

    /// Does what can be done without waiting.
    pub(crate) fn turn(
        &mut self,
        course: &mut Course,
        line: &mut impl Line,
        waker: &Waker,
    ) -> Turn {
        for _ in 0..ROUNDS {
            if course.note_session().is_lost {
                return Turn::Over(TransportEnd::Failed);
            }
            // What was read is stored together with what has come up meanwhile, so it comes first.
            let stored = match course.has_store {
                true => self.tell_and_read(course, line),
                false => Ok(Step::Blocked),
            };
            let written = match self.write(course, line) {
                Ok(step) => step,
                Err(error) => {
                    self.error = Some(error);
                    return Turn::Over(TransportEnd::Failed);
                }
            };
            if !self.writing.is_empty() {
                self.store_meanwhile(course);
            }
            if self.is_over(course) {
                return Turn::Over(TransportEnd::Closed);
            }
            let read = match course.has_store {
                true => stored,
                false => self.read(course, line),
            };
            let read = match read {
                Ok(step) => step,
                Err(end) => return Turn::Over(end),
            };
            if (written, read) == (Step::Blocked, Step::Blocked) {
                course.note_session();
                if let Some(rest) = self.rest(course, waker) {
                    return rest;
                }
            }
        }
        Turn::Again
    }

    /// Why the transport has failed, if it has: nothing more comes through it.
    pub(crate) fn finish(&mut self) -> Option<io::Error> {
        if let Some(tap) = self.tap.take() {
            tap.finish();
        }
        self.error.take()
    }

    /// Whether the session has said its last word, and it is written or never will be.
    fn is_over(&self, course: &Course) -> bool {
        let is_written = self.is_written();
        course.shared.with(|inner| {
            let session = inner.hub.session();
            is_written && session.wants_close() || session.discards_unwritten()
        })
    }

    /// Whether the transport has sent on all that it was to be given: if not, it takes no farewell
    /// either.
    pub(crate) const fn is_written(&self) -> bool {
        self.writing.is_empty() && !self.needs_flush
    }

    /// Writes what the session has for the server. Nothing is locked meanwhile.
    fn write(&mut self, course: &Course, line: &mut impl Line) -> io::Result<Step> {
        let written = self.write_out(course, line);
        // A connection that ends here has sent these, so the next one must not send them again.
        if self.written > self.told {
            self.tell_written(course);
        }
        if self.needs_flush && line.poll_flush()?.is_ready() {
            self.needs_flush = false;
        }
        written
    }

    fn write_out(&mut self, course: &Course, line: &mut impl Line) -> io::Result<Step> {
        let mut step = Step::Blocked;
        // A transport that takes everything must not keep what comes from being read.
        for _ in 0..ROUNDS {
            if self.writing.is_empty() && !self.refill(course) {
                break;
            }
            if self.waits_for > 0 && !self.may_write(course) {
                break;
            }
            let rest = self.writing.get(self.written..).unwrap_or_default();
            match line.poll_write(rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    (step, self.needs_flush) = (Step::Progress, true);
                    if let Some(tap) = &mut self.tap {
                        tap.sent(rest.get(..count).unwrap_or_default());
                    }
                    self.written += count;
                }
                Poll::Pending => break,
            }
            if self.written == self.writing.len() {
                self.tell_written(course);
                self.writing.clear();
                (self.written, self.told) = (0, 0);
            }
        }
        Ok(step)
    }

    fn tell_written(&mut self, course: &Course) {
        let (now, count) = (course.shared.now(), self.written - self.told);
        course.shared.with(|inner| {
            inner.hub.session_mut().written(now, count);
            inner.settle(now);
        });
        self.told = self.written;
    }

    /// Takes the next bytes out of the session. They are copied, so that writing them, with all
    /// that TLS does for it, keeps nobody waiting. Whether there are any.
    fn refill(&mut self, course: &Course) -> bool {
        let now = course.shared.now();
        course.shared.with(|inner| {
            if !inner.settle(now) {
                return;
            }
            self.waits_for = inner.journal.as_ref().map_or(0, Journal::batch);
            let outbound = inner.hub.session().outbound();
            let count = outbound.len().min(WRITE_BYTES);
            self.writing.extend_from_slice(outbound.get(..count).unwrap_or_default());
        });
        !self.writing.is_empty()
    }

    /// Tells what has become durable, and reads what the server has sent: with that it begins anew.
    fn tell_and_read(
        &mut self,
        course: &Course,
        line: &mut impl Line,
    ) -> Result<Step, TransportEnd> {
        let now = course.shared.now();
        course.shared.with(|inner| inner.tell(now));
        self.read(course, line)
    }

    /// The transport, or the store, is slower than what comes up: that is stored all the same.
    /// While bytes can be taken out it happens together with that, so that they need not wait for
    /// what comes after them.
    fn store_meanwhile(&self, course: &Course) {
        let now = course.shared.now();
        course.shared.with(|inner| {
            if inner.journal.is_some() {
                inner.settle(now);
            }
        });
    }

    /// Whether the store has what the bytes depend on that were taken out.
    fn may_write(&mut self, course: &Course) -> bool {
        let batch = self.waits_for;
        let is_kept = course
            .shared
            .with(|inner| inner.journal.as_ref().is_none_or(|journal| journal.is_kept(batch)));
        if is_kept {
            self.waits_for = 0;
        }
        is_kept
    }

    /// Reads what the server has sent, as long as the session takes it.
    fn read(&mut self, course: &Course, line: &mut impl Line) -> Result<Step, TransportEnd> {
        let takes = |inner: &mut Inner| inner.hub.session().wants_input() && !inner.is_keeping();
        if !course.shared.with(takes) {
            return Ok(Step::Blocked);
        }
        // What was left over may be taken now.
        if self.filled > 0 && !self.is_half && self.pass_on(course) {
            return Ok(Step::Progress);
        }
        if self.filled == self.reading.len() {
            self.reading.resize(2 * self.filled, 0);
        }
        match line.poll_read(self.reading.get_mut(self.filled..).unwrap_or_default()) {
            Poll::Ready(Ok(0)) => Err(TransportEnd::Closed),
            Poll::Ready(Ok(count)) => {
                if let Some(tap) = &mut self.tap {
                    let behind = self.reading.get(self.filled..).unwrap_or_default();
                    tap.received(behind.get(..count).unwrap_or_default());
                }
                self.filled += count;
                self.pass_on(course);
                Ok(Step::Progress)
            }
            Poll::Ready(Err(error)) => {
                self.error = Some(error);
                Err(TransportEnd::Failed)
            }
            Poll::Pending => Ok(Step::Blocked),
        }
    }

    /// Passes what was read to the session. Whether it took any of it.
    fn pass_on(&mut self, course: &Course) -> bool {
        let now = course.shared.now();
        let bytes = self.reading.get(..self.filled).unwrap_or_default();
        let (consumed, takes_more) = course.shared.with(|inner| {
            let consumed = inner.hub.session_mut().receive(now, bytes);
            let takes_more = inner.hub.session().wants_input();
            let is_online = inner.hub.session().status() == Status::Online;
            match &mut inner.journal {
                None => inner.hub.settle(now),
                // It is settled when there is something to write.
                Some(journal) if is_online => journal.on_heard(),
                Some(_) => {}
            }
            (consumed, takes_more)
        });
        self.reading.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        self.is_half = self.filled > 0 && takes_more;
        if self.filled == 0 && self.reading.len() > READ_BYTES {
            self.reading = vec![0; READ_BYTES];
        }
        consumed > 0
    }

    /// Nothing can be done: leaves the waker with the hub. `None` if something has come up
    /// meanwhile.
    fn rest(&self, course: &Course, waker: &Waker) -> Option<Turn> {
        let shared = &course.shared;
        let now = shared.now();
        shared.with(|inner| {
            let deadline = inner.hub.poll_timeout();
            if deadline.is_some_and(|deadline| deadline <= now) {
                inner.hub.on_timeout(now);
                inner.settle(now);
                return None;
            }
            // What the bytes wait for may have become durable since that was looked at.
            let batch = self.waits_for;
            if batch > 0 && inner.journal.as_ref().is_none_or(|journal| journal.is_kept(batch)) {
                return None;
            }
            let can_write = self.writing.is_empty();
            let has_work = inner.hub.session().has_events() || can_write && inner.hub.has_work();
            if has_work && !inner.is_keeping() {
                return None;
            }
            inner.park(waker);
            let ends_at = inner.end_due();
            let deadline = deadline.map(|deadline| shared.instant(deadline));
            Some(Turn::Rest(earlier(deadline, ends_at)))
        })
    }
}
