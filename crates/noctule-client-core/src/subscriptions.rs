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
    /// Whether it is to be asked for again.
    is_lost: bool,
    /// How many connections in a row have ended before the answer to that.
    interruptions: u16,
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
        let (is_lost, interruptions) = (false, 0);
        let granted =
            Granted { options, identifier, user_properties, code, is_lost, interruptions };
        self.by_filter.insert(filter, granted);
    }

    /// The server has forgotten all of them.
    pub(crate) fn lose(&mut self) {
        for granted in self.by_filter.values_mut() {
            granted.is_lost = true;
        }
    }

    /// So many connections have ended before the server answered what asked for one again.
    pub(crate) fn note_interruptions(&mut self, filter: &str, interruptions: u16) {
        if let Some(granted) = self.by_filter.get_mut(filter) {
            granted.interruptions = interruptions;
        }
    }

    pub(crate) fn clear(&mut self) {
        self.by_filter.clear();
    }

    pub(crate) fn remove(&mut self, filter: &str) -> bool {
        self.by_filter.remove(filter).is_some()
    }

    /// The requests that bring those back that are lost, each with at most so many filters. One
    /// that was interrupted so often that it is suspicious has a request for itself.
    pub(crate) fn requests(&self, filters_max: usize, suspicious: u16) -> Vec<Request> {
        let mut requests: Vec<Request> = Vec::new();
        for (filter, granted) in self.by_filter.iter().filter(|(_, granted)| granted.is_lost) {
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
