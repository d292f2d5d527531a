//! A run of publications on its way to the one other shard that wants them: it stays as it was
//! read, in one piece, and goes the straight way there, too, as far as it can.

use alloc::boxed::Box;
use alloc::sync::Arc;

use noctule_packet::{Framing, Publish, QoS, Version, split};
use noctule_session::{AnswerId, Arrival};

use crate::effect::{Effects, Token, Waiting};
use crate::input::ShardId;
use crate::last_topic::{LastTopic, Only};
use crate::message::{self, Message};
use crate::origin::Origin;
use crate::persist::Awaiting;
use crate::publication::Publisher;
use crate::registry::SessionKey;
use crate::settings::Durability;
use crate::shard::Shard;
use crate::shard_message::{Body, Forward};
use crate::straight::{Run, is_limited};

/// How many are handed over at a time at most: whoever gets them looks at its clock between letters
/// only.
const LETTER_MAX: usize = 64;

/// Publications that went the straight way together.
#[derive(Debug)]
pub(crate) struct Passed {
    packets: Box<[u8]>,
    version: Version,
    /// Stands for the publisher's client identifier.
    publisher: u64,
    /// Whom to answer those with QoS 1, and where their answers begin; the others follow.
    session: SessionKey,
    first: u64,
    /// Whether the publisher is promised nothing that has to be in the store.
    is_in_memory: bool,
}

/// The publications of a run that waited until they are recorded.
#[derive(Debug)]
pub(crate) struct Awaited {
    /// The publisher's shard.
    pub(crate) to: ShardId,
    pub(crate) session: SessionKey,
    /// Where their answers begin; the others follow.
    pub(crate) first: u64,
    pub(crate) count: u64,
}

impl Shard {
    /// Hands a run to the one other shard that wants it.
    pub(crate) fn run_to_shard(
        &mut self,
        key: SessionKey,
        to: ShardId,
        last: &LastTopic,
        run: &mut Run<'_>,
        effects: &mut Effects,
    ) -> Option<()> {
        let name = last.name.name()?;
        run.next(name)?;
        // What takes memory over there may have to wait.
        if self.keeps() && self.memory.is_scarce() {
            return None;
        }
        let publisher = self.publisher_number(Publisher::Session(key));
        let session = self.registry.session_mut(key)?;
        let is_in_memory = session.durability == Durability::Memory;
        let mut first = None;
        while run.count < if is_limited(&self.settings) { 1 } else { LETTER_MAX }
            && let Some((plain, length)) = run.next(name)
        {
            if self.budget < 2 || !self.windows.is_open(to) {
                break;
            }
            if let Some(packet_id) = plain.packet_id {
                let arrival = session.receiver.on_publish(QoS::AtLeastOnce, packet_id);
                let Ok(Arrival::New(answer)) = arrival else { break };
                first.get_or_insert(answer.value());
            }
            self.windows.spend(to, message::plain_bytes(name.as_str(), plain.payload));
            self.budget -= 2;
            run.note(&plain, length);
        }
        if run.count > 0 {
            // Its acknowledgements wait for the other shard.
            run.acknowledge.clear();
            let (packets, version) = (run.packets().into(), run.version);
            let first = first.unwrap_or_default();
            let passed = Passed { packets, version, publisher, session: key, first, is_in_memory };
            effects.tell(to, Body::Run(passed));
        }
        Some(())
    }

    /// Another shard's run, for the subscribers of this one only.
    pub(crate) fn on_run(&mut self, from: ShardId, passed: &Passed, effects: &mut Effects) {
        let mut rest = &*passed.packets;
        let (session, mut first) = (passed.session, passed.first);
        while !rest.is_empty() {
            let mut run = Run::new(rest, passed.version, u32::MAX);
            let _ = self.deliver_run(&mut run);
            self.record_run(&run, effects);
            // They are dealt with: what the disk has not taken must not hold up what needs no disk.
            self.repay(from, run.message_bytes, effects);
            let count = run.acknowledge.len() as u64;
            let awaited = Awaited { to: from, session, first, count };
            if run.recorded().is_some() && !passed.is_in_memory {
                self.await_durable(Awaiting::Run(Box::new(awaited)), effects);
            } else if run.count > 0 {
                self.answer_run(awaited, effects);
            }
            first += count;
            rest = rest.get(run.bytes..).unwrap_or_default();
            let Some((forward, length)) = self.first_of(rest, passed, first) else { return };
            first += u64::from(forward.token.is_some());
            rest = rest.get(length..).unwrap_or_default();
            self.on_forward(from, forward, effects);
        }
    }

    /// Delivers the front of a run to the one session that wants it.
    fn deliver_run(&mut self, run: &mut Run<'_>) -> Option<()> {
        // Whoever waits for a turn has to have it first. Where there is no room for records the
        // publisher has to feel it.
        if !self.work.is_empty() || self.lacks_store_room() {
            return None;
        }
        let mut last = self.last_topic.take()?;
        let done = self.deliver_run_on(&mut last, run);
        self.last_topic = Some(last);
        done
    }

    fn deliver_run_on(&mut self, last: &mut LastTopic, run: &mut Run<'_>) -> Option<()> {
        let Some(Only::Session(receiver, granted)) = last.only(self.router.epoch()) else {
            return None;
        };
        self.give_run((receiver, granted), last, run, 0, |_, _| true)
    }

    /// The first publication of what is left of a run, to go the long way, and its length.
    fn first_of(&self, rest: &[u8], passed: &Passed, answer: u64) -> Option<(Forward, usize)> {
        let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) else { return None };
        let publish = Publish::decode(&frame, passed.version, self.settings.text_rules).ok()?;
        let topic = Arc::from(publish.topic?.as_str());
        let message = Arc::new(Message::plain(topic, publish.payload.into(), publish.qos));
        let session = passed.session;
        let token = publish.packet_id.map(|_| Token(Waiting::Alone { session, answer }));
        let (origin, publisher) = (Origin::default(), passed.publisher);
        let (keep_for, is_in_memory) = (None, passed.is_in_memory);
        let forward =
            Forward { token, message, origin, name: 0, publisher, keep_for, is_in_memory };
        Some((forward, frame.length))
    }

    /// A run has been dealt with: its publisher may know, wherever it is.
    pub(crate) fn answer_run(&mut self, run: Awaited, effects: &mut Effects) {
        let Awaited { to, session, first, count } = run;
        if to == self.settings.shard {
            return self.on_run_answered(session, first, count, effects);
        }
        if count > 0 {
            effects.tell(to, Body::Answers { session, first, count });
        }
    }

    /// Publications of a client of this shard have been dealt with where they were passed on to.
    pub(crate) fn on_run_answered(
        &mut self,
        key: SessionKey,
        first: u64,
        count: u64,
        effects: &mut Effects,
    ) {
        let Some(session) = self.registry.session_mut(key) else { return };
        session.receiver.complete_many(AnswerId::from_value(first), count);
        if let Some(id) = session.connection {
            self.send_many_acknowledgements(id, key);
            self.on_room_behind(id, effects);
        }
    }
}
