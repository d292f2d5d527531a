//! What other shards say: one arm for each kind of message. And a publication on its way to another
//! shard, and from there to its subscribers.

use alloc::boxed::Box;
use alloc::sync::Arc;

use smallvec::SmallVec;

use crate::effect::{Effects, Token, Waiting};
use crate::fan_out::Then;
use crate::fault::Refused;
use crate::input::ShardId;
use crate::persist::Awaiting;
use crate::publication::{Publication, Publisher};
use crate::registry::SessionKey;
use crate::router::{Matches, Target};
use crate::shard::Shard;
use crate::shard_message::{Body, Forward, ShardMessage};

/// With so many targets a small message is copied for this shard: everybody who keeps one counts
/// itself in it, and two threads that count in one place wait for each other every time.
const COPY_FOR: usize = 16;
const COPIED_BYTES_MAX: usize = 8 * 1024;

/// A forward whose deliveries are not all made, and what its shard is owed then.
#[derive(Clone, Debug)]
pub(crate) struct Forwarded {
    from: ShardId,
    token: Option<Token>,
    bytes: u64,
    refused: Option<Box<Refused>>,
    /// Whether the answer waits for nothing to be durable.
    is_in_memory: bool,
}

impl Forwarded {
    /// Whether anybody waits for the answer.
    pub(crate) fn is_awaited(&self) -> bool {
        self.token.is_some()
    }
}

impl Shard {
    /// Something that another shard said.
    pub(crate) fn on_shard_message(
        &mut self,
        from: ShardId,
        message: ShardMessage,
        effects: &mut Effects,
    ) {
        match message.0 {
            Body::Forward(forward) => self.on_forward(from, forward, effects),
            Body::Run(passed) => self.on_run(from, &passed, effects),
            Body::Answers { session, first, count } => {
                self.on_run_answered(session, first, count, effects);
            }
            Body::Answer { token, refused } => match token.0 {
                Waiting::Acknowledgement { session, answer } => {
                    self.on_answered(session, answer, refused, effects);
                }
                Waiting::Alone { session, answer } => {
                    self.on_run_answered(session, answer, 1, effects);
                }
                _ => {}
            },
            Body::Credit { bytes } => self.on_credit(from, bytes, effects),
            Body::ChangeRoute { token, filter, interested } => {
                self.on_route_changed(from, &filter, interested);
                #[cfg(feature = "planted-faults")]
                if self.is_planted(crate::planted::PlantedFault::DropRouteConfirmation) {
                    return;
                }
                let published = self.published.clone();
                effects.tell(from, Body::ConfirmRoute { token, published });
            }
            Body::ConfirmRoute { token, published } => {
                self.on_route_confirmed(from, token, &published, effects);
            }
            Body::AskRetained(ask) => self.on_ask_retained(from, ask, effects),
            Body::GiveRetained(given) => self.on_give_retained(*given, effects),
            Body::Group(message) => self.on_group_message(from, message, effects),
            Body::Assign(assign) => self.on_assign(from, *assign, effects),
            Body::Joined { token } => self.on_part_done(token, effects),
            Body::AskCounters { round } => self.give_counters(from, round, effects),
            Body::GiveCounters { round, counters } => {
                self.on_counters(round, &counters, effects);
            }
        }
    }

    /// Step 6: one record for each other shard that has subscribers or keeps the retained message.
    /// How many answers to wait for.
    pub(crate) fn forward(
        &mut self,
        publication: &mut Publication<'_>,
        matches: &Matches,
        waiting: Option<(SessionKey, u64)>,
        effects: &mut Effects,
    ) -> u32 {
        if self.settings.placement.shards() == 1 {
            return 0;
        }
        let owner = self.retained_elsewhere(publication);
        // Other shards stand behind all targets of this one, the same ones next to each other.
        let mut others: SmallVec<[ShardId; 8]> = matches
            .iter()
            .rev()
            .map_while(|found| match found.target {
                Target::Shard(shard) => Some(shard),
                Target::Session(_) | Target::Group(_) => None,
            })
            .chain(owner)
            .collect();
        if others.is_empty() {
            return 0;
        }
        others.sort_unstable();
        others.dedup();
        let token =
            waiting.map(|(session, answer)| Token(Waiting::Acknowledgement { session, answer }));
        let publisher = self.publisher_number(publication.publisher);
        let (message, origin) = (publication.message(), publication.origin);
        let (name, is_in_memory) = (publication.name, publication.is_in_memory);
        for to in &others {
            let keep_for = (owner == Some(*to)).then(|| self.publisher_name(publication.publisher));
            let message = Arc::clone(&message);
            self.windows.spend(*to, message.bytes());
            let forward =
                Forward { token, message, origin, name, publisher, keep_for, is_in_memory };
            effects.tell(*to, Body::Forward(forward));
        }
        if waiting.is_none() {
            return 0;
        }
        // There are no more shards than a u16 counts.
        u32::try_from(others.len()).unwrap_or(u32::MAX)
    }

    /// Another shard's publication, for the subscribers of this one only, and perhaps to keep. The
    /// answer says that all of that is done.
    pub(crate) fn on_forward(&mut self, from: ShardId, forward: Forward, effects: &mut Effects) {
        let Forward { token, message, origin, name, publisher, keep_for, is_in_memory } = forward;
        let bytes = message.bytes() as u64;
        let mut forwarded = Forwarded { from, token, bytes, refused: None, is_in_memory };
        let before = self.recorded();
        // Who has got it is known by its name, if it has one.
        if name == 0 && self.deliver_straight(&message, effects).is_some() {
            self.finish_recorded_forward(forwarded, self.recorded() > before, effects);
            self.spares.keep(message);
            return;
        }
        if let Some(mut publication) = Publication::of(&message, Publisher::Elsewhere(publisher)) {
            (publication.origin, publication.name) = (origin, name);
            publication.is_in_memory = is_in_memory;
            self.note_seen(&publication);
            if let Some(client_id) = keep_for
                && let Err(refused) = self.keep_retained(&mut publication, effects)
            {
                self.note_refused(client_id, Arc::clone(&message.topic), &refused, effects);
                forwarded.refused = Some(Box::new(refused));
            }
            self.answer_asks(effects);
            let matches = self.route_forwarded(publication.topic);
            if matches.len() >= COPY_FOR && publication.payload.len() <= COPIED_BYTES_MAX {
                publication.forget_message();
            }
            if let Some(at) = self.start_fan_out(&mut publication, &matches, effects) {
                let is_recorded = self.recorded() > before;
                let then = Then { forwarded: Some(forwarded), is_recorded, ..Then::default() };
                self.defer(&mut publication, matches, at, then);
                return;
            }
        }
        self.finish_recorded_forward(forwarded, self.recorded() > before, effects);
    }

    /// Answers a forward as soon as what it has led to is durable. It is dealt with before: what
    /// the disk has not taken must not hold up what needs no disk.
    pub(crate) fn finish_recorded_forward(
        &mut self,
        mut forwarded: Forwarded,
        is_recorded: bool,
        effects: &mut Effects,
    ) {
        if is_recorded && !forwarded.is_in_memory {
            self.repay(forwarded.from, core::mem::take(&mut forwarded.bytes), effects);
            self.await_durable(Awaiting::Forward(Box::new(forwarded)), effects);
        } else {
            self.finish_forward(forwarded, effects);
        }
    }

    /// All deliveries of a forward are made.
    pub(crate) fn finish_forward(&mut self, done: Forwarded, effects: &mut Effects) {
        let Forwarded { from, token, bytes, refused, .. } = done;
        if let Some(token) = token {
            effects.tell(from, Body::Answer { token, refused });
        }
        self.repay(from, bytes, effects);
    }

    /// What a session's client identifier is called on other shards.
    pub(crate) fn publisher_number(&self, publisher: Publisher) -> u64 {
        match publisher {
            Publisher::Nobody => 0,
            Publisher::Elsewhere(number) => number,
            Publisher::Session(key) => self
                .registry
                .session(key)
                .map_or(0, |session| self.settings.placement.number(&session.client_id)),
        }
    }

    /// The client identifier of a publisher of this shard.
    pub(crate) fn publisher_name(&self, publisher: Publisher) -> Arc<str> {
        let session = publisher.session().and_then(|key| self.registry.session(key));
        session.map_or_else(|| Arc::from(""), |session| Arc::clone(&session.client_id))
    }
}
