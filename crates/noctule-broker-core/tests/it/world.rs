//! The world around the shards of a [`Broker`](crate::broker::Broker): time, the driver's answers,
//! and what shards say to each other.

use std::collections::{BTreeMap, VecDeque};
use std::iter::repeat_n;
use std::sync::Arc;

use noctule_broker_core::{
    ClientSummary, Command, Durability, Effect, Effects, Event, Gauges, Input, ListenerId, Message,
    Principal, Question, Reading, Record, Reference, Restored, Settings, Shard, ShardId,
    ShardMessage, Statistics, Step, StoredMessage, Timestamp, Token,
};

use crate::wire::Link;

/// How many rounds the shards may take to come to rest.
const ROUNDS: usize = 100_000;

/// Shards and what is between them and the clients.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shards: Shards,
    pub(crate) now: Timestamp,
    pub(crate) effects: Vec<Vec<Effect>>,
    /// What shards have said to each other: from, to, what.
    pub(crate) mail: VecDeque<(ShardId, ShardId, ShardMessage)>,
    /// Which shard has asked with a token.
    pub(crate) askers: Vec<(Token, ShardId)>,
    pub(crate) links: Vec<Link>,
    pub(crate) events: Vec<Event>,
    /// Questions to the driver, which answers none of them by itself while they are held.
    pub(crate) asked: VecDeque<(ShardId, Effect)>,
    pub(crate) holds: bool,
    /// How many records each shard has handed out.
    pub(crate) records: Vec<u64>,
    /// Records that somebody waits for and that are not kept: whose, and which.
    pub(crate) unkept: VecDeque<(ShardId, u64)>,
    /// Records that nobody waits for.
    pub(crate) leisurely: Vec<Record>,
    /// What waits for sessions, by their names and by its places.
    pub(crate) queues: BTreeMap<u64, BTreeMap<u64, StoredMessage>>,
    /// Whether parts of queues are read only when a test says so.
    pub(crate) holds_reads: bool,
    /// The reads that are held.
    pub(crate) reads: VecDeque<(ShardId, Effect)>,
    /// Whether the log is emptied only when a test says so.
    pub(crate) holds_emptying: bool,
    /// The shards that have asked for an empty log.
    pub(crate) emptying: Vec<ShardId>,
    /// How many shards have what was stored.
    pub(crate) restored: usize,
    /// What shards say to each other is held too.
    pub(crate) holds_mail: bool,
    /// Every effect, for tests of their order.
    pub(crate) trace: Vec<String>,
}

/// All shards of a broker, counted together.
#[derive(Debug)]
pub(crate) struct Shards(pub(crate) Vec<Shard>);

impl Shards {
    pub(crate) fn statistics(&self) -> Statistics {
        let mut sum = Statistics::default();
        self.0.iter().for_each(|shard| sum.add(shard.statistics()));
        sum
    }

    pub(crate) fn gauges(&self) -> Gauges {
        let mut sum = Gauges::default();
        self.0.iter().for_each(|shard| sum.add(&shard.gauges()));
        sum
    }

    pub(crate) fn clients(&self) -> impl Iterator<Item = ClientSummary> + '_ {
        self.0.iter().flat_map(Shard::clients)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        self.0.iter().filter_map(Shard::poll_timeout).min()
    }

    pub(crate) fn of(&mut self, id: ShardId) -> &mut Shard {
        &mut self.0[usize::from(id.0)]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = ShardId> + use<> {
        (0..self.0.len() as u16).map(ShardId)
    }
}

impl World {
    /// Shards with these settings, and nobody who speaks to them.
    pub(crate) fn new(settings: &Settings) -> Self {
        let now = Timestamp::from_millis(1_000_000);
        let shards = (0..settings.placement.shards()).map(|shard| {
            let mut settings = settings.clone();
            settings.shard = ShardId(shard);
            Shard::new(settings, now, 7 + u64::from(shard))
        });
        let shards = Shards(shards.collect());
        Self {
            effects: shards.ids().map(|_| Vec::new()).collect(),
            records: shards.ids().map(|_| 0).collect(),
            unkept: VecDeque::new(),
            leisurely: Vec::new(),
            queues: BTreeMap::new(),
            holds_reads: false,
            reads: VecDeque::new(),
            holds_emptying: false,
            emptying: Vec::new(),
            restored: 0,
            shards,
            now,
            mail: VecDeque::new(),
            askers: Vec::new(),
            links: Vec::new(),
            events: Vec::new(),
            asked: VecDeque::new(),
            holds: false,
            holds_mail: false,
            trace: Vec::new(),
        }
    }

    pub(crate) fn input(&mut self, shard: ShardId, input: Input<'_>) {
        let _ = self.turn(shard, input);
        self.settle();
    }

    pub(crate) fn turn(
        &mut self,
        shard: ShardId,
        input: Input<'_>,
    ) -> noctule_broker_core::Consumed {
        let (bytes, mut effects) = (input.bytes(), Effects::of_bytes_at_hand());
        let consumed = self.shards.of(shard).on_input(self.now, input, &mut effects);
        let effects = effects.drain().map(|effect| with_bytes(effect, bytes));
        self.effects[usize::from(shard.0)].extend(effects);
        consumed
    }

    /// Which shard an input of a test is for.
    pub(crate) fn meant(&self, input: &Input<'_>) -> ShardId {
        let asker = |token: &Token| {
            let asker = self.askers.iter().rev().find(|(asked, _)| asked == token);
            asker.map_or(ShardId(0), |(_, shard)| *shard)
        };
        match input {
            Input::Authenticated { token, .. } | Input::Authorized { token, .. } => asker(token),
            Input::Opened { connection, .. }
            | Input::Bytes { connection, .. }
            | Input::Continue { connection, .. }
            | Input::Flushed { connection }
            | Input::Closed { connection } => {
                let link = self.links.get(connection.slot as usize);
                link.map_or(ShardId(0), |link| link.shard)
            }
            Input::Command(Command::Kick { client_id, .. }) => {
                self.shards.0[0].settings().placement.client(client_id)
            }
            Input::Restore(Restored::Session(session)) => {
                self.shards.0[0].settings().placement.client(&session.terms.client_id)
            }
            Input::Restore(Restored::Retained(message)) => {
                self.shards.0[0].settings().placement.retained(&message.topic)
            }
            // In these tests a name says where it was given.
            Input::Restore(Restored::Unrouted { publication, .. }) => {
                ShardId((publication & 0xffff) as u16)
            }
            Input::Command(_)
            | Input::FromShard { .. }
            | Input::Persisted { .. }
            | Input::Restore(_)
            | Input::QueueRead { .. }
            | Input::LogEmptied
            | Input::Spilled { .. }
            | Input::StoreReport(_)
            | Input::StoreRoom { .. }
            | Input::Timeout => ShardId(0),
        }
    }

    /// Runs until nothing is left to do at this moment.
    pub(crate) fn settle(&mut self) {
        for _ in 0..ROUNDS {
            self.apply_effects();
            self.write_out();
            let mut is_busy = false;
            for shard in self.shards.ids() {
                if self.shards.of(shard).poll_timeout().is_some_and(|due| due <= self.now) {
                    is_busy = true;
                    let _ = self.turn(shard, Input::Timeout);
                }
            }
            is_busy |= self.read_once();
            while let Some((from, to, message)) = self.mail.pop_front() {
                is_busy = true;
                let _ = self.turn(to, Input::FromShard { from, message });
            }
            if !is_busy && self.effects.iter().all(Vec::is_empty) {
                return;
            }
        }
        panic!("the broker does not come to rest");
    }

    fn apply_effects(&mut self) {
        let mut questions = Vec::new();
        for shard in self.shards.ids() {
            let effects = std::mem::take(&mut self.effects[usize::from(shard.0)]);
            for effect in effects {
                let mut count = 1;
                if let Effect::Persist { record, .. } = &effect {
                    // Each message counts, as if it had a record to itself.
                    count = self.note_queued(record);
                }
                if self.holds_mail || !matches!(effect, Effect::ToShard { .. }) {
                    self.trace.extend(repeat_n(name_of(&effect), count));
                }
                match effect {
                    Effect::ReadQueue { .. } if self.holds_reads => {
                        self.reads.push_back((shard, effect));
                    }
                    Effect::ReadQueue { .. } => questions.push((shard, effect)),
                    Effect::Close { connection } => {
                        self.links[connection.slot as usize].closed = true;
                    }
                    Effect::Resume { connection } => {
                        let link = &mut self.links[connection.slot as usize];
                        (link.paused, link.has_news) = (false, true);
                    }
                    Effect::Event(event) => self.events.push(event),
                    Effect::Restored => self.restored += 1,
                    Effect::EmptyLog if self.holds_emptying => self.emptying.push(shard),
                    Effect::EmptyLog => questions.push((shard, effect)),
                    Effect::ToShard { to, message } if !self.holds_mail => {
                        self.mail.push_back((shard, to, message));
                    }
                    Effect::Persist { record, is_urgent: false } => {
                        self.records[usize::from(shard.0)] += 1;
                        self.leisurely.push(record);
                    }
                    Effect::Persist { .. } if self.holds => {
                        let records = &mut self.records[usize::from(shard.0)];
                        *records += 1;
                        self.unkept.push_back((shard, *records));
                        self.asked.push_back((shard, effect));
                    }
                    Effect::Persist { .. } => {
                        self.records[usize::from(shard.0)] += 1;
                        questions.push((shard, effect));
                    }
                    asked if self.holds => {
                        self.note_asker(shard, &asked);
                        self.asked.push_back((shard, asked));
                    }
                    asked => questions.push((shard, asked)),
                }
            }
        }
        for (shard, question) in questions {
            self.answer(shard, question);
        }
    }

    /// Notes what waits since this record; how many records it stands for.
    fn note_queued(&mut self, record: &Record) -> usize {
        let queued = queued(record);
        let count = if let Record::QueuedRun(_) = record { queued.len() } else { 1 };
        for (message, reference) in queued {
            let Reference { session, sequence, qos, retain, identifiers, group } = reference;
            let step = Step::Published;
            let stored = StoredMessage { message, sequence, qos, retain, identifiers, group, step };
            self.queues.entry(session).or_default().insert(sequence, stored);
        }
        count
    }

    /// A part of a queue, as a store gives it: two messages at most, so that there is always more.
    fn read_queue(&self, session: u64, from: u64) -> Input<'static> {
        let queue = self.queues.get(&session);
        let mut rest = queue.into_iter().flat_map(|queue| queue.range(from..)).map(|(_, at)| at);
        let messages = rest.by_ref().take(2).cloned().collect();
        let next = rest.next().map(|behind| behind.sequence);
        Input::QueueRead { session, from, messages, next }
    }

    fn note_asker(&mut self, shard: ShardId, asked: &Effect) {
        if let Effect::Authenticate { token, .. } | Effect::Authorize { token, .. } = asked {
            self.askers.push((*token, shard));
        }
    }

    pub(crate) fn answer(&mut self, shard: ShardId, asked: Effect) {
        let input = match asked {
            Effect::Authenticate { token, credentials, .. } => {
                let user_name = credentials.user_name;
                let durability = match user_name.as_deref() {
                    Some("memory") => Some(Durability::Memory),
                    Some("stored") => Some(Durability::Stored),
                    _ => None,
                };
                Input::Authenticated { token, outcome: Ok(Principal { user_name, durability }) }
            }
            Effect::Authorize { token, question, .. } => {
                Input::Authorized { token, allowed: is_allowed(&question) }
            }
            Effect::Persist { .. } => {
                let at = self.unkept.iter().position(|(asker, _)| *asker == shard);
                let records = match at.and_then(|at| self.unkept.remove(at)) {
                    Some((_, records)) => records,
                    None => self.records[usize::from(shard.0)],
                };
                Input::Persisted { records }
            }
            Effect::ReadQueue { session, from, .. } => self.read_queue(session, from),
            Effect::ToShard { to, message } => {
                let _ = self.turn(to, Input::FromShard { from: shard, message });
                return;
            }
            Effect::EmptyLog => Input::LogEmptied,
            Effect::Close { .. }
            | Effect::Resume { .. }
            | Effect::Restored
            | Effect::Event(_)
            | Effect::PersistRun { .. } => return,
        };
        let _ = self.turn(shard, input);
    }

    /// Moves what the shards have to say to the peers that listen.
    fn write_out(&mut self) {
        let mut dirty = Vec::new();
        for shard in self.shards.ids() {
            self.shards.of(shard).take_dirty(&mut dirty);
        }
        dirty.extend(self.links.iter().map(|link| link.id));
        for id in dirty {
            let link = &mut self.links[id.slot as usize];
            let shard = link.shard;
            let outbound = self.shards.of(shard).outbound(id);
            let Some(outbound) = outbound.filter(|_| !link.stalled) else { continue };
            let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
            if bytes.is_empty() {
                continue;
            }
            outbound.advance(bytes.len());
            self.trace.push(format!("Write {}", packet_types(&bytes)));
            link.arrived.extend(bytes);
            let _ = self.turn(shard, Input::Flushed { connection: id });
        }
    }

    /// Passes on what peers have sent. Whether there was anything.
    fn read_once(&mut self) -> bool {
        let mut any = false;
        for slot in 0..self.links.len() {
            let link = &mut self.links[slot];
            if link.closed || link.paused || !std::mem::take(&mut link.has_news) {
                continue;
            }
            any = true;
            let (connection, shard, sent) = (link.id, link.shard, std::mem::take(&mut link.sent));
            let consumed = self.turn(shard, Input::Bytes { connection, bytes: &sent });
            let link = &mut self.links[slot];
            link.sent = sent;
            link.sent.drain(..consumed.bytes);
            match consumed.reading {
                Reading::Drained => {}
                Reading::Budget => link.has_news = true,
                Reading::Paused => link.paused = true,
                Reading::Moved(home) => {
                    (link.shard, link.has_news) = (home, true);
                    let (listener, peer) = (ListenerId(0), format!("peer-{slot}").into());
                    let opened = Input::Opened { connection, listener, peer, moved: true };
                    let _ = self.turn(home, opened);
                }
            }
        }
        any
    }

    /// The peer goes away without a word.
    pub(crate) fn hang_up(&mut self, slot: usize) {
        let link = &mut self.links[slot];
        if !std::mem::replace(&mut link.gone, true) {
            link.closed = true;
            let (connection, shard) = (link.id, link.shard);
            self.input(shard, Input::Closed { connection });
        }
    }
}

/// In these tests nobody may publish or subscribe below `secret/`.
fn is_allowed(question: &Question) -> bool {
    let (Question::Publish { topic: place, .. } | Question::Subscribe { filter: place }) = question;
    !place.starts_with("secret/")
}

/// The effect as it may outlive the bytes of the input that has had it.
fn with_bytes(effect: Effect, bytes: &[u8]) -> Effect {
    match effect {
        Effect::PersistRun { run } => {
            let record = Record::QueuedRun(run.read_in(bytes).to_owned());
            Effect::Persist { record, is_urgent: true }
        }
        other => other,
    }
}

pub(crate) fn name_of(effect: &Effect) -> String {
    let text = match effect {
        // What it says is nobody's affair but the shards', and its name is enough here.
        Effect::ToShard { message, .. } => {
            let text = format!("{message:?}");
            text.trim_start_matches("ShardMessage(").trim_start_matches("Group(").to_owned()
        }
        other => format!("{other:?}"),
    };
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

/// The types of the packets in `bytes`, as far as they are whole.
fn packet_types(mut bytes: &[u8]) -> String {
    let mut types = Vec::new();
    while let Ok(noctule_packet::Framing::Complete(frame)) = noctule_packet::split(bytes, u32::MAX)
    {
        types.push(frame.packet_type.to_string());
        bytes = &bytes[frame.length..];
    }
    types.join(" ")
}

/// The messages that a record lets wait, and how they do.
pub(crate) fn queued(record: &Record) -> Vec<(Arc<Message>, Reference)> {
    match record.clone() {
        Record::Queued { message, references, .. } => {
            references.into_iter().map(|reference| (Arc::clone(&message), reference)).collect()
        }
        Record::QueuedRun(run) => run.messages().collect(),
        Record::Moved { message, reference, .. } => vec![(message, reference)],
        _ => Vec::new(),
    }
}
