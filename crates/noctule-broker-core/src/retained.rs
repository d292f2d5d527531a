//! The retained message of every topic, in a trie that can be walked in slices.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::{Bound, ControlFlow};

use crate::message::Message;
use crate::origin::Origin;
use crate::totals::Totals;

const ROOT: u32 = 0;
/// What one level of a topic costs that no other topic has, in bytes: a node, its place among its
/// parent's children and its name (a round estimate).
const LEVEL_BYTES: u64 = 192;
/// The parent of a node that is not in use.
const NOWHERE: u32 = u32::MAX;

/// The retained messages of a shard. No session owns any of them, so that none dies with one.
// [MQTT311-3.1.2-7]
#[derive(Debug)]
pub(crate) struct Retained {
    nodes: Vec<Node>,
    /// Places in `nodes` that are not in use, among others that were once.
    free: Vec<u32>,
    messages: u64,
    bytes: u64,
    /// The same for all shards.
    totals: Arc<Totals>,
}

#[derive(Debug, Default)]
struct Node {
    parent: u32,
    /// The children in order, so that a walk can go on where it stopped whatever has changed.
    children: BTreeMap<Box<str>, u32>,
    kept: Option<Kept>,
}

/// A retained message and which publication it was.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) message: Arc<Message>,
    pub(crate) origin: Origin,
    /// Whether the store has it.
    pub(crate) is_stored: bool,
}

/// How far a walk has come: the levels of the last topic that was visited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Position {
    Start,
    After(Arc<str>),
    End,
}

impl Retained {
    pub(crate) fn new(totals: Arc<Totals>) -> Self {
        Self { nodes: vec![Node::default()], free: Vec::new(), messages: 0, bytes: 0, totals }
    }

    /// How many there are, `$SYS` not counted.
    pub(crate) fn messages(&self) -> u64 {
        self.messages
    }

    /// Their bytes and those of their topics' levels, `$SYS` not counted.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes there would be if a message of this size took its topic's place.
    pub(crate) fn bytes_with(&self, topic: &str, message_bytes: u64) -> u64 {
        let (mut at, mut levels, mut before) = (Some(ROOT), 0, 0);
        for level in topic.split('/') {
            at = at.and_then(|at| self.child(at, level));
            levels += u64::from(at.is_none());
        }
        if let Some(kept) = at.and_then(|at| self.nodes.get(at as usize)?.kept.as_ref()) {
            before = kept.message.bytes() as u64;
        }
        self.bytes - before + levels * LEVEL_BYTES + message_bytes
    }

    /// Keeps a message in place of the topic's last one, which is returned.
    #[cfg(test)]
    pub(crate) fn insert(&mut self, message: Arc<Message>, origin: Origin) -> Option<Arc<Message>> {
        self.put(Kept { message, origin, is_stored: false })
    }

    /// Keeps a message in place of the topic's last one, which is returned.
    pub(crate) fn put(&mut self, kept: Kept) -> Option<Arc<Message>> {
        let (mut at, mut added) = (ROOT, 0);
        for level in kept.message.topic.split('/') {
            at = match self.child(at, level) {
                Some(child) => child,
                None => {
                    added += 1;
                    self.add_child(at, level)
                }
            };
        }
        if !is_system(&kept.message.topic) {
            self.bytes += added * LEVEL_BYTES;
            self.totals.retained_bytes.add(added * LEVEL_BYTES);
        }
        self.count(&kept.message, true);
        let before = self.nodes.get_mut(at as usize)?.kept.replace(kept)?.message;
        self.count(&before, false);
        Some(before)
    }

    /// Forgets the topic's message, which is returned.
    pub(crate) fn remove(&mut self, topic: &str) -> Option<Arc<Message>> {
        let mut at = ROOT;
        for level in topic.split('/') {
            at = self.child(at, level)?;
        }
        let kept = self.nodes.get_mut(at as usize)?.kept.take()?;
        self.count(&kept.message, false);
        let removed = self.prune(at, topic);
        if !is_system(topic) {
            self.bytes -= removed * LEVEL_BYTES;
            self.totals.retained_bytes.subtract(removed * LEVEL_BYTES);
        }
        Some(kept.message)
    }

    /// The topic's message.
    pub(crate) fn find(&self, topic: &str) -> Option<&Kept> {
        let mut at = ROOT;
        for level in topic.split('/') {
            at = self.child(at, level)?;
        }
        self.nodes.get(at as usize)?.kept.as_ref()
    }

    /// Walks on through the messages whose topic the filter's `levels` match, from `position`. Ends
    /// after `steps` nodes, or when `visit` says that it was shown the last message it wants.
    /// Returns the steps that are left.
    pub(crate) fn walk(
        &self,
        levels: &[Box<str>],
        position: &mut Position,
        mut steps: usize,
        mut visit: impl FnMut(&Kept) -> ControlFlow<()>,
    ) -> usize {
        let from = core::mem::replace(position, Position::End);
        let Some(mut walk) = Walk::resume(self, levels, &from) else { return steps };
        while let Some((node, depth)) = walk.next(self) {
            steps = steps.saturating_sub(1);
            let last = match self.kept_if_matched(levels, node, depth) {
                Some(kept) => visit(kept).is_break(),
                None => false,
            };
            if last || steps == 0 {
                *position = Position::After(walk.path());
                break;
            }
            walk.descend(self, node);
        }
        steps
    }

    fn kept_if_matched(&self, levels: &[Box<str>], node: u32, depth: usize) -> Option<&Kept> {
        let kept = self.nodes.get(node as usize)?.kept.as_ref()?;
        let multi_level = levels.last().is_some_and(|last| &**last == "#");
        let complete = if multi_level { depth + 1 >= levels.len() } else { depth == levels.len() };
        complete.then_some(kept)
    }

    fn child(&self, at: u32, level: &str) -> Option<u32> {
        self.nodes.get(at as usize)?.children.get(level).copied()
    }

    fn add_child(&mut self, parent: u32, level: &str) -> u32 {
        let at = self.place(Node { parent, ..Node::default() });
        if let Some(parent) = self.nodes.get_mut(parent as usize) {
            parent.children.insert(level.into(), at);
        }
        at
    }

    fn place(&mut self, node: Node) -> u32 {
        while let Some(at) = self.free.pop() {
            // A place can be named twice, or lie behind the end, since the vector has shrunk.
            if let Some(place) = self.nodes.get_mut(at as usize)
                && place.parent == NOWHERE
            {
                *place = node;
                return at;
            }
        }
        self.nodes.push(node);
        u32::try_from(self.nodes.len() - 1).unwrap_or(NOWHERE)
    }

    /// Gives a node's place back, and memory once most of it is unused.
    fn vacate(&mut self, at: u32) {
        if let Some(node) = self.nodes.get_mut(at as usize) {
            node.parent = NOWHERE;
            self.free.push(at);
        }
        while self.nodes.last().is_some_and(|last| last.parent == NOWHERE) {
            self.nodes.pop();
        }
        if self.nodes.len() < self.nodes.capacity() / 4 {
            self.nodes.shrink_to(self.nodes.len() * 2);
        }
        if self.free.len() > self.nodes.len() * 2 {
            let nodes = &self.nodes;
            self.free
                .retain(|at| nodes.get(*at as usize).is_some_and(|node| node.parent == NOWHERE));
            self.free.sort_unstable();
            self.free.dedup();
            self.free.shrink_to_fit();
        }
    }

    /// Removes the topic's nodes that hold nothing any more, from `at` upwards. How many.
    fn prune(&mut self, mut at: u32, topic: &str) -> u64 {
        let mut removed = 0;
        for level in topic.rsplit('/') {
            let Some(node) = self.nodes.get(at as usize) else { break };
            if at == ROOT || node.kept.is_some() || !node.children.is_empty() {
                break;
            }
            removed += 1;
            let parent = node.parent;
            if let Some(parent) = self.nodes.get_mut(parent as usize) {
                parent.children.remove(level);
            }
            self.vacate(at);
            at = parent;
        }
        removed
    }

    fn count(&mut self, message: &Message, more: bool) {
        if is_system(&message.topic) {
            return;
        }
        let bytes = message.bytes() as u64;
        if more {
            self.messages += 1;
            self.bytes += bytes;
            self.totals.retained_messages.add(1);
            self.totals.retained_bytes.add(bytes);
        } else {
            self.messages -= 1;
            self.bytes -= bytes;
            self.totals.retained_messages.subtract(1);
            self.totals.retained_bytes.subtract(bytes);
        }
    }
}

fn is_system(topic: &str) -> bool {
    topic.starts_with("$SYS/")
}

/// A walk in progress: the chain of nodes above the one to visit next.
struct Walk<'a> {
    levels: &'a [Box<str>],
    /// For each depth the node whose children are being visited and the last child's level.
    chain: Vec<(u32, Option<&'a str>)>,
}

impl<'a> Walk<'a> {
    /// Goes back to `position`, as far as what led there still exists.
    fn resume(
        retained: &'a Retained,
        levels: &'a [Box<str>],
        position: &'a Position,
    ) -> Option<Self> {
        let mut walk = Self { levels, chain: vec![(ROOT, None)] };
        let topic = match position {
            Position::Start => return Some(walk),
            Position::End => return None,
            Position::After(topic) => topic,
        };
        for level in topic.split('/') {
            let (at, last) = walk.chain.last_mut()?;
            *last = Some(level);
            match retained.child(*at, level) {
                Some(child) if walk.goes_below(walk.chain.len()) => walk.chain.push((child, None)),
                _ => break,
            }
        }
        Some(walk)
    }

    /// Whether nodes at this depth have children that can match.
    fn goes_below(&self, depth: usize) -> bool {
        depth < self.levels.len() || self.levels.last().is_some_and(|last| &**last == "#")
    }

    /// The next node in order and its depth.
    fn next(&mut self, retained: &'a Retained) -> Option<(u32, usize)> {
        loop {
            let depth = self.chain.len();
            let (at, last) = self.chain.last_mut()?;
            let children = &retained.nodes.get(*at as usize)?.children;
            match next_child(children, self.levels, depth, *last) {
                Some((level, child)) => {
                    *last = Some(level);
                    return Some((child, depth));
                }
                None => {
                    self.chain.pop();
                }
            }
        }
    }

    /// Lets the children of a node that was just visited come next.
    fn descend(&mut self, retained: &Retained, node: u32) {
        let has_children =
            retained.nodes.get(node as usize).is_some_and(|node| !node.children.is_empty());
        if has_children && self.goes_below(self.chain.len()) {
            self.chain.push((node, None));
        }
    }

    /// The topic of the node that was visited last.
    fn path(&self) -> Arc<str> {
        let levels: Vec<&str> = self.chain.iter().filter_map(|(_, last)| *last).collect();
        levels.join("/").into()
    }
}

/// The child behind `last` that the filter's level at `depth` (1 for the first) allows.
// [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
fn next_child<'a>(
    children: &'a BTreeMap<Box<str>, u32>,
    levels: &[Box<str>],
    depth: usize,
    last: Option<&str>,
) -> Option<(&'a str, u32)> {
    let wanted = levels.get(depth - 1).or_else(|| levels.last().filter(|last| &***last == "#"))?;
    if &**wanted != "+" && &**wanted != "#" {
        let (level, child) = children.get_key_value(&**wanted)?;
        return last.is_none().then_some((&**level, *child));
    }
    let from = last.map_or(Bound::Unbounded, Bound::Excluded);
    let mut behind = children.range::<str, _>((from, Bound::Unbounded));
    let mut next = behind.next();
    if depth == 1 && next.is_some_and(|(level, _)| level.starts_with('$')) {
        // Behind all that begin with '$'.
        next = children.range::<str, _>((Bound::Included("%"), Bound::Unbounded)).next();
    }
    next.map(|(level, child)| (&**level, *child))
}

/// The levels of a filter, as [`Retained::walk`] takes them.
pub(crate) fn filter_levels(filter: &str) -> Arc<[Box<str>]> {
    filter.split('/').map(Box::from).collect()
}

#[cfg(test)]
#[path = "retained_tests.rs"]
mod tests;
