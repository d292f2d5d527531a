//! Requests: a message with a place for its answer, and the answers. 5.0 only.
//!
//! All answers of a client come through one subscription to the topics below one that has its name,
//! which outlives connections, and processes with a session that does; each request has a topic
//! there. So an answer finds its request, and one that comes too late finds nobody.

use std::fmt;
use std::future::{Future, IntoFuture, poll_fn};
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use noctule_client_core::{
    AlarmId, MailboxId, MailboxSettings, Outcome, Publication, SubscribeRequest, Timestamp,
};
use noctule_packet::{
    PublishProperties, QoS, Subscription as Wanted, SubscriptionOptions, TopicFilter, TopicName,
};
use thiserror::Error;

use crate::asked::Asked;
use crate::error::{PublishError, SubscribeError};
use crate::mode::{Async, Blocking, Mode};
use crate::receipt::Receipt;
use crate::shared::{Replies, Shared, UserSide};
use crate::subscription::{Incoming, Subscription};
use crate::users::{Filters, Terms};
use crate::wait::{OnOwnThread, try_block_on};

/// How long an answer is waited for, unless the request says otherwise.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Why there is no answer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request was not accepted.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The answers' topics could not be subscribed to.
    #[error("the answers cannot be subscribed to: {0}")]
    Subscribe(#[from] SubscribeError),
    /// The request did not reach the server.
    #[error("the request was not delivered: {0}")]
    Undelivered(Outcome),
    /// No answer has come in time.
    #[error("no answer came within {0:?}")]
    TimedOut(Duration),
    /// The client has ended.
    #[error("the client was shut down before an answer came")]
    Closed,
    /// Nobody can wait for it here.
    #[error(transparent)]
    OnOwnThread(#[from] OnOwnThread),
}

/// A request to send; see [`Client::request`](crate::generic::Client::request). It is awaited, or
/// sent where the user blocks; or its answers are taken as a stream.
#[must_use = "nothing is requested before it is awaited or sent"]
pub struct Request<'a, D> {
    user: &'a Arc<UserSide>,
    topic: &'a str,
    payload: &'a [u8],
    qos: QoS,
    properties: PublishProperties<'a>,
    timeout: Duration,
    mode: Mode<D>,
}

impl<D> fmt::Debug for Request<'_, D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Request").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<'a, D> Request<'a, D> {
    pub(crate) fn new(user: &'a Arc<UserSide>, topic: &'a str, payload: &'a [u8]) -> Self {
        Self {
            user,
            topic,
            payload,
            qos: QoS::AtLeastOnce,
            properties: PublishProperties::default(),
            timeout: TIMEOUT,
            mode: Mode::default(),
        }
    }

    /// The quality of service of the request; at least once by default.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.qos = qos;
        self
    }

    /// The other properties of the request.
    pub fn properties(mut self, properties: PublishProperties<'a>) -> Self {
        self.properties = properties;
        self
    }

    /// How long to wait for the answer; 30 s by default.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends the request. The stream has its answers, as many as come.
    async fn ask(&self) -> Result<Subscription<D>, RequestError> {
        let shared = &self.user.shared;
        let Replies { below, run } = replies(self.user).await?;
        let (mailbox, number) = shared.with(|inner| {
            inner.requests += 1;
            (inner.hub.open_mailbox(MailboxSettings::default()), inner.requests)
        });
        let answers = answers(self.user, mailbox);
        // What came too late for an earlier process of the same name finds nobody.
        let response = format!("{below}/{run:08x}-{number}");
        let number = number.to_be_bytes();
        let topic = |text: &'a str| {
            TopicName::new(text)
                .map_err(|source| PublishError::Topic { topic: text.to_owned(), source })
        };
        let receipt = {
            let name = topic(self.topic)?;
            let mut publication = Publication::new(name, self.payload).qos(self.qos);
            publication.properties = self.properties.clone();
            publication.properties.response_topic = TopicName::new(&response).ok();
            if publication.properties.correlation_data.is_none() {
                publication.properties.correlation_data = Some(&number);
            }
            publication.timeout = Some(self.timeout);
            if let Ok(filter) = TopicFilter::new(&response) {
                shared.with(|inner| inner.hub.add_filter(mailbox, &filter));
            }
            Receipt::of(shared, shared.publish(&publication))?
        };
        match receipt.await {
            Outcome::Delivered { .. } => Ok(answers),
            other => Err(RequestError::Undelivered(other)),
        }
    }

    async fn first_answer(self) -> Result<Incoming, RequestError> {
        let answer = async {
            let mut answers = self.ask().await?;
            answers.next_message().await.ok_or(RequestError::Closed)
        };
        let answer = within(&self.user.shared, self.timeout, answer).await;
        answer.unwrap_or(Err(RequestError::TimedOut(self.timeout)))
    }
}

impl<'a> IntoFuture for Request<'a, Async> {
    type Output = Result<Incoming, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.first_answer())
    }
}

impl Request<'_, Async> {
    /// Sends the request, and gives a stream of its answers: it ends when it is dropped.
    ///
    /// # Errors
    ///
    /// If the request did not reach the server.
    pub async fn stream(self) -> Result<Subscription<Async>, RequestError> {
        self.ask().await
    }
}

impl Request<'_, Blocking> {
    /// Sends the request, and waits for the answer.
    ///
    /// # Errors
    ///
    /// If the request did not reach the server, or no answer comes in time.
    pub fn send(self) -> Result<Incoming, RequestError> {
        try_block_on(self.first_answer())
    }

    /// Sends the request, and gives a stream of its answers: it ends when it is dropped.
    ///
    /// # Errors
    ///
    /// If the request did not reach the server.
    pub fn stream(self) -> Result<Subscription<Blocking>, RequestError> {
        try_block_on(self.ask())
    }
}

fn answers<D>(user: &Arc<UserSide>, mailbox: MailboxId) -> Subscription<D> {
    Subscription::new(Arc::clone(user), mailbox, Filters::default(), Vec::new(), None)
}

/// An alarm that is unset when nobody waits for it any more.
struct Alarm<'a> {
    shared: &'a Shared,
    set: Option<(AlarmId, Waker)>,
}

impl Alarm<'_> {
    fn set(&mut self, at: Timestamp, waker: &Waker) {
        if self.set.as_ref().is_some_and(|(_, known)| known.will_wake(waker)) {
            return;
        }
        self.unset();
        let id = self.shared.with(|inner| inner.hub.wake_at(at, waker));
        self.set = Some((id, waker.clone()));
    }

    fn unset(&mut self) {
        if let Some((id, _)) = self.set.take() {
            self.shared.with(|inner| inner.hub.unset_alarm(id));
        }
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        self.unset();
    }
}

/// What a future comes to, if that does not take longer than so long. The client's own clock
/// counts, so that any runtime will do.
pub(crate) async fn within<T>(
    shared: &Shared,
    timeout: Duration,
    awaited: impl Future<Output = T>,
) -> Option<T> {
    let deadline = shared.now() + timeout;
    let (mut awaited, mut alarm) = (pin!(awaited), Alarm { shared, set: None });
    poll_fn(|context| {
        if let Poll::Ready(result) = awaited.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        if shared.now() >= deadline {
            return Poll::Ready(None);
        }
        alarm.set(deadline, context.waker());
        Poll::Pending
    })
    .await
}

/// The topic below which answers come, which is subscribed to.
async fn replies(user: &Arc<UserSide>) -> Result<Replies, SubscribeError> {
    let shared = &user.shared;
    if let Some(known) = shared.with(|inner| inner.replies.clone()) {
        return Ok(known);
    }
    let [run, name] = [0, 1].map(|it| RandomState::new().hash_one(it) as u32);
    let below = shared.with(|inner| {
        let session = inner.hub.session();
        let negotiated = session.negotiated();
        let information = negotiated.and_then(|it| it.response_information.as_deref());
        let prefix = inner.replies_below.as_deref().or(information).unwrap_or("reply");
        let client = match session.client_id() {
            "" => format!("{name:08x}"),
            client_id => level_of(client_id),
        };
        format!("{}/{client}", prefix.trim_end_matches('/'))
    });
    let filters = [format!("{below}/+")];
    let asked = {
        let parsed = TopicFilter::new(&filters[0])
            .map_err(|source| SubscribeError::Filter { filter: filters[0].clone(), source })?;
        let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
        let wanted = [Wanted { filter: parsed, options }];
        let request = SubscribeRequest::new(&wanted);
        let terms = Terms {
            options,
            identifier: None,
            user_properties: noctule_packet::UserProperties::new(),
        };
        Asked::ask(shared, &filters, vec![terms], |inner, now| {
            inner.hub.subscribe_only(now, &request)
        })?
    };
    let (codes, remarks) = asked.answer().await?;
    if let Some(code) = codes.iter().find(|code| code.is_error()) {
        let filter = filters[0].clone();
        return Err(SubscribeError::Rejected { filter, code: *code, remarks });
    }
    asked.keep();
    // Another request may have been quicker; then there are two, and both are good.
    let replies = Replies { below: below.into(), run };
    Ok(shared.with(|inner| inner.replies.get_or_insert(replies).clone()))
}

/// A client identifier as one level of a topic.
fn level_of(client_id: &str) -> String {
    let mut level = String::with_capacity(client_id.len());
    for letter in client_id.chars() {
        match letter {
            '/' | '+' | '#' | '%' | '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => {
                level.push_str(&format!("%{:02X}", u32::from(letter)));
            }
            _ => level.push(letter),
        }
    }
    level
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_client_identifier_is_one_level() {
        for (client_id, level) in
            [("thermometer-7", "thermometer-7"), ("a/b", "a%2Fb"), ("+#%", "%2B%23%25"), ("é", "é")]
        {
            assert_eq!(level_of(client_id), level);
            assert!(TopicFilter::new(&format!("reply/{level}/+")).is_ok());
        }
    }
}
