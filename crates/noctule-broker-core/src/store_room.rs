//! Who waits while there is no room for records on their way to the store: a disk that is full, or
//! slow, or does not answer must be felt by those who want something kept, and by nobody else.
//!
//! And who waits while memory is scarce because messages are in it that the store could have alone:
//! what comes faster than the store's log is emptied would be dropped, although there is room for
//! it on disk. Each waits for one emptying; if that does not help, queues drop what is too much.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use noctule_packet::{QoS, ReasonCode};
use noctule_session::Timestamp;

use crate::connection::Parked;
use crate::effect::{Effect, Effects};
use crate::fault::Refused;
use crate::forwarded::Forwarded;
use crate::input::ConnectionId;
use crate::passing::Awaited;
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
    /// Answers to other shards about what was kept here nevertheless: whoever gets them sends more.
    answers: Vec<Forwarded>,
    /// The same of runs.
    run_answers: Vec<Awaited>,
    emptying: Emptying,
}

/// Whether memory is free again when the log is emptied.
#[derive(Debug, Default)]
enum Emptying {
    /// Nobody has asked for that.
    #[default]
    Idle,
    /// It is on its way.
    Asked,
    /// It did not help, and is not asked for again before this.
    InVain { until: Timestamp },
}

/// For so long queues may drop what is too much before the log is emptied for that again.
const IN_VAIN: Duration = Duration::from_millis(250);

impl Shard {
    /// Whether what nobody waits for, or somebody can do without, is better not recorded now.
    pub(crate) fn lacks_store_room(&self) -> bool {
        self.store_room.is_missing
    }

    /// There is room for records, or none.
    pub(crate) fn on_store_room(&mut self, has_room: bool, effects: &mut Effects) {
        self.store_room.is_missing = !has_room;
        if has_room {
            for forwarded in core::mem::take(&mut self.store_room.answers) {
                self.finish_forward(forwarded, effects);
            }
            for run in core::mem::take(&mut self.store_room.run_answers) {
                self.answer_run(run, effects);
            }
            self.try_all_again(effects);
        }
    }

    /// Answers a forward of which everything is durable, when there is room for more.
    pub(crate) fn finish_durable_forward(&mut self, forwarded: Forwarded, effects: &mut Effects) {
        if self.store_room.is_missing && forwarded.is_awaited() {
            self.store_room.answers.push(forwarded);
        } else {
            self.finish_forward(forwarded, effects);
        }
    }

    /// The same with a run, which may be of this shard: then its publisher feels it by itself.
    pub(crate) fn finish_durable_run(&mut self, run: Awaited, effects: &mut Effects) {
        if self.store_room.is_missing && run.to != self.settings.shard {
            self.store_room.run_answers.push(run);
        } else {
            self.answer_run(run, effects);
        }
    }

    /// The log is empty, but for what has come since that was asked for.
    pub(crate) fn on_log_emptied(&mut self, effects: &mut Effects) {
        if !matches!(self.store_room.emptying, Emptying::Asked) {
            return;
        }
        self.store_room.emptying = if self.memory.is_scarce() {
            Emptying::InVain { until: self.now + IN_VAIN }
        } else {
            Emptying::Idle
        };
        if !self.store_room.is_missing {
            self.try_all_again(effects);
        }
    }

    fn try_all_again(&mut self, effects: &mut Effects) {
        for id in core::mem::take(&mut self.store_room.waiting) {
            self.try_again(id, effects);
        }
    }

    /// Whether a publication has to wait for room. What it leads to on other shards is not known
    /// before: there one of each client may be on its way.
    pub(crate) fn waits_for_room(
        &self,
        key: SessionKey,
        publication: &Publication<'_>,
        matches: &Matches,
    ) -> bool {
        if !self.store_room.is_missing {
            return self.waits_for_memory(publication, matches);
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
                    Target::Group(key) => self.groups.group(key).is_some_and(|group| group.is_kept),
                    Target::Shard(_) => is_behind,
                }))
    }

    /// Whether a publication has to wait until the log is emptied: what it leads to on other shards
    /// is not known, and in shared subscriptions nothing leaves memory.
    fn waits_for_memory(&self, publication: &Publication<'_>, matches: &Matches) -> bool {
        let is_in_vain = match self.store_room.emptying {
            Emptying::Idle | Emptying::Asked => false,
            Emptying::InVain { until } => self.now < until,
        };
        if publication.qos == QoS::AtMostOnce
            || !self.keeps()
            || is_in_vain
            || !self.memory.is_scarce()
        {
            return false;
        }
        matches.iter().any(|found| match found.target {
            Target::Session(key) => self.registry.session(key).is_some_and(|session| {
                let takes_it = session.connection.is_some() && session.is_open();
                found.options.qos > QoS::AtMostOnce && session.is_stored() && !takes_it
            }),
            Target::Shard(_) => true,
            Target::Group(_) => false,
        })
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
    pub(crate) fn wait_for_room(
        &mut self,
        id: ConnectionId,
        parked: ParkedPublish,
        effects: &mut Effects,
    ) {
        self.park(id, Parked::Room(Box::new(parked)));
        self.statistics.publish_unkept += 1;
        self.store_room.waiting.push_back(id);
        if !self.store_room.is_missing && !matches!(self.store_room.emptying, Emptying::Asked) {
            self.store_room.emptying = Emptying::Asked;
            effects.push(Effect::EmptyLog);
        }
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
