//! All clients of a crash test on one thread, and the journal that they write.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use noctule_packet::{Framing, split};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::cast::{self, Part};
use super::check::Checker;
use super::client::{Client, Phase};
use super::journal::{ClientIndex, Event, Message, Stream};
use super::random::Random;
use super::recipe::Ports;

const BUFFER_BYTES: usize = 64 * 1_024;
const TURN: Duration = Duration::from_millis(5);

/// For how long the sockets of a dead broker may take to say so.
const DRAIN_DEADLINE: Duration = Duration::from_secs(20);

pub(super) struct Stage {
    pub(super) clients: Vec<Client>,
    pub(super) streams: Vec<Stream>,
    /// The last number that was used of each.
    numbers: Vec<u32>,
    pub(super) random: Random,
    pub(super) checker: Checker,
    /// The journal since the last round.
    pub(super) events: Vec<Event>,
    /// When the last event was.
    last_event: Instant,
    ports: Ports,
    connections: u32,
    buffer: Vec<u8>,
    /// The broker is being ended, or all connections are.
    is_stopping: bool,
    /// How long nothing may happen while something is still owed.
    patience: Duration,
}

impl Stage {
    pub(super) fn new(ports: Ports, seed: u64, patience: Duration) -> Self {
        let members = cast::members();
        let streams = cast::streams(&members);
        let clients = members.into_iter().enumerate();
        let clients: Vec<Client> =
            clients.map(|(index, member)| Client::new(index, member)).collect();
        Self {
            checker: Checker::new(streams.clone(), clients.len()),
            clients,
            numbers: vec![0; streams.len()],
            streams,
            random: Random::new(seed),
            events: Vec::new(),
            last_event: Instant::now(),
            ports,
            connections: 0,
            buffer: vec![0; BUFFER_BYTES],
            is_stopping: false,
            patience,
        }
    }

    /// Where the broker is after it was started again.
    pub(super) fn move_to(&mut self, ports: Ports) {
        self.ports = ports;
        self.is_stopping = false;
    }

    pub(super) fn note(&mut self, event: Event) {
        self.note_all(vec![event]);
    }

    fn note_all(&mut self, notes: Vec<Event>) {
        if !notes.is_empty() {
            self.last_event = Instant::now();
        }
        for event in notes {
            self.events.push(event);
            self.checker.on_event(event);
        }
    }

    /// The clients with such a part.
    pub(super) fn with_part(&self, is_meant: impl Fn(Part) -> bool) -> Vec<ClientIndex> {
        let all = 0..self.clients.len();
        all.filter(|index| is_meant(self.clients[*index].member.part)).collect()
    }

    pub(super) fn connect(&mut self, index: ClientIndex, clean_start: bool) -> Result<()> {
        self.connections += 1;
        let address = self.ports.of(self.clients[index].member.version);
        let connection = self.connections;
        self.act(index, |client, notes| client.connect(address, connection, clean_start, notes))
    }

    pub(super) fn leave(&mut self, index: ClientIndex, in_good_order: bool) -> Result<()> {
        self.act(index, |client, notes| client.leave(in_good_order, notes))?;
        if let Some(link) = &mut self.clients[index].link {
            // It may be too late for both.
            let _ = link.write_out();
            let _ = link.stream.shutdown(Shutdown::Write);
        }
        Ok(())
    }

    /// Publishes the next message of a stream.
    pub(super) fn publish(&mut self, stream: usize) -> Result<()> {
        self.numbers[stream] += 1;
        let message = Message { stream, number: self.numbers[stream] };
        let stream = self.streams[stream];
        self.act(stream.publisher, |client, notes| match &mut client.link {
            Some(link) => client.sender.publish(message, stream, &mut link.out, notes),
            None => Ok(()),
        })
    }

    /// How many messages have been published.
    pub(super) fn published(&self) -> u64 {
        self.numbers.iter().map(|number| u64::from(*number)).sum()
    }

    /// Has a client do something, and notes what it does.
    pub(super) fn act(
        &mut self,
        index: ClientIndex,
        what: impl FnOnce(&mut Client, &mut Vec<Event>) -> Result<()>,
    ) -> Result<()> {
        let mut notes = Vec::new();
        what(&mut self.clients[index], &mut notes)?;
        self.note_all(notes);
        Ok(())
    }

    /// Writes what is to be written, waits for a while, reads what has come.
    pub(super) fn turn(&mut self, wait: Duration) -> Result<()> {
        for client in &mut self.clients {
            let Some(link) = &mut client.link else { continue };
            if client.phase == Phase::Closing || self.is_stopping {
                // Its side is closed.
                link.out.clear();
                continue;
            }
            client.receiver.acknowledge(&mut link.out);
            link.unblock();
            // Reading tells when the broker is gone.
            let _ = link.write_out();
        }
        for index in self.readable(wait)? {
            self.read(index)?;
        }
        Ok(())
    }

    fn readable(&self, wait: Duration) -> Result<Vec<ClientIndex>> {
        let connected = self.clients.iter().enumerate();
        let connected =
            connected.filter_map(|(index, client)| Some((index, client.link.as_ref()?)));
        let (indexes, mut descriptors): (Vec<ClientIndex>, Vec<PollFd<'_>>) = connected
            .map(|(index, link)| (index, PollFd::new(&link.stream, PollFlags::IN)))
            .unzip();
        poll(&mut descriptors, Some(&Timespec::try_from(wait)?))?;
        let is_ready =
            |(_, descriptor): &(ClientIndex, PollFd<'_>)| !descriptor.revents().is_empty();
        let ready = indexes.into_iter().zip(descriptors).filter(is_ready);
        Ok(ready.map(|(index, _)| index).collect())
    }

    fn read(&mut self, index: ClientIndex) -> Result<()> {
        let client = &mut self.clients[index];
        let Some(link) = &mut client.link else { return Ok(()) };
        let Ok((count, _)) = link.read_into(&mut self.buffer) else {
            return self.on_end(index);
        };
        let mut notes = Vec::new();
        let mut rest = &self.buffer[..count];
        while let Framing::Complete(frame) = split(rest, u32::MAX)? {
            client.on_frame(&frame, &self.streams, &mut notes)?;
            rest = &rest[frame.length..];
        }
        if let Some(link) = &mut client.link {
            link.keep(rest);
        }
        if self.is_stopping {
            // A broker that is asked to stop need not let anybody in.
            notes.retain(|event| !matches!(event, Event::Refused { .. }));
        }
        self.note_all(notes);
        Ok(())
    }

    fn on_end(&mut self, index: ClientIndex) -> Result<()> {
        let client = &mut self.clients[index];
        let phase = client.phase;
        client.disconnected();
        // What a broker does when it is ended tells nothing about what it has understood before.
        if !self.is_stopping {
            let is_known = phase == Phase::Closing;
            let client = index;
            self.note(if is_known { Event::Ended { client } } else { Event::Kicked { client } });
        }
        Ok(())
    }

    /// Turns until something is so. Whether it is, or nothing has happened for so long.
    pub(super) fn wait_for(
        &mut self,
        patience: Duration,
        is_so: impl Fn(&Self) -> bool,
    ) -> Result<bool> {
        let start = Instant::now();
        while !is_so(self) {
            if self.last_event.max(start).elapsed() > patience {
                return Ok(false);
            }
            self.turn(TURN)?;
        }
        Ok(true)
    }

    /// For how long nothing has happened.
    pub(super) fn silence(&self) -> Duration {
        self.last_event.elapsed()
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// From now on connections end because the broker does.
    pub(super) fn expect_end(&mut self) {
        self.is_stopping = true;
    }

    /// Reads everything that the broker has sent before it ended.
    pub(super) fn drain(&mut self) -> Result<()> {
        let start = Instant::now();
        while self.clients.iter().any(|client| client.link.is_some()) {
            ensure!(start.elapsed() < DRAIN_DEADLINE, "connections do not end with the broker");
            self.turn(TURN)?;
        }
        Ok(())
    }
}
