//! What a test broker knows, and how packets get in and out.

use std::collections::{BTreeMap, BTreeSet};
use std::task::Waker;
use std::time::Duration;

use noctule_packet::{Disconnect, Packet, ReasonCode};

use super::connection::Connection;
use super::record::{Happening, Received};
use super::rule::Rule;
use super::session::{Session, Stored};
use crate::OwnedConnack;
use crate::describe::{describe, describe_bytes};
use crate::transcript::Transcript;

/// How answers leave while one packet is dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Manner {
    #[default]
    AtOnce,
    After(Duration),
    Never,
}

/// What was written down, and whether somebody has waited for it.
#[derive(Debug)]
struct Entry {
    received: Received,
    is_taken: bool,
}

/// What a test broker knows.
#[derive(Debug)]
pub(crate) struct State {
    /// When whoever locked the state did so.
    pub(crate) now: Duration,
    pub(crate) connections: BTreeMap<u64, Connection>,
    pub(crate) sessions: BTreeMap<String, Session>,
    pub(crate) retained: BTreeMap<String, Stored>,
    pub(crate) rules: Vec<Rule>,
    /// What a connection is accepted with.
    pub(crate) connack: OwnedConnack,
    /// Whether the test says how each publication ends.
    pub(crate) holds_publications: bool,
    /// Publications whose end the test has not said.
    pub(crate) held: BTreeSet<(u64, u64)>,
    pub(crate) manner: Manner,
    /// Whether connections are refused.
    pub(crate) is_refusing: bool,
    /// How many of the next connections are scripted.
    pub(crate) scripts: usize,
    /// How many connections there were.
    pub(crate) opened: u64,
    /// How many client identifiers were assigned.
    pub(crate) assigned: u64,
    pub(crate) transcript: Transcript,
    entries: Vec<Entry>,
    watchers: Vec<Waker>,
    wakes: Vec<Waker>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            now: Duration::ZERO,
            connections: BTreeMap::new(),
            sessions: BTreeMap::new(),
            retained: BTreeMap::new(),
            rules: Vec::new(),
            connack: OwnedConnack::new(ReasonCode::Success),
            holds_publications: false,
            held: BTreeSet::new(),
            manner: Manner::AtOnce,
            is_refusing: false,
            scripts: 0,
            opened: 0,
            assigned: 0,
            transcript: Transcript::new(),
            entries: Vec::new(),
            watchers: Vec::new(),
            wakes: Vec::new(),
        }
    }
}

impl State {
    /// A client has opened a connection.
    pub(crate) fn open(&mut self) -> u64 {
        self.opened += 1;
        let number = self.opened;
        let is_scripted = self.scripts > 0;
        self.scripts -= usize::from(is_scripted);
        let connection = Connection::new(is_scripted);
        self.connections.insert(number, connection);
        self.record(number, Happening::Opened);
        number
    }

    /// The client has sent bytes.
    pub(crate) fn receive(&mut self, number: u64, bytes: &[u8]) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        let is_scripted = connection.is_scripted;
        if connection.outlet.is_over() && !is_scripted {
            return;
        }
        connection.arrived(self.now, bytes);
        while let Some(next) = self.connections.get_mut(&number).and_then(Connection::next_packet) {
            match next {
                Ok((packet, line)) => {
                    self.note(number, '<', &line);
                    self.on_packet(number, packet);
                }
                Err((problem, reason)) => {
                    self.note(number, '<', &problem);
                    self.record(number, Happening::Malformed(problem));
                    if !is_scripted {
                        return self.refuse(number, reason);
                    }
                }
            }
        }
    }

    /// The connection is gone.
    pub(crate) fn close(&mut self, number: u64) {
        let Some(connection) = self.connections.remove(&number) else { return };
        self.transcript_event(number, "closed");
        let client_id = connection.client_id.clone();
        self.record_as(number, client_id, Happening::Closed);
        self.held.retain(|(held_on, _)| *held_on != number);
        self.depart(number, &connection.client_id, connection.will);
    }

    /// Sends a packet now.
    pub(crate) fn send(&mut self, number: u64, packet: &Packet<'_>) {
        self.send_at(number, packet, self.now);
    }

    /// Sends the answer to what is being dealt with, in the manner that a rule says.
    pub(crate) fn answer(&mut self, number: u64, packet: &Packet<'_>) {
        match self.manner {
            Manner::AtOnce => self.send(number, packet),
            Manner::After(delay) => {
                let at = self.now + delay;
                self.send_at(number, packet, at);
                if let (Packet::Connack(_), Some(connection)) =
                    (packet, self.connections.get_mut(&number))
                {
                    connection.outlet.hold_until(at);
                }
            }
            Manner::Never => {}
        }
    }

    fn send_at(&mut self, number: u64, packet: &Packet<'_>, at: Duration) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        if connection.outlet.is_over() {
            return;
        }
        let mut bytes = Vec::new();
        if let Err(error) = packet.encode(connection.version, &mut bytes) {
            let problem = format!("not sent ({error}): {}", describe(packet));
            self.transcript_event(number, &problem);
            return;
        }
        self.wakes.extend(connection.outlet.push(at, bytes));
        self.note(number, '>', &describe(packet));
    }

    /// Sends bytes now.
    pub(crate) fn send_bytes(&mut self, number: u64, bytes: &[u8]) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&number) {
            self.wakes.extend(connection.outlet.push(now, bytes.to_vec()));
            self.note(number, '>', &describe_bytes(bytes));
        }
    }

    /// Ends a connection in order, with DISCONNECT where the version has it.
    pub(crate) fn refuse(&mut self, number: u64, reason: ReasonCode) {
        let connection = self.connections.get(&number);
        if connection.is_some_and(|connection| connection.version.is_v5() && connection.is_accepted)
        {
            let disconnect = Disconnect { reason_code: reason, ..Disconnect::default() };
            self.send(number, &Packet::Disconnect(disconnect));
        }
        self.end(number);
    }

    /// Whether a client has been silent for longer than its keep alive allows.
    pub(crate) fn is_silent(&self, number: u64) -> bool {
        let silence_ends = self.connections.get(&number).and_then(Connection::silence_ends);
        silence_ends.is_some_and(|at| at <= self.now)
    }

    /// Ends the connection of a client that was silent for too long. Its will is published.
    // [MQTT5-3.1.2-22] [MQTT311-3.1.2-24]
    pub(crate) fn leave_silent(&mut self, number: u64) {
        if self.is_silent(number) {
            self.transcript_event(number, "silent for longer than its keep alive");
            self.refuse(number, ReasonCode::KeepAliveTimeout);
        }
    }

    /// Ends a connection in order.
    pub(crate) fn end(&mut self, number: u64) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&number) {
            self.wakes.extend(connection.outlet.end(now));
            let (client_id, will) = (connection.client_id.clone(), connection.will.take());
            self.depart(number, &client_id, will);
        }
    }

    /// Breaks a connection.
    pub(crate) fn reset(&mut self, number: u64) {
        let now = self.now;
        if let Some(connection) = self.connections.get_mut(&number) {
            self.wakes.extend(connection.outlet.reset(now));
            let (client_id, will) = (connection.client_id.clone(), connection.will.take());
            self.transcript_event(number, "reset by the broker");
            self.depart(number, &client_id, will);
        }
    }

    /// Writes down what a client did.
    pub(crate) fn record(&mut self, number: u64, what: Happening) {
        let connection = self.connections.get(&number);
        let client_id = connection.map_or(String::new(), |it| it.client_id.clone());
        self.record_as(number, client_id, what);
    }

    fn record_as(&mut self, connection: u64, client_id: String, what: Happening) {
        let received = Received { connection, client_id, at: self.now, what };
        self.entries.push(Entry { received, is_taken: false });
        self.wakes.append(&mut self.watchers);
    }

    /// How many things were written down: the number of the next one.
    pub(crate) const fn recorded(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Everything that was written down.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Received> {
        self.entries.iter().map(|entry| &entry.received)
    }

    /// Takes the first thing that `select` wants and nobody has taken before, with its number.
    pub(crate) fn take<T>(
        &mut self,
        mut select: impl FnMut(&Received, u64) -> Option<T>,
    ) -> Option<T> {
        for (number, entry) in self.entries.iter_mut().enumerate() {
            if !entry.is_taken
                && let Some(selected) = select(&entry.received, number as u64)
            {
                entry.is_taken = true;
                return Some(selected);
            }
        }
        None
    }

    /// Somebody waits for something to be written down.
    pub(crate) fn watch(&mut self, waker: &Waker) {
        if !self.watchers.iter().any(|known| known.will_wake(waker)) {
            self.watchers.push(waker.clone());
        }
    }

    pub(crate) fn take_wakes(&mut self) -> Vec<Waker> {
        std::mem::take(&mut self.wakes)
    }

    pub(crate) fn note(&mut self, number: u64, mark: char, line: &str) {
        self.transcript.add_at(self.now, mark, format!("#{number} {line}"));
    }

    pub(crate) fn transcript_event(&mut self, number: u64, event: &str) {
        self.note(number, '=', event);
    }
}
