//! Runs a load on one thread: one epoll, no MQTT client, nothing decoded that need not be.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use noctule_packet::{PacketType, Version};
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};

use crate::link::Link;
use crate::load::{Load, topic};
use crate::wire::{self, Arrival, Stencil};

const VERSION: Version = Version::V3_1_1;
/// Room for a read and the beginning of a packet of any load.
const BUFFER_BYTES: usize = 512 * 1024;
const EVENTS_MAX: usize = 1_024;
/// A load that moves nothing for this long has lost a message.
const STALL: Duration = Duration::from_secs(20);
/// How many clients are asked in before the first answer is waited for.
const OPENING: usize = 64;
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

/// Where the load goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// To brokers, each of which serves some of the load's groups.
    Brokers(Vec<SocketAddr>),
    /// To the relay, which takes publishers and subscribers apart by where they come in.
    Relay { sources: SocketAddr, sinks: SocketAddr },
}

/// A running load.
pub(crate) struct Engine {
    load: Load,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// The publishers, then the subscribers.
    links: Vec<Link>,
    publishers: Vec<Publisher>,
    /// Publishers that may send again.
    ready: Vec<usize>,
    /// Links to write to.
    dirty: Vec<usize>,
    delivered: u64,
    /// How many messages each publisher sends at most.
    quota: u64,
}

#[derive(Debug)]
struct Publisher {
    stencil: Stencil,
    sent: u64,
    acknowledged: u64,
    delivered: u64,
    packet_id: u16,
    is_ready: bool,
}

impl Engine {
    /// Connects everybody. Nothing is published yet.
    pub(crate) fn connect(load: &Load, target: &Target) -> Result<Self> {
        let mut engine = Self {
            load: *load,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS_MAX),
            buffer: vec![0; BUFFER_BYTES],
            links: Vec::new(),
            publishers: Vec::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
            delivered: 0,
            quota: 0,
        };
        let count = load.sources() + load.sinks();
        match target {
            Target::Brokers(addresses) => {
                let numbers: Vec<u32> = (0..count).collect();
                for some in numbers.chunks(OPENING) {
                    engine.open(some, addresses)?;
                }
            }
            Target::Relay { sources, sinks } => {
                for number in 0..count {
                    let address = if number < load.sources() { sources } else { sinks };
                    engine.links.push(Link::new(TcpStream::connect(address)?));
                }
            }
        }
        for (index, link) in engine.links.iter().enumerate() {
            link.stream.set_nonblocking(true)?;
            link.stream.set_nodelay(true)?;
            let flags = epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET;
            let data = epoll::EventData::new_u64(index as u64);
            epoll::add(&engine.epoll, &link.stream, data, flags)?;
        }
        for number in 0..load.sources() {
            engine.publishers.push(Publisher::new(load, number)?);
            engine.ready.push(number as usize);
        }
        Ok(engine)
    }

    /// Lets some clients in, all at once, and has the subscribers subscribe.
    fn open(&mut self, numbers: &[u32], brokers: &[SocketAddr]) -> Result<()> {
        for number in numbers {
            let group = self.load.group(*number);
            let address = brokers[group as usize % brokers.len()];
            let mut stream = TcpStream::connect(address).context("cannot connect")?;
            let name = format!("load-{number}");
            let is_subscriber = *number >= self.load.sources();
            let mut hello = match is_subscriber && self.load.is_stored {
                true => wire::connect_stored(VERSION, &name)?,
                false => wire::connect(VERSION, &name)?,
            };
            if is_subscriber {
                let filter = self.load.filter(group);
                hello.extend(wire::subscribe(VERSION, &filter, self.load.qos)?);
            }
            stream.write_all(&hello)?;
            self.links.push(Link::new(stream));
        }
        for number in numbers {
            let stream = &mut self.links[*number as usize].stream;
            let mut connack = [0; CONNACK.len()];
            stream.read_exact(&mut connack)?;
            ensure!(connack == CONNACK, "a client was refused: {connack:?}");
            if *number >= self.load.sources() {
                let mut suback = [0; 5];
                stream.read_exact(&mut suback)?;
                let granted = [0x90, 3, 0, 1, self.load.qos as u8];
                ensure!(suback == granted, "a subscription was refused: {suback:?}");
            }
        }
        Ok(())
    }

    /// How many messages have arrived at subscribers.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Keeps the load up for a while.
    pub(crate) fn run_for(&mut self, duration: Duration) -> Result<()> {
        self.set_quota(u64::MAX);
        let end = Instant::now() + duration;
        while Instant::now() < end {
            self.turn()?;
        }
        Ok(())
    }

    /// Publishes so many messages, all publishers together, and waits for everything that follows.
    pub(crate) fn run_messages(&mut self, messages: u64) -> Result<()> {
        let publishers = self.publishers.len() as u64;
        let sent = self.publishers.first().map_or(0, |publisher| publisher.sent);
        self.set_quota(sent + messages.div_ceil(publishers));
        while !self.is_done() {
            self.turn()?;
        }
        Ok(())
    }

    /// Publishes nothing more and waits for what is on its way.
    pub(crate) fn drain(&mut self) -> Result<()> {
        let sent: u64 = self.publishers.iter().map(|publisher| publisher.sent).sum();
        self.quota = 0;
        while self.delivered < sent * u64::from(self.load.subscribers) {
            self.turn()?;
        }
        Ok(())
    }

    fn set_quota(&mut self, quota: u64) {
        self.quota = quota;
        for index in 0..self.publishers.len() {
            self.note_ready(index);
        }
    }

    fn is_done(&self) -> bool {
        let wanted = self.quota * u64::from(self.load.sources() * self.load.subscribers);
        let has_acks = self.load.qos as u8 > 0;
        self.delivered == wanted
            && (!has_acks || self.publishers.iter().all(|one| one.acknowledged == self.quota))
    }

    fn turn(&mut self) -> Result<()> {
        while let Some(index) = self.ready.pop() {
            self.publishers[index].is_ready = false;
            self.publish(index);
        }
        while let Some(index) = self.dirty.pop() {
            let link = &mut self.links[index];
            link.is_dirty = false;
            link.write_out()?;
        }
        let timeout = Timespec { tv_sec: STALL.as_secs() as i64, tv_nsec: 0 };
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let count = epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout))?;
        ensure!(count > 0, "nothing has moved for {STALL:?}, {} delivered", self.delivered);
        for epoll::Event { flags, data } in events.iter().copied() {
            let index = data.u64() as usize;
            if flags.contains(epoll::EventFlags::OUT) {
                self.links[index].unblock();
                self.note_dirty(index);
            }
            if flags.contains(epoll::EventFlags::IN) {
                self.read(index)?;
            }
        }
        self.events = events;
        Ok(())
    }

    /// Sends what the window allows.
    fn publish(&mut self, index: usize) {
        let publisher = &mut self.publishers[index];
        // The slowest subscriber is not far behind the others.
        let arrived = publisher.delivered / u64::from(self.load.subscribers);
        let done =
            if self.load.qos as u8 > 0 { arrived.min(publisher.acknowledged) } else { arrived };
        let room = (done + u64::from(self.load.window)).min(self.quota);
        let count = room.saturating_sub(publisher.sent);
        if count > 0 {
            publisher.sent += count;
            let out = &mut self.links[index].out;
            publisher.stencil.put(count as usize, &mut publisher.packet_id, out);
            self.note_dirty(index);
        }
    }

    fn read(&mut self, index: usize) -> Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut is_more = true;
        while is_more {
            let (end, more) = self.links[index].read_into(&mut buffer)?;
            is_more = more;
            let mut at = 0;
            while let Some(arrival) = Arrival::split(&buffer[at..end]) {
                at += arrival.length;
                self.on_arrival(index, &arrival)?;
            }
            self.links[index].keep(&buffer[at..end]);
        }
        self.buffer = buffer;
        Ok(())
    }

    fn on_arrival(&mut self, index: usize, arrival: &Arrival<'_>) -> Result<()> {
        const PUBLISH: u8 = PacketType::Publish as u8;
        const PUBACK: u8 = PacketType::Puback as u8;
        const PUBREC: u8 = PacketType::Pubrec as u8;
        const PUBREL: u8 = PacketType::Pubrel as u8;
        const PUBCOMP: u8 = PacketType::Pubcomp as u8;
        let answer = match arrival.packet_type {
            PUBLISH => {
                self.on_delivery(arrival)?;
                match arrival.qos {
                    0 => return Ok(()),
                    1 => PacketType::Puback,
                    _ => PacketType::Pubrec,
                }
            }
            PUBACK | PUBCOMP if index < self.publishers.len() => {
                self.publishers[index].acknowledged += 1;
                self.note_ready(index);
                return Ok(());
            }
            PUBREC => PacketType::Pubrel,
            PUBREL => PacketType::Pubcomp,
            other => anyhow::bail!("a packet of type {other} was not expected"),
        };
        let is_publish = arrival.packet_type == PUBLISH;
        let packet_id = if is_publish { arrival.publish_id() } else { arrival.packet_id() };
        let packet_id = packet_id.context("a packet without its identifier")?;
        wire::put_ack(answer, packet_id, &mut self.links[index].out);
        self.note_dirty(index);
        Ok(())
    }

    fn on_delivery(&mut self, arrival: &Arrival<'_>) -> Result<()> {
        let payload = arrival.body.len().checked_sub(self.load.payload_bytes);
        let number = payload.and_then(|at| arrival.body.get(at..)?.first_chunk().copied());
        let index = u32::from_be_bytes(number.context("a message is too short")?) as usize;
        let publisher = self.publishers.get_mut(index).context("a message from nobody")?;
        publisher.delivered += 1;
        self.delivered += 1;
        self.note_ready(index);
        Ok(())
    }

    fn note_ready(&mut self, index: usize) {
        let publisher = &mut self.publishers[index];
        if !std::mem::replace(&mut publisher.is_ready, true) {
            self.ready.push(index);
        }
    }

    fn note_dirty(&mut self, index: usize) {
        if !std::mem::replace(&mut self.links[index].is_dirty, true) {
            self.dirty.push(index);
        }
    }
}

impl Publisher {
    fn new(load: &Load, number: u32) -> Result<Self> {
        let mut payload = vec![b'.'; load.payload_bytes];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        let topic = topic(number);
        let publish = wire::publish(VERSION, &topic, &payload, load.qos, false)?;
        Ok(Self {
            stencil: Stencil::new(&publish, &topic, load.qos, load.window),
            sent: 0,
            acknowledged: 0,
            delivered: 0,
            packet_id: 0,
            is_ready: true,
        })
    }
}
