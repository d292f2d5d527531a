//! The task of a client: connects, serves the connection, and connects again as the plan says,
//! until the client is to end.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use noctule_client_core::{
    ClientEvent, ConnectOptions, Ended, ReconnectPlan, Step, StopCause, Target, Timestamp,
    TransportEnd,
};
use noctule_transport::{Dialer, DialerBuilder, TransportError, Url};
use tokio::time::{Instant, sleep_until};

use crate::alarm::Alarm;
use crate::connection::Connection;
use crate::credentials::CredentialsProvider;
use crate::error::StopReason;
use crate::shared::Shared;
use crate::state::State;

/// The task of a client.
pub(crate) struct Driver {
    pub(crate) shared: Arc<Shared>,
    /// The user's endpoints, in order; at least one.
    pub(crate) dialers: Vec<Dialer>,
    /// What a server that we are redirected to is reached with.
    pub(crate) transport: DialerBuilder,
    pub(crate) plan: ReconnectPlan,
    /// What CONNECT says, but for the credentials of a provider.
    pub(crate) options: ConnectOptions,
    pub(crate) provider: Option<Arc<dyn CredentialsProvider>>,
    /// Why the last attempt did not even come to a connection.
    pub(crate) last_error: Option<Arc<TransportError>>,
    /// How the last connection ended.
    pub(crate) last_ended: Arc<Ended>,
}

/// The client is to end.
struct Over;

impl Driver {
    /// Does everything until the client has ended.
    pub(crate) async fn run(mut self) {
        let mut step = self.plan.first(self.shared.now());
        let reason = loop {
            match step {
                Step::Connect { at, target, failures } => {
                    match self.attempt(at, &target, failures).await {
                        Ok(ended) => step = self.plan.disconnected(self.shared.now(), &ended),
                        Err(Over) => break StopReason::ShutDown,
                    }
                }
                Step::Stop(cause) => break self.reason(&cause),
            }
        };
        self.finish(Arc::new(reason));
    }

    /// Why the plan ends here.
    fn reason(&self, cause: &StopCause) -> StopReason {
        match (cause, &self.last_error) {
            (StopCause::ByUser, _) => StopReason::ShutDown,
            (_, Some(error)) => StopReason::Transport(Arc::clone(error)),
            (_, None) => StopReason::Ended(Arc::clone(&self.last_ended)),
        }
    }

    /// Tells everybody that there will be nothing more.
    fn finish(&self, reason: Arc<StopReason>) {
        let now = self.shared.now();
        let error = match &*reason {
            StopReason::ShutDown => None,
            other => Some(Arc::from(other.to_string())),
        };
        self.shared.with(|inner| {
            inner.hub.tell(&ClientEvent::Stopped { error });
            let unfinished = inner.hub.close(now);
            inner.unfinished.get_or_insert(unfinished);
        });
        self.shared.enter(State::Stopped(reason));
    }

    /// One attempt, and the connection that comes of it: how that ended.
    async fn attempt(
        &mut self,
        at: Timestamp,
        target: &Target,
        failures: u32,
    ) -> Result<Arc<Ended>, Over> {
        let now = self.shared.now();
        if at > now {
            let delay = at.since(now);
            self.shared.enter(State::Waiting(delay));
            self.shared.with(|inner| inner.hub.tell(&ClientEvent::Waiting { delay }));
            self.meanwhile(sleep_until(self.shared.instant(at))).await?;
        }
        self.shared.enter(State::Connecting);
        match self.open(target, failures).await? {
            Ok(stream) => Ok(self.serve(stream).await),
            Err(error) => {
                let text = Arc::from(error.to_string());
                self.shared.with(|inner| {
                    inner.hub.tell(&ClientEvent::ConnectFailed { error: text });
                });
                self.last_error = Some(Arc::new(error));
                Ok(Arc::new(Ended::Transport(TransportEnd::NotOpened)))
            }
        }
    }

    /// Opens the transport, with fresh credentials.
    async fn open(
        &mut self,
        target: &Target,
        failures: u32,
    ) -> Result<Result<noctule_transport::Connected, TransportError>, Over> {
        let dialer = match self.dialer(target) {
            Ok(dialer) => dialer,
            Err(error) => return Ok(Err(error)),
        };
        let endpoint = Arc::from(dialer.url().to_string());
        self.shared.with(|inner| {
            let attempt = failures.saturating_add(1);
            inner.hub.tell(&ClientEvent::Connecting { attempt, endpoint });
        });
        let mut options = self.options.clone();
        if let Some(provider) = self.provider.clone() {
            match self.meanwhile(provider.credentials()).await? {
                Ok(credentials) => {
                    options.user_name = credentials.user_name;
                    options.password = credentials.password;
                }
                Err(error) => return Ok(Err(TransportError::Connector(error))),
            }
        }
        if let Target::Redirected { with_credentials: false, .. } = target {
            (options.user_name, options.password) = (None, None);
        }
        let is_set = self.shared.with(|inner| inner.hub.session_mut().set_connect_options(options));
        if let Err(error) = is_set {
            return Ok(Err(TransportError::Connector(error.into())));
        }
        self.meanwhile(dialer.dial()).await
    }

    fn dialer(&self, target: &Target) -> Result<Dialer, TransportError> {
        let own = |at: usize| {
            let dialer = self.dialers.get(at).or(self.dialers.first()).cloned();
            dialer.ok_or_else(|| TransportError::Connector("there is no endpoint".into()))
        };
        let (reference, home) = match target {
            Target::Endpoint(at) => return own(*at),
            Target::Redirected { reference, .. } => (reference, own(0)?),
        };
        let boxed =
            |error: Box<dyn std::error::Error + Send + Sync>| TransportError::Connector(error);
        // A host alone is reached the way that its referrer was.
        let text = if reference.contains("://") {
            reference.to_string()
        } else {
            format!("{}://{reference}", home.url().scheme().name())
        };
        let url: Url = text.parse().map_err(|error| boxed(Box::new(error)))?;
        self.transport.with_url(url).build().map_err(|error| boxed(Box::new(error)))
    }

    /// Serves a connection until it has ended.
    async fn serve(&mut self, connected: noctule_transport::Connected) -> Arc<Ended> {
        self.last_error = None;
        let shared = Arc::clone(&self.shared);
        let now = shared.now();
        shared.with(|inner| {
            inner.hub.session_mut().transport_up(now);
        });
        let plan = &mut self.plan;
        let end = Connection::new(&shared, connected.stream)
            .serve(|| {
                let connected = shared.with(|inner| {
                    inner.end_if_due(shared.now());
                    inner.hub.take_connected()
                });
                if let Some(negotiated) = connected {
                    plan.connected(shared.now());
                    shared.enter(State::Connected(negotiated));
                }
            })
            .await;
        let now = shared.now();
        let ended = shared.with(|inner| {
            inner.hub.session_mut().transport_down(now, end);
            inner.hub.settle(now);
            inner.hub.take_ended()
        });
        self.last_ended = ended.unwrap_or_else(|| Arc::new(Ended::Transport(end)));
        Arc::clone(&self.last_ended)
    }

    /// Waits for something without a connection, and looks after the session meanwhile.
    async fn meanwhile<T>(&self, awaited: impl Future<Output = T>) -> Result<T, Over> {
        let mut awaited = pin!(awaited);
        let mut alarm = Alarm::default();
        poll_fn(|context| {
            loop {
                let now = self.shared.now();
                let (is_over, deadline, ends_at) = self.shared.with(|inner| {
                    inner.hub.session_mut().on_timeout(now);
                    inner.hub.settle(now);
                    inner.end_if_due(now);
                    inner.hub.park(context.waker());
                    let deadline = inner.hub.session().poll_timeout();
                    (inner.unfinished.is_some(), deadline, inner.ends_at)
                });
                if is_over {
                    return Poll::Ready(Err(Over));
                }
                if let Poll::Ready(result) = awaited.as_mut().poll(context) {
                    return Poll::Ready(Ok(result));
                }
                let deadline = deadline.map(|deadline| self.shared.instant(deadline));
                alarm.set(earlier(deadline, ends_at));
                if pin!(&mut alarm).poll(context).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

pub(crate) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
