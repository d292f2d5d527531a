//! The power goes at every operation of the disk while a client publishes: whatever its user was
//! told holds, and the server has everything once and in order.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Wake};
use std::thread::{self, Thread};
use std::time::Duration;
use std::{io, mem};

use noctule_client_core::{
    Outcome, Publication, ReconnectPlan, ReconnectSettings, Settings, TransportEnd,
};
use noctule_packet::{
    Ack, Connack, Framing, Packet, PacketId, PacketType, QoS, ReasonCode, TextRules, TopicName,
    Version, split,
};
use noctule_store::{Cut, SimulatedDisk};
use noctule_transport::DialerBuilder;

use super::*;
use crate::connection::{Connection, Line, Turn};
use crate::course::Course;
use crate::error::{ClientBuildError, PublishError};
use crate::receipt::Receipt;
use crate::store::incoming_tests::Outgoing;
use crate::store::opening::open_on;
use crate::stored::Stored;

pub(super) const CUTS: [Cut; 5] =
    [Cut::Nothing, Cut::Lost, Cut::Torn, Cut::Reordered, Cut::Random(7)];

/// How many messages a process publishes.
const MESSAGES: u32 = 9;

/// A server that remembers its session, and what arrived.
#[derive(Debug, Default)]
pub(super) struct Server {
    has_session: bool,
    unreleased: BTreeSet<PacketId>,
    pub(super) received: Vec<u32>,
    /// What it sends itself.
    pub(super) sends: Outgoing,
    input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Whether it keeps its acknowledgements to itself, and those.
    pub(super) is_silent: bool,
    pub(super) unsaid: Vec<u8>,
}

impl Server {
    /// Another connection.
    fn reset(&mut self) {
        self.input.clear();
        self.output.clear();
    }

    fn read(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        let input = mem::take(&mut self.input);
        let mut rest = &input[..];
        while let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) {
            let packet = Packet::decode(&frame, Version::V5_0, TextRules::Lenient);
            self.on_packet(packet.expect("the client speaks MQTT"));
            rest = &rest[frame.length..];
        }
        self.input = rest.to_vec();
    }

    fn on_packet(&mut self, packet: Packet<'_>) {
        match packet {
            Packet::Connect(connect) => {
                if connect.clean_start {
                    (self.has_session, self.unreleased) = (false, BTreeSet::new());
                    self.sends.forget();
                }
                let session_present = mem::replace(&mut self.has_session, true);
                let connack = Connack { session_present, ..Connack::default() };
                connack.encode(Version::V5_0, &mut self.output).expect("a CONNACK");
                self.sends.repeat(&mut self.output);
            }
            Packet::Publish(publish) => {
                let digits = publish.payload.first_chunk().expect("a number");
                let packet_id = publish.packet_id.expect("QoS 1 or 2");
                if publish.qos == QoS::AtLeastOnce {
                    self.received.push(u32::from_le_bytes(*digits));
                    self.acknowledge(PacketType::Puback, packet_id);
                } else {
                    if self.unreleased.insert(packet_id) {
                        self.received.push(u32::from_le_bytes(*digits));
                    }
                    self.acknowledge(PacketType::Pubrec, packet_id);
                }
            }
            Packet::Pubrel(ack) => {
                self.unreleased.remove(&ack.packet_id);
                self.acknowledge(PacketType::Pubcomp, ack.packet_id);
            }
            Packet::Puback(ack) => {
                self.sends.on_answer(PacketType::Puback, ack.packet_id, &mut self.output);
            }
            Packet::Pubrec(ack) => {
                self.sends.on_answer(PacketType::Pubrec, ack.packet_id, &mut self.output);
            }
            Packet::Pubcomp(ack) => {
                self.sends.on_answer(PacketType::Pubcomp, ack.packet_id, &mut self.output);
            }
            _ => {}
        }
    }

    fn acknowledge(&mut self, packet_type: PacketType, packet_id: PacketId) {
        let ack = Ack::new(packet_id, ReasonCode::Success);
        let out = if self.is_silent { &mut self.unsaid } else { &mut self.output };
        ack.encode_as(packet_type, Version::V5_0, out).expect("an acknowledgement");
    }
}

impl Line for Server {
    fn poll_read(&mut self, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.output.is_empty() {
            return Poll::Pending;
        }
        let count = self.output.len().min(bytes.len());
        bytes[..count].copy_from_slice(&self.output[..count]);
        self.output.drain(..count);
        Poll::Ready(Ok(count))
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.read(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// What the user was told.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// On disk, or delivered.
    pub(super) kept: BTreeSet<u32>,
    pub(super) next: u32,
}

pub(super) const fn qos(number: u32) -> QoS {
    if number.is_multiple_of(2) { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// One process: a client with its driver and its user.
pub(super) struct Process<'a> {
    disk: SimulatedDisk,
    pub(super) course: Course,
    connection: Connection,
    pub(super) server: &'a mut Server,
    waker: std::task::Waker,
    pub(super) open: Vec<(u32, Receipt, Option<Stored>)>,
}

impl<'a> Process<'a> {
    pub(super) fn start(
        disk: SimulatedDisk,
        server: &'a mut Server,
        writes_early: bool,
    ) -> Result<Self, ClientBuildError> {
        let mut settings = Settings::default();
        settings.connect.client_id = "client".into();
        settings.connect.session_expiry_interval = 3_600;
        let store = StoreSettings::new("nowhere").bytes_max(6_000);
        let (hub, opened) = open_on(Box::new(disk.clone()), &store, settings.clone())?;
        let shared = opened.share(hub)?;
        shared.with(|inner| {
            inner.journal.as_mut().expect("there is a store").writes_early = writes_early;
        });
        let endpoints = vec![DialerBuilder::new("mqtt://localhost".parse().expect("a URL"))];
        let plan = ReconnectPlan::new(ReconnectSettings::default(), 1, 1);
        let mut course = Course::new(shared, endpoints, plan, settings.connect, None);
        server.reset();
        course.up();
        let waker = Arc::new(Unpark(thread::current())).into();
        let connection = Connection::new();
        Ok(Self { disk, course, connection, server, waker, open: Vec::new() })
    }

    pub(super) fn publish(&mut self, told: &mut Told) -> Result<(), PublishError> {
        let number = told.next;
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(150, 0);
        let topic = TopicName::new("numbers").expect("a topic");
        let publication = Publication::new(topic, &payload).qos(qos(number));
        let shared = &self.course.shared;
        let now = shared.now();
        let operation = shared.with(|inner| inner.publish(now, &publication))?;
        told.next += 1;
        let receipt = Receipt::of(shared, Ok(operation)).expect("it was accepted");
        let stored = receipt.stored();
        self.open.push((number, receipt, Some(stored)));
        Ok(())
    }

    /// Moves bytes once.
    pub(super) fn turn(&mut self) -> Turn {
        self.connection.turn(&mut self.course, self.server, &self.waker)
    }

    /// Moves bytes until nothing is left to do, or the power is gone. Whether it is not.
    pub(super) fn run(&mut self, told: &mut Told) -> bool {
        for _ in 0..10_000 {
            let turn = self.turn();
            if self.disk.has_stopped() {
                return false;
            }
            self.listen(told);
            match turn {
                Turn::Again => {}
                Turn::Over(end) => panic!("the connection is over: {end:?}"),
                Turn::Rest(_) if !self.server.output.is_empty() => {
                    // Only the store can keep it from being read.
                    thread::park_timeout(Duration::from_millis(100));
                }
                Turn::Rest(_) => {
                    let is_quiet = self
                        .course
                        .shared
                        .with(|inner| !inner.is_keeping() && !inner.hub.has_work());
                    if is_quiet {
                        return true;
                    }
                    thread::park_timeout(Duration::from_millis(100));
                }
            }
        }
        panic!("it never rests");
    }

    /// The user looks at what it has been told.
    pub(super) fn listen(&mut self, told: &mut Told) {
        let mut context = Context::from_waker(&self.waker);
        self.open.retain_mut(|(number, receipt, stored)| {
            let is_stored = stored.as_mut().map(|stored| pin!(stored).poll(&mut context));
            if let Some(Poll::Ready(result)) = is_stored {
                *stored = None;
                told.kept.extend(result.ok().map(|()| *number));
            }
            match pin!(receipt).poll(&mut context) {
                Poll::Ready(outcome) => {
                    let is_delivered = matches!(outcome, Outcome::Delivered { .. });
                    told.kept.extend(is_delivered.then_some(*number));
                    false
                }
                Poll::Pending => true,
            }
        });
    }

    /// A connection breaks, and another one is made.
    pub(super) fn reconnect(&mut self) -> bool {
        self.course.down(TransportEnd::Closed, None);
        while self.course.poll_told(&self.waker).is_pending() {
            if self.disk.has_stopped() {
                return false;
            }
            thread::park_timeout(Duration::from_millis(100));
        }
        let _ = self.course.ended(TransportEnd::Closed);
        self.server.reset();
        self.connection = Connection::new();
        self.course.up();
        true
    }

    /// Publishes in small groups, with a broken connection among them. Whether the power stays.
    pub(super) fn live(&mut self, told: &mut Told) -> bool {
        let last = told.next + MESSAGES;
        for group in 0..100 {
            if told.next >= last {
                break;
            }
            for _ in 0..group % 3 + 1 {
                // A full store, or one without power, refuses.
                let _ = self.publish(told);
            }
            // The answers of this group are lost with the connection.
            if group == 2 {
                let _ = self.turn();
                if !self.reconnect() {
                    return false;
                }
            }
            if !self.run(told) {
                return false;
            }
        }
        true
    }
}

/// What is wrong with what the server has.
fn judge(server: &Server, told: &Told) -> Result<(), String> {
    let received = &server.received;
    let mut first = Vec::new();
    for number in received {
        if !first.contains(number) {
            first.push(*number);
        } else if qos(*number) == QoS::ExactlyOnce {
            return Err(format!("{number} came twice: {received:?}"));
        }
    }
    if !first.is_sorted() {
        return Err(format!("out of order: {received:?}"));
    }
    match told.kept.iter().find(|number| !first.contains(number)) {
        Some(lost) => Err(format!("{lost} was promised and is lost: {received:?}")),
        None => Ok(()),
    }
}

/// One life, a power cut at this operation, and another life.
fn two_lives(
    stop: u64,
    cut: Cut,
    plant: &impl Fn(&SimulatedDisk),
    writes_early: bool,
) -> Result<bool, String> {
    let disk = SimulatedDisk::new();
    plant(&disk);
    disk.stop_at(stop);
    let (mut server, mut told) = (Server::default(), Told::default());
    let mut has_power = false;
    if let Ok(mut process) = Process::start(disk.clone(), &mut server, writes_early) {
        has_power = process.live(&mut told);
    }
    let disk = disk.after(cut);
    let mut process =
        Process::start(disk, &mut server, writes_early).map_err(|error| error.to_string())?;
    if !process.live(&mut told) {
        return Err("the power went again".into());
    }
    let left = process.course.shared.with(|inner| !inner.hub.is_idle());
    drop(process);
    if left {
        return Err(format!("something is left: {:?}", server.received));
    }
    judge(&server, &told)?;
    Ok(has_power)
}

/// The first thing that is wrong, with a power cut at each operation.
fn every_cut(plant: impl Fn(&SimulatedDisk), writes_early: bool) -> Option<String> {
    for stop in 1..1_000 {
        let mut is_over = true;
        for cut in CUTS {
            match two_lives(stop, cut, &plant, writes_early) {
                Ok(has_power) => is_over &= has_power,
                Err(wrong) => return Some(format!("operation {stop}, {cut:?}: {wrong}")),
            }
        }
        if is_over {
            assert!(stop > 20, "only {stop} operations");
            return None;
        }
    }
    panic!("it never ends");
}

#[test]
fn what_the_user_was_told_survives_a_power_cut_at_every_operation() {
    assert_eq!(every_cut(|_| {}, false), None);
}

#[test]
fn a_sync_that_does_nothing_is_found() {
    assert!(every_cut(SimulatedDisk::ignore_syncs, false).is_some());
}

#[test]
fn bytes_that_are_written_before_the_sync_are_found() {
    assert!(every_cut(|_| {}, true).is_some());
}
