//! Who wants a message: own sessions, shared subscriptions and other shards, found by topic name.

mod cache;
mod trie;

use alloc::sync::Arc;

use noctule_packet::{SubscriptionOptions, TopicName};

use crate::groups::GroupKey;
use crate::input::ShardId;
use crate::registry::SessionKey;
use crate::session::SubscriptionIdentifier;
use cache::MatchCache;
use trie::Trie;

/// Who is to get what matches a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Target {
    /// A session of this shard.
    Session(SessionKey),
    /// A shared subscription of this shard.
    Group(GroupKey),
    /// Another shard, which has sessions that want it.
    Shard(ShardId),
}

/// One subscription that a topic name matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    pub(crate) target: Target,
    pub(crate) options: SubscriptionOptions,
    /// The Subscription Identifier.
    pub(crate) identifier: Option<SubscriptionIdentifier>,
}

/// All subscriptions that a topic name matches, those of one target next to each other.
pub(crate) type Matches = Arc<[Match]>;

/// The subscriptions of a shard.
#[derive(Debug)]
pub(crate) struct Router {
    trie: Trie,
    cache: MatchCache,
}

impl Router {
    pub(crate) fn new(seed: u64) -> Self {
        Self { trie: Trie::new(seed), cache: MatchCache::new(seed) }
    }

    /// Adds a subscription or replaces that of the same target. `filter` has no share name.
    pub(crate) fn subscribe(&mut self, filter: &str, subscription: Match) -> Change {
        self.cache.forget(filter);
        self.trie.insert(filter, subscription)
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, filter: &str, target: Target) -> Change {
        self.cache.forget(filter);
        self.trie.remove(filter, target)
    }

    /// Counts changes of subscriptions: what was matched at another count may not hold any more.
    pub(crate) fn epoch(&self) -> u64 {
        self.cache.epoch()
    }

    /// Every subscription that `topic` matches.
    pub(crate) fn matches(&mut self, topic: TopicName<'_>) -> Matches {
        if let Some(matches) = self.cache.find(topic) {
            return matches;
        }
        let matches = self.trie.matches(topic);
        self.cache.keep(topic, Arc::clone(&matches));
        matches
    }
}

/// What a subscription or its end changed for other shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// This shard's first target for the filter came.
    First,
    /// This shard's last target for the filter left.
    Last,
    /// Neither.
    None,
}

#[cfg(test)]
mod tests;
