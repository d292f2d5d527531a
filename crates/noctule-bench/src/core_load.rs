//! Loads of the core alone, without sockets: what one message costs among many subscriptions, what
//! it costs to record it, and what a retained message costs a subscriber with a wildcard.

use anyhow::{Context, Result, ensure};
use clap::ValueEnum;
use noctule_broker_core::{
    ConnectionId, Durability, Effect, Effects, Input, ListenerId, Reading, Settings, Shard,
    Timestamp,
};
use noctule_packet::{PacketType, QoS, Version};
use noctule_store::{Batch, broker};

use crate::callgrind::{start_counting, stop_counting};
use crate::wire::{self, Stencil};

const VERSION: Version = Version::V5_0;
const UNITS: u32 = 1_000;
/// More topics than the core's cache of matches holds, so that each message is matched anew.
const TOPICS: u32 = 20_000;
const MESSAGES: u32 = 2_000;
const BATCHES: u32 = 100;
const BATCH: u32 = 64;
const RETAINED_FLEETS: u32 = 100;
const RETAINED_UNITS: u32 = 200;

/// What is asked of the core.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CoreLoad {
    /// Messages to topics that each match one of 10,000 filters.
    #[value(name = "match-10k")]
    TenThousandFilters,
    /// The same among 1,000,000.
    #[value(name = "match-1m")]
    MillionFilters,
    /// QoS 0 from one client to another.
    #[value(name = "core-q0")]
    AtMostOnce,
    /// QoS 1 from one client to another, acknowledgements included.
    #[value(name = "core-q1")]
    AtLeastOnce,
    /// QoS 1 from one client to another whose session is stored, with the records.
    #[value(name = "core-stored")]
    Stored,
    /// 100 of 20,000 retained messages for a filter with a wildcard.
    #[value(name = "retained")]
    Retained,
}

impl CoreLoad {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TenThousandFilters => "match-10k",
            Self::MillionFilters => "match-1m",
            Self::AtMostOnce => "core-q0",
            Self::AtLeastOnce => "core-q1",
            Self::Stored => "core-stored",
            Self::Retained => "retained",
        }
    }

    /// How many messages are counted.
    pub(crate) fn messages(self) -> u32 {
        match self {
            Self::TenThousandFilters | Self::MillionFilters => MESSAGES,
            Self::AtMostOnce | Self::AtLeastOnce | Self::Stored => BATCHES * BATCH,
            Self::Retained => RETAINED_FLEETS,
        }
    }
}

pub(crate) fn run(load: CoreLoad) -> Result<()> {
    match load {
        CoreLoad::TenThousandFilters => run_match(10_000),
        CoreLoad::MillionFilters => run_match(1_000_000),
        CoreLoad::AtMostOnce => run_pair(World::new(), QoS::AtMostOnce),
        CoreLoad::AtLeastOnce => run_pair(World::new(), QoS::AtLeastOnce),
        CoreLoad::Stored => run_pair(World::with(Durability::Stored), QoS::AtLeastOnce),
        CoreLoad::Retained => run_retained(),
    }
}

fn run_match(filters: u32) -> Result<()> {
    let mut world = World::new();
    let subscriber = world.client("subscriber")?;
    for number in 0..filters {
        world.send(subscriber, &wire::subscribe(VERSION, &filter(number), QoS::AtMostOnce)?)?;
    }
    let publisher = world.client("publisher")?;
    let mut packets = Vec::new();
    for index in 0..TOPICS + MESSAGES {
        let topic = topic(scattered(index, filters));
        packets.push(wire::publish(VERSION, &topic, b"21.5", QoS::AtMostOnce, false)?);
    }
    let (first, counted) = packets.split_at(TOPICS as usize);
    for packet in first {
        world.send(publisher, packet)?;
    }
    let before = world.written(subscriber);
    start_counting();
    for packet in counted {
        world.send(publisher, packet)?;
    }
    stop_counting();
    let bytes: usize = counted.iter().map(Vec::len).sum();
    let written = world.written(subscriber) - before;
    ensure!(written == bytes as u64, "{written} bytes were delivered of {bytes}");
    Ok(())
}

/// One publisher, one subscriber, many messages in one read.
fn run_pair(mut world: World, qos: QoS) -> Result<()> {
    let subscriber = world.lasting_client("subscriber")?;
    world.send(subscriber, &wire::subscribe(VERSION, "load/0000", qos)?)?;
    let publisher = world.client("publisher")?;
    let publish = wire::publish(VERSION, "load/0000", &[b'.'; 16], qos, false)?;
    let stencil = Stencil::new(&publish, "load/0000", qos, BATCH);
    let (mut packet_id, mut packets, mut answers) = (0, Vec::new(), Vec::new());
    let before = world.written(subscriber);
    for round in 0..=BATCHES {
        // The first round makes room that is kept.
        if round == 1 {
            start_counting();
        }
        packets.clear();
        stencil.put(BATCH as usize, &mut packet_id, &mut packets);
        world.send(publisher, &packets)?;
        if qos == QoS::AtLeastOnce {
            answers.clear();
            for number in 1..=BATCH {
                let sent = (round * BATCH + number - 1) % 65_535 + 1;
                wire::put_ack(PacketType::Puback, (sent as u16).to_be_bytes(), &mut answers);
            }
            world.send(subscriber, &answers)?;
        }
    }
    stop_counting();
    let bytes = publish.len() as u64 * u64::from((BATCHES + 1) * BATCH);
    let written = world.written(subscriber) - before;
    ensure!(written == bytes, "{written} bytes were delivered of {bytes}");
    Ok(())
}

/// Most are exact; some end in a wildcard; a few have one in the middle, on the way of every topic.
fn filter(number: u32) -> String {
    let (fleet, unit) = (number / UNITS, number % UNITS);
    match number % 100 {
        7 => format!("fleet/+/unit/{unit}/{fleet}"),
        20..40 => format!("fleet/{fleet}/unit/{unit}/+"),
        40..60 => format!("fleet/{fleet}/unit/{unit}/#"),
        _ => format!("fleet/{fleet}/unit/{unit}/state"),
    }
}

fn topic(number: u32) -> String {
    format!("fleet/{}/unit/{}/state", number / UNITS, number % UNITS)
}

/// The number of some filter that matches the topic with the same number.
fn scattered(index: u32, filters: u32) -> u32 {
    // A prime, so that neighbours in time are none in the trie.
    let number = (u64::from(index) * 7_919 % u64::from(filters)) as u32;
    if number % 100 == 7 { number + 1 } else { number }
}

fn run_retained() -> Result<()> {
    let mut world = World::new();
    let publisher = world.client("publisher")?;
    let mut message_bytes = 0;
    for fleet in 0..RETAINED_FLEETS {
        for unit in 0..RETAINED_UNITS {
            let topic = topic(fleet * UNITS + unit);
            let packet = wire::publish(VERSION, &topic, b"21.5", QoS::AtMostOnce, true)?;
            world.send(publisher, &packet)?;
            message_bytes += if unit == 7 { packet.len() as u64 } else { 0 };
        }
    }
    let subscriber = world.client("subscriber")?;
    let subscribe = wire::subscribe(VERSION, "fleet/+/unit/7/state", QoS::AtMostOnce)?;
    let before = world.written(subscriber);
    start_counting();
    world.send(subscriber, &subscribe)?;
    stop_counting();
    let suback_bytes = 6;
    let written = world.written(subscriber) - before;
    let expected = message_bytes + suback_bytes;
    ensure!(written == expected, "{written} bytes were replayed instead of {expected}");
    Ok(())
}

/// A shard whose clients take everything at once.
struct World {
    shard: Shard,
    now: Timestamp,
    effects: Effects,
    dirty: Vec<ConnectionId>,
    /// How many bytes each client got.
    written: Vec<u64>,
    /// What is on its way to the store, and how many records there were ever.
    records: Batch,
    recorded: u64,
}

impl World {
    fn new() -> Self {
        Self::with(Durability::Memory)
    }

    fn with(durability: Durability) -> Self {
        let mut settings = Settings::default();
        settings.durability = durability;
        settings.system_interval_seconds = 0;
        settings.limits.subscriptions_max = 2_000_000;
        let now = Timestamp::from_millis(1_000_000);
        Self {
            shard: Shard::new(settings, now, 7),
            now,
            effects: Effects::of_bytes_at_hand(),
            dirty: Vec::new(),
            written: Vec::new(),
            records: Batch::new(),
            recorded: 0,
        }
    }

    fn client(&mut self, client_id: &str) -> Result<ConnectionId> {
        self.connect(&wire::connect(VERSION, client_id)?)
    }

    /// A client whose session is stored if anything is.
    fn lasting_client(&mut self, client_id: &str) -> Result<ConnectionId> {
        self.connect(&wire::connect_stored(VERSION, client_id)?)
    }

    fn connect(&mut self, connect: &[u8]) -> Result<ConnectionId> {
        let slot = u32::try_from(self.written.len())?;
        let connection = ConnectionId { slot, generation: 0 };
        self.written.push(0);
        let peer = "client".into();
        let opened = Input::Opened { connection, listener: ListenerId(0), peer, moved: false };
        let _ = self.shard.on_input(self.now, opened, &mut self.effects);
        self.send(connection, connect)?;
        Ok(connection)
    }

    fn written(&self, connection: ConnectionId) -> u64 {
        self.written.get(connection.slot as usize).copied().unwrap_or_default()
    }

    /// Passes a packet on and does what follows, until nothing does.
    fn send(&mut self, connection: ConnectionId, packet: &[u8]) -> Result<()> {
        let input = Input::Bytes { connection, bytes: packet };
        let mut consumed = self.shard.on_input(self.now, input, &mut self.effects);
        let mut rest = packet;
        loop {
            let is_resumed = self.settle(rest)?;
            rest = rest.get(consumed.bytes..).context("more was consumed than there was")?;
            match consumed.reading {
                Reading::Drained => break,
                Reading::Paused if !is_resumed => anyhow::bail!("nothing lets a client go on"),
                Reading::Budget | Reading::Paused => {}
                Reading::Moved(_) => anyhow::bail!("there is no other shard"),
            }
            let input = Input::Continue { connection, bytes: rest };
            consumed = self.shard.on_input(self.now, input, &mut self.effects);
        }
        ensure!(rest.is_empty(), "part of a packet was not consumed");
        Ok(())
    }

    /// Takes what was written, and gives the shard the turns that it asks for. Whether a
    /// connection may go on.
    fn settle(&mut self, bytes: &[u8]) -> Result<bool> {
        let mut is_resumed = false;
        loop {
            for effect in self.effects.drain() {
                match effect {
                    Effect::Persist { record, .. } => {
                        self.recorded += 1;
                        self.records.push(|out| {
                            let _ = broker::encode(&record, out);
                        })?;
                    }
                    Effect::PersistRun { run } => {
                        self.recorded += 1;
                        self.records.push(|out| broker::encode_run(&run.read_in(bytes), out))?;
                    }
                    Effect::Resume { .. } => is_resumed = true,
                    Effect::Close { .. } => anyhow::bail!("a client was disconnected"),
                    _ => {}
                }
            }
            self.shard.take_dirty(&mut self.dirty);
            for id in self.dirty.drain(..) {
                let Some(outbound) = self.shard.outbound(id) else { continue };
                let count = outbound.len();
                outbound.advance(count);
                self.written[id.slot as usize] += count as u64;
            }
            if self.commits() {
                continue;
            }
            if self.shard.poll_timeout().is_none_or(|at| at > self.now) {
                return Ok(is_resumed);
            }
            let _ = self.shard.on_input(self.now, Input::Timeout, &mut self.effects);
        }
    }
    /// Ends a turn of the store, if there is anything for it.
    fn commits(&mut self) -> bool {
        if self.records.is_empty() {
            return false;
        }
        self.records.clear();
        self.shard.record_acknowledgements(&mut self.effects);
        let persisted = Input::Persisted { records: self.recorded };
        let _ = self.shard.on_input(self.now, persisted, &mut self.effects);
        true
    }
}
