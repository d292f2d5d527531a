//! When what a turn has produced is written: at its end, in one piece for each connection. What one
//! input had for very many waits until the turns that follow at once have added to it, for a write
//! costs more than the bytes that it carries; whoever talks to few never waits for that.

use std::mem;
use std::rc::Rc;

use noctule_broker_core::{ConnectionId, Input};
use tokio::task::yield_now;

use crate::shard::{Connection, ShardDriver, SharedDriver};
use crate::task::step_aside;

/// A connection with this much to write does not wait for the end of the turn.
const FLUSH_EARLY_BYTES: usize = 64 * 1024;

/// An input that has something for so many connections was for a crowd.
const CROWD: usize = 64;

/// How many turns what is for a crowd may wait, and up to how many bytes for each connection.
const HELD_TURNS_MAX: u32 = 4;
const HELD_BYTES_MAX: usize = 8 * 1024;

/// Whether a connection is on a list of those to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It has nothing new to write.
    Clean,
    /// What it got is also for many others.
    Held,
    /// It is written to at the end of the turn.
    Due,
}

/// The connections that have something to write.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    /// Connections that the shard has just named; empty between inputs.
    fresh: Vec<ConnectionId>,
    /// To be written to at the end of the turn.
    due: Vec<ConnectionId>,
    due_spare: Vec<ConnectionId>,
    /// To be written to later, unless they are due by then.
    held: Vec<ConnectionId>,
    held_spare: Vec<ConnectionId>,
    /// For how many turns.
    held_turns: u32,
    /// Connections whose full buffers were written out, which the shard does not know yet.
    flushed: Vec<ConnectionId>,
}

impl ShardDriver {
    /// Puts the connections that have got something to write on a list.
    pub(crate) fn note_dirty(&mut self) {
        let mut fresh = mem::take(&mut self.dirty.fresh);
        self.shard.take_dirty(&mut fresh);
        let is_crowd = fresh.len() >= CROWD;
        self.mail.note_input(is_crowd);
        if fresh.is_empty() {
            self.dirty.fresh = fresh;
            return;
        }
        for id in fresh.drain(..) {
            self.mark_dirty(id, is_crowd);
        }
        self.dirty.fresh = fresh;
        self.signals().flush.raise();
    }

    /// Remembers to tell the shard that a full buffer has been written out. Not at once: this may
    /// be in the middle of another input.
    pub(crate) fn note_flushed(&mut self, id: ConnectionId) {
        self.dirty.flushed.push(id);
        self.signals().flush.raise();
    }

    /// Puts a connection on a list; one with much to write is served at once.
    fn mark_dirty(&mut self, id: ConnectionId, is_crowd: bool) {
        let waiting = self.shard.outbound(id).map_or(0, |outbound| outbound.len());
        let held_bytes_max = HELD_BYTES_MAX.min(self.flushed_bytes_min / 2);
        let Some(connection) = self.connections.find(id) else { return };
        let mark = match connection {
            Connection::Socket(socket) => {
                if waiting >= FLUSH_EARLY_BYTES && socket.may_write() {
                    return self.write_once(id);
                }
                &mut socket.mark
            }
            Connection::Host(host) => &mut host.mark,
        };
        if is_crowd && waiting < held_bytes_max {
            if *mark == Mark::Clean {
                *mark = Mark::Held;
                self.dirty.held.push(id);
            }
        } else if *mark != Mark::Due {
            *mark = Mark::Due;
            self.dirty.due.push(id);
        }
    }

    /// Ends a turn: hands over what is for other shards, and writes once to each connection that
    /// has something to write. Whether some were left for a later turn.
    fn flush(&mut self) -> bool {
        self.post_records();
        let is_holding = self.may_hold();
        if !is_holding || self.mail.is_due() {
            self.mail.post();
        }
        let mut due = mem::replace(&mut self.dirty.due, mem::take(&mut self.dirty.due_spare));
        for id in due.drain(..) {
            self.write_marked(id, Mark::Due);
        }
        self.dirty.due_spare = due;
        if !is_holding {
            let mut held =
                mem::replace(&mut self.dirty.held, mem::take(&mut self.dirty.held_spare));
            for id in held.drain(..) {
                self.write_marked(id, Mark::Held);
            }
            self.dirty.held_spare = held;
        }
        for connection in mem::take(&mut self.dirty.flushed) {
            let _ = self.input(Input::Flushed { connection });
        }
        is_holding
    }

    /// Whether what is for a crowd can wait: another turn follows at once.
    fn may_hold(&mut self) -> bool {
        let goes_on = mem::take(&mut self.goes_on);
        if self.dirty.held.is_empty() {
            return false;
        }
        let is_holding = self.dirty.held_turns < HELD_TURNS_MAX
            && (goes_on || self.has_waiting_hosts() || self.mail.is_reading() || self.has_work());
        self.dirty.held_turns = if is_holding { self.dirty.held_turns + 1 } else { 0 };
        is_holding
    }

    fn write_marked(&mut self, id: ConnectionId, mark: Mark) {
        match self.connections.find(id) {
            Some(Connection::Socket(socket)) if socket.mark == mark => self.write_once(id),
            Some(Connection::Host(host)) if host.mark == mark => self.host_receive(id),
            // It has been written to since it was put on the list, or is on the other one.
            Some(Connection::Socket(_) | Connection::Host(_)) | None => {}
        }
    }
}

/// Ends a turn: hands over and writes out what the tasks that ran before it have produced, in one
/// piece for each shard and with one attempt for each connection.
///
/// The signal puts this task behind those that are ready already, so that one write carries what
/// all of them had for a connection.
pub(crate) async fn flush_loop(driver: SharedDriver) {
    let signals = Rc::clone(driver.borrow().signals());
    loop {
        signals.flush.raised().await;
        let is_holding = driver.borrow_mut().flush();
        if is_holding {
            signals.flush.raise();
        }
        if driver.borrow().has_waiting_hosts() {
            yield_now().await;
            driver.borrow_mut().continue_hosts();
        } else if is_holding {
            // Those that have only let others pass go on first.
            yield_now().await;
            step_aside().await;
        } else if signals.flush.is_raised() {
            step_aside().await;
        }
    }
}
