//! The handle of a client: cheap to clone, and usable from anywhere.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use noctule_client_core::{
    ClientEvent, DisconnectOptions, DisconnectRefused, Negotiated, RequestRefused,
    SubscriptionStatus, Unfinished, enlist,
};

use crate::builder::ClientBuilder;
use crate::clock;
use crate::connection_end::ConnectionEnd;
use crate::error::{ConnectError, ReauthenticateError, StopReason};
use crate::events::Events;
use crate::group::Group;
use crate::mode::{Async, Blocking, Mode};
use crate::ping::{PingError, ping};
use crate::publish::Publish;
use crate::request::{Request, within};
use crate::resubscribe::{Resubscription, resubscribe};
use crate::route::Route;
use crate::shared::{FAR, Shared, UserSide};
use crate::state::State;
use crate::subscribe::Subscribe;
use crate::subscription::{Incoming, Subscription};
use crate::unsubscribe::Unsubscribe;
use crate::users::Filters;
use crate::wait::{block_on, try_block_on};

/// A client. Clones are the same client; when the last one and all subscriptions are gone, it
/// finishes what is under way and ends.
///
/// A task of its own keeps the connection. Nothing that the user does, or does not do, keeps it
/// from acknowledging and from staying alive, and every call is allowed from everywhere.
///
/// ```no_run
/// use noctule_client::{Client, QoS};
///
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// let client = Client::builder("mqtt://localhost").client_id("kitchen").connect().await?;
/// let mut lights = client.subscribe("house/+/light").await?;
/// let receipt = client.publish("house/kitchen/light", "on").qos(QoS::AtLeastOnce).send()?;
/// assert!(receipt.await.is_delivered());
/// while let Some(message) = lights.recv().await {
///     println!("{}: {}", message.topic(), message.text().unwrap_or("?"));
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Client<D> {
    user: Arc<UserSide>,
    mode: Mode<D>,
}

impl<D> Clone for Client<D> {
    fn clone(&self) -> Self {
        Self::new(Arc::clone(&self.user))
    }
}

/// What a client left undone when it was shut down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownReport {
    /// What was left undone.
    pub unfinished: Unfinished,
}

impl ShutdownReport {
    /// Whether nothing was left undone.
    pub const fn is_clean(&self) -> bool {
        let left = &self.unfinished;
        left.queued == 0 && left.in_flight == 0 && left.requests == 0
    }
}

impl<D> Client<D> {
    /// Settings of a client for the server of a URL: `mqtt://` (or a host alone), `mqtts://`,
    /// `ws://`, `wss://` or `unix://`, with user name and password if it needs them. What is wrong
    /// with it, connecting tells.
    pub fn builder(url: impl Into<String>) -> ClientBuilder<D> {
        ClientBuilder::new(url.into())
    }

    pub(crate) const fn new(user: Arc<UserSide>) -> Self {
        Self { user, mode: PhantomData }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.user.shared
    }

    /// A message to publish. Without a connection it waits in the offline queue.
    pub fn publish<'a>(
        &'a self,
        topic: &'a str,
        payload: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Publish<'a, D> {
        Publish::new(self.shared(), topic, payload.as_ref())
    }

    /// A subscription to ask for.
    pub fn subscribe(&self, filter: &str) -> Subscribe<D> {
        Subscribe::new(Arc::clone(&self.user), filter)
    }

    /// Subscriptions to end at the server, whoever has made them and whoever uses them.
    pub fn unsubscribe(&self, filters: &[&str]) -> Unsubscribe<D> {
        let filters = filters.iter().map(|&filter| filter.to_owned()).collect();
        Unsubscribe::new(Arc::clone(&self.user), filters)
    }

    /// A route to ask for: a subscription by a pattern whose wildcards have names, such as
    /// `plant/{site}/{unit=**}`.
    pub fn route(&self, pattern: &str) -> Route<D> {
        Route::new(Arc::clone(&self.user), pattern)
    }

    /// Routes that begin alike.
    pub fn group(&self, prefix: &str) -> Group<D> {
        Group::new(self.clone(), prefix)
    }

    /// A request to send, whose answer is waited for; 5.0 only.
    pub fn request<'a>(
        &'a self,
        topic: &'a str,
        payload: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Request<'a, D> {
        Request::new(&self.user, topic, payload.as_ref())
    }

    /// Answers a request: publishes where its sender wants the answer, with what it wants to see
    /// again. `None` if it wants no answer.
    pub fn reply<'a>(
        &'a self,
        request: &'a Incoming,
        payload: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> Option<Publish<'a, D>> {
        let properties = request.properties();
        let topic = properties.response_topic?.as_str();
        let mut reply = self.publish(topic, payload).qos(request.qos());
        if let Some(data) = properties.correlation_data {
            reply = reply.correlation_data(data);
        }
        Some(reply)
    }

    /// The messages that no subscription's filter matches: those of an earlier session, for
    /// example. Without it they are acknowledged and counted, once there has been time to subscribe
    /// ([`unclaimed_kept_for`](noctule_client_core::Settings::unclaimed_kept_for)). There is one
    /// such stream; a new one takes over.
    pub fn unclaimed(&self) -> Subscription<D> {
        let settings = noctule_client_core::MailboxSettings::default();
        let mailbox = self.shared().with(|inner| {
            let mailbox = inner.hub.open_mailbox(settings);
            inner.hub.claim_rest(mailbox);
            mailbox
        });
        Subscription::new(Arc::clone(&self.user), mailbox, Filters::default(), Vec::new(), None)
    }

    /// What happens to the connection from now on.
    pub fn events(&self) -> Events<D> {
        Events::new(Arc::clone(self.shared()))
    }

    /// How things stand with the connection.
    pub fn state(&self) -> State {
        self.shared().with(|inner| inner.state.clone())
    }

    /// How the last connection has ended that the server had accepted, if one has: why, who wanted
    /// it, and what the server said.
    pub fn last_end(&self) -> Option<ConnectionEnd> {
        self.shared().with(|inner| inner.last_end.clone())
    }

    /// What the last attempt to connect has come to, if there is no connection because of that:
    /// that the server cannot be reached, or has refused.
    pub fn last_failure(&self) -> Option<ConnectionEnd> {
        self.shared().with(|inner| inner.last_failure.clone())
    }

    /// Connects again after [`disconnect`](Self::disconnect), in the background; otherwise nothing
    /// happens. What has failed before does not count any more.
    pub fn start(&self) {
        self.shared().go_online();
    }

    /// Connects anew at once, whatever there is: a connection ends with DISCONNECT, after what was
    /// published before, and so does an attempt that is under way, a pause, or that there was to be
    /// none. The session goes on, and with it everything that has not ended: what was published and
    /// asked for, streams and receipts.
    ///
    /// ```no_run
    /// # use noctule_client::Client;
    /// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// // The way to the server has changed, and waiting for a ping's time-out would take too long.
    /// client.reconnect();
    /// client.connected().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reconnect(&self) {
        self.shared().reconnect();
    }

    /// Ends the pause before the next attempt to connect, if there is one: the network is back, for
    /// example. A connection that there is stays; [`reconnect`](Self::reconnect) replaces it.
    pub fn reconnect_now(&self) {
        self.shared().with(|inner| {
            inner.is_hurried = true;
            inner.hub.ring();
        });
    }

    /// What is known of a subscription, by its whole filter, whoever has made it.
    pub fn subscription_status(&self, filter: &str) -> SubscriptionStatus {
        self.shared().with(|inner| inner.hub.session().subscription(filter))
    }

    /// What holds on the connection, if there is one.
    pub fn negotiated(&self) -> Option<Arc<Negotiated>> {
        match self.state() {
            State::Connected(negotiated) => Some(negotiated),
            _ => None,
        }
    }

    async fn until_connected(&self) -> Result<Arc<Negotiated>, ConnectError> {
        let stopped = |reason: &Arc<StopReason>| ConnectError::Stopped(Arc::clone(reason));
        poll_fn(|context| {
            self.shared().with(|inner| match &inner.state {
                State::Connected(negotiated) => Poll::Ready(Ok(Arc::clone(negotiated))),
                State::Stopped(reason) => Poll::Ready(Err(stopped(reason))),
                State::Connecting | State::Disconnecting | State::Offline | State::Waiting(_) => {
                    enlist(&mut inner.watchers, context.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }

    async fn until_connected_within(
        &self,
        timeout: Duration,
    ) -> Result<Arc<Negotiated>, ConnectError> {
        let connected = within(self.shared(), timeout, self.until_connected()).await;
        connected.unwrap_or(Err(ConnectError::TimedOut(timeout)))
    }

    async fn until_idle(&self) {
        poll_fn(|context| self.shared().with(|inner| inner.hub.poll_idle(context.waker()))).await;
    }

    async fn until_shut_down_with(
        &self,
        deadline: Duration,
        options: DisconnectOptions<'static>,
    ) -> Result<ShutdownReport, DisconnectRefused> {
        self.shared().with(|inner| {
            inner.hub.session().check_disconnect(&options)?;
            inner.farewell = Some(options);
            Ok(())
        })?;
        Ok(self.until_shut_down(deadline).await)
    }

    async fn until_shut_down(&self, deadline: Duration) -> ShutdownReport {
        let deadline = deadline.min(FAR);
        self.shared().end_by(clock::now() + deadline);
        let unfinished = poll_fn(|context| {
            self.shared().with(|inner| match (&inner.state, inner.unfinished) {
                (State::Stopped(_), Some(unfinished)) => Poll::Ready(unfinished),
                _ => {
                    enlist(&mut inner.watchers, context.waker());
                    Poll::Pending
                }
            })
        });
        ShutdownReport { unfinished: unfinished.await }
    }

    async fn prove_again(&self) -> Result<(), ReauthenticateError> {
        let mut events = Events::<Async>::watching(Arc::clone(self.shared()));
        let now = self.shared().now();
        self.shared().with(|inner| -> Result<(), ReauthenticateError> {
            inner.hub.session_mut().reauthenticate(now)?;
            inner.hub.ring();
            Ok(())
        })?;
        loop {
            match events.next_event().await {
                Some(ClientEvent::Reauthenticated) => return Ok(()),
                Some(ClientEvent::Disconnected { ended, .. }) => {
                    return Err(ReauthenticateError::Ended(ended));
                }
                Some(_) => {}
                None => return Err(ReauthenticateError::Closed),
            }
        }
    }
}

/// What a client does for those who wait for it, as futures or as calls that return when it is
/// done.
macro_rules! waiting {
    ($mode:ty, [$($asynchronous:tt)?], $wait:ident, $try_wait:ident) => {
        impl Client<$mode> {
            /// Waits until there is a connection, also while the user wants
            /// [none](Self::disconnect).
            ///
            /// # Errors
            ///
            /// If there will be none.
            pub $($asynchronous)? fn connected(&self) -> Result<Arc<Negotiated>, ConnectError> {
                $try_wait!(self.until_connected())
            }

            /// The same, but not longer than so long.
            ///
            /// # Errors
            ///
            /// If there is none by then, or will be none.
            pub $($asynchronous)? fn connected_within(
                &self,
                timeout: Duration,
            ) -> Result<Arc<Negotiated>, ConnectError> {
                $try_wait!(self.until_connected_within(timeout))
            }

            /// Ends the connection with DISCONNECT, after what was published before, and waits
            /// until it has ended: there will be none until [`start`](Self::start). An attempt that
            /// is under way ends, too.
            ///
            /// Everything else stays: the session, if it outlives connections at the server,
            /// streams and receipts, and what is published meanwhile waits in the offline queue.
            /// [`shutdown`](Self::shutdown) ends the client for good.
            pub $($asynchronous)? fn disconnect(&self) {
                // It says nothing that could be refused.
                let _ = $wait!(self.shared().disconnect(&DisconnectOptions::default()));
            }

            /// The same, with more to say in DISCONNECT: a reason, which may be one that has the
            /// will published, another lifetime of the session, properties. 5.0 only.
            ///
            /// # Errors
            ///
            /// If that cannot be said. The connection goes on.
            pub $($asynchronous)? fn disconnect_with(
                &self,
                options: &DisconnectOptions<'_>,
            ) -> Result<(), DisconnectRefused> {
                $wait!(self.shared().disconnect(options))
            }

            /// Asks the server again for all subscriptions that it has granted, those too that it
            /// has forgotten and that nobody has unsubscribed from since, and waits for its
            /// answers, one for each filter. Streams go on with what they bring.
            ///
            /// It is what happens by itself when the server has forgotten the session, unless
            /// [`Settings::subscribes_again`](crate::Settings::subscribes_again) is off.
            ///
            /// # Errors
            ///
            /// If nothing can be asked: without a connection where requests are not kept, or with
            /// too many requests under way. Nothing was asked then.
            pub $($asynchronous)? fn resubscribe(
                &self,
            ) -> Result<Vec<Resubscription>, RequestRefused> {
                $wait!(resubscribe(self.shared()))
            }

            /// Asks the server for a sign of life now, and waits for it: how long it took.
            ///
            /// It is not needed to keep the connection, which
            /// [`ClientBuilder::keep_alive`](crate::generic::ClientBuilder::keep_alive) does. The
            /// connection ends if no answer comes within
            /// [`ping_timeout`](crate::generic::ClientBuilder::ping_timeout). What comes after
            /// other pings, [`ClientEvent::PingAnswered`] tells, too. A pinger of the program's own
            /// is this, with a keep alive of zero.
            ///
            /// # Errors
            ///
            /// If there is no connection, or if it ends before the answer.
            pub $($asynchronous)? fn ping(&self) -> Result<Duration, PingError> {
                $try_wait!(ping(self.shared()))
            }

            /// Authenticates again on the same connection.
            ///
            /// # Errors
            ///
            /// If the connection has no authentication method, or ends over it.
            pub $($asynchronous)? fn reauthenticate(&self) -> Result<(), ReauthenticateError> {
                $try_wait!(self.prove_again())
            }

            /// Waits until everything that was published and asked for has ended, in one way or
            /// another.
            pub $($asynchronous)? fn idle(&self) {
                $wait!(self.until_idle())
            }

            /// Ends the client: waits until everything has ended, but not longer than `deadline`,
            /// says DISCONNECT, and tells what was left undone. Streams end when they are empty.
            ///
            /// When the time is up, DISCONNECT has a tenth of a second more to leave, behind what
            /// the transport was given before. A server that does not take it by then sees the
            /// connection end without one, and publishes the will. So `Duration::ZERO` is for
            /// whoever has nothing under way, or a will that may be published. TLS and WebSocket
            /// have a second for their farewells.
            pub $($asynchronous)? fn shutdown(&self, deadline: Duration) -> ShutdownReport {
                $wait!(self.until_shut_down(deadline))
            }

            /// The same, with more to say in DISCONNECT: a reason, which may be one that has the
            /// will published, another lifetime of the session, properties. 5.0 only.
            ///
            /// # Errors
            ///
            /// If that cannot be said. The client goes on.
            pub $($asynchronous)? fn shutdown_with(
                &self,
                deadline: Duration,
                options: DisconnectOptions<'static>,
            ) -> Result<ShutdownReport, DisconnectRefused> {
                $wait!(self.until_shut_down_with(deadline, options))
            }
        }
    };
}

macro_rules! awaited {
    ($future:expr) => {
        $future.await
    };
}

macro_rules! blocked {
    ($future:expr) => {
        block_on($future)
    };
}

macro_rules! blocked_if_possible {
    ($future:expr) => {
        try_block_on($future)
    };
}

waiting!(Async, [async], awaited, awaited);
waiting!(Blocking, [], blocked, blocked_if_possible);
