//! Which sessions there are, by key and by client identifier. One identifier has at most one
//! session.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::quality::FixedState;
use hashbrown::HashTable;

use crate::session::Session;

/// Names a session: a place that is used again, and how often it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionKey {
    slot: u32,
    generation: u32,
}

impl SessionKey {
    /// The key of no session.
    pub(crate) const NOBODY: Self = Self { slot: u32::MAX, generation: u32::MAX };
}

#[cfg(test)]
impl SessionKey {
    /// A key of a session that need not be.
    pub(crate) fn for_test(slot: u32) -> Self {
        Self { slot, generation: 0 }
    }
}

/// The sessions of a shard.
#[derive(Debug)]
pub(crate) struct Registry {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// By client identifier, which stands in the session.
    by_client_id: HashTable<SessionKey>,
    hasher: FixedState,
}

#[derive(Debug)]
struct Slot {
    generation: u32,
    /// Boxed, so that a place without a session costs next to nothing.
    session: Option<Box<Session>>,
}

impl Registry {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_client_id: HashTable::new(),
            hasher: FixedState::with_seed(seed),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.by_client_id.len()
    }

    pub(crate) fn find(&self, client_id: &str) -> Option<SessionKey> {
        let is_it = |key: &SessionKey| {
            self.session(*key).is_some_and(|session| &*session.client_id == client_id)
        };
        self.by_client_id.find(self.hasher.hash_one(client_id), is_it).copied()
    }

    pub(crate) fn session(&self, key: SessionKey) -> Option<&Session> {
        let slot = self.slots.get(key.slot as usize)?;
        (slot.generation == key.generation).then_some(slot.session.as_deref()?)
    }

    pub(crate) fn session_mut(&mut self, key: SessionKey) -> Option<&mut Session> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation == key.generation { slot.session.as_deref_mut() } else { None }
    }

    /// Adds a session under its client identifier, which must have none.
    pub(crate) fn insert(&mut self, session: Session) -> SessionKey {
        let hash = self.hasher.hash_one(&*session.client_id);
        let key = match self.free.pop() {
            Some(slot) => self.reuse(slot, session),
            None => {
                let slot = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
                self.slots.push(Slot { generation: 0, session: Some(Box::new(session)) });
                SessionKey { slot, generation: 0 }
            }
        };
        let (slots, hasher) = (&self.slots, &self.hasher);
        self.by_client_id.insert_unique(hash, key, |key| {
            let slot = slots.get(key.slot as usize).and_then(|slot| slot.session.as_deref());
            slot.map_or(0, |session| hasher.hash_one(&*session.client_id))
        });
        key
    }

    pub(crate) fn remove(&mut self, key: SessionKey) -> Option<Session> {
        let slot = self.slots.get_mut(key.slot as usize)?;
        if slot.generation != key.generation {
            return None;
        }
        let session = *slot.session.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.slot);
        let hash = self.hasher.hash_one(&*session.client_id);
        if let Ok(entry) = self.by_client_id.find_entry(hash, |known| *known == key) {
            entry.remove();
        }
        Some(session)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_deref())
    }

    fn reuse(&mut self, at: u32, session: Session) -> SessionKey {
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(at as usize) {
            generation = slot.generation;
            slot.session = Some(Box::new(session));
        }
        SessionKey { slot: at, generation }
    }
}

#[cfg(test)]
mod tests {
    use noctule_packet::Version;

    use super::*;

    fn insert(registry: &mut Registry, client_id: &str) -> SessionKey {
        registry.insert(Session::new(client_id.into(), Version::V5_0))
    }

    #[test]
    fn a_place_is_used_again_and_its_old_key_finds_nothing() {
        let mut registry = Registry::new(1);
        let first = insert(&mut registry, "first");
        let other = insert(&mut registry, "other");
        assert!(registry.remove(first).is_some());
        let second = insert(&mut registry, "second");
        assert_eq!(registry.slots.len(), 2);
        assert!(registry.session(first).is_none());
        assert!(registry.session_mut(first).is_none());
        assert!(registry.remove(first).is_none());
        assert_eq!(registry.find("first"), None);
        assert_eq!(registry.find("second"), Some(second));
        assert_eq!(registry.session(second).map(|session| &*session.client_id), Some("second"));
        assert_eq!(registry.find("other"), Some(other));
        assert_eq!((registry.len(), registry.iter().count()), (2, 2));
    }

    #[test]
    fn a_place_whose_session_is_over_holds_hardly_any_memory() {
        assert!(size_of::<Slot>() <= 16, "{}", size_of::<Slot>());
    }
}
