//! A tree of topic filters, one node a level, and the mailboxes that each is for. Matching visits
//! no more nodes than fit the topic, and nothing recurses, however deep a filter is.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;

use noctule_packet::TopicName;

use crate::hub::mailboxes::MailboxId;

/// Where every filter begins.
const ROOT: usize = 0;

/// The filters, without share names, of all mailboxes.
#[derive(Debug)]
pub(crate) struct Filters {
    nodes: Vec<Node>,
    /// The places of nodes that are gone.
    free: Vec<usize>,
}

/// One level; `+` is a level like any other, `#` is a list at the node above it.
#[derive(Debug, Default)]
struct Node {
    parent: usize,
    level: Box<str>,
    children: BTreeMap<Box<str>, usize>,
    /// Those whose filter ends here, in order.
    here: Vec<MailboxId>,
    /// Those whose filter goes on with `#`, in order.
    below: Vec<MailboxId>,
}

impl Node {
    fn list(&mut self, is_below: bool) -> &mut Vec<MailboxId> {
        if is_below { &mut self.below } else { &mut self.here }
    }

    fn is_empty(&self) -> bool {
        self.children.is_empty() && self.here.is_empty() && self.below.is_empty()
    }
}

impl Default for Filters {
    fn default() -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new() }
    }
}

/// The levels of a filter, and whether `#` follows them.
fn levels_of(filter: &str) -> (impl Iterator<Item = &str>, bool) {
    let (levels, is_below) = match filter.strip_suffix('#') {
        // There is a `/` before it, or nothing.
        Some(before) => (before.strip_suffix('/'), true),
        None => (Some(filter), false),
    };
    (levels.into_iter().flat_map(|levels| levels.split('/')), is_below)
}

impl Filters {
    /// A mailbox is to have what a filter matches. Whether that is new.
    pub(crate) fn insert(&mut self, filter: &str, mailbox: MailboxId) -> bool {
        let (levels, is_below) = levels_of(filter);
        let mut at = ROOT;
        for level in levels {
            at = self.child(at, level).unwrap_or_else(|| self.add(at, level));
        }
        let Some(node) = self.nodes.get_mut(at) else { return false };
        let list = node.list(is_below);
        let Err(place) = list.binary_search(&mailbox) else { return false };
        list.insert(place, mailbox);
        true
    }

    /// And is not any more.
    pub(crate) fn remove(&mut self, filter: &str, mailbox: MailboxId) {
        let (levels, is_below) = levels_of(filter);
        let mut at = ROOT;
        for level in levels {
            let Some(child) = self.child(at, level) else { return };
            at = child;
        }
        if let Some(node) = self.nodes.get_mut(at) {
            let list = node.list(is_below);
            if let Ok(place) = list.binary_search(&mailbox) {
                list.remove(place);
            }
        }
        self.prune(at);
    }

    /// The mailboxes that a topic's messages are for, each once and in order.
    pub(crate) fn matching(&self, topic: TopicName<'_>) -> Vec<MailboxId> {
        let mut found = Vec::new();
        // A node, and where in the topic the level of its children begins.
        let mut visits = vec![(ROOT, Some(0))];
        while let Some((at, start)) = visits.pop() {
            let Some(node) = self.nodes.get(at) else { continue };
            // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
            let wildcards_match = at != ROOT || !topic.is_system();
            if wildcards_match {
                found.extend_from_slice(&node.below);
            }
            let Some(start) = start else {
                found.extend_from_slice(&node.here);
                continue;
            };
            let rest = topic.as_str().get(start..).unwrap_or_default();
            let (level, next) = match rest.split_once('/') {
                Some((level, _)) => (level, Some(start + level.len() + 1)),
                None => (rest, None),
            };
            if wildcards_match && let Some(child) = self.child(at, "+") {
                visits.push((child, next));
            }
            if let Some(child) = self.child(at, level) {
                visits.push((child, next));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn child(&self, parent: usize, level: &str) -> Option<usize> {
        self.nodes.get(parent)?.children.get(level).copied()
    }

    fn add(&mut self, parent: usize, level: &str) -> usize {
        let node = Node { parent, level: level.into(), ..Node::default() };
        let at = match self.free.pop() {
            Some(at) => {
                if let Some(place) = self.nodes.get_mut(at) {
                    *place = node;
                }
                at
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        };
        if let Some(parent) = self.nodes.get_mut(parent) {
            parent.children.insert(level.into(), at);
        }
        at
    }

    /// Takes a node away that nothing is at or below, and those above it that it leaves so.
    fn prune(&mut self, mut at: usize) {
        while at != ROOT {
            let Some(node) = self.nodes.get_mut(at).filter(|node| node.is_empty()) else { return };
            let Node { parent, level, .. } = core::mem::take(node);
            self.free.push(at);
            if let Some(parent) = self.nodes.get_mut(parent) {
                parent.children.remove(&level);
            }
            at = parent;
        }
        // Many at once must not cost memory for ever.
        if self.free.len() + 1 == self.nodes.len() {
            self.nodes.truncate(1);
            self.free = Vec::new();
        }
    }
}

#[cfg(test)]
#[path = "filters_tests.rs"]
mod tests;
