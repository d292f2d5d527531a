//! Subscribing: what is asked for, and what the server has granted.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use noctule_client_core::{MailboxId, MailboxSettings, OnFull, SubscribeRequest};
use noctule_packet::{
    QoS, ReasonCode, RetainHandling, Subscription as Wanted, SubscriptionOptions, TopicError,
    TopicFilter, UserProperties,
};

use crate::asked::Asked;
use crate::error::SubscribeError;
use crate::mode::{Async, Blocking, Mode};
use crate::pending::Pending;
use crate::request_draft::SubscribeDraft;
use crate::shared::{Shared, UserSide};
use crate::subscription::Subscription;
use crate::trace::subscription_refused;
use crate::users::{Filters, Terms};
use crate::wait::try_block_on;

/// A subscription to ask for; see [`Client::subscribe`](crate::Client::subscribe). It is
/// awaited, or sent where the user blocks; or it is started, and waited for later.
#[must_use = "nothing is subscribed to before it is awaited, sent or started"]
pub struct Subscribe<D> {
    pub(crate) user: Arc<UserSide>,
    filters: Vec<String>,
    options: SubscriptionOptions,
    /// The filters, by their place in the list, that have options of their own.
    own_options: BTreeMap<usize, SubscriptionOptions>,
    user_properties: UserProperties<'static>,
    identifier: Option<u32>,
    timeout: Option<Duration>,
    mailbox: MailboxSettings,
    takes_unclaimed: bool,
    mode: Mode<D>,
}

impl<D> fmt::Debug for Subscribe<D> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Subscribe").field("filters", &self.filters).finish_non_exhaustive()
    }
}

impl<D> Subscribe<D> {
    pub(crate) fn new(user: Arc<UserSide>, filter: &str) -> Self {
        Self {
            user,
            filters: vec![filter.to_owned()],
            options: SubscriptionOptions { qos: QoS::ExactlyOnce, ..Default::default() },
            own_options: BTreeMap::new(),
            user_properties: UserProperties::new(),
            identifier: None,
            timeout: None,
            mailbox: MailboxSettings::default(),
            takes_unclaimed: false,
            mode: Mode::default(),
        }
    }

    /// One more topic filter for the same stream.
    pub fn and(mut self, filter: &str) -> Self {
        self.filters.push(filter.to_owned());
        self
    }

    /// One more topic filter for the same stream, with options of its own.
    pub fn and_with(mut self, filter: &str, options: SubscriptionOptions) -> Self {
        self.own_options.insert(self.filters.len(), options);
        self.and(filter)
    }

    /// The user properties; 5.0 only.
    pub fn user_properties(mut self, properties: UserProperties<'static>) -> Self {
        self.user_properties = properties;
        self
    }

    /// The highest quality of service to deliver with; that of the publication by default.
    pub const fn qos(mut self, qos: QoS) -> Self {
        self.options.qos = qos;
        self
    }

    /// Whether to leave out what this client publishes; 5.0 only.
    pub const fn no_local(mut self, no_local: bool) -> Self {
        self.options.no_local = no_local;
        self
    }

    /// Whether the retain flag arrives as it was published; 5.0 only.
    pub const fn retain_as_published(mut self, as_published: bool) -> Self {
        self.options.retain_as_published = as_published;
        self
    }

    /// When to send retained messages; 5.0 only.
    pub const fn retain_handling(mut self, handling: RetainHandling) -> Self {
        self.options.retain_handling = handling;
        self
    }

    /// A number that comes with every message of the subscription; 5.0 only.
    pub const fn identifier(mut self, identifier: u32) -> Self {
        self.identifier = Some(identifier);
        self
    }

    /// How long it may take until the server has granted it, connecting included; for ever by
    /// default. When the time is up, or when nobody waits for it any more, it is taken back.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Whether the user acknowledges each message. By default a message is acknowledged when it is
    /// taken out of the stream.
    pub const fn manual_acknowledgement(mut self, is_manual: bool) -> Self {
        self.mailbox.is_manual = is_manual;
        self
    }

    /// How many messages may wait in the stream before it counts as full; 1,024 by default.
    pub const fn capacity(mut self, messages: usize) -> Self {
        self.mailbox.capacity = messages;
        self
    }

    /// What happens to a message that comes when the stream is full; it is held by default.
    pub const fn on_full(mut self, on_full: OnFull) -> Self {
        self.mailbox.on_full = on_full;
        self
    }

    /// Whether the stream also gets, in their order, the messages that no subscription's filter
    /// matches: those of an earlier session. There is one such stream; see
    /// [`Client::unclaimed`](crate::Client::unclaimed).
    pub const fn with_unclaimed(mut self, takes_unclaimed: bool) -> Self {
        self.takes_unclaimed = takes_unclaimed;
        self
    }

    async fn ask(self) -> Result<Subscription<D>, SubscribeError> {
        let Self { user, filters: names, options, own_options, user_properties, .. } = self;
        let Self { identifier, timeout, mailbox, takes_unclaimed, .. } = self;
        let shared = Arc::clone(&user.shared);
        let options_of = |at| own_options.get(&at).copied().unwrap_or(options);
        let wanted = names.iter().enumerate().map(|(at, name)| (name.clone(), options_of(at)));
        let SubscribeDraft { subscriptions, identifier, user_properties, .. } = shared
            .intercept_subscribe(wanted.collect(), identifier, user_properties)
            .map_err(SubscribeError::Intercepted)?;
        let open = OpenMailbox::new(&shared, mailbox);
        if takes_unclaimed {
            shared.with(|inner| inner.hub.claim_rest(open.id));
        }
        let (filters, options): (Vec<_>, Vec<_>) = subscriptions.into_iter().unzip();
        let terms_of = |options: &SubscriptionOptions| {
            let (options, user_properties) = (*options, user_properties.clone());
            Terms { options, identifier, user_properties }
        };
        let terms = options.iter().map(terms_of).collect();
        let asked = {
            let wanted = filters
                .iter()
                .zip(&options)
                .map(|(filter, &options)| {
                    filter_of(filter).map(|filter| Wanted { filter, options })
                })
                .collect::<Result<Vec<_>, _>>()
                .map_err(|(filter, source)| SubscribeError::Filter { filter, source })?;
            let mut request = SubscribeRequest::new(&wanted);
            (request.identifier, request.timeout) = (identifier, timeout);
            request.user_properties = user_properties.clone();
            Asked::ask(&shared, &filters, terms, |inner, now| {
                inner.hub.subscribe(now, &request, open.id)
            })?
        };
        let (codes, remarks) = asked.answer().await?;
        let refused = names.iter().zip(codes.iter()).find(|(_, code)| code.is_error());
        if let Some((filter, code)) = refused {
            let client_id = shared.with(|inner| inner.hub.session().client_id().to_owned());
            subscription_refused(&client_id, filter, *code);
            return Err(SubscribeError::Rejected { filter: filter.clone(), code: *code, remarks });
        }
        let usage = asked.keep();
        let granted = codes.iter().filter_map(|code| qos_of(*code)).collect();
        let filters = Filters::new(names, filters);
        let mut subscription = Subscription::new(user, open.keep(), filters, granted, identifier);
        (subscription.usage, subscription.remarks) = (usage, remarks);
        Ok(subscription)
    }
}

impl<D: 'static> Subscribe<D> {
    /// Asks for the subscription at once, and waits for nothing: it may be called from anywhere, a
    /// function that the client calls included. What comes of it is waited for later.
    ///
    /// ```no_run
    /// # async fn run(client: noctule_client::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let orders = client.subscribe("orders").start();
    /// // … whatever else is to be done meanwhile …
    /// let mut orders = orders.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn start(self) -> Pending<Subscription<D>, SubscribeError> {
        Pending::start(self.ask())
    }
}

impl Subscribe<Blocking> {
    /// Asks for the subscription, and waits until the server has granted it.
    ///
    /// # Errors
    ///
    /// If it is not certain that the server has granted it.
    pub fn send(self) -> Result<Subscription<Blocking>, SubscribeError> {
        try_block_on(self.ask())
    }
}

impl IntoFuture for Subscribe<Async> {
    type Output = Result<Subscription<Async>, SubscribeError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.ask())
    }
}

/// A mailbox that is closed again unless the subscription comes about.
struct OpenMailbox<'a> {
    shared: &'a Shared,
    id: MailboxId,
    is_kept: bool,
}

impl<'a> OpenMailbox<'a> {
    fn new(shared: &'a Shared, settings: MailboxSettings) -> Self {
        let id = shared.with(|inner| inner.hub.open_mailbox(settings));
        Self { shared, id, is_kept: false }
    }

    fn keep(mut self) -> MailboxId {
        self.is_kept = true;
        self.id
    }
}

impl Drop for OpenMailbox<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            let now = self.shared.now();
            self.shared.with(|inner| inner.hub.close_mailbox(now, self.id));
        }
    }
}

/// A topic filter, or what is wrong with the text.
pub(crate) fn filter_of(text: &str) -> Result<TopicFilter<'_>, (String, TopicError)> {
    TopicFilter::new(text).map_err(|source| (text.to_owned(), source))
}

const fn qos_of(code: ReasonCode) -> Option<QoS> {
    match code {
        ReasonCode::GrantedQos1 => Some(QoS::AtLeastOnce),
        ReasonCode::GrantedQos2 => Some(QoS::ExactlyOnce),
        ReasonCode::Success => Some(QoS::AtMostOnce),
        _ => None,
    }
}
