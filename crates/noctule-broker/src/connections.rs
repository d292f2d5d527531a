//! The connections of a shard's thread, by the names that the shard knows them by.

use noctule_broker_core::ConnectionId;

/// A slab whose slots carry a generation, so that the name of an ended connection finds nothing.
#[derive(Debug)]
pub(crate) struct Connections<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    open: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: u32,
    /// Boxed, because there may be many more slots than connections.
    connection: Option<Box<T>>,
}

impl<T> Connections<T> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), open: 0 }
    }

    /// How many are open.
    pub(crate) const fn len(&self) -> usize {
        self.open
    }

    /// Adds one; `None` when four thousand million are open.
    pub(crate) fn insert(&mut self, connection: T) -> Option<ConnectionId> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                let slot = u32::try_from(self.slots.len()).ok()?;
                self.slots.push(Slot { generation: 0, connection: None });
                slot
            }
        };
        let entry = self.slots.get_mut(slot as usize)?;
        entry.generation = entry.generation.wrapping_add(1);
        entry.connection = Some(Box::new(connection));
        self.open += 1;
        Some(ConnectionId { slot, generation: entry.generation })
    }

    /// The connection, if it is still open.
    pub(crate) fn find(&mut self, id: ConnectionId) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.slot as usize)?;
        slot.connection.as_deref_mut().filter(|_| slot.generation == id.generation)
    }

    /// Takes a connection out; its slot can be used again.
    pub(crate) fn remove(&mut self, id: ConnectionId) -> Option<Box<T>> {
        self.find(id)?;
        let connection = self.slots.get_mut(id.slot as usize)?.connection.take();
        self.free.push(id.slot);
        self.open -= 1;
        connection
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_under_a_new_name() {
        let mut connections = Connections::new();
        let first = connections.insert("a").unwrap();
        let second = connections.insert("b").unwrap();
        assert_eq!((first.slot, second.slot, connections.len()), (0, 1, 2));

        assert_eq!(connections.remove(first).as_deref(), Some(&"a"));
        assert_eq!(connections.remove(first), None);
        let third = connections.insert("c").unwrap();
        assert_eq!(third.slot, 0);
        assert_ne!(third.generation, first.generation);
        assert_eq!(connections.find(first), None);
        assert_eq!(connections.find(third), Some(&mut "c"));
        assert_eq!(connections.len(), 2);
    }
}
