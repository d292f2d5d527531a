//! Connections in memory, seen from both ends.

use std::cell::RefCell;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use noctule_broker_core::{ConnectionId, ShardId};
use noctule_testkit::Stream;

use crate::world::World;

/// One connection, seen from the driver.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    pub(crate) shard: ShardId,
    /// Sent by the peer and not consumed by the shard.
    pub(crate) sent: Vec<u8>,
    pub(crate) has_news: bool,
    pub(crate) paused: bool,
    /// Written by the shard and not read by the peer.
    pub(crate) arrived: Vec<u8>,
    /// Whether the peer takes nothing, so that the outbound buffer fills.
    pub(crate) stalled: bool,
    /// The shard has closed it.
    pub(crate) closed: bool,
    /// The peer is gone.
    pub(crate) gone: bool,
}

impl Link {
    /// A connection on which nothing has been sent.
    pub(crate) const fn new(id: ConnectionId, shard: ShardId) -> Self {
        Self {
            id,
            shard,
            sent: Vec::new(),
            has_news: false,
            paused: false,
            arrived: Vec::new(),
            stalled: false,
            closed: false,
            gone: false,
        }
    }
}

/// The peer's end of a connection in memory. Dropping it is a connection that is lost.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) world: Rc<RefCell<World>>,
    pub(crate) slot: usize,
}

impl Read for Wire {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        let link = &mut world.links[self.slot];
        if link.arrived.is_empty() {
            return if link.closed { Ok(0) } else { Err(ErrorKind::WouldBlock.into()) };
        }
        let count = link.arrived.len().min(into.len());
        into[..count].copy_from_slice(&link.arrived[..count]);
        link.arrived.drain(..count);
        Ok(count)
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut world = self.world.borrow_mut();
        let link = &mut world.links[self.slot];
        if link.closed {
            return Err(ErrorKind::BrokenPipe.into());
        }
        link.sent.extend_from_slice(bytes);
        link.has_news = true;
        world.settle();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Stream for Wire {
    fn set_read_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&self, _: Duration) -> io::Result<()> {
        Ok(())
    }

    fn shut_down(&self, _: Shutdown) -> io::Result<()> {
        self.world.borrow_mut().hang_up(self.slot);
        Ok(())
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        // A test that fails while the world is borrowed must show its own panic.
        if let Ok(mut world) = self.world.try_borrow_mut() {
            world.hang_up(self.slot);
        }
    }
}
