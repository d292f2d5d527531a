//! The power goes at every operation of the disk while messages arrive: nothing was acknowledged
//! that the user was not given, and what was acknowledged with QoS 2 is not given again.

use std::collections::BTreeSet;

use noctule_client_core::{MailboxId, MailboxSettings};
use noctule_packet::{
    Ack, PacketId, PacketType, Publish, QoS, ReasonCode, TopicFilter, TopicName, Version,
};
use noctule_store::{Cut, SimulatedDisk};

use crate::store::power_cut_tests::{CUTS, Process, Server, Told, qos};

/// How many messages arrive in a life.
const MESSAGES: u32 = 7;

/// What a server sends, and what it knows of the answers.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    sent: Vec<Sent>,
    /// What the client has acknowledged, whether that reached the server or not.
    acknowledged: BTreeSet<u32>,
    /// Whether the answers are lost on the way.
    is_deaf: bool,
}

#[derive(Debug)]
struct Sent {
    number: u32,
    step: Step,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Published,
    Received,
    Over,
}

impl Sent {
    fn packet_id(&self) -> PacketId {
        PacketId::new(u16::try_from(self.number).expect("few") + 1).expect("not 0")
    }

    fn write(&self, output: &mut Vec<u8>) {
        let packet_id = self.packet_id();
        match self.step {
            Step::Published => {
                let publish = Publish {
                    qos: qos(self.number),
                    packet_id: Some(packet_id),
                    topic: Some(TopicName::new("numbers").expect("a topic")),
                    payload: &self.number.to_le_bytes(),
                    ..Publish::default()
                };
                publish.encode(Version::V5_0, output).expect("a PUBLISH");
            }
            Step::Received => {
                let ack = Ack::new(packet_id, ReasonCode::Success);
                ack.encode_as(PacketType::Pubrel, Version::V5_0, output).expect("a PUBREL");
            }
            Step::Over => {}
        }
    }
}

impl Outgoing {
    fn send(&mut self, number: u32, output: &mut Vec<u8>) {
        let sent = Sent { number, step: Step::Published };
        sent.write(output);
        self.sent.push(sent);
    }

    /// A session begins.
    pub(super) fn forget(&mut self) {
        self.sent.clear();
        self.acknowledged.clear();
    }

    /// A connection begins.
    pub(super) fn repeat(&mut self, output: &mut Vec<u8>) {
        for sent in &self.sent {
            sent.write(output);
        }
    }

    pub(super) fn on_answer(&mut self, packet_type: PacketType, id: PacketId, out: &mut Vec<u8>) {
        let sent = self.sent.iter_mut().find(|sent| sent.packet_id() == id).expect("it was sent");
        self.acknowledged.insert(sent.number);
        if self.is_deaf {
            return;
        }
        sent.step = match packet_type {
            PacketType::Pubrec => Step::Received,
            _ => Step::Over,
        };
        sent.write(out);
    }
}

/// The user's side of a process.
struct User {
    mailbox: MailboxId,
    seen: Vec<u32>,
}

impl User {
    fn of(process: &Process<'_>) -> Self {
        let mailbox = process.course.shared.with(|inner| {
            let mailbox = inner.hub.open_mailbox(MailboxSettings::default());
            inner.hub.add_filter(mailbox, &TopicFilter::new("numbers").expect("a filter"));
            mailbox
        });
        Self { mailbox, seen: Vec::new() }
    }

    /// Takes up to so many messages. How many there were.
    fn take(&mut self, process: &Process<'_>, count: usize) -> usize {
        let shared = &process.course.shared;
        let now = shared.now();
        for taken in 0..count {
            let next = shared.with(|inner| inner.hub.take_message(now, self.mailbox));
            let Some(next) = next else { return taken };
            let digits = next.message.payload().first_chunk().expect("a number");
            self.seen.push(u32::from_le_bytes(*digits));
        }
        count
    }

    /// Receives some messages, and takes them now and then. Whether the power stays.
    fn live(&mut self, process: &mut Process<'_>, first: u32) -> bool {
        let told = &mut Told::default();
        for number in first..first + MESSAGES {
            if !process.run(told) {
                return false;
            }
            process.server.sends.is_deaf = number % MESSAGES > 4;
            let Server { sends, output, .. } = &mut *process.server;
            sends.send(number, output);
            if number % MESSAGES == 3 && !process.reconnect() {
                return false;
            }
            if !process.run(told) {
                return false;
            }
            self.take(process, number as usize % 3);
        }
        process.run(told)
    }

    /// Takes everything that comes.
    fn take_all(&mut self, process: &mut Process<'_>) -> bool {
        loop {
            if !process.run(&mut Told::default()) {
                return false;
            }
            if self.take(process, usize::MAX) == 0 {
                return true;
            }
        }
    }
}

/// One life, a power cut at this operation, and another life. Whether the power had gone.
fn two_lives(stop: u64, cut: Cut, plant: &Plant) -> Result<bool, String> {
    let disk = SimulatedDisk::new();
    if plant.ignores_syncs {
        disk.ignore_syncs();
    }
    disk.stop_at(stop);
    let mut server = Server::default();
    let (mut has_power, mut seen) = (false, Vec::new());
    if let Ok(mut process) = Process::start(disk.clone(), &mut server, plant.writes_early) {
        let mut user = User::of(&process);
        has_power = user.live(&mut process, 0);
        seen = user.seen;
    }
    for number in &server.sends.acknowledged {
        if !seen.contains(number) {
            return Err(format!("{number} was acknowledged and given to nobody: {seen:?}"));
        }
    }
    let acknowledged = server.sends.acknowledged.clone();
    server.sends.is_deaf = false;
    let disk = disk.after(cut);
    let mut process =
        Process::start(disk, &mut server, plant.writes_early).map_err(|error| error.to_string())?;
    let mut user = User::of(&process);
    if !user.take_all(&mut process) {
        return Err("the power went again".into());
    }
    drop(process);
    let sent = &server.sends.sent;
    if let Some(open) = sent.iter().find(|sent| sent.step != Step::Over) {
        return Err(format!("the server waits: {open:?}"));
    }
    for number in sent.iter().map(|sent| sent.number) {
        let times = user.seen.iter().filter(|seen| **seen == number).count();
        if !seen.contains(&number) && times == 0 {
            return Err(format!("{number} is lost: {seen:?} {:?}", user.seen));
        }
        let is_again = acknowledged.contains(&number) && times > 0 || times > 1;
        if qos(number) == QoS::ExactlyOnce && is_again {
            return Err(format!("{number} is given again: {seen:?} {:?}", user.seen));
        }
    }
    Ok(has_power)
}

/// What is wrong on purpose.
#[derive(Default)]
struct Plant {
    writes_early: bool,
    ignores_syncs: bool,
}

/// The first thing that is wrong, with a power cut at each operation.
fn every_cut(plant: &Plant) -> Option<String> {
    for stop in 1..1_000 {
        let mut is_over = true;
        for cut in CUTS {
            match two_lives(stop, cut, plant) {
                Ok(has_power) => is_over &= has_power,
                Err(wrong) => return Some(format!("operation {stop}, {cut:?}: {wrong}")),
            }
        }
        if is_over {
            assert!(stop > 10, "only {stop} operations");
            return None;
        }
    }
    panic!("it never ends");
}

#[test]
fn what_arrives_survives_a_power_cut_at_every_operation() {
    assert_eq!(every_cut(&Plant::default()), None);
}

#[test]
fn acknowledgements_that_leave_before_the_sync_are_found() {
    assert!(every_cut(&Plant { writes_early: true, ..Plant::default() }).is_some());
    assert!(every_cut(&Plant { ignores_syncs: true, ..Plant::default() }).is_some());
}
