//! One connection: moves bytes between the transport and the session until either ends.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use noctule_client_core::TransportEnd;
use noctule_transport::BoxedStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::alarm::Alarm;
use crate::driver::earlier;
use crate::shared::Shared;

/// How much is read at once, unless a packet is larger.
const READ_BYTES: usize = 64 * 1_024;
/// How much is taken out of the session at once to be written.
const WRITE_BYTES: usize = 64 * 1_024;
/// How often reading and writing go round before other tasks get their turn.
const ROUNDS: usize = 16;

/// One connection of a client.
pub(crate) struct Connection<'a> {
    shared: &'a Arc<Shared>,
    stream: BoxedStream,
    /// What was taken out of the session, and how much of it is written.
    writing: Vec<u8>,
    written: usize,
    /// What the stream was given may wait in it.
    needs_flush: bool,
    /// What was read: `reading[..filled]` is not consumed.
    reading: Vec<u8>,
    filled: usize,
    alarm: Alarm,
}

/// What a step has come to.
enum Step {
    /// Something was done; there may be more.
    Progress,
    /// Nothing can be done now.
    Blocked,
}

impl<'a> Connection<'a> {
    pub(crate) fn new(shared: &'a Arc<Shared>, stream: BoxedStream) -> Self {
        Self {
            shared,
            stream,
            writing: Vec::new(),
            written: 0,
            needs_flush: false,
            reading: vec![0; READ_BYTES],
            filled: 0,
            alarm: Alarm::default(),
        }
    }

    /// Serves the connection until it ends; how the transport did.
    pub(crate) async fn serve(mut self, mut on_turn: impl FnMut()) -> TransportEnd {
        let end = poll_fn(|context| {
            on_turn();
            let polled = self.poll(context);
            // CONNACK may have come.
            on_turn();
            polled
        })
        .await;
        // Whatever it says, nobody is there to hear it.
        let _ = poll_fn(|context| Pin::new(&mut self.stream).poll_shutdown(context)).await;
        end
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<TransportEnd> {
        for _ in 0..ROUNDS {
            let is_written = match self.write(context) {
                Ok(step) => step,
                Err(_) => return Poll::Ready(TransportEnd::Failed),
            };
            if self.is_over() {
                return Poll::Ready(TransportEnd::Closed);
            }
            let is_read = match self.read(context) {
                Ok(step) => step,
                Err(Some(_)) => return Poll::Ready(TransportEnd::Failed),
                Err(None) => return Poll::Ready(TransportEnd::Closed),
            };
            if matches!((is_written, is_read), (Step::Blocked, Step::Blocked))
                && !self.rest(context)
            {
                return Poll::Pending;
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether the session has said its last word, and it is written.
    fn is_over(&self) -> bool {
        self.writing.is_empty()
            && !self.needs_flush
            && self.shared.with(|inner| inner.hub.session().wants_close())
    }

    /// Writes what the session has for the server. The hub is not locked meanwhile.
    fn write(&mut self, context: &mut Context<'_>) -> io::Result<Step> {
        let mut step = Step::Blocked;
        loop {
            if self.writing.is_empty() && !self.refill() {
                break;
            }
            let stream = Pin::new(&mut self.stream);
            let rest = self.writing.get(self.written..).unwrap_or_default();
            match stream.poll_write(context, rest)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(count) => {
                    (step, self.needs_flush) = (Step::Progress, true);
                    self.written += count;
                }
                Poll::Pending => break,
            }
            if self.written == self.writing.len() {
                let (now, count) = (self.shared.now(), self.written);
                self.shared.with(|inner| {
                    inner.hub.session_mut().written(now, count);
                    inner.hub.settle(now);
                });
                self.writing.clear();
                self.written = 0;
            }
        }
        if self.needs_flush && Pin::new(&mut self.stream).poll_flush(context)?.is_ready() {
            self.needs_flush = false;
        }
        Ok(step)
    }

    /// Takes the next bytes out of the session. They are copied, so that writing them, with all
    /// that TLS does for it, keeps nobody waiting. Whether there are any.
    fn refill(&mut self) -> bool {
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.hub.settle(now);
            let outbound = inner.hub.session().outbound();
            let count = outbound.len().min(WRITE_BYTES);
            self.writing.extend_from_slice(outbound.get(..count).unwrap_or_default());
        });
        !self.writing.is_empty()
    }

    /// Reads what the server has sent, as long as the session takes it. `Err(None)` is its end.
    fn read(&mut self, context: &mut Context<'_>) -> Result<Step, Option<io::Error>> {
        if !self.shared.with(|inner| inner.hub.session().wants_input()) {
            return Ok(Step::Blocked);
        }
        // What was left over may be taken now.
        let before = self.filled;
        if before > 0 && self.pass_on() {
            return Ok(Step::Progress);
        }
        if self.filled == self.reading.len() {
            self.reading.resize(2 * self.filled, 0);
        }
        let mut buffer = ReadBuf::new(self.reading.get_mut(self.filled..).unwrap_or_default());
        match Pin::new(&mut self.stream).poll_read(context, &mut buffer) {
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(None),
            Poll::Ready(Ok(())) => {
                self.filled += buffer.filled().len();
                self.pass_on();
                Ok(Step::Progress)
            }
            Poll::Ready(Err(error)) => Err(Some(error)),
            Poll::Pending => Ok(Step::Blocked),
        }
    }

    /// Passes what was read to the session. Whether it took any of it.
    fn pass_on(&mut self) -> bool {
        let now = self.shared.now();
        let bytes = self.reading.get(..self.filled).unwrap_or_default();
        let consumed = self.shared.with(|inner| {
            let consumed = inner.hub.session_mut().receive(now, bytes);
            inner.hub.settle(now);
            consumed
        });
        self.reading.copy_within(consumed..self.filled, 0);
        self.filled -= consumed;
        if self.filled == 0 && self.reading.len() > READ_BYTES {
            self.reading = vec![0; READ_BYTES];
        }
        consumed > 0
    }

    /// Nothing can be done: leaves the waker with the hub and sets the alarm. Whether something has
    /// come up meanwhile.
    fn rest(&mut self, context: &mut Context<'_>) -> bool {
        let now = self.shared.now();
        let can_write = self.writing.is_empty();
        let (has_work, deadline) = self.shared.with(|inner| {
            let deadline = inner.hub.session().poll_timeout();
            if deadline.is_some_and(|deadline| deadline <= now) {
                inner.hub.session_mut().on_timeout(now);
                inner.hub.settle(now);
                return (true, None);
            }
            let has_work = inner.hub.session().has_events() || can_write && inner.hub.has_work();
            if !has_work {
                inner.hub.park(context.waker());
            }
            let ends_at = inner.ends_at.filter(|_| inner.unfinished.is_none());
            (has_work, earlier(deadline.map(|at| self.shared.instant(at)), ends_at))
        });
        if has_work {
            return true;
        }
        self.alarm.set(deadline);
        Pin::new(&mut self.alarm).poll(context).is_ready()
    }
}
