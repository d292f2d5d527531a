//! The driver of every shard: passes inputs in and carries out what the shard wants done, as late
//! as a real one might.

use noctule_broker_core::{ConnectionId, Effect, Input, Principal, Reading, Record, ShardId};

use crate::link::{BrokerEnd, LinkId, Mark};
use crate::world::{Happening, World};

/// How long a connection that the broker has ended may take to take its last bytes.
const LINGER: u64 = 1_000;

impl World {
    /// Passes one input to a shard, and does what follows from it.
    pub(crate) fn input(&mut self, shard: usize, input: Input<'_>) {
        let now = self.timestamp();
        let driven = &mut self.shards[shard];
        // What it says of bytes is about none here.
        let _ = driven.shard.on_input(now, input, &mut driven.effects);
        self.carry_out(shard, &[]);
    }

    /// Does what follows from an input, which had these bytes.
    fn carry_out(&mut self, shard: usize, bytes: &[u8]) {
        let driven = &mut self.shards[shard];
        driven.shard.record_acknowledgements(&mut driven.effects);
        let mut effects = std::mem::take(&mut driven.effects);
        for effect in effects.drain() {
            self.carry_out_one(shard, effect, bytes);
        }
        self.shards[shard].effects = effects;
        self.settle_later(shard);
        let mut dirty = Vec::new();
        self.shards[shard].shard.take_dirty(&mut dirty);
        for id in dirty {
            if let Some(link) = self.link_of(shard, id).filter(|link| !self.links[*link].is_blocked)
            {
                self.write_out(link);
            }
        }
        self.watch_deadline(shard);
    }

    fn carry_out_one(&mut self, shard: usize, effect: Effect, bytes: &[u8]) {
        match effect {
            Effect::Close { connection } => self.shard_closes(shard, connection),
            Effect::Resume { connection } => {
                if let Some(link) = self.link_of(shard, connection) {
                    self.links[link].is_paused = false;
                    self.schedule(0, Happening::Continue(link));
                }
            }
            Effect::Authenticate { token, credentials, .. } => {
                let user_name = credentials.user_name;
                let outcome = Ok(Principal { user_name, ..Principal::default() });
                self.answer_later(shard, Input::Authenticated { token, outcome });
            }
            Effect::Authorize { token, .. } => {
                self.answer_later(shard, Input::Authorized { token, allowed: true });
            }
            // What nobody waits for becomes durable with what somebody waits for, and not before.
            Effect::Persist { record, is_urgent } => self.persist(shard, &record, is_urgent),
            Effect::PersistRun { run } => {
                self.persist(shard, &Record::QueuedRun(run.read_in(bytes).to_owned()), true);
            }
            // That it has helped is not promised.
            Effect::EmptyLog => self.answer_later(shard, Input::LogEmptied),
            Effect::Restored => self.shards[shard].is_restored = true,
            Effect::ReadQueue { session, from, bytes_max } => {
                self.read_queue(shard, session, from, bytes_max);
            }
            Effect::ToShard { to, message } => {
                let to = usize::from(to.0);
                let delay = self.random.between(0, self.profile.shard_delay);
                let at = self.now + delay;
                let channel = &mut self.channels[shard][to];
                channel.last = channel.last.max(at);
                channel.messages.push_back(message);
                let at = channel.last;
                self.schedule_at(at, Happening::Between { from: shard, to });
            }
            Effect::Event(event) => self.note_event(shard, &event),
        }
    }

    fn persist(&mut self, shard: usize, record: &Record, is_urgent: bool) {
        let records = &mut self.shards[shard].records;
        *records += 1;
        let records = *records;
        if self.power.is_some() {
            self.keep(shard, record, is_urgent);
        } else if is_urgent {
            self.answer_later(shard, Input::Persisted { records });
        }
    }

    pub(crate) fn answer_later(&mut self, shard: usize, input: Input<'static>) {
        let at = self.now + self.random.between(0, self.profile.answer_delay);
        let driven = &mut self.shards[shard];
        driven.answers_last = driven.answers_last.max(at);
        driven.answers.push_back(input);
        let at = driven.answers_last;
        self.schedule_at(at, Happening::Answer(shard));
    }

    pub(crate) fn answer(&mut self, shard: usize) {
        if let Some(input) = self.shards[shard].answers.pop_front() {
            self.input(shard, input);
        }
    }

    pub(crate) fn message_reaches_shard(&mut self, from: usize, to: usize) {
        if let Some(message) = self.channels[from][to].messages.pop_front() {
            let from = ShardId(from as u16);
            self.input(to, Input::FromShard { from, message });
        }
    }

    fn watch_deadline(&mut self, shard: usize) {
        let Some(deadline) = self.shards[shard].shard.poll_timeout() else { return };
        let at = self.virtual_time(deadline.as_millis()).max(self.now);
        if self.shards[shard].timer_at.is_none_or(|known| at < known) {
            self.shards[shard].timer_at = Some(at);
            let late = self.random.below(3);
            self.schedule_at(at + late, Happening::Timer(shard));
        }
    }

    pub(crate) fn deadline(&mut self, shard: usize) {
        self.shards[shard].timer_at = None;
        let due = self.shards[shard].shard.poll_timeout();
        if due.is_some_and(|at| at <= self.timestamp()) {
            self.input(shard, Input::Timeout);
        } else {
            self.watch_deadline(shard);
        }
    }

    /// A connection reaches a shard: the one that accepted it, or its client's home.
    pub(crate) fn open_on_shard(&mut self, link: LinkId) {
        let BrokerEnd::Opening { moved } = self.links[link].broker_end else { return };
        let shard = usize::from(self.links[link].shard.0);
        let driven = &mut self.shards[shard];
        let slot = driven.free.pop().unwrap_or_else(|| {
            driven.slots.push((0, None));
            driven.slots.len() as u32 - 1
        });
        let entry = &mut driven.slots[slot as usize];
        entry.1 = Some(link);
        let connection = ConnectionId { slot, generation: entry.0 };
        self.links[link].id = connection;
        self.links[link].broker_end = BrokerEnd::Open;
        let peer = format!("link-{link}").into();
        let listener = self.links[link].listener;
        let opened = Input::Opened { connection, listener, peer, moved };
        self.input(shard, opened);
        self.feed(link);
    }

    pub(crate) fn bytes_reach_broker(&mut self, link: LinkId) {
        // What has come at the same time may be read in one piece.
        let joins = self.random.chance(50);
        let (now, known) = (self.now, &mut self.links[link]);
        while known.upward.front().is_some_and(|(at, _)| *at <= now)
            && let Some((_, bytes)) = known.upward.pop_front()
        {
            known.unread.extend(bytes);
            if !joins {
                break;
            }
        }
        self.feed(link);
    }

    pub(crate) fn go_on(&mut self, link: LinkId) {
        let known = &self.links[link];
        if known.broker_end == BrokerEnd::Open && !known.is_paused {
            self.pass_on(link, true);
        }
    }

    fn feed(&mut self, link: LinkId) {
        let known = &self.links[link];
        if known.broker_end == BrokerEnd::Open && !known.is_paused && !known.unread.is_empty() {
            self.pass_on(link, false);
        }
    }

    fn pass_on(&mut self, link: LinkId, goes_on: bool) {
        let (shard, connection) = (usize::from(self.links[link].shard.0), self.links[link].id);
        let mut unread = std::mem::take(&mut self.links[link].unread);
        // What the shard says while it reads must find how far it has read: one packet at a time
        // would hide what happens between two of them, so the note is taken before and after.
        let input = if goes_on {
            Input::Continue { connection, bytes: &unread }
        } else {
            Input::Bytes { connection, bytes: &unread }
        };
        let now = self.timestamp();
        let driven = &mut self.shards[shard];
        let consumed = driven.shard.on_input(now, input, &mut driven.effects);
        self.links[link].unread = unread.split_off(consumed.bytes);
        let moves = matches!(consumed.reading, Reading::Moved(_));
        self.note_consumed(link, consumed.bytes as u64, moves);
        match consumed.reading {
            Reading::Drained => {}
            Reading::Budget => self.schedule(0, Happening::Continue(link)),
            Reading::Paused => {
                self.links[link].is_paused = true;
                self.note_pause(link);
            }
            Reading::Moved(home) => self.move_to(link, home),
        }
        self.carry_out(shard, &unread);
    }

    /// Takes note of the packets that a shard has read.
    fn note_consumed(&mut self, link: LinkId, bytes: u64, moves: bool) {
        self.links[link].consumed += bytes;
        if moves {
            return;
        }
        while let Some((end, mark)) = self.links[link].marks.front()
            && *end <= self.links[link].consumed
        {
            let mark = mark.clone();
            self.links[link].marks.pop_front();
            if mark == Mark::Connect {
                self.links[link].connect_consumed = true;
                self.oracle.connect_is_read(self.links[link].client, link);
            }
            self.note_read(link, &mark);
            self.links[link].last_mark = mark;
        }
    }

    fn move_to(&mut self, link: LinkId, home: ShardId) {
        self.trace(|| format!("link {link} moves to shard {}", home.0));
        self.forget_slot(link);
        self.links[link].shard = home;
        self.links[link].broker_end = BrokerEnd::Opening { moved: true };
        let delay = self.random.between(0, self.profile.shard_delay.min(20));
        self.schedule(delay, Happening::Open(link));
    }

    /// Gives the slot of a connection that its shard has forgotten to another one.
    fn forget_slot(&mut self, link: LinkId) {
        let (shard, id) = (usize::from(self.links[link].shard.0), self.links[link].id);
        let entry = &mut self.shards[shard].slots[id.slot as usize];
        *entry = (entry.0 + 1, None);
        self.shards[shard].free.push(id.slot);
    }

    /// The shard has ended a connection: what is in its buffer is still written.
    fn shard_closes(&mut self, shard: usize, connection: ConnectionId) {
        let Some(link) = self.link_of(shard, connection) else { return };
        if self.links[link].broker_end != BrokerEnd::Open {
            return;
        }
        self.links[link].broker_end = BrokerEnd::Closing;
        self.schedule(0, Happening::Write(link));
        self.schedule(LINGER, Happening::GiveUp(link));
    }

    /// Writes as much as the network takes.
    pub(crate) fn write_out(&mut self, link: LinkId) {
        let known = &self.links[link];
        if !matches!(known.broker_end, BrokerEnd::Open | BrokerEnd::Closing) {
            return;
        }
        let (shard, id) = (usize::from(known.shard.0), known.id);
        let room = self.profile.pipe_bytes.saturating_sub(known.downward_bytes);
        let Some(outbound) = self.shards[shard].shard.outbound(id) else { return };
        let waiting = outbound.len();
        let mut taken = Vec::new();
        for chunk in outbound.chunks() {
            let count = chunk.len().min(room - taken.len());
            taken.extend_from_slice(&chunk[..count]);
        }
        outbound.advance(taken.len());
        let is_empty = outbound.is_empty();
        self.send_downward(link, taken);
        let was_full = waiting >= self.profile.limits.outbound_bytes_max as usize / 2;
        let known = &mut self.links[link];
        if !is_empty {
            known.is_blocked = true;
            return;
        }
        let was_blocked = std::mem::take(&mut known.is_blocked);
        if known.broker_end == BrokerEnd::Closing {
            self.give_up(link);
        } else if was_blocked || (waiting > 0 && was_full) {
            self.input(shard, Input::Flushed { connection: id });
        } else {
            self.shards[shard].shard.reclaim(id);
        }
    }

    /// Ends a connection that the shard has ended, whether its last bytes were taken or not.
    pub(crate) fn give_up(&mut self, link: LinkId) {
        if self.links[link].broker_end == BrokerEnd::Closing {
            self.broker_end_closes(link);
            let at = self.links[link].downward_last.max(self.now);
            self.schedule_at(at, Happening::EndOfStream(link));
        }
    }

    /// The network tells the broker that a client is gone.
    pub(crate) fn broker_sees_end(&mut self, link: LinkId) {
        match self.links[link].broker_end {
            BrokerEnd::Open | BrokerEnd::Closing => self.broker_end_closes(link),
            BrokerEnd::Opening { .. } => self.links[link].broker_end = BrokerEnd::Closed,
            BrokerEnd::Closed => {}
        }
    }

    fn broker_end_closes(&mut self, link: LinkId) {
        let (shard, connection) = (usize::from(self.links[link].shard.0), self.links[link].id);
        self.input(shard, Input::Closed { connection });
        self.links[link].broker_end = BrokerEnd::Closed;
        self.forget_slot(link);
    }
}
