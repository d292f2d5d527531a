//! Where the messages of one subscriber wait until they are taken.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Poll, Waker};

use noctule_packet::QoS;

use crate::held::AckToken;
use crate::hub::wakes::Wakes;
use crate::message::Message;

/// What becomes of a message for a mailbox that is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// It waits all the same. The server's window, and the bound on the bytes of all messages that
    /// are held (`limits.held_bytes_max`), are the back-pressure: at that bound nothing more is
    /// read from the connection, unless that would be for ever
    /// ([`ClientEvent::Stalled`](crate::ClientEvent::Stalled)).
    #[default]
    Hold,
    /// It is dropped and counted if it has QoS 0, and waits otherwise.
    DropAtMostOnce,
    /// The mailbox takes nothing any more. What is in it may still be taken.
    Close,
}

/// How a mailbox takes its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailboxSettings {
    /// How many messages wait before it counts as full.
    pub capacity: usize,
    /// What happens then.
    pub on_full: OnFull,
    /// Whether the user acknowledges each message. Otherwise it is acknowledged when it is taken
    /// out.
    pub is_manual: bool,
}

impl Default for MailboxSettings {
    fn default() -> Self {
        Self { capacity: 1_024, on_full: OnFull::Hold, is_manual: false }
    }
}

/// Why a mailbox takes nothing any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// The client has ended.
    ByClient,
    /// It was full, and is one that closes then.
    Full,
}

/// A message in a mailbox, and what to acknowledge it with.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) message: Message,
    pub(crate) token: AckToken,
}

#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) settings: MailboxSettings,
    items: VecDeque<Item>,
    waiter: Option<Waker>,
    closed: Option<Closed>,
    /// How many messages were dropped because it was full.
    dropped: u64,
    /// The same of all mailboxes together.
    dropped_of_all: Arc<AtomicUsize>,
}

impl Mailbox {
    pub(crate) fn new(settings: MailboxSettings, dropped_of_all: Arc<AtomicUsize>) -> Self {
        let items = VecDeque::new();
        Self { settings, items, waiter: None, closed: None, dropped: 0, dropped_of_all }
    }

    /// Whether a message goes in. If not, that is counted.
    pub(crate) fn takes(&mut self, qos: QoS, wakes: &mut Wakes) -> bool {
        if self.closed.is_some() {
            return false;
        }
        if self.items.len() < self.settings.capacity {
            return true;
        }
        match self.settings.on_full {
            OnFull::Hold => true,
            OnFull::DropAtMostOnce if qos > QoS::AtMostOnce => true,
            OnFull::DropAtMostOnce => {
                self.note_dropped();
                false
            }
            OnFull::Close => {
                self.note_dropped();
                self.close(Closed::Full, wakes);
                false
            }
        }
    }

    fn note_dropped(&mut self) {
        self.dropped += 1;
        self.dropped_of_all.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn put(&mut self, item: Item, wakes: &mut Wakes) {
        self.items.push_back(item);
        wakes.add(self.waiter.take());
    }

    pub(crate) fn close(&mut self, why: Closed, wakes: &mut Wakes) {
        self.closed.get_or_insert(why);
        wakes.add(self.waiter.take());
    }

    /// The next message; `None` if none will come any more.
    pub(crate) fn poll(&mut self, waker: &Waker, wakes: &mut Wakes) -> Poll<Option<Item>> {
        if let Some(item) = self.items.pop_front() {
            return Poll::Ready(Some(item));
        }
        if self.closed.is_some() {
            return Poll::Ready(None);
        }
        wakes.replace(&mut self.waiter, waker);
        Poll::Pending
    }

    /// Takes the next message, if there is one.
    pub(crate) fn take(&mut self) -> Option<Item> {
        self.items.pop_front()
    }

    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn closed(&self) -> Option<Closed> {
        self.closed
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}
