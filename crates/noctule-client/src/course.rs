//! The way of a client through its connections: what each attempt needs, what it comes to, and what
//! everybody is told about it, whoever carries it out.

use std::borrow::Cow;
use std::error::Error;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use noctule_client_core::{
    AuthenticationDone, AuthenticationStep, ClientEvent, ConnectOptions, Ended, Failure,
    Negotiated, ReconnectPlan, Step, StopCause, Target, Timestamp, TransportEnd,
};
use noctule_transport::{DialerBuilder, TransportError, WebSocketError};

use crate::attempt::AttemptError;
use crate::clock;
use crate::connection_end::ConnectionEnd;
use crate::credentials::{Credentials, CredentialsProvider};
use crate::error::StopReason;
use crate::extensions::shielded;
use crate::metrics::{Cause, Counter, Latency};
use crate::reconnector::{NextAttempt, Reconnector};
use crate::referral::referred;
use crate::shared::{FAR, Shared};
use crate::state::State;
#[cfg(feature = "store")]
use crate::store::Journal;
#[cfg(not(feature = "store"))]
use crate::store_off::Journal;
use crate::trace::Trace;

/// The way of a client through its connections.
pub(crate) struct Course {
    pub(crate) shared: Arc<Shared>,
    /// Whether the session is to be durable.
    pub(crate) has_store: bool,
    /// How the user's endpoints are reached, in order; at least one.
    pub(crate) endpoints: Vec<DialerBuilder>,
    pub(crate) plan: ReconnectPlan,
    /// What CONNECT says, but for the credentials of a provider.
    pub(crate) options: ConnectOptions,
    pub(crate) provider: Option<Arc<dyn CredentialsProvider>>,
    /// How long that may take.
    pub(crate) credentials_timeout: Option<Duration>,
    /// How long it may take from the first address to CONNACK.
    pub(crate) connect_timeout: Option<Duration>,
    /// Who decides what comes after a connection, if not the plan alone. Nobody locks it: it only
    /// has to be such that threads may share it.
    pub(crate) reconnector: Option<Mutex<Box<dyn Reconnector>>>,
    /// What the endpoints' URLs say, unless there are credentials for all of them.
    pub(crate) url_credentials: Vec<Credentials>,
    /// The endpoint that was tried last.
    endpoint: usize,
    /// How the server is reached that is tried in its place, because the program says so.
    elsewhere: Option<DialerBuilder>,
    /// Why the last attempt did not even come to a connection.
    last_error: Option<AttemptError>,
    /// Why the transport broke, if TLS and WebSocket have nothing to say about it.
    broken: Option<Arc<io::Error>>,
    /// The host of the last attempt.
    server: String,
    /// How the last connection ended.
    last_ended: Arc<Ended>,
    /// When the last attempt began.
    begun: Instant,
    /// When its transport began to be opened.
    dialed: Timestamp,
    /// What holds on the connection, if the server has accepted it.
    connected: Option<Arc<Negotiated>>,
    /// Tells the program's log.
    pub(crate) trace: Trace,
}

/// What was noted of the session.
pub(crate) struct Noted {
    /// Whether the client has ended without its store, so that nothing more may be written.
    pub(crate) is_lost: bool,
}

/// What comes next.
pub(crate) enum Next {
    /// Connect, after a pause.
    Attempt { at: Timestamp, target: Target, failures: u32 },
    /// Nothing, until the user wants a connection again.
    Rest,
    /// Nothing more.
    End(StopReason),
}

/// Why to leave what is waited for without a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interruption {
    /// The client is to end.
    Over,
    /// The user wants something else.
    Wish,
}

impl Course {
    pub(crate) fn new(
        shared: Arc<Shared>,
        endpoints: Vec<DialerBuilder>,
        plan: ReconnectPlan,
        options: ConnectOptions,
        provider: Option<Arc<dyn CredentialsProvider>>,
    ) -> Self {
        let last_ended = Arc::new(Ended::Transport(TransportEnd::NotOpened));
        let has_store = shared.with(|inner| inner.journal.is_some());
        Self {
            shared,
            has_store,
            endpoints,
            plan,
            options,
            provider,
            credentials_timeout: None,
            connect_timeout: None,
            reconnector: None,
            url_credentials: Vec::new(),
            endpoint: 0,
            elsewhere: None,
            last_error: None,
            broken: None,
            server: String::new(),
            last_ended,
            begun: clock::now(),
            dialed: Timestamp::default(),
            connected: None,
            trace: Trace::new(),
        }
    }

    /// The first attempt.
    pub(crate) fn first(&mut self) -> Next {
        let step = self.plan.first(self.shared.now());
        self.next(step)
    }

    /// What comes after a connection that has ended.
    pub(crate) fn after(&mut self, ended: &Ended) -> Next {
        if self.shared.with(|inner| inner.wish.is_new()) {
            return self.as_wished();
        }
        let referrer = self.elsewhere.take();
        let step = self.plan.disconnected(self.shared.now(), ended);
        match self.decided(ended) {
            NextAttempt::AsPlanned => {
                if matches!(&step, Step::Connect { target: Target::Redirected { .. }, .. }) {
                    self.elsewhere = referrer;
                }
                self.next(step)
            }
            NextAttempt::After(delay) => {
                let step = self.plan.connect_at(self.shared.now() + delay);
                self.next(step)
            }
            NextAttempt::At { url, after } => {
                self.go_elsewhere(self.endpoint(self.endpoint).map(|it| it.with_url(url)), after)
            }
            NextAttempt::Stop => self.next(Step::Stop(StopCause::Forbidden(Failure::of(ended)))),
            NextAttempt::Through { dialer, after } => self.go_elsewhere(Some(*dialer), after),
        }
    }

    /// The next attempt goes to a server that is none of the endpoints.
    fn go_elsewhere(&mut self, dialer: Option<DialerBuilder>, after: Duration) -> Next {
        self.elsewhere = dialer;
        let (at, target) = (self.shared.now() + after, Target::Endpoint(self.endpoint));
        Next::Attempt { at, target, failures: self.plan.failures() }
    }

    /// How an endpoint is reached.
    fn endpoint(&self, at: usize) -> Option<&DialerBuilder> {
        self.endpoints.get(at).or(self.endpoints.first())
    }

    /// What the program decides, where there is something to decide. Nothing is locked.
    fn decided(&mut self, ended: &Ended) -> NextAttempt {
        let is_asked = !matches!(ended, Ended::ByUser | Ended::Downgraded { .. });
        let Some(reconnector) = self.reconnector.as_mut().filter(|_| is_asked) else {
            return NextAttempt::AsPlanned;
        };
        let failures = self.plan.failures();
        let reconnector = reconnector.get_mut().unwrap_or_else(PoisonError::into_inner);
        let end = self.shared.with(|inner| {
            let last = inner.last_failure.as_ref().or(inner.last_end.as_ref());
            last.cloned()
        });
        let mut next = NextAttempt::AsPlanned;
        if let Some(end) = end {
            shielded(|| next = reconnector.next_attempt(&end, failures));
        }
        next
    }

    /// What comes after the user has said what he wants.
    pub(crate) fn as_wished(&mut self) -> Next {
        self.elsewhere = None;
        let is_offline = self.shared.with(|inner| {
            inner.wish.take();
            inner.wish.is_offline
        });
        if is_offline {
            return Next::Rest;
        }
        let step = self.plan.restart(self.shared.now());
        self.next(step)
    }

    /// There is no connection, and none is made.
    pub(crate) fn rest(&self) {
        self.trace.offline();
        self.shared.with(|inner| {
            if !matches!(inner.state, State::Offline) {
                inner.hub.tell(&ClientEvent::Offline);
            }
        });
        self.shared.enter(State::Offline);
    }

    fn next(&self, step: Step) -> Next {
        match (step, &self.last_error) {
            (Step::Connect { at, target, failures }, _) => Next::Attempt { at, target, failures },
            (Step::Stop(StopCause::ByUser), _) => Next::End(StopReason::ShutDown),
            (Step::Stop(_), Some(error)) => Next::End(error.reason()),
            (Step::Stop(_), None) => Next::End(StopReason::Ended(Arc::clone(&self.last_ended))),
        }
    }

    /// How long to wait before an attempt; everybody is told.
    pub(crate) fn pause(&self, at: Timestamp) -> Option<Duration> {
        let now = self.shared.now();
        if at <= now {
            return None;
        }
        let delay = at.since(now).min(FAR);
        self.shared.with(|inner| {
            inner.is_hurried = false;
            inner.hub.tell(&ClientEvent::Waiting { delay });
        });
        self.trace.waiting(delay);
        self.shared.enter(State::Waiting(delay));
        Some(delay)
    }

    /// Whether the pause is to end at once.
    pub(crate) fn is_hurried(&self) -> bool {
        self.shared.with(|inner| inner.is_hurried)
    }

    /// An attempt begins: how its server is reached.
    pub(crate) fn begin(
        &mut self,
        target: &Target,
        failures: u32,
    ) -> Result<DialerBuilder, TransportError> {
        (self.begun, self.connected) = (clock::now(), None);
        self.shared.extensions().count(Counter::ConnectAttempts, 1);
        if let Target::Endpoint(at) = target {
            self.endpoint = *at;
        }
        let dialer = self.reach(target)?;
        self.server = dialer.url().host().unwrap_or_default().to_owned();
        let endpoint: Arc<str> = Arc::from(dialer.url().to_string());
        let attempt = failures.saturating_add(1);
        let told = Arc::from(&*without_user(&endpoint));
        let client_id = self.shared.with(|inner| {
            inner.hub.session_mut().set_server(&endpoint);
            inner.hub.tell(&ClientEvent::Connecting { attempt, endpoint: told });
            inner.hub.session().client_id().to_owned()
        });
        self.trace.attempt(&without_user(&endpoint), &client_id, attempt);
        if let Target::Redirected { reference, with_credentials } = target {
            self.trace.redirected(&without_user(reference), *with_credentials);
        }
        self.shared.enter(State::Connecting);
        Ok(dialer)
    }

    fn reach(&self, target: &Target) -> Result<DialerBuilder, TransportError> {
        let own = |at: usize| {
            let home = self.elsewhere.as_ref().or_else(|| self.endpoint(at)).cloned();
            home.ok_or_else(|| TransportError::Connector("there is no endpoint".into()))
        };
        let (reference, with_credentials, home) = match target {
            Target::Endpoint(at) => return own(*at),
            Target::Redirected { reference, with_credentials } => {
                (reference, *with_credentials, own(self.endpoint)?)
            }
        };
        let dialer = home.with_url(referred(home.url(), reference)?);
        Ok(if with_credentials { dialer } else { dialer.without_credentials() })
    }

    /// What CONNECT will say on the connection that is being made from now on.
    pub(crate) fn prepare(
        &mut self,
        target: &Target,
        credentials: Option<Credentials>,
    ) -> Result<(), TransportError> {
        self.dialed = self.shared.now();
        let mut options = self.options.clone();
        if let Some(own) = credentials.or_else(|| self.own_credentials()) {
            own.put_into(&mut options);
        }
        if let Target::Redirected { with_credentials: false, .. } = target {
            (options.user_name, options.password) = (None, None);
        }
        let is_stranger = matches!(target, Target::Redirected { with_credentials: false, .. });
        let is_set = self.shared.with(|inner| {
            let session = inner.hub.session_mut();
            session.withhold_authentication(is_stranger);
            session.set_connect_options(options)
        });
        is_set.map_err(unusable)
    }

    /// What the URL says, unless there are credentials for all of them.
    fn own_credentials(&self) -> Option<Credentials> {
        let own = self.url_credentials.get(self.endpoint)?;
        let elsewhere = self.elsewhere.as_ref().map(|dialer| Credentials::of(dialer.url()));
        Some(elsewhere.unwrap_or_else(|| own.clone()))
    }

    /// The transport stands: the session may begin.
    pub(crate) fn up(&mut self) {
        (self.last_error, self.broken) = (None, None);
        let now = self.shared.now();
        self.shared.with(|inner| {
            let session = inner.hub.session_mut();
            session.transport_up(now);
            if let Some(timeout) = self.connect_timeout {
                session.connect_by(self.dialed + timeout);
            }
            inner.leave_if_unwanted(now);
        });
    }

    /// Looks at what the session has come to, and ends it if it is to end.
    pub(crate) fn note_session(&mut self) -> Noted {
        let now = self.shared.now();
        let (connected, notes, steps, is_lost) = self.shared.with(|inner| {
            inner.end_if_due(now);
            let steps = inner.hub.session_mut().take_release_steps();
            (inner.hub.take_connected(), inner.hub.take_notes(), steps, inner.has_lost_store)
        });
        if !steps.is_empty() {
            self.shared.release(now, steps);
        }
        if let Some(negotiated) = connected {
            self.plan.connected(now);
            self.shared.with(|inner| inner.last_failure = None);
            self.connected = Some(Arc::clone(&negotiated));
            let (extensions, took) =
                (self.shared.extensions(), clock::now().saturating_duration_since(self.begun));
            extensions.latency(Latency::Connect, took);
            extensions.count(Counter::Connections, 1);
            self.trace.connected(&negotiated);
            self.shared.enter(State::Connected(negotiated));
        }
        notes.iter().for_each(|event| self.trace.session(event));
        Noted { is_lost }
    }

    /// The transport has ended.
    pub(crate) fn down(&mut self, end: TransportEnd, error: Option<io::Error>) {
        if let Some(error) = error {
            self.note_broken(error);
        }
        let now = self.shared.now();
        let ending = self.ending();
        self.shared.with(|inner| {
            inner.ending = Some(ending);
            inner.hub.session_mut().transport_down(now, end);
            if let Some(journal) = &mut inner.journal {
                journal.on_down();
            }
            inner.settle(now);
        });
    }

    /// Tells everybody why the transport broke. What TLS or WebSocket say about it is more than
    /// that it did.
    fn note_broken(&mut self, error: io::Error) {
        #[cfg(feature = "tls")]
        let tls = noctule_transport::TlsError::from_io(&error, &self.server).map(Into::into);
        #[cfg(not(feature = "tls"))]
        let tls: Option<TransportError> = None;
        let websocket = || WebSocketError::from_io(&error).map(TransportError::from);
        let known = tls.or_else(websocket).map(AttemptError::from);
        let text = match &known {
            Some(known) => Arc::from(known.to_string()),
            None => Arc::from(error.to_string()),
        };
        self.broken = known.is_none().then(|| Arc::new(error));
        self.last_error = known;
        self.trace.broken(&text);
        self.shared.with(|inner| inner.hub.tell(&ClientEvent::Broken { error: text }));
    }

    /// Ready when everybody was told what has happened.
    pub(crate) fn poll_told(&self, waker: &Waker) -> Poll<()> {
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.settle(now);
            inner.end_if_due(now);
            if inner.unfinished.is_some() || !inner.hub.session().has_events() {
                return Poll::Ready(());
            }
            inner.park(waker);
            Poll::Pending
        })
    }

    /// How the connection has ended, once everybody was told.
    pub(crate) fn ended(&mut self, end: TransportEnd) -> Arc<Ended> {
        let (ended, notes) =
            self.shared.with(|inner| (inner.hub.take_ended(), inner.hub.take_notes()));
        notes.iter().for_each(|event| self.trace.session(event));
        self.last_ended = ended.unwrap_or_else(|| Arc::new(Ended::Transport(end)));
        // The server's own words say more than what became of the transport then.
        if !matches!(*self.last_ended, Ended::Transport(_)) {
            (self.last_error, self.broken) = (None, None);
        }
        self.trace.ended(&self.last_ended, self.connected.is_some());
        self.shared.with(|inner| inner.keep_end(&self.last_ended));
        self.count_end();
        Arc::clone(&self.last_ended)
    }

    /// What is known of the end of a connection before the session has judged it.
    fn ending(&self) -> ConnectionEnd {
        let broken = self.broken.clone().map(|error| error as Arc<dyn Error + Send + Sync>);
        ConnectionEnd {
            ended: Arc::clone(&self.last_ended),
            error: self.last_error.as_ref().map(AttemptError::told).or(broken),
            negotiated: self.connected.clone(),
        }
    }

    fn count_end(&mut self) {
        self.broken = None;
        let cause = Cause::of(&self.last_ended);
        let counter = match self.connected.take() {
            Some(_) => Counter::ConnectionsLost(cause),
            None => Counter::AttemptsFailed(cause),
        };
        self.shared.extensions().count(counter, 1);
    }

    /// There was no transport.
    pub(crate) fn failed(&mut self, error: AttemptError) -> Arc<Ended> {
        let text: Arc<str> = Arc::from(error.to_string());
        self.trace.failed(&text);
        self.last_error = Some(error);
        self.last_ended = Arc::new(Ended::Transport(TransportEnd::NotOpened));
        let ending = self.ending();
        self.shared.with(|inner| {
            inner.ending = Some(ending);
            inner.keep_end(&self.last_ended);
            inner.hub.tell(&ClientEvent::ConnectFailed { error: text });
        });
        self.count_end();
        Arc::clone(&self.last_ended)
    }

    /// What an own method of authentication is to do now, with nothing locked.
    pub(crate) fn authentication_step(&self) -> Option<AuthenticationStep> {
        self.shared.with(|inner| inner.hub.session_mut().take_authentication_step())
    }

    /// It has done it.
    pub(crate) fn authenticated(&self, done: AuthenticationDone) {
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.hub.session_mut().authenticated(now, done);
            inner.settle(now);
        });
    }

    /// Looks after the session while there is no connection. Why not to wait any longer, if so.
    pub(crate) fn tend(&self) -> Option<Interruption> {
        let now = self.shared.now();
        self.shared.with(|inner| {
            inner.hub.on_timeout(now);
            inner.settle(now);
            inner.end_if_due(now);
            match inner.unfinished {
                Some(_) => Some(Interruption::Over),
                None => inner.wish.is_new().then_some(Interruption::Wish),
            }
        })
    }

    /// Ready when the store has everything, or cannot have it.
    pub(crate) fn poll_kept(&self, waker: &Waker) -> Poll<()> {
        let now = self.shared.now();
        self.shared.with(|inner| {
            if inner.unfinished.is_some() || inner.keep_all(now, true) {
                return Poll::Ready(());
            }
            inner.park(waker);
            Poll::Pending
        })
    }

    /// Tells everybody that there will be nothing more.
    pub(crate) fn close(&self, reason: &StopReason) {
        let now = self.shared.now();
        let error: Option<Arc<str>> = match reason {
            StopReason::ShutDown => None,
            other => Some(Arc::from(other.to_string())),
        };
        self.trace.stopped(error.as_deref());
        self.shared.with(|inner| {
            inner.close(now);
            // The last of all that is told.
            inner.hub.tell(&ClientEvent::Stopped { error });
        });
    }

    /// Ready when another process may have the store.
    pub(crate) fn poll_left(&self, waker: &Waker) -> Poll<()> {
        self.shared.with(|inner| {
            if inner.journal.as_ref().is_none_or(Journal::leave) {
                return Poll::Ready(());
            }
            // Whoever writes the store rings when it is gone.
            inner.hub.park(waker);
            Poll::Pending
        })
    }

    /// Nothing of the client is left but what its user holds.
    pub(crate) fn finish(&self, reason: StopReason) {
        self.shared.enter(State::Stopped(Arc::new(reason)));
    }
}

/// A URL, or a place that a server has named, without the user that may stand in it: for some
/// servers that is as good as a password.
fn without_user(place: &str) -> Cow<'_, str> {
    let (scheme, rest) = match place.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, place),
    };
    let end = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match (authority.rsplit_once('@'), scheme) {
        (None, _) => Cow::Borrowed(place),
        (Some((_, host)), Some(scheme)) => Cow::Owned(format!("{scheme}://{host}{path}")),
        (Some((_, host)), None) => Cow::Owned(format!("{host}{path}")),
    }
}

/// An attempt that fails before anything is connected.
pub(crate) fn unusable(error: impl Into<Box<dyn Error + Send + Sync>>) -> TransportError {
    TransportError::Connector(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_told_without_its_user() {
        for (place, told) in [
            ("mqtt://host:1883", "mqtt://host:1883"),
            ("mqtts://anna:***@host", "mqtts://host"),
            ("ws://a%40b@[::1]:80/mqtt?***", "ws://[::1]:80/mqtt?***"),
            ("ws://host/a@b", "ws://host/a@b"),
            ("anna@host:1883", "host:1883"),
            ("unix:///run/mqtt@home", "unix:///run/mqtt@home"),
        ] {
            assert_eq!(without_user(place), told);
        }
    }
}
