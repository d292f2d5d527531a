//! The rules of matching, written down as plainly as possible and without a thought of speed.

use std::collections::BTreeMap;

use noctule_packet::{QoS, SubscriptionOptions};

const TEXT_BYTES_MAX: usize = 65_535;

pub(crate) fn is_topic_name(text: &str) -> bool {
    is_topic_text(text) && !text.contains(['+', '#'])
}

fn is_topic_text(text: &str) -> bool {
    !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.contains('\0')
}

pub(crate) fn is_share_name(text: &str) -> bool {
    is_topic_text(text) && !text.contains(['/', '+', '#'])
}

pub(crate) fn is_filter(text: &str) -> bool {
    if !is_topic_text(text) {
        return false;
    }
    let Some(shared) = text.strip_prefix("$share/") else { return has_filter_levels(text) };
    match shared.split_once('/') {
        Some((name, filter)) => {
            is_share_name(name) && !filter.is_empty() && has_filter_levels(filter)
        }
        None => false,
    }
}

fn has_filter_levels(filter: &str) -> bool {
    let levels: Vec<&str> = filter.split('/').collect();
    levels.iter().enumerate().all(|(at, level)| match *level {
        "#" => at + 1 == levels.len(),
        "+" => true,
        other => !other.contains(['+', '#']),
    })
}

/// What topic names are compared with, of a filter that is one.
pub(crate) fn without_share(filter: &str) -> &str {
    let shared = filter.strip_prefix("$share/").and_then(|shared| shared.split_once('/'));
    shared.map_or(filter, |(_, filter)| filter)
}

/// Whether a filter without share name matches a topic name.
pub(crate) fn matches(filter: &str, name: &str) -> bool {
    let filter: Vec<&str> = filter.split('/').collect();
    let name: Vec<&str> = name.split('/').collect();
    let begins_with_wildcard = filter[0] == "+" || filter[0] == "#";
    !(begins_with_wildcard && name[0].starts_with('$')) && levels_match(&filter, &name)
}

fn levels_match(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        (["#"], _) => true,
        (["+", filter @ ..], [_, name @ ..]) => levels_match(filter, name),
        ([level, filter @ ..], [other, name @ ..]) if level == other => levels_match(filter, name),
        (filter, name) => filter.is_empty() && name.is_empty(),
    }
}

/// What arrives at a client of one publication, apart from topic and payload.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Terms {
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    /// In ascending order; empty before 5.0.
    pub(crate) identifiers: Vec<u32>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Subscription {
    pub(crate) options: SubscriptionOptions,
    pub(crate) identifier: Option<u32>,
}

/// A message, as its publisher sent it.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    pub(crate) publisher: usize,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
}

/// The subscriptions of a few clients, named by their number, and the retained messages.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) subscriptions: Vec<BTreeMap<String, Subscription>>,
    pub(crate) retained: BTreeMap<String, Publication>,
}

impl Model {
    /// What a client gets through its own subscriptions: one message at the most.
    pub(crate) fn expected(&self, client: usize, publication: &Publication) -> Option<Terms> {
        let own = publication.publisher == client;
        let matching: Vec<&Subscription> = self.subscriptions[client]
            .iter()
            .filter(|(filter, _)| !filter.starts_with("$share/"))
            .filter(|(filter, _)| matches(filter, &publication.topic))
            .map(|(_, subscription)| subscription)
            .filter(|subscription| !(own && subscription.options.no_local))
            .collect();
        let granted = matching.iter().map(|subscription| subscription.options.qos).max()?;
        let as_published = matching.iter().any(|found| found.options.retain_as_published);
        let mut identifiers: Vec<u32> =
            matching.iter().filter_map(|subscription| subscription.identifier).collect();
        identifiers.sort_unstable();
        let qos = granted.min(publication.qos);
        Some(Terms { qos, retain: publication.retain && as_published, identifiers })
    }

    /// For each shared subscription that matches: who may get the message, and how.
    pub(crate) fn shares(&self, publication: &Publication) -> Vec<Vec<(usize, Terms)>> {
        let mut groups: BTreeMap<&str, Vec<(usize, Terms)>> = BTreeMap::new();
        for (client, subscriptions) in self.subscriptions.iter().enumerate() {
            for (filter, subscription) in subscriptions {
                let shared = filter.starts_with("$share/");
                if shared && matches(without_share(filter), &publication.topic) {
                    let options = subscription.options;
                    let terms = Terms {
                        qos: options.qos.min(publication.qos),
                        retain: publication.retain && options.retain_as_published,
                        identifiers: subscription.identifier.into_iter().collect(),
                    };
                    groups.entry(filter).or_default().push((client, terms));
                }
            }
        }
        groups.into_values().collect()
    }

    /// Whether any subscription at all matches.
    pub(crate) fn is_wanted(&self, topic: &str) -> bool {
        let mut filters = self.subscriptions.iter().flat_map(BTreeMap::keys);
        filters.any(|filter| matches(without_share(filter), topic))
    }

    /// How many shared subscriptions have a member.
    pub(crate) fn groups(&self) -> usize {
        let filters = self.subscriptions.iter().flat_map(BTreeMap::keys);
        let mut shared: Vec<&String> =
            filters.filter(|filter| filter.starts_with("$share/")).collect();
        shared.sort_unstable();
        shared.dedup();
        shared.len()
    }

    /// The retained messages that a new subscription gets.
    pub(crate) fn replayed(
        &self,
        filter: &str,
        subscription: &Subscription,
    ) -> Vec<(Publication, Terms)> {
        let matching = self.retained.values().filter(|kept| matches(filter, &kept.topic));
        let with_terms = matching.map(|kept| {
            let qos = kept.qos.min(subscription.options.qos);
            let identifiers = subscription.identifier.into_iter().collect();
            (kept.clone(), Terms { qos, retain: true, identifiers })
        });
        with_terms.collect()
    }

    /// Keeps or forgets what a publication with RETAIN says.
    pub(crate) fn retain(&mut self, publication: &Publication) {
        if !publication.retain {
        } else if publication.payload.is_empty() {
            self.retained.remove(&publication.topic);
        } else {
            self.retained.insert(publication.topic.clone(), publication.clone());
        }
    }
}
