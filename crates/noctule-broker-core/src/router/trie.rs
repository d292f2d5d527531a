//! A trie of topic filters, one node a level. Matching costs no more than the nodes that it visits,
//! and neither matching nor removing recurses, whatever a filter's depth.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use noctule_packet::TopicName;
use smallvec::SmallVec;

use super::{Change, Match, Matches, Target};

const ROOT: u32 = 0;

/// The subscriptions, by filter.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Vec<Node>,
    free: Vec<u32>,
    /// Every node but the root, by its parent and its level: one table for the whole trie.
    children: HashTable<u32>,
    hasher: FixedState,
}

/// One level of a filter; `+` is a level like any other, `#` is a list at the node above it.
#[derive(Debug, Default)]
struct Node {
    parent: u32,
    level: Level,
    children: u32,
    /// The child `+`, 0 for none.
    plus: u32,
    /// Those whose filter ends here.
    here: Subscribers,
    /// Those whose filter goes on with `#`; boxed, as few nodes have any.
    below: Option<Box<Subscribers>>,
}

/// The text of a level. Most are short enough to lie in their node.
type Level = SmallVec<[u8; 16]>;

/// Sorted by target. Most filters have one subscriber.
type Subscribers = SmallVec<[Match; 1]>;

impl Trie {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            nodes: vec![Node::default()],
            free: Vec::new(),
            children: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub(crate) fn insert(&mut self, filter: &str, subscription: Match) -> Change {
        let (path, multi_level) = split_filter(filter);
        let mut at = ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            at = self.child(at, level).unwrap_or_else(|| self.add_child(at, level));
        }
        let Some(node) = self.nodes.get_mut(at as usize) else { return Change::None };
        let list = if multi_level { node.below.get_or_insert_default() } else { &mut node.here };
        // Other shards are sorted behind everything of this one.
        let was_local = list.first().is_some_and(is_local);
        match list.binary_search_by_key(&subscription.target, |known| known.target) {
            // [MQTT5-3.8.4-3] [MQTT311-3.8.4-3]
            Ok(place) => {
                if let Some(known) = list.get_mut(place) {
                    *known = subscription;
                }
            }
            Err(place) => list.insert(place, subscription),
        }
        if !was_local && is_local(&subscription) { Change::First } else { Change::None }
    }

    pub(crate) fn remove(&mut self, filter: &str, target: Target) -> Change {
        let (path, multi_level) = split_filter(filter);
        let mut at = ROOT;
        for level in path.into_iter().flat_map(|path| path.split('/')) {
            let Some(child) = self.child(at, level) else { return Change::None };
            at = child;
        }
        let Some(node) = self.nodes.get_mut(at as usize) else { return Change::None };
        let list = if multi_level { node.below.as_deref_mut() } else { Some(&mut node.here) };
        let Some(list) = list else { return Change::None };
        let Ok(place) = list.binary_search_by_key(&target, |known| known.target) else {
            return Change::None;
        };
        let removed = list.remove(place);
        let last = is_local(&removed) && !list.first().is_some_and(is_local);
        if list.len() < list.capacity() / 4 {
            list.shrink_to_fit();
        }
        if multi_level && list.is_empty() {
            node.below = None;
        }
        self.prune(at);
        self.give_memory_back();
        if last { Change::Last } else { Change::None }
    }

    /// Every subscription whose filter matches, sorted by target.
    pub(crate) fn matches(&self, topic: TopicName<'_>) -> Matches {
        let mut found = Vec::new();
        let mut lists = 0;
        let mut take = |list: &[Match]| {
            if !list.is_empty() {
                lists += 1;
                found.extend_from_slice(list);
            }
        };
        // What is left to visit: a node, and where in the topic its children's level starts.
        let mut visits: SmallVec<[(u32, Option<usize>); 16]> = SmallVec::new();
        visits.push((ROOT, Some(0)));
        while let Some((at, rest)) = visits.pop() {
            let Some(node) = self.nodes.get(at as usize) else { continue };
            // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
            let wildcards = at != ROOT || !topic.is_system();
            // [MQTT5-4.7.1-1] [MQTT311-4.7.1-2]
            if let Some(below) = node.below.as_ref().filter(|_| wildcards) {
                take(below);
            }
            let Some(start) = rest else {
                take(&node.here);
                continue;
            };
            if node.children == 0 {
                continue;
            }
            let tail = topic.as_str().get(start..).unwrap_or_default();
            let (level, next) = match slash(tail) {
                Some(end) => (tail.get(..end).unwrap_or_default(), Some(start + end + 1)),
                None => (tail, None),
            };
            // [MQTT5-3.3.2-3] [MQTT311-3.3.2-3]
            if let Some(child) = self.child(at, level) {
                visits.push((child, next));
            }
            // [MQTT311-4.7.1-3]
            if wildcards && node.plus != ROOT {
                visits.push((node.plus, next));
            }
        }
        if lists > 1 {
            found.sort_by_key(|found| found.target);
        }
        Arc::from(found)
    }

    fn child(&self, parent: u32, level: &str) -> Option<u32> {
        let level = level.as_bytes();
        let hash = self.hasher.hash_one((parent, level));
        let found = self.children.find(hash, |child| {
            self.nodes
                .get(*child as usize)
                .is_some_and(|node| node.parent == parent && &*node.level == level)
        });
        found.copied()
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let text = level.as_bytes();
        let node = Node { parent, level: Level::from_slice(text), ..Node::default() };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.nodes.get_mut(at as usize) {
                    *place = node;
                }
                at
            }
            None => {
                self.nodes.push(node);
                u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children += 1;
            if level == "+" {
                parent.plus = at;
            }
        }
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        let hash = hasher.hash_one((parent, text));
        self.children.insert_unique(hash, at, |child| hash_of(nodes, hasher, *child));
        at
    }

    /// Removes a node that serves nothing any more, and those above it that it leaves empty.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT {
            let Some(node) = self.nodes.get(at as usize) else { return };
            if node.children > 0 || !node.here.is_empty() || node.below.is_some() {
                return;
            }
            let hash = self.hasher.hash_one((node.parent, &*node.level));
            if let Ok(entry) = self.children.find_entry(hash, |child| *child == at) {
                entry.remove();
            }
            let parent = self.nodes.get_mut(at as usize).map_or(ROOT, |node| {
                node.level = Level::new();
                node.parent
            });
            self.free.push(at);
            if let Some(parent) = self.nodes.get_mut(parent as usize) {
                parent.children -= 1;
                if parent.plus == at {
                    parent.plus = ROOT;
                }
            }
            at = parent;
        }
    }
}

impl Trie {
    /// Gives back what many filters took, once most of them are gone. This renumbers the nodes, and
    /// is so rare that its cost does not show.
    fn give_memory_back(&mut self) {
        let (free, all) = (self.free.len(), self.nodes.len());
        if free <= all / 4 * 3 && free + 1 < all {
            return;
        }
        let mut is_free = vec![false; self.nodes.len()];
        for at in core::mem::take(&mut self.free) {
            if let Some(is_free) = is_free.get_mut(at as usize) {
                *is_free = true;
            }
        }
        let mut places = Vec::with_capacity(is_free.len());
        let mut place = ROOT;
        for is_free in &is_free {
            places.push(place);
            place += u32::from(!is_free);
        }
        let place_of = |at: u32| places.get(at as usize).copied().unwrap_or(ROOT);
        let kept = core::mem::take(&mut self.nodes).into_iter().zip(is_free);
        self.nodes = Vec::with_capacity(place as usize);
        self.nodes.extend(kept.filter(|(_, is_free)| !is_free).map(|(node, _)| {
            let (parent, plus) = (place_of(node.parent), place_of(node.plus));
            Node { parent, plus, ..node }
        }));
        self.children = HashTable::with_capacity(self.nodes.len());
        let (nodes, hasher) = (&self.nodes, &self.hasher);
        for at in 1..place {
            let hash = hash_of(nodes, hasher, at);
            self.children.insert_unique(hash, at, |child| hash_of(nodes, hasher, *child));
        }
    }
}

fn hash_of(nodes: &[Node], hasher: &FixedState, at: u32) -> u64 {
    nodes.get(at as usize).map_or(0, |node| hasher.hash_one((node.parent, &*node.level)))
}

/// A filter's path, `None` for the root itself, and whether `#` follows it.
fn split_filter(filter: &str) -> (Option<&str>, bool) {
    match filter.strip_suffix('#') {
        Some("") => (None, true),
        Some(path) => (Some(path.strip_suffix('/').unwrap_or(path)), true),
        None => (Some(filter), false),
    }
}

fn is_local(subscription: &Match) -> bool {
    !matches!(subscription.target, Target::Shard(_))
}

fn slash(text: &str) -> Option<usize> {
    text.as_bytes().iter().position(|byte| *byte == b'/')
}

#[cfg(test)]
impl Trie {
    /// How many nodes there is room for, and that is at least what the tables hold.
    pub(crate) fn places(&self) -> usize {
        self.nodes.capacity().max(self.children.capacity() / 4).max(self.free.capacity())
    }

    /// How many subscriptions to a filter of one level there is room for.
    pub(crate) fn room(&self, level: &str) -> usize {
        let node = self.child(ROOT, level).and_then(|at| self.nodes.get(at as usize));
        node.map_or(0, |node| node.here.capacity())
    }
}
