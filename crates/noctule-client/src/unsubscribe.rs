//! Unsubscribing: what is to end, and how long that may take.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use noctule_client_core::{Doubt, DropCause, Remarks, UnsubscribeRequest};
use noctule_packet::{ReasonCode, TopicFilter, UserProperties};

use crate::asked::{Answer, answer, ask_as_before};
use crate::error::UnsubscribeError;
use crate::mode::{Async, Blocking, Mode};
use crate::pending::Pending;
use crate::shared::UserSide;
use crate::subscribe::filter_of;
use crate::subscription::Subscription;
use crate::wait::try_block_on;

/// Subscriptions to end; see [`Client::unsubscribe`](crate::generic::Client::unsubscribe) and
/// [`Subscription::unsubscribe`](crate::generic::Subscription::unsubscribe). It is awaited, or sent
/// where the user blocks; or it is started, and waited for later. Once it was asked for it goes on,
/// whether anybody waits for it or not.
#[must_use = "nothing is unsubscribed from before it is awaited, sent or started"]
pub struct Unsubscribe<D> {
    user: Arc<UserSide>,
    filters: Vec<String>,
    /// The stream that ends with it.
    stream: Option<Subscription<D>>,
    timeout: Option<Duration>,
    user_properties: UserProperties<'static>,
    mode: Mode<D>,
}

/// Subscriptions that the server has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unsubscribed {
    /// What the server says of each topic filter, such as that there was no such subscription;
    /// nothing if others use the subscriptions, so that it was not asked.
    pub codes: Box<[ReasonCode]>,
    /// What it says beside that.
    pub remarks: Option<Box<Remarks>>,
}

impl<D> fmt::Debug for Unsubscribe<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Unsubscribe")
            .field("filters", &self.filters)
            .finish_non_exhaustive()
    }
}

impl<D> Unsubscribe<D> {
    pub(crate) fn new(user: Arc<UserSide>, filters: Vec<String>) -> Self {
        let user_properties = UserProperties::new();
        let mode = Mode::default();
        Self { user, filters, stream: None, timeout: None, user_properties, mode }
    }

    pub(crate) fn of(stream: Subscription<D>) -> Self {
        let it = Self::new(Arc::clone(stream.user()), stream.filters().to_vec());
        Self { stream: Some(stream), ..it }
    }

    /// How long it may take, connecting included; for ever by default.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The user properties; 5.0 only.
    pub fn user_properties(mut self, properties: UserProperties<'static>) -> Self {
        self.user_properties = properties;
        self
    }

    async fn ask(self) -> Result<Unsubscribed, UnsubscribeError> {
        let Self { user, mut filters, stream, timeout, user_properties, .. } = self;
        let shared = &user.shared;
        let mut asked = Vec::new();
        if let Some(stream) = &stream {
            let left = stream.leave();
            let now = shared.now();
            let operations = shared.with(|inner| ask_as_before(inner, now, &left, timeout))?;
            asked.extend(operations.into_iter().map(|operation| answer(shared, operation)));
            filters = stream.filters.names_of(&left.unused);
        }
        let mut done = Ok(Unsubscribed::default());
        if stream.is_none() || !filters.is_empty() {
            let draft = shared
                .intercept_unsubscribe(filters, user_properties)
                .map_err(UnsubscribeError::Intercepted)?;
            let filters = draft
                .filters
                .iter()
                .map(|filter| filter_of(filter))
                .collect::<Result<Vec<TopicFilter<'_>>, _>>()
                .map_err(|(filter, source)| UnsubscribeError::Filter { filter, source })?;
            let mut request = UnsubscribeRequest::new(&filters);
            (request.timeout, request.user_properties) = (timeout, draft.user_properties);
            let now = shared.now();
            let operation = shared.with(|inner| inner.hub.unsubscribe(now, &request))?;
            done = check(answer(shared, operation).await);
        }
        for answer in asked {
            let gone_back = check(answer.await);
            done = done.and_then(|done| gone_back.map(|_| done));
        }
        done
    }
}

/// What the server has said, if it has done what it was asked for.
fn check(
    answer: Result<Answer, Result<Doubt, DropCause>>,
) -> Result<Unsubscribed, UnsubscribeError> {
    let (codes, remarks) = answer.map_err(|unanswered| match unanswered {
        Ok(doubt) => UnsubscribeError::Indeterminate(doubt),
        Err(cause) => UnsubscribeError::Dropped(cause),
    })?;
    match codes.iter().find(|code| code.is_error()) {
        Some(code) => Err(UnsubscribeError::Rejected { code: *code, remarks }),
        None => Ok(Unsubscribed { codes, remarks }),
    }
}

impl IntoFuture for Unsubscribe<Async> {
    type Output = Result<Unsubscribed, UnsubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

impl<D: 'static> Unsubscribe<D> {
    /// Asks for it at once, and waits for nothing: it may be called from anywhere, a function that
    /// the client calls included. What comes of it is waited for later.
    ///
    /// ```no_run
    /// # fn run(client: noctule_client::Client) {
    /// client.unsubscribe(&["orders"]).start().on_complete(|ended| {
    ///     println!("no more orders: {}", ended.is_ok());
    /// });
    /// # }
    /// ```
    pub fn start(self) -> Pending<Unsubscribed, UnsubscribeError> {
        Pending::start(self.ask())
    }
}

impl Unsubscribe<Blocking> {
    /// Unsubscribes, and waits until the server has done so.
    ///
    /// # Errors
    ///
    /// If it is not certain that the server has.
    pub fn send(self) -> Result<Unsubscribed, UnsubscribeError> {
        try_block_on(self.ask())
    }
}
