//! Routes: subscriptions by patterns with names, as streams or with handlers.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::ops::Deref;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use noctule_client_core::{Captures, Pattern, PatternError, Remarks};
use noctule_packet::{QoS, ReasonCode};
use thiserror::Error;

use crate::error::SubscribeError;
use crate::handler::{Control, Handler, Handling, Members};
use crate::mode::{Async, Blocking};
use crate::shared::UserSide;
use crate::subscribe::Subscribe;
use crate::subscription::{Ack, Incoming, Subscription};
use crate::unsubscribe::Unsubscribe;

/// What a handler makes of a message: nothing, or `Ok`, acknowledges it; `Err` refuses it with a
/// reason code of 0x80 or more where that can be said, and acknowledges it where it cannot.
///
/// ```no_run
/// use noctule_client::{Client, ReasonCode, Remarks, RoutedMessage, Verdict};
///
/// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
/// let handler = client.route("orders/{shop}").handle(async |order: RoutedMessage| {
///     match order.text() {
///         Some(_) => Verdict::from(()),
///         None => Verdict::from(Err(ReasonCode::PayloadFormatInvalid))
///             .saying(Remarks::new("an order is a text")),
///     }
/// });
/// handler.await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    result: Result<(), ReasonCode>,
    remarks: Option<Remarks>,
}

impl From<()> for Verdict {
    fn from((): ()) -> Self {
        Ok(()).into()
    }
}

impl From<Result<(), ReasonCode>> for Verdict {
    fn from(result: Result<(), ReasonCode>) -> Self {
        Self { result, remarks: None }
    }
}

impl Verdict {
    /// The same, with a reason in words and user properties for the server, 5.0 only. They are left
    /// out where they cannot be said.
    #[must_use]
    pub fn saying(self, remarks: Remarks) -> Self {
        Self { remarks: Some(remarks), ..self }
    }

    fn carry_out(self, ack: Option<Ack>) {
        let Some(mut ack) = ack else { return };
        let reason = self.result.err().unwrap_or(ReasonCode::Success);
        let is_said = self.remarks.is_some_and(|it| ack.try_say(reason, Some(it)).is_ok());
        // What cannot be said is said by dropping it.
        if !is_said {
            let _ = ack.try_say(reason, None);
        }
    }
}

/// Why there is no route.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RouteError {
    /// The pattern is none.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// The server has not granted the subscription.
    #[error(transparent)]
    Subscribe(#[from] SubscribeError),
    /// The system gives no thread for the handler.
    #[error("cannot start a thread for the handler: {0}")]
    Thread(std::io::Error),
    /// A handler runs on tokio.
    #[cfg(feature = "tokio")]
    #[error("the handler has no tokio runtime: give the client one with `runtime`")]
    NoRuntime,
}

/// A route to ask for; see [`Client::route`](crate::generic::Client::route). It is awaited, or sent
/// where the user blocks, or given a handler.
#[must_use = "nothing is subscribed to before it is awaited, sent or given a handler"]
pub struct Route<D> {
    pattern: Result<Pattern, PatternError>,
    subscribe: Subscribe<D>,
    /// The groups that it is in.
    groups: Vec<Arc<Members>>,
}

impl<D> fmt::Debug for Route<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Route").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

impl<D> Route<D> {
    pub(crate) fn new(user: Arc<UserSide>, pattern: &str) -> Self {
        let pattern = Pattern::new(pattern);
        let filter = pattern.as_ref().map_or("", Pattern::filter);
        Self { subscribe: Subscribe::new(user, filter), pattern, groups: Vec::new() }
    }

    pub(crate) fn member_of(mut self, groups: &[Arc<Members>]) -> Self {
        self.groups = groups.to_vec();
        self
    }

    /// The highest quality of service to deliver with; that of the publication by default.
    pub fn qos(self, qos: QoS) -> Self {
        self.options(|subscribe| subscribe.qos(qos))
    }

    /// Whether the user acknowledges each message. A handler does so by what it returns.
    pub fn manual_acknowledgement(self, is_manual: bool) -> Self {
        self.options(|subscribe| subscribe.manual_acknowledgement(is_manual))
    }

    /// Changes any option of the subscription.
    pub fn options(mut self, change: impl FnOnce(Subscribe<D>) -> Subscribe<D>) -> Self {
        self.subscribe = change(self.subscribe);
        self
    }
}

impl IntoFuture for Route<Async> {
    type Output = Result<Routed<Async>, RouteError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { pattern, subscribe, groups } = self;
        Box::pin(async move { Ok(Routed::new(pattern?, subscribe.await?, &groups)) })
    }
}

impl Route<Async> {
    /// Calls a handler for each message, one after the other, in a task of its own; for several at
    /// once, make several routes with a share name, or let the handler spawn. A message is
    /// acknowledged when its handler is done, refused if the handler says so, and refused if it
    /// panics: then the handler goes on with the next. The task is one of the client's runtime or,
    /// if it has none, of that in which this is awaited. Handlers that get the same message have no
    /// order among each other; for one, have a handler that calls several functions.
    ///
    /// # Errors
    ///
    /// If there is no route.
    #[cfg(feature = "tokio")]
    pub async fn handle<F>(
        self,
        handler: impl FnMut(RoutedMessage) -> F + Send + 'static,
    ) -> Result<Handler, RouteError>
    where
        F: Future<Output: Into<Verdict> + Send> + Send,
    {
        let runtime = self.subscribe.user.shared.extensions().runtime.clone();
        let runtime = runtime.map_or_else(tokio::runtime::Handle::try_current, Ok);
        let runtime = runtime.map_err(|_| RouteError::NoRuntime)?;
        let (handler, handling) = self.handling(handler).await?;
        runtime.spawn(handling);
        Ok(handler)
    }

    /// The same for any runtime: the work is a future, which the program runs.
    ///
    /// ```no_run
    /// # fn spawn(future: impl Future<Output = ()> + Send + 'static) {}
    /// use noctule_client::{Client, RoutedMessage};
    ///
    /// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let route = client.route("house/{room}/light");
    /// let (handler, handling) = route
    ///     .handling(async |light: RoutedMessage| println!("{}", light.capture("room")))
    ///     .await?;
    /// spawn(handling);
    /// handler.finished().await;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If there is no route.
    pub async fn handling<F>(
        self,
        mut handler: impl FnMut(RoutedMessage) -> F + Send + 'static,
    ) -> Result<(Handler, Handling), RouteError>
    where
        F: Future<Output: Into<Verdict> + Send> + Send,
    {
        let mut routed = self.manual_acknowledgement(true).await?;
        let control = Arc::clone(&routed.control);
        let own = Handler::new(Arc::clone(&control));
        let work = async move {
            while let Some(mut message) = routed.recv().await {
                let ack = message.incoming.take_ack();
                message.handler = Some(own.clone());
                match unharmed(async { handler(message).await.into() }).await {
                    Ok(verdict) => verdict.carry_out(ack),
                    Err(_) => routed.control.note_panic(),
                }
            }
        };
        Ok((Handler::new(Arc::clone(&control)), Handling::new(control, work)))
    }
}

impl Route<Blocking> {
    /// Asks for the route, and waits until the server has granted it.
    ///
    /// # Errors
    ///
    /// If there is no route.
    pub fn send(self) -> Result<Routed<Blocking>, RouteError> {
        let Self { pattern, subscribe, groups } = self;
        Ok(Routed::new(pattern?, subscribe.send()?, &groups))
    }

    /// Calls a handler for each message, one after the other, on a thread of its own, until it is
    /// stopped or the client has ended. A message is acknowledged when its handler is done, and
    /// refused if the handler says so or panics; it goes on with the next then. Handlers that get
    /// the same message have no order among each other.
    ///
    /// # Errors
    ///
    /// If there is no route.
    pub fn handle<V: Into<Verdict>>(
        self,
        mut handler: impl FnMut(RoutedMessage) -> V + Send + 'static,
    ) -> Result<Handler, RouteError> {
        let routed = self.manual_acknowledgement(true).send()?;
        let control = Arc::clone(&routed.control);
        let (own, told) = (Handler::new(Arc::clone(&control)), Handler::new(Arc::clone(&control)));
        let thread = std::thread::Builder::new().name("noctule-route".to_owned());
        let handle = move || {
            for mut message in routed {
                let ack = message.incoming.take_ack();
                message.handler = Some(own.clone());
                // The message of a handler that panics is refused: its acknowledgement is dropped.
                match catch_unwind(AssertUnwindSafe(|| handler(message).into())) {
                    Ok(verdict) => verdict.carry_out(ack),
                    Err(_) => control.note_panic(),
                }
            }
            control.end();
        };
        thread.spawn(handle).map_err(RouteError::Thread)?;
        Ok(told)
    }
}

/// What a future comes to, or what it panics with: that reaches nobody else.
async fn unharmed<T>(future: impl Future<Output = T>) -> std::thread::Result<T> {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await
}

/// The messages of a route.
#[derive(Debug)]
pub struct Routed<D> {
    pattern: Pattern,
    messages: Subscription<D>,
    control: Arc<Control>,
}

/// A message of a route, with what the names of its pattern stand for.
#[derive(Debug)]
pub struct RoutedMessage {
    captures: Captures,
    incoming: Incoming,
    handler: Option<Handler>,
}

impl Deref for RoutedMessage {
    type Target = Incoming;

    fn deref(&self) -> &Incoming {
        &self.incoming
    }
}

impl RoutedMessage {
    /// What a name of the pattern stands for; empty for a name that it does not have.
    pub fn capture(&self, name: &str) -> &str {
        self.captures.get(name).unwrap_or_default()
    }

    /// All of them.
    pub const fn captures(&self) -> &Captures {
        &self.captures
    }

    /// The handler that is called with it, which may be stopped from within; none if it comes out
    /// of a stream.
    pub const fn handler(&self) -> Option<&Handler> {
        self.handler.as_ref()
    }

    /// The message, without the names.
    pub fn into_incoming(self) -> Incoming {
        self.incoming
    }
}

impl<D> Routed<D> {
    fn new(pattern: Pattern, messages: Subscription<D>, groups: &[Arc<Members>]) -> Self {
        let control = Control::of(&messages);
        groups.iter().for_each(|group| group.add(&control));
        Self { pattern, messages, control }
    }

    /// Ends the stream, and the subscription as
    /// [`Subscription::unsubscribe`](crate::generic::Subscription::unsubscribe) does.
    pub fn unsubscribe(self) -> Unsubscribe<D> {
        self.messages.unsubscribe()
    }

    /// The subscription that it is made of.
    pub const fn subscription(&self) -> &Subscription<D> {
        &self.messages
    }

    /// The next message, for a hand-written future; `None` if there will be no more.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<RoutedMessage>> {
        let incoming = ready!(self.messages.poll_recv(context));
        Poll::Ready(incoming.map(|incoming| self.routed(incoming)))
    }

    fn routed(&self, incoming: Incoming) -> RoutedMessage {
        let captures = self.pattern.captures(incoming.topic()).unwrap_or_default();
        RoutedMessage { captures, incoming, handler: None }
    }
}

impl Routed<Async> {
    /// The next message; `None` if there will be no more.
    pub async fn recv(&mut self) -> Option<RoutedMessage> {
        let incoming = self.messages.recv().await?;
        Some(self.routed(incoming))
    }
}

impl Iterator for Routed<Blocking> {
    type Item = RoutedMessage;

    fn next(&mut self) -> Option<RoutedMessage> {
        let incoming = self.messages.recv()?;
        Some(self.routed(incoming))
    }
}
