//! The shards of a broker, driven at once, and the broker's end of every connection.

use std::collections::VecDeque;

use noctule_broker_core::{
    ConnectionId, Effect, Effects, Ended, Event, Input, ListenerId, Principal, Reading, Settings,
    Shard, ShardId, Timestamp,
};
use noctule_packet::ReasonCode;

/// Where virtual time begins, in milliseconds.
const BEGINNING: u64 = 1_000_000;

/// How many rounds the shards may take to come to rest.
const ROUNDS_MAX: u32 = 10_000;

/// Names a connection of the run; never used again.
pub(super) type LinkId = usize;

/// A broker and its connections.
#[derive(Debug)]
pub(super) struct Broker {
    shards: Vec<Shard>,
    effects: Vec<Effects>,
    now: u64,
    links: Vec<Link>,
    pending: VecDeque<(usize, Effect)>,
    /// What the broker has complained about.
    complaint: Option<String>,
}

#[derive(Debug)]
struct Link {
    shard: usize,
    /// Written by the client and not arrived.
    in_transit: VecDeque<u8>,
    /// Arrived and not consumed.
    unread: Vec<u8>,
    /// Written by the broker and not read by the client.
    down: VecDeque<u8>,
    is_paused: bool,
    /// The shard has forgotten the connection.
    is_closed: bool,
    /// The client is gone.
    is_cut: bool,
}

impl Broker {
    pub(super) fn new(settings: &Settings) -> Self {
        let now = Timestamp::from_millis(BEGINNING);
        let shards = (0..settings.placement.shards()).map(|number| {
            let mut own = settings.clone();
            own.shard = ShardId(number);
            Shard::new(own, now, u64::from(number))
        });
        let shards: Vec<Shard> = shards.collect();
        Self {
            effects: shards.iter().map(|_| Effects::new()).collect(),
            shards,
            now: BEGINNING,
            links: Vec::new(),
            pending: VecDeque::new(),
            complaint: None,
        }
    }

    pub(super) const fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.now)
    }

    /// Time passes.
    pub(super) fn advance(&mut self, millis: u64) {
        self.now += millis;
        for shard in 0..self.shards.len() {
            let now = self.now();
            if self.shards[shard].poll_timeout().is_some_and(|due| due <= now) {
                self.turn(shard, Input::Timeout);
            }
        }
        self.settle();
    }

    /// A connection comes in, on one shard after the other.
    pub(super) fn open(&mut self, client: usize) -> LinkId {
        let link = self.links.len();
        let shard = (link + client) % self.shards.len();
        self.links.push(Link {
            shard,
            in_transit: VecDeque::new(),
            unread: Vec::new(),
            down: VecDeque::new(),
            is_paused: false,
            is_closed: false,
            is_cut: false,
        });
        self.open_at(link, false);
        self.settle();
        link
    }

    fn open_at(&mut self, link: LinkId, moved: bool) {
        let (shard, connection) = (self.links[link].shard, id(link));
        let peer = format!("link-{link}").into();
        self.turn(shard, Input::Opened { connection, listener: ListenerId(0), peer, moved });
    }

    /// The client is gone; the broker is told now or not.
    pub(super) fn cut(&mut self, link: LinkId, is_told: bool) {
        let known = &mut self.links[link];
        known.is_cut = true;
        known.in_transit.clear();
        known.down.clear();
        if is_told && !known.is_closed {
            known.is_closed = true;
            let shard = known.shard;
            self.turn(shard, Input::Closed { connection: id(link) });
            self.settle();
        }
    }

    pub(super) fn write(&mut self, link: LinkId, bytes: &[u8]) {
        self.links[link].in_transit.extend(bytes);
    }

    /// How many bytes are on their way to the broker.
    pub(super) fn in_transit(&self, link: LinkId) -> usize {
        self.links[link].in_transit.len()
    }

    /// How many bytes are on their way to the client.
    pub(super) fn outbound(&self, link: LinkId) -> usize {
        self.links[link].down.len()
    }

    /// Whether the broker has ended the connection and everything it said was read.
    pub(super) fn is_finished(&self, link: LinkId) -> bool {
        let link = &self.links[link];
        link.is_closed && link.down.is_empty()
    }

    pub(super) fn is_busy(&self, link: LinkId) -> bool {
        let link = &self.links[link];
        !link.in_transit.is_empty() || !link.down.is_empty() || link.is_paused
    }

    /// Bytes on their way arrive.
    pub(super) fn deliver(&mut self, link: LinkId, count: usize) -> Result<(), String> {
        let known = &mut self.links[link];
        let bytes = known.in_transit.drain(..count);
        known.unread.extend(bytes);
        self.feed(link, false);
        self.settle();
        self.complaint.take().map_or(Ok(()), Err)
    }

    /// Takes bytes that the client reads.
    pub(super) fn take(&mut self, link: LinkId, count: usize) -> Vec<u8> {
        self.links[link].down.drain(..count).collect()
    }

    fn turn(&mut self, shard: usize, input: Input<'_>) {
        let now = self.now();
        let _ = self.shards[shard].on_input(now, input, &mut self.effects[shard]);
        self.collect(shard);
    }

    fn collect(&mut self, shard: usize) {
        self.pending.extend(self.effects[shard].drain().map(|effect| (shard, effect)));
    }

    fn feed(&mut self, link: LinkId, goes_on: bool) {
        let known = &self.links[link];
        if known.is_closed || known.is_paused || (known.unread.is_empty() && !goes_on) {
            return;
        }
        let (shard, connection, now) = (known.shard, id(link), self.now());
        let mut unread = std::mem::take(&mut self.links[link].unread);
        let input = if goes_on {
            Input::Continue { connection, bytes: &unread }
        } else {
            Input::Bytes { connection, bytes: &unread }
        };
        let consumed = self.shards[shard].on_input(now, input, &mut self.effects[shard]);
        self.collect(shard);
        unread.drain(..consumed.bytes);
        self.links[link].unread = unread;
        match consumed.reading {
            Reading::Drained => {}
            Reading::Budget => self.feed(link, true),
            Reading::Paused => self.links[link].is_paused = true,
            Reading::Moved(home) => {
                self.links[link].shard = usize::from(home.0);
                self.open_at(link, true);
                self.feed(link, false);
            }
        }
    }

    /// Carries out what the shards want until nothing is left.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            while let Some((shard, effect)) = self.pending.pop_front() {
                self.carry_out(shard, effect);
            }
            self.write_out();
            if self.pending.is_empty() {
                return;
            }
        }
        self.complaint = Some("the broker never comes to rest".into());
    }

    fn carry_out(&mut self, shard: usize, effect: Effect) {
        let answer = match effect {
            Effect::Close { connection } => {
                let link = connection.slot as usize;
                self.drain(link);
                self.links[link].is_closed = true;
                return self.turn(shard, Input::Closed { connection });
            }
            Effect::Resume { connection } => {
                let link = connection.slot as usize;
                self.links[link].is_paused = false;
                return self.feed(link, true);
            }
            Effect::Authenticate { token, credentials, .. } => {
                let user_name = credentials.user_name;
                Input::Authenticated {
                    token,
                    outcome: Ok(Principal { user_name, ..Principal::default() }),
                }
            }
            Effect::Authorize { token, .. } => Input::Authorized { token, allowed: true },
            // It keeps everything in memory.
            Effect::Persist { .. }
            | Effect::PersistRun { .. }
            | Effect::EmptyLog
            | Effect::ReadQueue { .. }
            | Effect::Restored => return,
            Effect::ToShard { to, message } => {
                let from = ShardId(shard as u16);
                return self.turn(usize::from(to.0), Input::FromShard { from, message });
            }
            Effect::Event(event) => return self.note(&event),
        };
        self.turn(shard, answer);
    }

    /// What the broker says of a client that did something wrong is wrong of the client. A network
    /// that was too slow for it is not.
    fn note(&mut self, event: &Event) {
        match event {
            Event::Refused { reason, .. }
                if reason.limit.is_none_or(|it| it.setting != "limits.connect_timeout") =>
            {
                self.complaint = Some(format!("refused: {reason}"));
            }
            Event::Disconnected { ended: Ended::ByServer(reason), .. }
                if !matches!(
                    reason.code,
                    ReasonCode::SessionTakenOver | ReasonCode::KeepAliveTimeout
                ) =>
            {
                self.complaint = Some(format!("disconnected: {reason}"));
            }
            Event::Dropped { cause, topic, .. } => {
                self.complaint = Some(format!("dropped on {topic}: {cause:?}"));
            }
            _ => {}
        }
    }

    fn write_out(&mut self) {
        for link in 0..self.links.len() {
            if !self.links[link].is_closed && self.drain(link) {
                let shard = self.links[link].shard;
                self.turn(shard, Input::Flushed { connection: id(link) });
            }
        }
    }

    /// Takes what a shard has to say to a client. Whether it was anything.
    fn drain(&mut self, link: LinkId) -> bool {
        let known = &mut self.links[link];
        let Some(outbound) = self.shards[known.shard].outbound(id(link)) else { return false };
        let bytes: Vec<u8> = outbound.chunks().flatten().copied().collect();
        outbound.advance(bytes.len());
        if !known.is_cut {
            known.down.extend(&bytes);
        }
        !bytes.is_empty()
    }
}

fn id(link: LinkId) -> ConnectionId {
    ConnectionId { slot: link as u32, generation: 0 }
}
