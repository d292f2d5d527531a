//! What each shard gets back of what stands.

use std::collections::HashMap;

use noctule_broker_core::{Placement, Restored, ShardId, Source};

use super::model::Model;

impl Model {
    /// What each shard gets back, in order; the first one's comes first.
    pub fn into_restored(self, placement: &Placement) -> Vec<Vec<Restored>> {
        let Self { sessions, shared, retained, unrouted, mut queued, last_name, .. } = self;
        let mut shards = Shards((0..placement.shards()).map(|_| Vec::new()).collect());
        let mut sessions: Vec<_> = sessions.into_iter().collect();
        sessions.sort_unstable_by_key(|(name, _)| *name);
        let mut homes = HashMap::new();
        for (name, session) in sessions {
            let home = placement.client(&session.terms.client_id);
            homes.insert(name, home);
            shards.give(home, Restored::Session(Box::new(session.into_stored())));
        }
        let mut queues: Vec<_> = shared.into_iter().collect();
        queues.sort_unstable_by_key(|(name, _)| *name);
        for stored in queues.into_iter().filter_map(|(name, queue)| queue.into_stored(name)) {
            // A group lives where a client identifier of that text would.
            let home = placement.client(&stored.filter);
            shards.give(home, Restored::SharedQueue(stored));
        }
        let mut retained: Vec<_> = retained.into_values().collect();
        retained.sort_unstable_by(|one, other| one.topic.cmp(&other.topic));
        for message in retained {
            shards.give(owner(placement, &message.topic), Restored::Retained(message));
        }
        for (publication, (session, source, message)) in unrouted {
            let sessions: Vec<u64> =
                queued.remove(&publication).unwrap_or_default().into_iter().collect();
            for shard in &mut shards.0 {
                let sessions = sessions.clone();
                shard.push(Restored::Queued { publication, sessions });
            }
            // Whose session is over has no home, and needs none, but for a will.
            let home = match &source {
                Source::Will(owner) => placement.client(&owner.client_id),
                Source::Packet(_) => homes.get(&session).copied().unwrap_or_default(),
            };
            shards.give(home, Restored::Unrouted { publication, session, source, message });
        }
        for shard in &mut shards.0 {
            shard.push(Restored::End { last_name });
        }
        shards.0
    }
}

/// Who keeps the retained message of a topic: whose home a client identifier of that text would be.
fn owner(placement: &Placement, topic: &str) -> ShardId {
    if topic.starts_with("$SYS/") { ShardId(0) } else { placement.client(topic) }
}

struct Shards(Vec<Vec<Restored>>);

impl Shards {
    fn give(&mut self, home: ShardId, restored: Restored) {
        if let Some(shard) = self.0.get_mut(usize::from(home.0)) {
            shard.push(restored);
        }
    }
}
