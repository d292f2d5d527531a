//! SUBSCRIBE and UNSUBSCRIBE: what a user asks for, and why it may be refused on the spot.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use noctule_packet::{
    EncodeError, FilterList, PacketId, Subscribe, Subscription, SubscriptionList, TextRules,
    TopicFilter, Unsubscribe, UserProperties, Version,
};
use noctule_session::Timestamp;

use crate::negotiated::{Negotiated, owned};
use crate::operation::OperationId;
use crate::text::{are_texts, is_text};

/// Subscriptions to ask for in one packet.
#[derive(Clone, Debug)]
pub struct SubscribeRequest<'a> {
    /// What to subscribe to, at least one.
    pub subscriptions: &'a [Subscription<'a>],
    /// A number that comes with every message of these subscriptions, 5.0 only.
    pub identifier: Option<u32>,
    /// The user properties, 5.0 only.
    pub user_properties: UserProperties<'a>,
    /// When the operation ends at the latest.
    pub timeout: Option<Duration>,
}

impl<'a> SubscribeRequest<'a> {
    /// A request for these subscriptions and nothing else.
    pub const fn new(subscriptions: &'a [Subscription<'a>]) -> Self {
        let user_properties = UserProperties::new();
        Self { subscriptions, identifier: None, user_properties, timeout: None }
    }
}

/// A SUBSCRIBE for subscriptions that are asked for again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resubscribe {
    /// The name of the request.
    pub operation: OperationId,
    /// The whole topic filters, in the order of the reason codes that answer it.
    pub filters: Vec<Box<str>>,
}

/// Subscriptions to end in one packet.
#[derive(Clone, Debug)]
pub struct UnsubscribeRequest<'a> {
    /// The filters of the subscriptions to end, at least one.
    pub filters: &'a [TopicFilter<'a>],
    /// The user properties, 5.0 only.
    pub user_properties: UserProperties<'a>,
    /// When the operation ends at the latest.
    pub timeout: Option<Duration>,
}

impl<'a> UnsubscribeRequest<'a> {
    /// A request to end these subscriptions and nothing else.
    pub const fn new(filters: &'a [TopicFilter<'a>]) -> Self {
        Self { filters, user_properties: UserProperties::new(), timeout: None }
    }
}

/// Why a SUBSCRIBE or UNSUBSCRIBE was not accepted. Nothing of it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestRefused {
    /// There is no topic filter.
    Empty,
    /// The version that is spoken has no such thing.
    NotInVersion {
        /// What.
        option: &'static str,
        /// The version.
        version: Version,
    },
    /// The server has said in CONNACK that it does not support this.
    NotSupported {
        /// What.
        option: &'static str,
    },
    /// A value that no such packet may carry.
    InvalidValue {
        /// What.
        option: &'static str,
    },
    /// The server takes no packet of this size.
    TooLarge {
        /// The bytes of the packet.
        size: usize,
        /// What the server takes.
        maximum: u32,
    },
    /// There is no connection, and the offline queue keeps no requests.
    Offline,
    /// Too many requests have no answer.
    Full {
        /// The setting's value.
        maximum: usize,
    },
    /// The session was closed.
    Closed,
}

impl fmt::Display for RequestRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there is no topic filter"),
            Self::NotInVersion { option, version } => write!(f, "MQTT {version} has no {option}"),
            Self::NotSupported { option } => write!(f, "the server does not support {option}"),
            Self::InvalidValue { option } => {
                write!(f, "{option} has a value that no packet may carry")
            }
            Self::TooLarge { size, maximum } => {
                write!(f, "the packet has {size} bytes, the server takes {maximum}")
            }
            Self::Offline => {
                f.write_str("there is no connection and the offline queue keeps no requests")
            }
            Self::Full { maximum } => {
                write!(f, "too many requests have no answer: limits.requests_max = {maximum}")
            }
            Self::Closed => f.write_str("the session is closed"),
        }
    }
}

impl core::error::Error for RequestRefused {}

/// A request that waits to be sent or to be answered.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Whom to tell; nobody, if the session itself asks or the operation has ended.
    pub(crate) operation: Option<OperationId>,
    pub(crate) content: Content,
    pub(crate) user_properties: UserProperties<'static>,
    pub(crate) timeout: Option<Timestamp>,
    /// How many connections in a row have ended before its answer.
    pub(crate) interruptions: u16,
    /// Of the filters to subscribe to, those that were unsubscribed from since.
    pub(crate) ended: Vec<Box<str>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    Subscribe {
        list: SubscriptionList<'static>,
        identifier: Option<u32>,
        /// Whether it brings subscriptions back that the server has forgotten.
        is_again: bool,
    },
    Unsubscribe {
        filters: FilterList<'static>,
    },
}

impl Request {
    pub(crate) fn subscribe(now: Timestamp, request: &SubscribeRequest<'_>) -> Self {
        let mut list = SubscriptionList::new();
        for subscription in request.subscriptions {
            list.push(&subscription.filter, subscription.options);
        }
        let content = Content::Subscribe { list, identifier: request.identifier, is_again: false };
        Self {
            operation: None,
            content,
            user_properties: owned(&request.user_properties),
            timeout: request.timeout.map(|timeout| now + timeout),
            ended: Vec::new(),
            interruptions: 0,
        }
    }

    pub(crate) fn unsubscribe(now: Timestamp, request: &UnsubscribeRequest<'_>) -> Self {
        let mut filters = FilterList::new();
        for filter in request.filters {
            filters.push(filter);
        }
        Self {
            operation: None,
            content: Content::Unsubscribe { filters },
            user_properties: owned(&request.user_properties),
            timeout: request.timeout.map(|timeout| now + timeout),
            ended: Vec::new(),
            interruptions: 0,
        }
    }

    /// How many topic filters it has.
    pub(crate) fn filters(&self) -> usize {
        match &self.content {
            Content::Subscribe { list, .. } => list.len(),
            Content::Unsubscribe { filters } => filters.len(),
        }
    }

    /// Whether it asks for a subscription to this whole filter.
    pub(crate) fn asks_for(&self, filter: &str) -> bool {
        match &self.content {
            Content::Subscribe { list, .. } => list.iter().any(|it| it.filter.as_str() == filter),
            Content::Unsubscribe { .. } => false,
        }
    }

    /// Whether nobody is interested in it any more.
    pub(crate) fn is_again(&self) -> bool {
        matches!(self.content, Content::Subscribe { is_again: true, .. })
    }

    /// What a version lacks that the request needs, or has a wrong value.
    pub(crate) fn check(&self, version: Version) -> Result<(), RequestRefused> {
        if self.filters() == 0 {
            return Err(RequestRefused::Empty);
        }
        let missing = |option| Err(RequestRefused::NotInVersion { option, version });
        if !version.is_v5() && !self.user_properties.is_empty() {
            return missing("user_properties");
        }
        let Content::Subscribe { list, identifier, .. } = &self.content else { return Ok(()) };
        // [MQTT5-3.8.3-4]
        let is_local =
            list.iter().any(|it| it.options.no_local && it.filter.share_name().is_some());
        if is_local {
            return Err(RequestRefused::InvalidValue { option: "no_local" });
        }
        if identifier.is_some_and(|it| it == 0 || it > 268_435_455) {
            return Err(RequestRefused::InvalidValue { option: "subscription identifier" });
        }
        if version.is_v5() {
            return Ok(());
        }
        if identifier.is_some() {
            return missing("subscription identifier");
        }
        for subscription in list.iter() {
            let options = subscription.options;
            if options.no_local {
                return missing("no_local");
            }
            if options.retain_as_published {
                return missing("retain_as_published");
            }
            if options.retain_handling != Default::default() {
                return missing("retain_handling");
            }
        }
        Ok(())
    }

    /// Whether its strings may be sent.
    pub(crate) fn check_text(&self, rules: TextRules) -> Result<(), RequestRefused> {
        let invalid = |option| Err(RequestRefused::InvalidValue { option });
        if !are_texts(rules, &self.user_properties) {
            return invalid("user_properties");
        }
        // What no rules allow is in no topic filter.
        let is_text = |filter: TopicFilter<'_>| {
            rules == TextRules::Lenient || is_text(rules, filter.as_str())
        };
        let are_fine = match &self.content {
            Content::Subscribe { list, .. } => list.iter().all(|it| is_text(it.filter)),
            Content::Unsubscribe { filters } => filters.iter().all(is_text),
        };
        if are_fine { Ok(()) } else { invalid("topic filter") }
    }

    /// What a server does not support that the request needs.
    // [MQTT5-3.2.2-14]
    pub(crate) fn check_server(&self, server: &Negotiated) -> Result<(), RequestRefused> {
        self.check(server.version)?;
        let Content::Subscribe { list, identifier, .. } = &self.content else { return Ok(()) };
        let unsupported = |option| Err(RequestRefused::NotSupported { option });
        if identifier.is_some() && !server.subscription_identifiers_available {
            return unsupported("subscription identifiers");
        }
        for subscription in list.iter() {
            let filter = subscription.filter;
            if filter.has_wildcard() && !server.wildcard_subscription_available {
                return unsupported("wildcard subscriptions");
            }
            if filter.share_name().is_some() && !server.shared_subscription_available {
                return unsupported("shared subscriptions");
            }
        }
        Ok(())
    }

    /// Appends the packet.
    pub(crate) fn encode(
        &self,
        version: Version,
        packet_id: PacketId,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let user_properties = self.user_properties.clone();
        match &self.content {
            Content::Subscribe { list, identifier, .. } => Subscribe {
                packet_id,
                subscription_identifier: *identifier,
                user_properties,
                subscriptions: list.clone(),
            }
            .encode(version, out),
            Content::Unsubscribe { filters } => {
                Unsubscribe { packet_id, user_properties, filters: filters.clone() }
                    .encode(version, out)
            }
        }
    }
}
