//! The publisher's half of an exchange, which outlives connections as MQTT demands. No socket.

use std::collections::VecDeque;

use anyhow::{Context, Result};
use noctule_packet::{
    Ack, Packet, PacketId, PacketType, Publish, QoS, ReasonCode, TopicName, Version,
};

use super::content;
use super::journal::{Event, Message, Stream};

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// PUBLISH was sent.
    Published,
    /// PUBREC came, PUBREL was sent.
    Received,
}

#[derive(Debug)]
struct Flight {
    packet_id: PacketId,
    message: Message,
    stream: Stream,
    stage: Stage,
}

/// The messages of one publisher that are under way.
#[derive(Debug)]
pub(super) struct Sender {
    version: Version,
    last_id: u16,
    /// In the order in which they were sent first.
    flights: VecDeque<Flight>,
}

impl Sender {
    pub(super) fn new(version: Version) -> Self {
        Self { version, last_id: 0, flights: VecDeque::new() }
    }

    /// How many are under way.
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn publish(
        &mut self,
        message: Message,
        stream: Stream,
        out: &mut Vec<u8>,
        notes: &mut Vec<Event>,
    ) -> Result<()> {
        let packet_id = self.free_id().context("no packet identifier is free")?;
        let flight = Flight { packet_id, message, stream, stage: Stage::Published };
        flight.send(self.version, false, out, notes)?;
        self.flights.push_back(flight);
        Ok(())
    }

    /// Goes on where the connection before has ended: the broker has kept the session.
    pub(super) fn resume(&self, out: &mut Vec<u8>, notes: &mut Vec<Event>) -> Result<()> {
        for flight in &self.flights {
            match flight.stage {
                Stage::Published => flight.send(self.version, true, out, notes)?,
                Stage::Received => {
                    out.extend_from_slice(&Ack::bare(PacketType::Pubrel, flight.packet_id));
                }
            }
        }
        Ok(())
    }

    /// The broker knows nothing of the exchanges any more.
    pub(super) fn give_up(&mut self, notes: &mut Vec<Event>) {
        let messages = self.flights.drain(..).map(|flight| flight.message);
        notes.extend(messages.map(|message| Event::GivenUp { message }));
    }

    /// PUBACK, PUBREC or PUBCOMP.
    pub(super) fn on_ack(
        &mut self,
        packet_type: PacketType,
        ack: &Ack<'_>,
        out: &mut Vec<u8>,
        notes: &mut Vec<Event>,
    ) {
        let is_of_it = |flight: &Flight| flight.packet_id == ack.packet_id;
        let Some(place) = self.flights.iter().position(is_of_it) else { return };
        let flight = &mut self.flights[place];
        let message = flight.message;
        let is_received = flight.stage == Stage::Received;
        // PUBREL may be repeated after the broker has finished: then it knows the identifier no
        // more.
        let has_finished = is_received && ack.reason_code == ReasonCode::PacketIdentifierNotFound;
        let end = match (packet_type, flight.stream.qos) {
            _ if ack.reason_code.is_error() && !has_finished => Event::Rejected { message },
            (PacketType::Pubrec, QoS::ExactlyOnce) => {
                if !is_received {
                    flight.stage = Stage::Received;
                    notes.push(Event::Received { message });
                }
                out.extend_from_slice(&Ack::bare(PacketType::Pubrel, ack.packet_id));
                return;
            }
            (PacketType::Puback, QoS::AtLeastOnce) => Event::Completed { message },
            (PacketType::Pubcomp, QoS::ExactlyOnce) if is_received => Event::Completed { message },
            // Not an answer to this.
            _ => return,
        };
        notes.push(end);
        self.flights.remove(place);
    }

    fn free_id(&mut self) -> Option<PacketId> {
        for _ in 0..=u16::MAX {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            let packet_id = PacketId::new(self.last_id)?;
            if self.flights.iter().all(|flight| flight.packet_id != packet_id) {
                return Some(packet_id);
            }
        }
        None
    }
}

impl Flight {
    fn send(
        &self,
        version: Version,
        dup: bool,
        out: &mut Vec<u8>,
        notes: &mut Vec<Event>,
    ) -> Result<()> {
        let (topic, payload) = (content::topic(self.stream), content::payload(self.message));
        let publish = Publish {
            dup,
            qos: self.stream.qos,
            retain: self.stream.retain,
            topic: Some(TopicName::new(&topic)?),
            packet_id: Some(self.packet_id),
            payload: &payload,
            ..Publish::default()
        };
        Packet::Publish(publish).encode(version, out)?;
        notes.push(Event::Publish { message: self.message });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: Message = Message { stream: 0, number: 1 };

    fn stream(qos: QoS) -> Stream {
        Stream { publisher: 0, group: 0, qos, retain: false }
    }

    fn check(qos: QoS, acks: &[(PacketType, ReasonCode)], expected: &[Event]) -> Vec<u8> {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut sender = Sender::new(Version::V5_0);
        sender.publish(MESSAGE, stream(qos), &mut out, &mut notes).unwrap();
        for (packet_type, reason_code) in acks {
            out.clear();
            let ack = Ack::new(PacketId::MIN, *reason_code);
            sender.on_ack(*packet_type, &ack, &mut out, &mut notes);
        }
        assert_eq!(notes[0], Event::Publish { message: MESSAGE });
        assert_eq!(&notes[1..], expected);
        out.clear();
        sender.resume(&mut out, &mut notes).unwrap();
        out
    }

    #[test]
    fn an_exchange_goes_on_with_its_identifier_where_it_was_interrupted() {
        use PacketType::{Puback, Pubcomp, Pubrec};
        const OK: ReasonCode = ReasonCode::Success;
        let completed = Event::Completed { message: MESSAGE };
        let received = Event::Received { message: MESSAGE };
        let again = check(QoS::AtLeastOnce, &[], &[]);
        assert_eq!(again[0], 0x3A);
        assert!(check(QoS::AtLeastOnce, &[(Puback, OK)], &[completed]).is_empty());
        let again = check(QoS::ExactlyOnce, &[], &[]);
        assert_eq!(again[0], 0x3C);
        let again = check(QoS::ExactlyOnce, &[(Pubrec, OK), (Pubrec, OK)], &[received]);
        assert_eq!(again, [0x62, 2, 0, 1]);
        let whole = [received, completed];
        assert!(check(QoS::ExactlyOnce, &[(Pubrec, OK), (Pubcomp, OK)], &whole).is_empty());
        let unknown = ReasonCode::PacketIdentifierNotFound;
        assert!(check(QoS::ExactlyOnce, &[(Pubrec, OK), (Pubcomp, unknown)], &whole).is_empty());
        let rejected = Event::Rejected { message: MESSAGE };
        let full = ReasonCode::QuotaExceeded;
        assert!(check(QoS::ExactlyOnce, &[(Pubrec, full)], &[rejected]).is_empty());
    }

    #[test]
    fn identifiers_in_use_are_passed_over() {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut sender = Sender::new(Version::V3_1_1);
        sender.publish(MESSAGE, stream(QoS::AtLeastOnce), &mut out, &mut notes).unwrap();
        sender.last_id = u16::MAX;
        assert_eq!(sender.free_id(), PacketId::new(2));
    }
}
