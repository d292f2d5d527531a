//! Who waits while there is no room for records on their way to the store: a disk that is full, or
//! slow, or does not answer must be felt by those who want something kept, and by nobody else.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use noctule_packet::{QoS, ReasonCode};

use crate::connection::Parked;
use crate::effect::Effects;
use crate::fault::Refused;
use crate::input::ConnectionId;
use crate::publication::Publication;
use crate::publish::ParkedPublish;
use crate::registry::SessionKey;
use crate::router::{Matches, Target};
use crate::session::Session;
use crate::settings::Durability;
use crate::shard::Shard;
use crate::will::Will;

/// Whether there is room, and who waits for it.
#[derive(Debug, Default)]
pub(crate) struct StoreRoom {
    is_missing: bool,
    waiting: VecDeque<ConnectionId>,
}

impl Shard {
    /// Whether what nobody waits for, or somebody can do without, is better not recorded now.
    pub(crate) fn lacks_store_room(&self) -> bool {
        self.store_room.is_missing
    }

    /// There is room for records, or none.
    pub(crate) fn on_store_room(&mut self, has_room: bool, effects: &mut Effects) {
        self.store_room.is_missing = !has_room;
        if has_room {
            for id in core::mem::take(&mut self.store_room.waiting) {
                self.try_again(id, effects);
            }
        }
    }

    /// Whether a publication has to wait for room. What it leads to on other shards and in shared
    /// subscriptions is not known before: there one of each client may be on its way.
    pub(crate) fn waits_for_room(
        &self,
        key: SessionKey,
        publication: &Publication<'_>,
        matches: &Matches,
    ) -> bool {
        if !self.store_room.is_missing {
            return false;
        }
        let publisher = self.registry.session(key);
        let is_kept = |session: Option<&Session>| session.is_some_and(Session::is_stored);
        // It is behind one of its client that waits for its answer, besides itself.
        let is_behind = publisher.is_some_and(|session| session.receiver.owed() > 1);
        (publication.retain && !publication.is_in_memory)
            || (publication.qos == QoS::ExactlyOnce && is_kept(publisher))
            || (publication.qos > QoS::AtMostOnce
                && matches.iter().any(|found| match found.target {
                    Target::Session(session) => {
                        found.options.qos > QoS::AtMostOnce
                            && is_kept(self.registry.session(session))
                    }
                    Target::Group(_) | Target::Shard(_) => is_behind,
                }))
    }

    /// A client that has a session kept, or wants one, would wait for its CONNACK, come again and
    /// again, and leave a record each time: it is told.
    pub(crate) fn check_store_room(
        &self,
        known: Option<SessionKey>,
        durability: Durability,
        expiry_interval: u32,
        will: Option<&Will>,
    ) -> Result<(), Refused> {
        let known = known.and_then(|key| self.registry.session(key));
        let wants_kept = expiry_interval > 0 || will.is_some_and(Will::is_kept);
        let is_kept = (wants_kept && durability != Durability::Memory)
            || known.is_some_and(|session| session.kept.is_some());
        if self.store_room.is_missing && is_kept {
            let text = "the store takes no more now, so that no session can be kept";
            return Err(Refused::new(ReasonCode::ServerUnavailable, text));
        }
        Ok(())
    }

    /// Lets a connection wait until there is room.
    pub(crate) fn wait_for_room(&mut self, id: ConnectionId, parked: ParkedPublish) {
        self.park(id, Parked::Room(Box::new(parked)));
        self.statistics.publish_unkept += 1;
        self.store_room.waiting.push_back(id);
    }

    /// How many connections wait for room.
    pub(crate) fn waiting_for_room(&self) -> u64 {
        self.store_room.waiting.len() as u64
    }

    /// A connection is gone.
    pub(crate) fn wait_for_room_no_more(&mut self, id: ConnectionId) {
        self.store_room.waiting.retain(|waiting| *waiting != id);
    }

    /// A publication of this client has got its answer: the next one may be on its way.
    pub(crate) fn on_room_behind(&mut self, id: ConnectionId, effects: &mut Effects) {
        let waits = self.store_room.waiting.iter().position(|waiting| *waiting == id);
        if let Some(id) = waits.and_then(|at| self.store_room.waiting.remove(at)) {
            self.try_again(id, effects);
        }
    }
}
