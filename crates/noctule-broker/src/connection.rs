//! Both ends of a client's socket: the loop that reads, the loop that writes what did not fit at
//! once, and the polite end. One task does it all, as small as it can be, for most are idle.

use std::future::{Future, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use noctule_broker_core::{ConnectionId, Consumed, Input, ListenerId, Peer, Reading};
use tokio::io::ReadBuf;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::flush::Mark;
use crate::shard::{Connection, ShardDriver, SharedDriver};
use crate::stream::Stream;
use crate::task::spawn;

/// What one connection may read in a turn.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024;

/// A rest of up to this size is put in front of what is read; a larger one grows on its own.
pub(crate) const READ_AHEAD_BYTES: usize = 16 * 1024;

/// How long a connection that ends may take to accept its last bytes.
const FLUSH_DEADLINE: Duration = Duration::from_secs(1);

/// How long, and how much, is read from a peer that was told that the connection is over. Closing
/// earlier would make the peer's system throw away what it was told.
const DISCARD_DEADLINE: Duration = Duration::from_secs(1);
const DISCARD_BYTES_MAX: usize = 64 * 1024;

/// A client's socket and what is known about it.
#[derive(Debug)]
pub(crate) struct Socket {
    pub(crate) stream: Stream,
    pub(crate) peer: Peer,
    pub(crate) listener: ListenerId,
    /// What was read and not consumed: part of a packet, or packets that wait.
    pub(crate) rest: Vec<u8>,
    next: Next,
    writing: Writing,
    /// On which of the driver's lists of connections to write to.
    pub(crate) mark: Mark,
    /// The shard has finished with it.
    is_closing: bool,
    /// [`Effect::Resume`](noctule_broker_core::Effect::Resume) has come since the last input.
    is_resumed: bool,
    /// The task that serves it.
    task: Option<Waker>,
}

/// What the task does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Let everybody else read, then continue.
    LookAround,
    Read,
    Continue,
    AwaitResume,
}

/// How writing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Writing {
    /// Nothing waits for the socket.
    Ready,
    /// The task waits until the socket takes more.
    Blocked,
    /// The socket takes nothing any more; what the peer had sent before is still to be read.
    Failed,
    /// And what had come in by then has been announced.
    FailedAndSettled,
}

/// What became of one turn of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Again,
    Yield,
    Close,
    Lost,
}

impl Socket {
    pub(crate) fn new(stream: Stream, peer: Peer, listener: ListenerId) -> Self {
        Self {
            stream,
            peer,
            listener,
            rest: Vec::new(),
            next: Next::Read,
            writing: Writing::Ready,
            mark: Mark::Clean,
            is_closing: false,
            is_resumed: false,
            task: None,
        }
    }

    pub(crate) fn may_write(&self) -> bool {
        self.writing == Writing::Ready
    }

    pub(crate) fn resume(&mut self) {
        self.is_resumed = true;
        if self.next == Next::AwaitResume {
            self.next = Next::Continue;
            self.wake_task();
        }
    }

    pub(crate) fn start_closing(&mut self) {
        self.is_closing = true;
        self.wake_task();
    }

    /// Lets the task see what has changed, or that the connection is gone.
    pub(crate) fn wake_task(&self) {
        if let Some(task) = &self.task {
            task.wake_by_ref();
        }
    }

    /// Leaves the rest, or the failure, to the task.
    fn stop_writing(&mut self, writing: Writing) {
        self.writing = writing;
        self.wake_task();
    }

    /// Keeps what was not consumed and decides what comes next.
    fn settle(&mut self, consumed: Consumed, mut bytes: Rest<'_>) {
        bytes.keep(consumed.bytes, &mut self.rest);
        self.next = match consumed.reading {
            Reading::Drained => Next::Read,
            Reading::Budget => Next::Continue,
            Reading::Paused if self.is_resumed => Next::Continue,
            Reading::Paused | Reading::Moved(_) => Next::AwaitResume,
        };
    }
}

/// Bytes that were passed to the shard, in the read buffer or in the connection's own.
enum Rest<'a> {
    Borrowed(&'a [u8]),
    Owned(Vec<u8>),
}

impl Rest<'_> {
    fn keep(&mut self, consumed: usize, rest: &mut Vec<u8>) {
        match self {
            Self::Borrowed(bytes) => {
                let left = bytes.get(consumed..).unwrap_or_default();
                if left.is_empty() {
                    *rest = Vec::new();
                } else {
                    rest.clear();
                    rest.extend_from_slice(left);
                }
            }
            Self::Owned(bytes) => {
                let left = bytes.get(consumed..).unwrap_or_default();
                // What is left of a large packet's buffer should not keep its memory.
                if left.len() < bytes.capacity() / 4 {
                    *rest = left.to_vec();
                } else {
                    bytes.drain(..consumed);
                    *rest = mem::take(bytes);
                }
            }
        }
    }
}

fn remember(task: &mut Option<Waker>, context: &Context<'_>) {
    match task {
        Some(waker) => waker.clone_from(context.waker()),
        None => *task = Some(context.waker().clone()),
    }
}

/// The life of a connection. Not an async function, whose state would take twice the room.
struct Serve {
    driver: SharedDriver,
    id: ConnectionId,
}

impl Future for Serve {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let turn = ready!(self.driver.borrow_mut().read_loop(self.id, context));
        match turn {
            // Its first poll puts this task behind all others, which is all that is wanted of it.
            Turn::Again | Turn::Yield => pin!(yield_now()).poll(context),
            Turn::Close => {
                let end = close_politely(Rc::clone(&self.driver), self.id);
                spawn(self.driver.borrow().failure(), end);
                Poll::Ready(())
            }
            Turn::Lost => {
                self.driver.borrow_mut().close(self.id);
                Poll::Ready(())
            }
        }
    }
}

/// Writes the last bytes, says that no more will come, and gives the peer time to read them.
async fn close_politely(driver: SharedDriver, id: ConnectionId) {
    let flushed = poll_fn(|context| driver.borrow_mut().poll_flushed(id, context));
    if timeout(FLUSH_DEADLINE, flushed).await == Ok(true) {
        // Whoever goes on sending has had its time.
        let _ = timeout(DISCARD_DEADLINE, discard(&driver, id)).await;
    }
    driver.borrow_mut().close(id);
}

/// Says that no more will come, and reads what does.
async fn discard(driver: &SharedDriver, id: ConnectionId) {
    let mut left = DISCARD_BYTES_MAX;
    poll_fn(|context| driver.borrow_mut().poll_shutdown(id, context)).await;
    while left > 0 {
        match poll_fn(|context| driver.borrow_mut().poll_discard(id, context)).await {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
}

impl ShardDriver {
    fn socket(&mut self, id: ConnectionId) -> Option<&mut Socket> {
        match self.connections.find(id)? {
            Connection::Socket(socket) => Some(socket),
            Connection::Host(_) => None,
        }
    }

    /// Starts the task of a connection.
    pub(crate) fn serve(&mut self, id: ConnectionId) {
        if let Some(driver) = self.this.upgrade() {
            spawn(self.failure(), Serve { driver, id });
        }
    }

    /// Writes what waits and reads, passes on, and stops for a while when the shard says so; until
    /// either side is done.
    fn read_loop(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Poll<Turn> {
        loop {
            match ready!(self.poll_turn(id, context)) {
                Turn::Again => {}
                turn => return Poll::Ready(turn),
            }
        }
    }

    fn poll_turn(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Poll<Turn> {
        let Some(socket) = self.socket(id) else { return Poll::Ready(Turn::Lost) };
        remember(&mut socket.task, context);
        if socket.writing == Writing::Blocked {
            let _ = self.write_loop(id, context);
        }
        let Some(Connection::Socket(socket)) = self.connections.find(id) else {
            return Poll::Ready(Turn::Lost);
        };
        if socket.is_closing {
            return Poll::Ready(Turn::Close);
        }
        if socket.writing == Writing::Failed {
            socket.writing = Writing::FailedAndSettled;
            return Poll::Ready(Turn::Yield);
        }
        match socket.next {
            Next::Read => {}
            Next::LookAround => {
                socket.next = Next::Continue;
                return Poll::Ready(Turn::Yield);
            }
            Next::Continue => return Poll::Ready(self.go_on(id)),
            Next::AwaitResume => return Poll::Pending,
        }
        let Some((_, window)) = self.read_buffer.split_at_mut_checked(READ_AHEAD_BYTES) else {
            return Poll::Ready(Turn::Lost);
        };
        let mut window = ReadBuf::new(window);
        match socket.stream.poll_read(context, &mut window) {
            Poll::Pending if socket.writing == Writing::FailedAndSettled => Poll::Ready(Turn::Lost),
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if !window.filled().is_empty() => {
                let count = window.filled().len();
                Poll::Ready(self.take_in(id, count))
            }
            Poll::Ready(Ok(()) | Err(_)) => Poll::Ready(Turn::Lost),
        }
    }

    /// Passes what was read to the shard, behind what was left of earlier reads.
    fn take_in(&mut self, id: ConnectionId, count: usize) -> Turn {
        let mut buffer = mem::take(&mut self.read_buffer);
        let end = READ_AHEAD_BYTES + count;
        let Some(socket) = self.socket(id) else {
            self.read_buffer = buffer;
            return Turn::Lost;
        };
        socket.is_resumed = false;
        if socket.rest.len() <= READ_AHEAD_BYTES {
            let start = READ_AHEAD_BYTES - socket.rest.len();
            if let Some(room) = buffer.get_mut(start..READ_AHEAD_BYTES) {
                room.copy_from_slice(&socket.rest);
            }
            let bytes = buffer.get(start..end).unwrap_or_default();
            let consumed = self.input(Input::Bytes { connection: id, bytes });
            self.settle(id, consumed, Rest::Borrowed(bytes));
        } else {
            let mut bytes = mem::take(&mut socket.rest);
            bytes.extend_from_slice(buffer.get(READ_AHEAD_BYTES..end).unwrap_or_default());
            let consumed = self.input(Input::Bytes { connection: id, bytes: &bytes });
            self.settle(id, consumed, Rest::Owned(bytes));
        }
        self.read_buffer = buffer;
        if count == READ_BYTES_MAX { Turn::Yield } else { self.turn_after(id) }
    }

    /// Lets the shard go on with what it left.
    fn go_on(&mut self, id: ConnectionId) -> Turn {
        let Some(socket) = self.socket(id) else { return Turn::Lost };
        socket.is_resumed = false;
        let bytes = mem::take(&mut socket.rest);
        let consumed = self.input(Input::Continue { connection: id, bytes: &bytes });
        self.settle(id, consumed, Rest::Owned(bytes));
        self.turn_after(id)
    }

    /// Keeps what another shard's thread has read from a connection that came from there. It is
    /// passed on once all other sockets have been looked at: what the client had sent over an
    /// earlier connection, such as a DISCONNECT, was sent before.
    pub(crate) fn pass_later(&mut self, id: ConnectionId, bytes: Vec<u8>) {
        if let Some(socket) = self.socket(id) {
            socket.rest = bytes;
            socket.next = Next::LookAround;
        }
    }

    fn settle(&mut self, id: ConnectionId, consumed: Consumed, bytes: Rest<'_>) {
        let Some(socket) = self.socket(id) else { return };
        socket.settle(consumed, bytes);
        if let Reading::Moved(home) = consumed.reading
            && let Some(Connection::Socket(socket)) = self.connections.remove(id).map(|it| *it)
        {
            self.hand_over(home, socket);
            self.signals().connection_ended.raise();
        }
    }

    fn turn_after(&mut self, id: ConnectionId) -> Turn {
        match self.socket(id).map(|socket| socket.next) {
            Some(Next::Continue | Next::LookAround) => {
                self.goes_on = true;
                Turn::Yield
            }
            Some(Next::Read | Next::AwaitResume) => Turn::Again,
            None => Turn::Lost,
        }
    }

    /// Tries to write what waits, and leaves what does not fit to the connection's task.
    pub(crate) fn write_once(&mut self, id: ConnectionId) {
        let Some(Connection::Socket(socket)) = self.connections.find(id) else { return };
        socket.mark = Mark::Clean;
        if !socket.may_write() {
            return;
        }
        let Some(outbound) = self.shard.outbound(id) else { return };
        let waiting = outbound.len();
        if waiting == 0 {
            return;
        }
        match socket.stream.try_write(outbound) {
            Ok(count) => outbound.advance(count),
            Err(error) if is_transient(&error) => {}
            Err(_) => return socket.stop_writing(Writing::Failed),
        }
        if !outbound.is_empty() {
            socket.stop_writing(Writing::Blocked);
        } else if waiting >= self.flushed_bytes_min {
            self.note_flushed(id);
        } else {
            self.shard.reclaim(id);
        }
    }

    /// Writes until nothing is left, as the socket takes it.
    fn write_loop(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Poll<()> {
        loop {
            let Some(Connection::Socket(socket)) = self.connections.find(id) else {
                return Poll::Ready(());
            };
            let outbound = self.shard.outbound(id).filter(|outbound| !outbound.is_empty());
            let Some(outbound) = outbound else {
                socket.writing = Writing::Ready;
                let _ = self.input(Input::Flushed { connection: id });
                return Poll::Ready(());
            };
            match ready!(socket.stream.poll_write(context, outbound)) {
                Ok(count) if count > 0 => outbound.advance(count),
                Ok(_) | Err(_) => {
                    socket.writing = Writing::Failed;
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Ready when everything is written, or nothing can be (false).
    fn poll_flushed(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Poll<bool> {
        loop {
            self.write_once(id);
            let Some(socket) = self.socket(id) else { return Poll::Ready(false) };
            remember(&mut socket.task, context);
            match socket.writing {
                Writing::Ready => return Poll::Ready(true),
                Writing::Blocked => ready!(self.write_loop(id, context)),
                Writing::Failed | Writing::FailedAndSettled => return Poll::Ready(false),
            }
        }
    }

    fn poll_shutdown(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Poll<()> {
        let Some(socket) = self.socket(id) else { return Poll::Ready(()) };
        socket.stream.poll_shutdown(context).map(drop)
    }

    /// Ready with the number of bytes that were read and thrown away; 0 at the end.
    fn poll_discard(&mut self, id: ConnectionId, context: &mut Context<'_>) -> Poll<usize> {
        let Some(Connection::Socket(socket)) = self.connections.find(id) else {
            return Poll::Ready(0);
        };
        let mut buffer = ReadBuf::new(&mut self.read_buffer);
        let _ = ready!(socket.stream.poll_read(context, &mut buffer));
        Poll::Ready(buffer.filled().len())
    }
}

fn is_transient(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_takes_little() {
        // With what the runtime puts around it, a task of this size takes 128 bytes, and the next
        // larger one 256; with what the allocator adds, the same holds for the connection in steps
        // of 16.
        assert!(size_of::<Serve>() <= 16);
        assert!(size_of::<Connection>() <= 120);
    }
}
