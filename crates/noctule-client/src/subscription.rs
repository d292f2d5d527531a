//! The messages of a subscription, and how they are acknowledged.

use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use noctule_client_core::{
    AckRefused, AckToken, Acknowledged, Closed, MailboxId, Message, Remarks, Taken,
};
use noctule_packet::{QoS, ReasonCode, TopicError, TopicFilter};

use crate::mode::{Async, Blocking, Mode};
use crate::payload::FromPayload;
#[cfg(feature = "json")]
use crate::payload::PayloadError;
use crate::payload_reader::PayloadReader;
use crate::shared::{Shared, UserSide};
use crate::unsubscribe::Unsubscribe;
use crate::users::{Filters, Left, UserId};
use crate::wait::{TimedOut, block_on, block_until};

/// How many messages are filtered out before others get their turn.
const FILTERED_MAX: usize = 64;

/// The messages of one or more topic filters, in the order in which they arrived.
///
/// A message is acknowledged when it is taken out, or by the user where
/// [`Subscribe::manual_acknowledgement`](crate::Subscribe::manual_acknowledgement) was asked for.
/// It goes on over any number of connections. Dropping it does not unsubscribe: with a session that
/// outlives the program, the server goes on collecting. What it holds unseen is refused then.
#[derive(Debug)]
pub struct Subscription<D> {
    user: Arc<UserSide>,
    mailbox: MailboxId,
    pub(crate) filters: Filters,
    granted: Vec<QoS>,
    identity: Option<u32>,
    pub(crate) usage: UserId,
    /// What the server has said when it granted it.
    pub(crate) remarks: Option<Box<Remarks>>,
    mode: Mode<D>,
}

impl<D> Subscription<D> {
    pub(crate) const fn new(
        user: Arc<UserSide>,
        mailbox: MailboxId,
        filters: Filters,
        granted: Vec<QoS>,
        identity: Option<u32>,
    ) -> Self {
        Self {
            user,
            mailbox,
            filters,
            granted,
            identity,
            usage: UserId::NOBODY,
            remarks: None,
            mode: PhantomData,
        }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.user.shared
    }

    pub(crate) const fn user(&self) -> &Arc<UserSide> {
        &self.user
    }

    pub(crate) const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// Ends the stream, and the subscription at the server unless another stream has the same
    /// topic filter; then the server is asked again for what the newest of those has asked for, if
    /// that is something else. What arrived before is refused if nobody took it.
    pub fn unsubscribe(self) -> Unsubscribe<D> {
        Unsubscribe::of(self)
    }

    /// The stream does not use its subscriptions any more.
    pub(crate) fn leave(&self) -> Left {
        self.shared().with(|inner| inner.users.leave(self.usage, &self.filters.asked))
    }

    /// Another stream, which has those of this one's messages from now on whose topics a filter
    /// matches; this one has them, too. The server is asked for nothing. It has the settings of
    /// this one, and uses the same subscriptions: they end when both have unsubscribed. Where the
    /// user acknowledges, a message is acknowledged when all streams have done so that have it.
    ///
    /// Whoever wants nothing of this one drops it, once all others are made.
    ///
    /// ```no_run
    /// # async fn run(client: noctule_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let house = client.subscribe("house/#").await?;
    /// let mut lights = house.narrowed("house/+/light")?;
    /// let mut kitchen = house.narrowed("house/kitchen/#")?;
    /// drop(house);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the filter is none.
    pub fn narrowed(&self, filter: &str) -> Result<Self, TopicError> {
        let filter = TopicFilter::new(filter)?;
        let (mailbox, usage) = self.shared().with(|inner| {
            // One that is closed stays without messages.
            let mailbox = inner.hub.narrow(self.mailbox, &filter).unwrap_or(self.mailbox);
            (mailbox, inner.users.join_like(self.usage, &self.filters.asked))
        });
        let (user, filters) = (Arc::clone(&self.user), self.filters.clone());
        let mut narrowed = Self::new(user, mailbox, filters, self.granted.clone(), self.identity);
        (narrowed.usage, narrowed.remarks) = (usage, self.remarks.clone());
        Ok(narrowed)
    }

    /// The topic filters, as they were given, whatever interceptors have made of them.
    pub fn filters(&self) -> &[String] {
        self.filters.names()
    }

    /// The quality of service that the server has granted for each filter.
    pub fn granted(&self) -> &[QoS] {
        &self.granted
    }

    /// Its Subscription Identifier, if it was given one.
    pub const fn identifier(&self) -> Option<u32> {
        self.identity
    }

    /// What the server said beside that.
    pub fn remarks(&self) -> Option<&Remarks> {
        self.remarks.as_deref()
    }

    pub(crate) async fn next_message(&mut self) -> Option<Incoming> {
        poll_fn(|context| self.poll_recv(context)).await
    }

    /// The next message, for a hand-written future; `None` if there will be no more.
    pub fn poll_recv(&mut self, context: &mut Context<'_>) -> Poll<Option<Incoming>> {
        let shared = self.shared();
        for _ in 0..FILTERED_MAX {
            let now = shared.now();
            let polled =
                shared.with(|inner| inner.hub.poll_message(now, self.mailbox, context.waker()));
            let Some(taken) = ready!(polled) else { return Poll::Ready(None) };
            if let Some(incoming) = self.admit(taken) {
                return Poll::Ready(Some(incoming));
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next message, if one has arrived.
    pub fn try_recv(&mut self) -> Option<Incoming> {
        let shared = self.shared();
        loop {
            let now = shared.now();
            let taken = shared.with(|inner| inner.hub.take_message(now, self.mailbox))?;
            if let Some(incoming) = self.admit(taken) {
                return Some(incoming);
            }
        }
    }

    /// What the user is given of a message, unless it is filtered out.
    fn admit(&self, taken: Taken) -> Option<Incoming> {
        let Taken { message, token } = taken;
        let ack = token.map(|token| Ack { shared: Arc::clone(self.shared()), token: Some(token) });
        let incoming = Incoming {
            message,
            ack,
            #[cfg(feature = "json")]
            decoders: self.shared().extensions().decoders.clone(),
        };
        self.shared().admit(incoming)
    }

    /// How many messages wait.
    pub fn waiting(&self) -> usize {
        self.shared().with(|inner| inner.hub.waiting(self.mailbox))
    }

    /// How many messages there was no room for.
    pub fn dropped(&self) -> u64 {
        self.shared().with(|inner| inner.hub.dropped(self.mailbox))
    }

    /// Why nothing more will arrive.
    pub fn closed(&self) -> Option<Closed> {
        self.shared().with(|inner| inner.hub.closed(self.mailbox))
    }
}

impl Subscription<Async> {
    /// The next message; `None` if there will be no more: the client has ended, or the subscription
    /// was full and is one that closes then.
    pub async fn recv(&mut self) -> Option<Incoming> {
        self.next_message().await
    }
}

impl Subscription<Blocking> {
    /// Waits for the next message; `None` if there will be no more: the client has ended, or the
    /// subscription was full and is one that closes then.
    pub fn recv(&mut self) -> Option<Incoming> {
        block_on(self.next_message())
    }

    /// The same, but not longer than so long.
    ///
    /// # Errors
    ///
    /// If nothing has arrived by then.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Option<Incoming>, TimedOut> {
        block_until(timeout, self.next_message()).ok_or(TimedOut)
    }
}

impl Iterator for Subscription<Blocking> {
    type Item = Incoming;

    fn next(&mut self) -> Option<Incoming> {
        self.recv()
    }
}

impl<D> Drop for Subscription<D> {
    fn drop(&mut self) {
        self.leave();
        let now = self.shared().now();
        self.shared().with(|inner| inner.hub.close_mailbox(now, self.mailbox));
    }
}

/// A message that has arrived.
#[derive(Debug)]
pub struct Incoming {
    message: Message,
    ack: Option<Ack>,
    /// Who reads payloads, if the program has said so.
    #[cfg(feature = "json")]
    decoders: Option<Arc<crate::content::Decoders>>,
}

impl std::ops::Deref for Incoming {
    type Target = Message;

    fn deref(&self) -> &Message {
        &self.message
    }
}

impl Incoming {
    /// The payload as text, if it is UTF-8.
    pub fn text(&self) -> Option<&str> {
        std::str::from_utf8(self.message.payload()).ok()
    }

    /// The payload as text of eight bits a character, ISO 8859-1: any payload is one.
    pub fn latin1(&self) -> String {
        self.message.payload().iter().copied().map(char::from).collect()
    }

    /// Takes the payload apart, as [`Payload`](crate::Payload) puts one together.
    pub fn reader(&self) -> PayloadReader<'_> {
        PayloadReader::new(self.message.payload())
    }

    /// What the payload says, in the format that its content type names: one that the program has
    /// [registered](crate::generic::ClientBuilder::decoder), JSON, or text; JSON if it names none.
    ///
    /// In a handler, `?` refuses what cannot be read:
    ///
    /// ```no_run
    /// use noctule_client::{Client, ReasonCode, RoutedMessage};
    ///
    /// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let route = client.route("house/{room}/temperature");
    /// let handler = route.handle(async |message: RoutedMessage| {
    ///     let celsius: f32 = message.content()?;
    ///     println!("{}: {celsius}", message.capture("room"));
    ///     Ok::<(), ReasonCode>(())
    /// });
    /// handler.await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If it does not say that, or nobody can read it.
    #[cfg(feature = "json")]
    pub fn content<T: serde::de::DeserializeOwned>(&self) -> Result<T, PayloadError> {
        crate::content::decode(&self.message, self.decoders.as_deref())
    }

    /// What the payload says.
    ///
    /// # Errors
    ///
    /// If it does not say that.
    pub fn decode<T: FromPayload>(&self) -> Result<T, T::Error> {
        T::from_payload(&self.message)
    }

    /// The message, to be changed before its user sees it.
    pub(crate) const fn message_mut(&mut self) -> &mut Message {
        &mut self.message
    }

    /// What acknowledges it, if its user does.
    pub(crate) const fn take_ack(&mut self) -> Option<Ack> {
        self.ack.take()
    }

    /// The message alone, and what acknowledges it if its user does.
    pub fn into_parts(self) -> (Message, Option<Ack>) {
        (self.message, self.ack)
    }

    /// Acknowledges it if the reason is less than 0x80, and refuses it otherwise, with more to say
    /// than that; see [`Ack::answer`].
    ///
    /// # Errors
    ///
    /// As [`Ack::answer`].
    pub fn answer(
        self,
        reason: ReasonCode,
        remarks: Remarks,
    ) -> Result<Option<Acknowledged>, AckRefused> {
        self.ack.map(|ack| ack.answer(reason, remarks)).transpose()
    }

    /// Acknowledges it, if its user does.
    pub fn acknowledge(self) -> Option<Acknowledged> {
        self.ack.map(Ack::acknowledge)
    }

    /// Refuses it with a reason code of 0x80 or more.
    ///
    /// # Errors
    ///
    /// If the version has no reason codes, or an acknowledgement not this one. It is refused
    /// without a reason then, or acknowledged where even that cannot be said.
    pub fn refuse(self, reason: ReasonCode) -> Result<Option<Acknowledged>, AckRefused> {
        self.ack.map(|ack| ack.refuse(reason)).transpose()
    }
}

/// Acknowledges one message. Acknowledgements leave in the order of the messages, whatever the
/// order in which they are given.
///
/// Dropped, it refuses the message where that can be said, and acknowledges it where it cannot: the
/// acknowledgements of everything behind it must not wait for it for ever.
#[derive(Debug)]
pub struct Ack {
    shared: Arc<Shared>,
    token: Option<AckToken>,
}

impl Ack {
    /// The message was dealt with.
    pub fn acknowledge(self) -> Acknowledged {
        self.say(ReasonCode::Success, None).unwrap_or(Acknowledged::Stale)
    }

    /// The message was not dealt with, for a reason of 0x80 or more; 5.0 only.
    ///
    /// # Errors
    ///
    /// If that cannot be said.
    pub fn refuse(self, reason: ReasonCode) -> Result<Acknowledged, AckRefused> {
        self.say(reason, None)
    }

    /// The message was dealt with if the reason is less than 0x80, and was not otherwise; with a
    /// reason in words and user properties for the server, 5.0 only. A server that takes no such
    /// large packet is told the reason code alone.
    ///
    /// # Errors
    ///
    /// If that cannot be said. The message is refused without a reason then, or acknowledged where
    /// even that cannot be said.
    ///
    /// ```no_run
    /// use noctule_client::{Client, ReasonCode, Remarks};
    ///
    /// # async fn run(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut orders = client.subscribe("orders").manual_acknowledgement(true).await?;
    /// if let Some(order) = orders.recv().await {
    ///     order.answer(ReasonCode::QuotaExceeded, Remarks::new("come back tomorrow"))?;
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn answer(self, reason: ReasonCode, remarks: Remarks) -> Result<Acknowledged, AckRefused> {
        self.say(reason, Some(remarks))
    }

    fn say(
        mut self,
        reason: ReasonCode,
        remarks: Option<Remarks>,
    ) -> Result<Acknowledged, AckRefused> {
        self.try_say(reason, remarks)
    }

    /// The same. If that cannot be said, something else may be.
    pub(crate) fn try_say(
        &mut self,
        reason: ReasonCode,
        remarks: Option<Remarks>,
    ) -> Result<Acknowledged, AckRefused> {
        let Some(token) = self.token else { return Ok(Acknowledged::Stale) };
        let now = self.shared.now();
        let done =
            self.shared.with(|inner| inner.hub.acknowledge_saying(now, token, reason, remarks))?;
        self.token = None;
        Ok(done)
    }
}

impl Drop for Ack {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            let now = self.shared.now();
            self.shared.with(|inner| inner.hub.abandon(now, token));
        }
    }
}
