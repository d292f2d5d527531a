//! What happens to the connection and the session, for everybody who wants to follow it.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use core::task::{Poll, Waker};
use core::time::Duration;

use noctule_packet::{FilterList, PacketId, ReasonCode, SubscriptionList};

use crate::ended::Ended;
use crate::fault::ProtocolError;
use crate::hub::wakes::Wakes;
use crate::negotiated::Negotiated;
use crate::operation::{OperationId, Outcome, RequestOutcome};
use crate::remarks::Remarks;

/// How many events a follower may leave unread; after that the oldest are left out.
const UNREAD_MAX: usize = 256;

/// What happens to the connection and the session.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientEvent {
    /// A connection is being made.
    Connecting {
        /// Counts the attempts since the last connection that the server accepted, from 1.
        attempt: u32,
        /// Where to, without credentials.
        endpoint: Arc<str>,
    },
    /// The server has accepted the connection.
    Connected(Arc<Negotiated>),
    /// A connection could not be opened.
    ConnectFailed {
        /// What went wrong.
        error: Arc<str>,
    },
    /// The transport broke; that the connection ended comes next.
    Broken {
        /// What went wrong.
        error: Arc<str>,
    },
    /// A connection ended, or was refused.
    Disconnected {
        /// Whether the server had accepted it.
        was_connected: bool,
        /// Why.
        ended: Arc<Ended>,
    },
    /// The next attempt comes so much later.
    Waiting {
        /// How long.
        delay: Duration,
    },
    /// There is no connection, because the user wants none for now.
    Offline,
    /// The server had forgotten the session.
    SessionLost,
    /// The server had forgotten the session, and a subscription was asked for again.
    Resubscribed {
        /// The whole filter.
        filter: Box<str>,
        /// What the server says; `None` if it does not support such a subscription any more, or if
        /// too many connections have ended over the question.
        code: Option<ReasonCode>,
        /// What it says beside that.
        remarks: Option<Box<Remarks>>,
    },
    /// The server has released a QoS 2 message that has arrived (PUBREL), and says something beside
    /// that; without it, nobody is told.
    Released {
        /// The packet identifier of the message.
        packet_id: PacketId,
        /// What it says.
        remarks: Box<Remarks>,
    },
    /// A SUBSCRIBE has ended that the program has asked for, or that goes back to what an older
    /// stream has asked for.
    Subscribed {
        /// The topic filters, and what was asked for each of them.
        subscriptions: SubscriptionList<'static>,
        /// What the server says of each filter, and beside that; or why that is not known.
        outcome: RequestOutcome,
    },
    /// An UNSUBSCRIBE has ended.
    Unsubscribed {
        /// The topic filters.
        filters: FilterList<'static>,
        /// What the server says of each filter, and beside that; or why that is not known.
        outcome: RequestOutcome,
    },
    /// Somebody waits for the server and nobody takes messages, of which as much is held as may
    /// be: reading goes on without those of QoS 0, see
    /// [`Event::Stalled`](crate::Event::Stalled).
    Stalled {
        /// The bytes of messages that are held.
        held_bytes: usize,
    },
    /// The server has answered a ping. Of several in a row that were not read, the last is told.
    PingAnswered {
        /// How long that took.
        round_trip: Duration,
    },
    /// A re-authentication has ended.
    Reauthenticated,
    /// The server did something wrong that was let pass.
    Tolerated(ProtocolError),
    /// Messages came for which there is no stream, and none was made in time. They were
    /// acknowledged.
    Unclaimed {
        /// The topic of the first of them.
        topic: Arc<str>,
    },
    /// A publication has failed whose receipt was dropped, or that is of an earlier process and
    /// whose receipt nobody has taken. What fails while nobody follows is told to the next who
    /// does.
    Undelivered {
        /// Which.
        operation: OperationId,
        /// Where to.
        topic: Arc<str>,
        /// How.
        outcome: Outcome,
    },
    /// The client makes no more attempts, or was shut down.
    Stopped {
        /// Why, if nobody wanted it.
        error: Option<Arc<str>>,
    },
    /// So many events were left out, because they were not read in time.
    Missed(u64),
}

/// Names a follower of a hub. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FollowerId(u64);

#[derive(Debug, Default)]
struct Follower {
    unread: VecDeque<ClientEvent>,
    missed: u64,
    waiter: Option<Waker>,
    /// It waits for something of its own, and knows nobody who wants to hear of messages.
    is_watcher: bool,
}

impl Follower {
    fn put(&mut self, event: ClientEvent) {
        // Pings come for ever, and must not push out what matters.
        if let (ClientEvent::PingAnswered { .. }, Some(last)) = (&event, self.unread.back_mut())
            && matches!(last, ClientEvent::PingAnswered { .. })
        {
            *last = event;
            return;
        }
        if self.unread.len() == UNREAD_MAX {
            self.unread.pop_front();
            self.missed += 1;
        }
        self.unread.push_back(event);
    }
}

/// Everybody who follows.
#[derive(Debug, Default)]
pub(crate) struct Lifecycle {
    followers: BTreeMap<FollowerId, Follower>,
    /// What has failed while nobody followed.
    untold: Follower,
    next: u64,
    is_over: bool,
}

impl Lifecycle {
    pub(crate) fn follow(&mut self) -> FollowerId {
        let id = FollowerId(self.next);
        self.next += 1;
        self.followers.insert(id, core::mem::take(&mut self.untold));
        id
    }

    pub(crate) fn watch(&mut self) -> FollowerId {
        let id = FollowerId(self.next);
        self.next += 1;
        self.followers.insert(id, Follower { is_watcher: true, ..Follower::default() });
        id
    }

    /// Whether nobody hears of messages.
    fn is_unheard(&self) -> bool {
        self.followers.values().all(|follower| follower.is_watcher)
    }

    pub(crate) fn leave(&mut self, id: FollowerId, wakes: &mut Wakes) {
        let Some(follower) = self.followers.remove(&id) else { return };
        wakes.add(follower.waiter);
        if self.is_unheard() {
            let is_untold = |event: &ClientEvent| matches!(event, ClientEvent::Undelivered { .. });
            follower.unread.into_iter().filter(is_untold).for_each(|event| self.untold.put(event));
        }
    }

    pub(crate) fn tell(&mut self, event: &ClientEvent, wakes: &mut Wakes) {
        for follower in self.followers.values_mut() {
            follower.put(event.clone());
            wakes.add(follower.waiter.take());
        }
    }

    pub(crate) fn tell_undelivered(
        &mut self,
        operation: OperationId,
        topic: Arc<str>,
        outcome: Outcome,
        wakes: &mut Wakes,
    ) {
        let event = ClientEvent::Undelivered { operation, topic, outcome };
        if self.is_unheard() {
            return self.untold.put(event);
        }
        for follower in self.followers.values_mut().filter(|follower| !follower.is_watcher) {
            follower.put(event.clone());
            wakes.add(follower.waiter.take());
        }
    }

    /// Somebody takes the receipt of a publication that has failed. Whether nobody was told yet who
    /// follows; then nobody will be.
    pub(crate) fn take_back_undelivered(&mut self, taken: OperationId) -> bool {
        let unread = &mut self.untold.unread;
        let before = unread.len();
        unread.retain(|event| match event {
            ClientEvent::Undelivered { operation, .. } => *operation != taken,
            _ => true,
        });
        unread.len() < before
    }

    /// Nothing will happen any more.
    pub(crate) fn end(&mut self, wakes: &mut Wakes) {
        self.is_over = true;
        for follower in self.followers.values_mut() {
            wakes.add(follower.waiter.take());
        }
    }

    pub(crate) fn poll(
        &mut self,
        id: FollowerId,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Poll<Option<ClientEvent>> {
        let Some(follower) = self.followers.get_mut(&id) else { return Poll::Ready(None) };
        let missed = core::mem::take(&mut follower.missed);
        if missed > 0 {
            return Poll::Ready(Some(ClientEvent::Missed(missed)));
        }
        if let Some(event) = follower.unread.pop_front() {
            return Poll::Ready(Some(event));
        }
        if self.is_over {
            return Poll::Ready(None);
        }
        wakes.replace(&mut follower.waiter, waker);
        Poll::Pending
    }
}
