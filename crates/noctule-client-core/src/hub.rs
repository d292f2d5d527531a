//! One session and everybody who uses it: what the handles of a client and its driver share, and
//! what a front-end keeps behind its lock.
//!
//! Handles publish, subscribe and take messages out of their mailboxes. The driver moves bytes,
//! takes what has happened ([`Hub::settle`]) and sleeps while there is nothing to do
//! ([`Hub::park`]). Nothing here calls the user: whoever waits leaves a [`Waker`], and the
//! front-end wakes it ([`Hub::take_wakes`]) when it has unlocked the hub.

mod alarms;
mod filters;
mod kept;
mod lifecycle;
mod mailbox;
mod mailboxes;
mod receipts;
mod wakes;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::task::{Poll, Waker};

use noctule_packet::{QoS, ReasonCode, TopicFilter};
use noctule_session::Timestamp;

pub use alarms::AlarmId;
pub use lifecycle::{ClientEvent, FollowerId};
pub use mailbox::{Closed, MailboxSettings, OnFull};
pub use mailboxes::MailboxId;
pub use wakes::{Wakes, enlist};

use crate::ended::Ended;
use crate::event::Event;
use crate::held::{AckRefused, AckToken, Acknowledged};
use crate::message::Message;
use crate::negotiated::Negotiated;
use crate::operation::{OperationId, Outcome, RequestOutcome, Stage};
use crate::publication::{Publication, PublishRefused};
use crate::queue::Overflow;
use crate::remarks::Remarks;
use crate::request::{RequestRefused, Resubscribe, SubscribeRequest, UnsubscribeRequest};
use crate::restore::Restored;
use crate::session::{ClientSession, Status};
use crate::settings::{AcknowledgementMode, Settings, SettingsError};
use alarms::Alarms;
use kept::Kept;
use lifecycle::Lifecycle;
use mailbox::Item;
use mailboxes::Mailboxes;
use receipts::{Ending, Receipts};

/// How much is kept for a driver's log.
const NOTES_MAX: usize = 256;

/// One session and everybody who uses it.
#[derive(Debug)]
pub struct Hub {
    session: ClientSession,
    receipts: Receipts,
    /// Those of earlier processes that nobody has asked for.
    restored: Vec<Restored>,
    mailboxes: Mailboxes,
    lifecycle: Lifecycle,
    alarms: Alarms,
    /// The driver, while it sleeps.
    driver: Option<Waker>,
    /// Those who wait for room in the queue.
    without_room: Vec<Waker>,
    /// Those who wait until everything is done.
    until_idle: Vec<Waker>,
    wakes: Wakes,
    /// Messages that may still be for somebody.
    kept: Kept,
    /// Messages that came for nobody.
    unclaimed: u64,
    /// What the driver has not told its log.
    notes: Vec<ClientEvent>,
    /// What the driver has not taken note of.
    connected: Option<Arc<Negotiated>>,
    ended: Option<Arc<Ended>>,
    is_closed: bool,
}

/// A message that was taken out of a mailbox.
#[derive(Debug)]
pub struct Taken {
    /// The message.
    pub message: Message,
    /// What to acknowledge it with, if its mailbox is one whose user does.
    pub token: Option<AckToken>,
}

impl Hub {
    /// A hub around a new session.
    ///
    /// # Errors
    ///
    /// If the settings contradict each other.
    pub fn new(mut settings: Settings) -> Result<Self, SettingsError> {
        // Mailboxes acknowledge what is taken out of them.
        settings.acknowledgement = AcknowledgementMode::Manual;
        // Whoever is refused may choose to wait.
        if settings.queue.overflow == Overflow::Refuse {
            settings.queue.overflow = Overflow::Wait;
        }
        Ok(Self::of(ClientSession::new(settings)?))
    }

    /// A hub around a session, whose user acknowledges. The driver asks an own method of
    /// authentication ([`ClientSession::take_authentication_step`]).
    pub fn of(mut session: ClientSession) -> Self {
        session.defer_authentication();
        let restored = session.take_restored();
        let mut receipts = Receipts::default();
        for publication in &restored {
            receipts.restore(publication.operation, publication.stage);
        }
        Self {
            session,
            receipts,
            restored,
            mailboxes: Mailboxes::default(),
            lifecycle: Lifecycle::default(),
            alarms: Alarms::default(),
            driver: None,
            without_room: Vec::new(),
            until_idle: Vec::new(),
            wakes: Wakes::default(),
            kept: Kept::default(),
            unclaimed: 0,
            notes: Vec::new(),
            connected: None,
            ended: None,
            is_closed: false,
        }
    }

    /// The session.
    pub const fn session(&self) -> &ClientSession {
        &self.session
    }

    /// The session, for the driver.
    pub const fn session_mut(&mut self) -> &mut ClientSession {
        &mut self.session
    }

    /// Those to be woken once the hub is not locked any more: to be called before unlocking it.
    pub fn take_wakes(&mut self) -> Wakes {
        mem::take(&mut self.wakes)
    }

    /// Publishes a message. The operation's end is to be asked for, or [dropped](Self::forget).
    ///
    /// # Errors
    ///
    /// If the message is not accepted.
    pub fn publish(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
    ) -> Result<OperationId, PublishRefused> {
        let operation = self.session.publish(now, publication)?;
        self.receipts.open(operation);
        self.ring();
        Ok(operation)
    }

    /// The publications of earlier processes that ended in this one or will, in the order in which
    /// they were accepted; once. The end of each is to be asked for, or [dropped](Self::forget), as
    /// if it had been published here. One that nobody has taken is told to those who follow if it
    /// fails ([`ClientEvent::Undelivered`]).
    pub fn take_restored(&mut self) -> Vec<Restored> {
        let restored = mem::take(&mut self.restored);
        for Restored { operation, .. } in &restored {
            if self.receipts.take_restored(*operation)
                && !self.lifecycle.take_back_undelivered(*operation)
            {
                self.receipts.note_told(*operation);
            }
        }
        restored
    }

    /// Publishes a message as soon as the queue has room for it. `Pending` leaves the waker.
    ///
    /// # Errors
    ///
    /// If the message is not accepted for another reason.
    pub fn poll_publish(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
        waker: &Waker,
    ) -> Poll<Result<OperationId, PublishRefused>> {
        match self.publish(now, publication) {
            Err(PublishRefused::Full { .. }) => {
                enlist(&mut self.without_room, waker);
                Poll::Pending
            }
            other => Poll::Ready(other),
        }
    }

    /// Asks for subscriptions whose messages go into a mailbox, from now on: the server may send
    /// them before it grants the subscription.
    ///
    /// # Errors
    ///
    /// If the request is not accepted. The mailbox is as before then.
    pub fn subscribe(
        &mut self,
        now: Timestamp,
        request: &SubscribeRequest<'_>,
        mailbox: MailboxId,
    ) -> Result<OperationId, RequestRefused> {
        let operation = self.session.subscribe(now, request)?;
        for subscription in request.subscriptions {
            self.add_filter(mailbox, &subscription.filter);
        }
        self.receipts.open(operation);
        self.ring();
        Ok(operation)
    }

    /// Asks for subscriptions whose messages go wherever filters send them that were or will be
    /// [added](Self::add_filter).
    ///
    /// # Errors
    ///
    /// If the request is not accepted.
    pub fn subscribe_only(
        &mut self,
        now: Timestamp,
        request: &SubscribeRequest<'_>,
    ) -> Result<OperationId, RequestRefused> {
        let operation = self.session.subscribe(now, request)?;
        self.receipts.open(operation);
        self.ring();
        Ok(operation)
    }

    /// Asks again for all subscriptions that the server has granted or forgotten. Mailboxes stay as
    /// they are.
    ///
    /// # Errors
    ///
    /// If they cannot be asked.
    pub fn resubscribe(&mut self, now: Timestamp) -> Result<Vec<Resubscribe>, RequestRefused> {
        let requests = self.session.resubscribe(now)?;
        for request in &requests {
            self.receipts.open(request.operation);
        }
        self.ring();
        Ok(requests)
    }

    /// Wakes somebody when a time has come.
    pub fn wake_at(&mut self, at: Timestamp, waker: &Waker) -> AlarmId {
        if self.poll_timeout().is_none_or(|earliest| at < earliest) {
            self.ring();
        }
        self.alarms.set(at, waker)
    }

    /// And does not, if that has not happened yet.
    pub fn unset_alarm(&mut self, alarm: AlarmId) {
        self.alarms.unset(alarm, &mut self.wakes);
    }

    /// When the driver is to call [`Hub::on_timeout`], unless something else happens before.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        let times = [self.session.poll_timeout(), self.alarms.next(), self.kept.deadline()];
        times.into_iter().flatten().min()
    }

    /// The driver: a moment has come that [`Hub::poll_timeout`] named. It does no harm too early.
    pub fn on_timeout(&mut self, now: Timestamp) {
        self.session.on_timeout(now);
        self.alarms.ring(now, &mut self.wakes);
        self.kept.note_time(now, self.session.settings().unclaimed_kept_for);
        if self.kept.ends(now) {
            for item in self.kept.take_all() {
                self.give_up(now, item);
            }
        }
    }

    /// Asks for the end of subscriptions. Mailboxes keep their filters: what is on its way still
    /// arrives.
    ///
    /// # Errors
    ///
    /// If the request is not accepted.
    pub fn unsubscribe(
        &mut self,
        now: Timestamp,
        request: &UnsubscribeRequest<'_>,
    ) -> Result<OperationId, RequestRefused> {
        let operation = self.session.unsubscribe(now, request)?;
        self.receipts.open(operation);
        self.ring();
        Ok(operation)
    }

    /// Gives an operation up.
    pub fn cancel(&mut self, now: Timestamp, operation: OperationId) -> bool {
        let was_known = self.session.cancel(now, operation);
        self.ring();
        was_known
    }

    /// How a publication has ended; `None` if that was asked and answered before.
    pub fn poll_published(
        &mut self,
        operation: OperationId,
        waker: &Waker,
    ) -> Poll<Option<Outcome>> {
        match self.receipts.poll(operation, waker, &mut self.wakes) {
            Poll::Ready(Some(Ending::Publication { outcome, .. })) => Poll::Ready(Some(outcome)),
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Whether the server has the message of a publication: ready when it has received it at QoS 2,
    /// or when the publication has ended.
    pub fn poll_received(&mut self, operation: OperationId, waker: &Waker) -> Poll<bool> {
        self.receipts.poll_received(operation, waker, &mut self.wakes)
    }

    /// How a request has ended; `None` if that was asked and answered before.
    pub fn poll_requested(
        &mut self,
        operation: OperationId,
        waker: &Waker,
    ) -> Poll<Option<RequestOutcome>> {
        match self.receipts.poll(operation, waker, &mut self.wakes) {
            Poll::Ready(Some(Ending::Request(outcome))) => Poll::Ready(Some(outcome)),
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// How far a QoS 2 publication has come that has not ended.
    pub fn stage(&self, operation: OperationId) -> Option<Stage> {
        self.receipts.stage(operation)
    }

    /// Nobody will ask how an operation ends. It goes on all the same, and if it is a publication
    /// that fails, those who follow are told ([`ClientEvent::Undelivered`]).
    pub fn forget(&mut self, operation: OperationId) {
        let unseen = self.receipts.drop(operation, &mut self.wakes);
        self.tell_undelivered(operation, unseen);
    }

    /// Tells those who follow how a publication has failed that no receipt takes.
    fn tell_undelivered(&mut self, operation: OperationId, ending: Option<Ending>) {
        if let Some(Ending::Publication { outcome, topic: Some(topic) }) = ending
            && outcome.is_failure()
        {
            let topic = Arc::from(topic);
            self.lifecycle.tell_undelivered(operation, topic, outcome, &mut self.wakes);
        }
    }

    /// A mailbox without filters.
    pub fn open_mailbox(&mut self, settings: MailboxSettings) -> MailboxId {
        let id = self.mailboxes.open(settings);
        if self.is_closed
            && let Some(mailbox) = self.mailboxes.find_mut(id)
        {
            mailbox.close(Closed::ByClient, &mut self.wakes);
        }
        id
    }

    /// Lets a mailbox have the messages that a filter matches, without asking the server for them.
    pub fn add_filter(&mut self, mailbox: MailboxId, filter: &TopicFilter<'_>) {
        self.mailboxes.add_filter(mailbox, filter);
        let kept = self.kept.take_matching(filter);
        self.put_kept(mailbox, kept);
    }

    /// A mailbox is to have no more messages because of this filter.
    pub fn remove_filter(&mut self, mailbox: MailboxId, filter: &TopicFilter<'_>) {
        self.mailboxes.remove_filter(mailbox, filter);
    }

    /// Lets a mailbox have the messages that no filter of any mailbox matches. Only one can.
    pub fn claim_rest(&mut self, mailbox: MailboxId) {
        self.mailboxes.claim_rest(mailbox);
        let kept = self.kept.take_all();
        self.put_kept(mailbox, kept);
    }

    fn put_kept(&mut self, mailbox: MailboxId, kept: impl IntoIterator<Item = Item>) {
        let Some(mailbox) = self.mailboxes.find_mut(mailbox) else { return };
        for item in kept {
            mailbox.put(item, &mut self.wakes);
        }
        // The driver has to know when the time for others has come.
        self.ring();
    }

    /// The next message of a mailbox; `None` if there will be no more.
    pub fn poll_message(
        &mut self,
        now: Timestamp,
        mailbox: MailboxId,
        waker: &Waker,
    ) -> Poll<Option<Taken>> {
        let Some(found) = self.mailboxes.find_mut(mailbox) else { return Poll::Ready(None) };
        let is_manual = found.settings.is_manual;
        match found.poll(waker, &mut self.wakes) {
            Poll::Ready(Some(item)) => Poll::Ready(Some(self.hand_out(now, item, is_manual))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    /// The next message of a mailbox, if there is one.
    pub fn take_message(&mut self, now: Timestamp, mailbox: MailboxId) -> Option<Taken> {
        let found = self.mailboxes.find_mut(mailbox)?;
        let is_manual = found.settings.is_manual;
        let item = found.take()?;
        Some(self.hand_out(now, item, is_manual))
    }

    fn hand_out(&mut self, now: Timestamp, item: Item, is_manual: bool) -> Taken {
        let Item { message, token } = item;
        if is_manual {
            return Taken { message, token: Some(token) };
        }
        let _ = self.acknowledge(now, token, ReasonCode::Success);
        Taken { message, token: None }
    }

    /// Acknowledges a message, or refuses it.
    ///
    /// # Errors
    ///
    /// If the reason code cannot be said.
    pub fn acknowledge(
        &mut self,
        now: Timestamp,
        token: AckToken,
        reason: ReasonCode,
    ) -> Result<Acknowledged, AckRefused> {
        self.acknowledge_saying(now, token, reason, None)
    }

    /// The same, with more to say than a reason code; 5.0 only.
    ///
    /// # Errors
    ///
    /// If that cannot be said.
    pub fn acknowledge_saying(
        &mut self,
        now: Timestamp,
        token: AckToken,
        reason: ReasonCode,
        remarks: Option<Remarks>,
    ) -> Result<Acknowledged, AckRefused> {
        let was_reading = self.session.wants_input();
        let done = self.session.acknowledge_saying(now, token, reason, remarks)?;
        if self.has_work() || was_reading != self.session.wants_input() {
            self.ring();
        }
        Ok(done)
    }

    /// A message that its user has not acknowledged and will not: it is refused where that can be
    /// said, and acknowledged where it cannot, because nothing behind it could be otherwise.
    pub fn abandon(&mut self, now: Timestamp, token: AckToken) {
        if self.acknowledge(now, token, ReasonCode::UnspecifiedError).is_err() {
            let _ = self.acknowledge(now, token, ReasonCode::Success);
        }
    }

    /// Takes a mailbox away. What is in it was not seen by anybody, and is refused.
    pub fn close_mailbox(&mut self, now: Timestamp, mailbox: MailboxId) {
        let Some(mut mailbox) = self.mailboxes.remove(mailbox) else { return };
        mailbox.close(Closed::ByClient, &mut self.wakes);
        while let Some(item) = mailbox.take() {
            self.abandon(now, item.token);
        }
    }

    /// How many messages wait in a mailbox.
    pub fn waiting(&self, mailbox: MailboxId) -> usize {
        self.mailboxes.find(mailbox).map_or(0, mailbox::Mailbox::len)
    }

    /// How many messages a mailbox was too full for.
    pub fn dropped(&self, mailbox: MailboxId) -> u64 {
        self.mailboxes.find(mailbox).map_or(0, mailbox::Mailbox::dropped)
    }

    /// Why a mailbox takes nothing any more.
    pub fn closed(&self, mailbox: MailboxId) -> Option<Closed> {
        self.mailboxes.find(mailbox).map_or(Some(Closed::ByClient), mailbox::Mailbox::closed)
    }

    /// Somebody wants to follow what happens to the connection.
    pub fn follow(&mut self) -> FollowerId {
        self.lifecycle.follow()
    }

    /// Somebody waits for something to happen to the connection. Messages that have failed are not
    /// told to him: they wait for one who [follows](Self::follow).
    pub fn watch(&mut self) -> FollowerId {
        self.lifecycle.watch()
    }

    /// And does not any more.
    pub fn leave(&mut self, follower: FollowerId) {
        self.lifecycle.leave(follower, &mut self.wakes);
    }

    /// The next that has happened; `None` if nothing will happen any more.
    pub fn poll_event(&mut self, follower: FollowerId, waker: &Waker) -> Poll<Option<ClientEvent>> {
        self.lifecycle.poll(follower, waker, &mut self.wakes)
    }

    /// Tells everybody who follows.
    pub fn tell(&mut self, event: &ClientEvent) {
        self.lifecycle.tell(event, &mut self.wakes);
    }

    /// Ready when nothing is queued, in flight or unanswered.
    pub fn poll_idle(&mut self, waker: &Waker) -> Poll<()> {
        if self.is_idle() {
            return Poll::Ready(());
        }
        enlist(&mut self.until_idle, waker);
        Poll::Pending
    }

    /// Whether nothing is queued, in flight or unanswered.
    pub fn is_idle(&self) -> bool {
        let session = &self.session;
        let unfinished = session.queued() + session.in_flight() + session.pending_requests();
        let is_said = session.outbound().is_empty() && !session.has_release_steps();
        unfinished == 0 && (is_said || session.status() != Status::Online)
    }

    /// The driver: tells those whom it concerns what has happened in the session. What is to be
    /// durable must be durable before.
    pub fn settle(&mut self, now: Timestamp) {
        self.settle_first(now, usize::MAX);
    }

    /// The same of the first so many events: what the others depend on is not durable yet.
    pub fn settle_first(&mut self, now: Timestamp, count: usize) {
        self.kept.note_time(now, self.session.settings().unclaimed_kept_for);
        for _ in 0..count {
            let Some(event) = self.session.next_event() else { break };
            self.on_event(now, event);
        }
        if !self.until_idle.is_empty() && self.is_idle() {
            self.wakes.add_all(&mut self.until_idle);
        }
    }

    fn on_event(&mut self, now: Timestamp, event: Event) {
        let told = match event {
            Event::Message { message, token: Some(token) } => {
                return self.deliver(now, message, token);
            }
            Event::Published { operation, outcome, topic } => {
                let ending = Ending::Publication { outcome, topic };
                let untaken = self.receipts.end(operation, ending, &mut self.wakes);
                return self.tell_undelivered(operation, untaken);
            }
            Event::Subscribed { operation, subscriptions, outcome } => {
                let ending = Ending::Request(outcome.clone());
                self.receipts.end(operation, ending, &mut self.wakes);
                ClientEvent::Subscribed { subscriptions, outcome }
            }
            Event::Unsubscribed { operation, filters, outcome } => {
                let ending = Ending::Request(outcome.clone());
                self.receipts.end(operation, ending, &mut self.wakes);
                ClientEvent::Unsubscribed { filters, outcome }
            }
            Event::Progressed { operation, stage } => {
                return self.receipts.progress(operation, stage, &mut self.wakes);
            }
            Event::RoomAgain => return self.wakes.add_all(&mut self.without_room),
            Event::Message { token: None, .. } => return,
            Event::Connected { negotiated, .. } => {
                let negotiated = Arc::from(negotiated);
                self.connected = Some(Arc::clone(&negotiated));
                ClientEvent::Connected(negotiated)
            }
            Event::Disconnected { was_connected, ended, .. } => {
                let ended = Arc::new(ended);
                self.ended = Some(Arc::clone(&ended));
                ClientEvent::Disconnected { was_connected, ended }
            }
            Event::Resubscribed { filter, code, remarks } => {
                ClientEvent::Resubscribed { filter, code, remarks }
            }
            Event::Released { packet_id, remarks } => ClientEvent::Released { packet_id, remarks },
            Event::SessionLost => ClientEvent::SessionLost,
            Event::Stalled { held_bytes } => ClientEvent::Stalled { held_bytes },
            Event::PingAnswered { round_trip } => ClientEvent::PingAnswered { round_trip },
            Event::Reauthenticated => ClientEvent::Reauthenticated,
            Event::Tolerated(error) => ClientEvent::Tolerated(error),
        };
        self.note(&told);
        self.tell(&told);
    }

    /// Keeps what the driver's log is to tell.
    fn note(&mut self, event: &ClientEvent) {
        let is_noted = matches!(
            event,
            ClientEvent::SessionLost
                | ClientEvent::Resubscribed { .. }
                | ClientEvent::Stalled { .. }
                | ClientEvent::Reauthenticated
                | ClientEvent::Tolerated(_)
        );
        // Not every driver has a log.
        if is_noted && self.notes.len() < NOTES_MAX {
            self.notes.push(event.clone());
        }
    }

    /// The driver: what has happened to the session since that was asked last.
    pub fn take_notes(&mut self) -> Vec<ClientEvent> {
        mem::take(&mut self.notes)
    }

    /// Puts a message into all mailboxes that want it.
    fn deliver(&mut self, now: Timestamp, message: Message, token: AckToken) {
        let topic = Arc::clone(message.topic());
        let qos: QoS = message.qos();
        let matching = self.mailboxes.take_matching(&topic);
        let mut takers: Vec<MailboxId> = Vec::new();
        let mut first = None;
        for id in &matching {
            let mailbox = self.mailboxes.find_mut(*id);
            if mailbox.is_some_and(|mailbox| mailbox.takes(qos, &mut self.wakes)) {
                match first {
                    None => first = Some(*id),
                    Some(_) => takers.push(*id),
                }
            }
        }
        let Some(first) = first else {
            let is_unclaimed = matching.is_empty();
            self.mailboxes.keep_matching(&topic, matching);
            return self.deliver_to_nobody(now, Item { message, token }, is_unclaimed);
        };
        if !takers.is_empty() {
            let holders = u16::try_from(takers.len() + 1).unwrap_or(u16::MAX);
            self.session.share(token, holders);
        }
        for id in takers {
            if let Some(mailbox) = self.mailboxes.find_mut(id) {
                mailbox.put(Item { message: message.clone(), token }, &mut self.wakes);
            }
        }
        if let Some(mailbox) = self.mailboxes.find_mut(first) {
            mailbox.put(Item { message, token }, &mut self.wakes);
        }
        self.mailboxes.keep_matching(&topic, matching);
    }

    /// A message that no mailbox takes.
    fn deliver_to_nobody(&mut self, now: Timestamp, item: Item, is_unclaimed: bool) {
        if item.message.qos() == QoS::AtMostOnce {
            if is_unclaimed {
                return self.give_up(now, item);
            }
            let _ = self.session.acknowledge(now, item.token, ReasonCode::Success);
        } else if !is_unclaimed {
            // Whoever wants it has no room for it.
            self.abandon(now, item.token);
        } else if self.kept.is_open() && !self.session.settings().unclaimed_kept_for.is_zero() {
            self.kept.put(item);
            let bytes_max = self.session.settings().limits.held_bytes_max / 2;
            while let Some(oldest) = self.kept.overflow(bytes_max) {
                self.give_up(now, oldest);
            }
        } else {
            self.give_up(now, item);
        }
    }

    /// A message is for nobody.
    fn give_up(&mut self, now: Timestamp, item: Item) {
        self.unclaimed += 1;
        if self.unclaimed == 1 {
            self.tell(&ClientEvent::Unclaimed { topic: Arc::clone(item.message.topic()) });
        }
        let _ = self.acknowledge(now, item.token, ReasonCode::Success);
    }

    /// How many messages came for which there was no mailbox.
    pub const fn unclaimed(&self) -> u64 {
        self.unclaimed
    }

    /// The driver: what holds on the connection, once after each CONNACK.
    pub const fn take_connected(&mut self) -> Option<Arc<Negotiated>> {
        self.connected.take()
    }

    /// How the last connection has ended, until the driver takes that. Everybody was told.
    pub const fn ended(&self) -> Option<&Arc<Ended>> {
        self.ended.as_ref()
    }

    /// The driver: how the last connection has ended, once.
    pub const fn take_ended(&mut self) -> Option<Arc<Ended>> {
        self.ended.take()
    }

    /// Whether there is something for the driver to do at once.
    pub fn has_work(&self) -> bool {
        !self.session.outbound().is_empty()
            || self.session.has_release_steps()
            || self.session.has_events()
            || self.session.wants_close()
    }

    /// The driver sleeps until it is woken, or until something else wakes it.
    pub fn park(&mut self, waker: &Waker) {
        let mut driver = self.driver.take();
        self.wakes.replace(&mut driver, waker);
        self.driver = driver;
    }

    /// Wakes the driver, if it sleeps.
    pub fn ring(&mut self) {
        let driver = self.driver.take();
        self.wakes.add(driver);
    }

    /// Ends everything: nobody waits any more, and no mailbox takes anything. What is in them may
    /// still be taken.
    pub fn close(&mut self, now: Timestamp) -> crate::Unfinished {
        self.close_with(now, &crate::DisconnectOptions::default())
    }

    /// The same, with more to say than that; without it, if it cannot be said.
    pub fn close_with(
        &mut self,
        now: Timestamp,
        options: &crate::DisconnectOptions<'_>,
    ) -> crate::Unfinished {
        let unfinished = self.session.close_with(now, options);
        self.settle(now);
        self.is_closed = true;
        for mailbox in self.mailboxes.iter_mut() {
            mailbox.close(Closed::ByClient, &mut self.wakes);
        }
        self.wakes.add_all(&mut self.without_room);
        self.wakes.add_all(&mut self.until_idle);
        self.lifecycle.end(&mut self.wakes);
        self.ring();
        unfinished
    }
}
