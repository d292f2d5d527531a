//! The subscriptions that the server has granted, so that they can be asked for again when it
//! forgets them.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use noctule_packet::{
    ReasonCode, SubscriptionList, SubscriptionOptions, TopicFilter, UserProperties,
};

use crate::record::StoredSubscription;
use crate::request::{Content, Request};

/// The granted subscriptions by their whole filter.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    by_filter: BTreeMap<Box<str>, Granted>,
}

#[derive(Clone, Debug)]
struct Granted {
    options: SubscriptionOptions,
    identifier: Option<u32>,
    user_properties: UserProperties<'static>,
    /// What the server has granted.
    code: ReasonCode,
    standing: Standing,
    /// How many connections in a row have ended before the answer to that.
    interruptions: u16,
}

/// What has become of a subscription that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// The server has it.
    Held,
    /// The server has forgotten it, and it is asked for again.
    Lost,
    /// The server has forgotten it, and only the user asks for it again.
    Left,
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.by_filter.values().filter(|granted| granted.standing != Standing::Left).count()
    }

    /// What the server has granted for a filter.
    pub(crate) fn granted(&self, filter: &str) -> Option<ReasonCode> {
        let granted = self.by_filter.get(filter)?;
        (granted.standing != Standing::Left).then_some(granted.code)
    }

    /// Whether the server has forgotten a subscription, and it is not asked for again by itself.
    pub(crate) fn is_left(&self, filter: &str) -> bool {
        self.by_filter.get(filter).is_some_and(|granted| granted.standing == Standing::Left)
    }

    pub(crate) fn insert(&mut self, subscription: StoredSubscription, code: ReasonCode) {
        let StoredSubscription { filter, options, identifier, user_properties } = subscription;
        let (standing, interruptions) = (Standing::Held, 0);
        let granted =
            Granted { options, identifier, user_properties, code, standing, interruptions };
        self.by_filter.insert(filter, granted);
    }

    /// The server has forgotten all of them, and they are asked for again.
    pub(crate) fn lose(&mut self) {
        for granted in self.by_filter.values_mut() {
            granted.standing = Standing::Lost;
        }
    }

    /// The server has forgotten all of them, and asking again is left to the user.
    pub(crate) fn leave(&mut self) {
        for granted in self.by_filter.values_mut() {
            granted.standing = Standing::Left;
        }
    }

    /// The server had forgotten one in the time of an earlier process, and not granted it again.
    pub(crate) fn restore_lost(
        &mut self,
        subscription: StoredSubscription,
        interruptions: u16,
        subscribes_again: bool,
    ) {
        let filter = subscription.filter.clone();
        let code = ReasonCode::granted(subscription.options.qos);
        self.insert(subscription, code);
        if let Some(granted) = self.by_filter.get_mut(&filter) {
            granted.standing = if subscribes_again { Standing::Lost } else { Standing::Left };
            granted.interruptions = interruptions;
        }
    }

    /// So many connections have ended before the server answered what asked for one again. Whether
    /// that is news.
    pub(crate) fn note_interruptions(&mut self, filter: &str, interruptions: u16) -> bool {
        let Some(granted) = self.by_filter.get_mut(filter) else { return false };
        core::mem::replace(&mut granted.interruptions, interruptions) != interruptions
    }

    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        self.by_filter.remove(filter).is_some()
    }

    /// The requests that bring those back that are lost, each with at most so many filters. One
    /// that was interrupted so often that it is suspicious has a request for itself.
    pub(crate) fn lost(&self, filters_max: usize, suspicious: u16) -> Vec<Request> {
        self.requests(filters_max, suspicious, |granted| granted.standing == Standing::Lost)
    }

    /// The requests for all of them.
    pub(crate) fn all(&self, filters_max: usize, suspicious: u16) -> Vec<Request> {
        self.requests(filters_max, suspicious, |_| true)
    }

    fn requests(
        &self,
        filters_max: usize,
        suspicious: u16,
        is_wanted: impl Fn(&Granted) -> bool,
    ) -> Vec<Request> {
        let mut requests: Vec<Request> = Vec::new();
        for (filter, granted) in self.by_filter.iter().filter(|(_, granted)| is_wanted(granted)) {
            let interruptions = granted.interruptions;
            let Ok(filter) = TopicFilter::new(filter) else { continue };
            let fits = |request: &&mut Request| match &request.content {
                Content::Subscribe { list, identifier, .. } => {
                    *identifier == granted.identifier
                        && list.len() < filters_max.max(1)
                        && request.user_properties == granted.user_properties
                        && request.interruptions.max(interruptions) < suspicious
                }
                Content::Unsubscribe { .. } => false,
            };
            // Most have neither identifiers nor properties, so the last one fits or none does.
            if let Some(request) = requests.last_mut().filter(fits)
                && let Content::Subscribe { list, .. } = &mut request.content
            {
                list.push(&filter, granted.options);
                request.interruptions = request.interruptions.max(interruptions);
                continue;
            }
            let mut list = SubscriptionList::new();
            list.push(&filter, granted.options);
            let identifier = granted.identifier;
            requests.push(Request {
                operation: None,
                content: Content::Subscribe { list, identifier, is_again: true },
                user_properties: granted.user_properties.clone(),
                timeout: None,
                ended: Vec::new(),
                interruptions,
            });
        }
        requests
    }
}
