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
}

impl Subscriptions {
    pub(crate) fn len(&self) -> usize {
        self.by_filter.len()
    }

    /// What the server has granted for a filter.
    pub(crate) fn granted(&self, filter: &str) -> Option<ReasonCode> {
        self.by_filter.get(filter).map(|granted| granted.code)
    }

    pub(crate) fn insert(&mut self, subscription: StoredSubscription, code: ReasonCode) {
        let StoredSubscription { filter, options, identifier, user_properties } = subscription;
        self.by_filter.insert(filter, Granted { options, identifier, user_properties, code });
    }

    pub(crate) fn clear(&mut self) {
        self.by_filter.clear();
    }

    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        self.by_filter.remove(filter).is_some()
    }

    /// The requests that bring all of them back, each with at most so many filters.
    pub(crate) fn requests(&self, filters_max: usize) -> Vec<Request> {
        let mut requests: Vec<Request> = Vec::new();
        for (filter, granted) in &self.by_filter {
            let Ok(filter) = TopicFilter::new(filter) else { continue };
            let fits = |request: &&mut Request| match &request.content {
                Content::Subscribe { list, identifier, .. } => {
                    *identifier == granted.identifier
                        && list.len() < filters_max.max(1)
                        && request.user_properties == granted.user_properties
                }
                Content::Unsubscribe { .. } => false,
            };
            // Most have neither identifiers nor properties, so the last one fits or none does.
            if let Some(request) = requests.last_mut().filter(fits)
                && let Content::Subscribe { list, .. } = &mut request.content
            {
                list.push(&filter, granted.options);
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
            });
        }
        requests
    }
}
