//! What the handles of a client and its driver share, behind one lock that nobody holds while
//! anything waits or while code of the user's runs.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant};

use noctule_client_core::PublishRefused;
use noctule_client_core::{
    DisconnectOptions, Doubt, Ended, Hub, OperationId, Outcome, Publication, Status, Timestamp,
    Unfinished,
};
use noctule_packet::QoS;

use crate::clock;
use crate::connection_end::ConnectionEnd;
use crate::draft::Draft;
use crate::error::PublishError;
use crate::extensions::Extensions;
use crate::interceptor;
use crate::meter::Meter;
use crate::metrics::Counter;
use crate::state::State;
#[cfg(feature = "store")]
use crate::store::Journal;
#[cfg(not(feature = "store"))]
use crate::store_off::Journal;
use crate::subscription::Incoming;
use crate::users::Users;
use crate::wish::Wish;

/// What a time counts as that lies beyond what any clock can say.
pub(crate) const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// What the handles of a client and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    inner: Mutex<Inner>,
    /// What the program has put in, if it has; set before anything happens.
    extensions: OnceLock<Extensions>,
    /// When the client's clock began.
    started: Instant,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) hub: Hub,
    pub(crate) state: State,
    /// Those who wait for another state.
    pub(crate) watchers: Vec<Waker>,
    /// The client is to end at this time, at the latest.
    pub(crate) ends_at: Option<Instant>,
    /// What the user wants of the connection.
    pub(crate) wish: Wish,
    /// How the last connection ended that the server had accepted.
    pub(crate) last_end: Option<ConnectionEnd>,
    /// How the connection that is over seems to have ended, until everybody is told.
    pub(crate) ending: Option<ConnectionEnd>,
    /// What the last attempt has come to, if to nothing, since then.
    pub(crate) last_failure: Option<ConnectionEnd>,
    /// The pause before the next attempt is to end.
    pub(crate) is_hurried: bool,
    /// What to say at the end, unless that is the usual.
    pub(crate) farewell: Option<DisconnectOptions<'static>>,
    /// How many streams use which subscription.
    pub(crate) users: Users,
    /// Where answers to requests come, once that is subscribed to.
    pub(crate) replies: Option<Replies>,
    /// What the user wants to be before it.
    pub(crate) replies_below: Option<Box<str>>,
    /// How many requests were made.
    pub(crate) requests: u64,
    /// What was left undone, once the client has ended.
    pub(crate) unfinished: Option<Unfinished>,
    /// What of the session is durable, if it is to be.
    pub(crate) journal: Option<Journal>,
    /// Whether the client ended without having stored everything.
    pub(crate) has_lost_store: bool,
    /// What is under way, if somebody wants to know how long it takes.
    meter: Option<Box<Meter>>,
}

/// Where answers to requests come.
#[derive(Clone, Debug)]
pub(crate) struct Replies {
    /// The topic above those of all answers.
    pub(crate) below: Arc<str>,
    /// Tells the requests of this process from those of others with the same name.
    pub(crate) run: u32,
}

/// DISCONNECT has at least so long, however little time the user has left: it is written at once
/// by whoever can write.
const LAST_WORD: Duration = Duration::from_millis(100);

impl Inner {
    /// Ends the session if the client is to end, and either nothing is left to do or its time is
    /// up.
    pub(crate) fn end_if_due(&mut self, now: Timestamp) {
        let Some(at) = self.ends_at.filter(|_| self.unfinished.is_none()) else { return };
        let is_late = at <= clock::now();
        if (self.hub.is_idle() || is_late) && self.keep_all(now, is_late) {
            self.close(now);
        }
    }

    /// Ends the session.
    pub(crate) fn close(&mut self, now: Timestamp) {
        if self.hub.session().status() == Status::Online {
            self.state = State::Disconnecting;
        }
        let mut unfinished = match self.farewell.take() {
            // What cannot be said is said without the options.
            Some(options) => self.hub.close_with(now, &options),
            None => self.hub.close(now),
        };
        if let Some(at) = self.ends_at {
            let left = at.saturating_duration_since(clock::now());
            self.hub.session_mut().close_by(now + left.max(LAST_WORD));
        }
        unfinished.are_stored &= !self.has_lost_store;
        self.unfinished.get_or_insert(unfinished);
    }

    /// Tells everybody what has happened, as soon as the store has what it depends on. Whether the
    /// store has been given everything, so that what is to be written may be taken.
    #[inline]
    pub(crate) fn settle(&mut self, now: Timestamp) -> bool {
        let Some(journal) = &mut self.journal else {
            self.hub.settle(now);
            self.note_end();
            return true;
        };
        if journal.is_busy() {
            return false;
        }
        let tellable = journal.tellable(self.hub.session_mut());
        self.hub.settle_first(now, tellable);
        journal.submit(self.hub.session_mut());
        self.note_end();
        true
    }

    /// Has the end of a connection ready for those who ask because they were told of it.
    #[inline]
    fn note_end(&mut self) {
        if self.ending.is_some()
            && let Some(ended) = self.hub.ended()
        {
            let ended = Arc::clone(ended);
            self.keep_end(&ended);
        }
    }

    /// Keeps how the connection has ended that was ending.
    pub(crate) fn keep_end(&mut self, ended: &Arc<Ended>) {
        let Some(mut end) = self.ending.take() else { return };
        // The server's own words say more than what became of the transport then.
        if !matches!(**ended, Ended::Transport(_)) {
            end.error = None;
        }
        end.ended = Arc::clone(ended);
        match end.negotiated {
            Some(_) => (self.last_end, self.last_failure) = (Some(end), None),
            None => self.last_failure = Some(end),
        }
    }

    /// Tells what has become durable, and gives the store nothing yet.
    pub(crate) fn tell(&mut self, now: Timestamp) {
        if let Some(journal) = &mut self.journal
            && !journal.is_busy()
        {
            let tellable = journal.tellable(self.hub.session_mut());
            self.hub.settle_first(now, tellable);
            self.note_end();
        }
    }

    /// Has everything stored and told. Whether it is; a store that fails is given up if that is
    /// allowed.
    pub(crate) fn keep_all(&mut self, now: Timestamp, may_give_up: bool) -> bool {
        self.settle(now);
        let Some(journal) = &mut self.journal else { return true };
        if may_give_up && journal.has_failed() && !journal.is_given_up() {
            journal.give_up();
            self.has_lost_store = true;
        }
        journal.is_given_up() || journal.is_quiet(self.hub.session_mut())
    }

    /// When the client is to end, unless only the store keeps it: that rings.
    pub(crate) fn end_due(&self) -> Option<Instant> {
        let waits_for_store = |at: &Instant| self.is_keeping() && *at <= clock::now();
        self.ends_at.filter(|at| self.unfinished.is_none() && !waits_for_store(at))
    }

    /// Whether the store has something under way that what was received depends on.
    pub(crate) fn is_keeping(&self) -> bool {
        self.journal.as_ref().is_some_and(Journal::is_busy)
    }

    /// The driver sleeps, unless there is something to do that nobody would wake it for.
    pub(crate) fn park(&mut self, waker: &Waker) {
        self.hub.park(waker);
        if let Some(journal) = &mut self.journal
            && journal.has_news(self.hub.session_mut())
        {
            self.hub.ring();
        }
    }

    /// The same without a connection: whoever wanted something since the driver looked has found
    /// nobody to wake.
    pub(crate) fn park_offline(&mut self, waker: &Waker) {
        self.park(waker);
        if self.unfinished.is_some() || self.wish.is_new() {
            self.hub.ring();
        }
    }

    /// Whether the store takes a message.
    pub(crate) fn check_store(&self, publication: &Publication<'_>) -> Result<(), PublishError> {
        let Some(journal) = &self.journal else { return Ok(()) };
        if publication.qos == QoS::AtMostOnce {
            return Ok(());
        }
        // The end has to come some time.
        if self.ends_at.is_some_and(|at| at <= clock::now()) {
            return Err(PublishRefused::Closed.into());
        }
        journal.check()
    }

    /// Publishes a message.
    pub(crate) fn publish(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
    ) -> Result<OperationId, PublishError> {
        self.check_store(publication)?;
        Ok(self.hub.publish(now, publication)?)
    }

    /// How an operation ended, where the store could not keep it.
    pub(crate) fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Indeterminate { why: Doubt::Stored } if self.has_lost_store => {
                Outcome::Indeterminate { why: Doubt::Closed }
            }
            other => other,
        }
    }
}

impl Shared {
    pub(crate) fn new(hub: Hub) -> Self {
        let inner = Inner {
            hub,
            state: State::Connecting,
            watchers: Vec::new(),
            ends_at: None,
            wish: Wish::default(),
            last_end: None,
            ending: None,
            last_failure: None,
            is_hurried: false,
            farewell: None,
            users: Users::default(),
            replies: None,
            replies_below: None,
            requests: 0,
            unfinished: None,
            journal: None,
            has_lost_store: false,
            meter: None,
        };
        let extensions = OnceLock::new();
        Self { inner: Mutex::new(inner), extensions, started: clock::now() }
    }

    /// Takes what the program puts in. Only the first time counts.
    pub(crate) fn extend(&self, extensions: Extensions) {
        if extensions.metrics.is_some() {
            self.with(|inner| {
                inner.hub.session_mut().observe();
                inner.meter = Some(Box::default());
            });
        }
        if extensions.release_remarks.is_some() {
            self.with(|inner| inner.hub.session_mut().ask_for_release_remarks());
        }
        let _ = self.extensions.set(extensions);
    }

    /// What the program has put in.
    pub(crate) fn extensions(&self) -> &Extensions {
        static NOTHING: Extensions = Extensions::NOTHING;
        self.extensions.get().unwrap_or(&NOTHING)
    }

    /// The time on the client's clock.
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::default() + clock::now().saturating_duration_since(self.started)
    }

    /// A time on the client's clock as the system tells it.
    pub(crate) fn instant(&self, at: Timestamp) -> Instant {
        self.started + at.since(Timestamp::default()).min(FAR)
    }

    /// Does something with the hub, and wakes whom that concerns.
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Inner) -> R) -> R {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let result = act(&mut inner);
        let Inner { hub, meter, .. } = &mut *inner;
        let reading = meter.as_mut().and_then(|meter| meter.read(hub));
        let wakes = hub.take_wakes();
        drop(inner);
        // Whoever is woken finds it counted.
        if let Some(reading) = reading {
            self.extensions().tell(|metrics| reading.tell(metrics));
        }
        wakes.wake();
        result
    }

    /// What the interceptors make of a message that is about to be published, if there are any.
    pub(crate) fn intercept<'p>(
        &self,
        publication: &Publication<'p>,
    ) -> Result<Option<Draft<'p>>, PublishError> {
        let interceptors = &self.extensions().interceptors;
        if interceptors.is_empty() {
            return Ok(None);
        }
        let version = self.with(|inner| inner.hub.session().version());
        interceptor::outgoing(interceptors, publication, version).map(Some)
    }

    /// Publishes a message, as the interceptors leave it.
    pub(crate) fn publish(
        &self,
        publication: &Publication<'_>,
    ) -> Result<OperationId, PublishError> {
        let draft = self.intercept(publication)?;
        let changed = draft.as_ref().map(Draft::publication).transpose()?;
        let publication = changed.as_ref().unwrap_or(publication);
        let with_alias = self.with_alias(publication);
        let publication = with_alias.as_ref().unwrap_or(publication);
        let now = self.now();
        self.with(|inner| inner.publish(now, publication))
    }

    /// What the interceptors leave of a message that is about to be given to its user.
    pub(crate) fn admit(&self, incoming: Incoming) -> Option<Incoming> {
        let extensions = self.extensions();
        if extensions.interceptors.is_empty() {
            return Some(incoming);
        }
        let admitted = interceptor::incoming(&extensions.interceptors, incoming);
        if admitted.is_none() {
            extensions.count(Counter::MessagesFiltered, 1);
        }
        admitted
    }

    /// The store has something new to tell.
    #[cfg(feature = "store")]
    pub(crate) fn on_kept(&self) {
        let waiters = self.with(|inner| {
            inner.hub.ring();
            inner.journal.as_mut().map(Journal::on_change)
        });
        for waiter in waiters.into_iter().flatten() {
            waiter.wake();
        }
    }

    /// Enters another state, and wakes those who wait for one.
    pub(crate) fn enter(&self, state: State) {
        let watchers = self.with(|inner| {
            if !inner.wish.allows(&state) {
                return Vec::new();
            }
            inner.state = state;
            std::mem::take(&mut inner.watchers)
        });
        for watcher in watchers {
            watcher.wake();
        }
    }

    /// Ends the client, in a while at the latest: what is under way is finished before, if it can
    /// be.
    pub(crate) fn end_by(&self, at: Instant) {
        self.with(|inner| {
            let earlier = inner.ends_at.map_or(at, |known| known.min(at));
            inner.ends_at = Some(earlier);
            inner.hub.ring();
        });
    }
}

/// The user's side of a client: when the last one is dropped, the client ends.
#[derive(Debug)]
pub(crate) struct UserSide {
    pub(crate) shared: Arc<Shared>,
}

impl Drop for UserSide {
    fn drop(&mut self) {
        self.shared.end_by(clock::now() + crate::DRAIN_WHEN_DROPPED);
    }
}

/// The earlier of two times, if there is one.
pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
