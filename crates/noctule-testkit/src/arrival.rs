//! How a peer reads: from bytes to whole packets, each noted in the transcript.

use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

use noctule_packet::{Connect, Frame, Framing, Packet, PacketType, split};

use crate::describe::{describe, describe_bytes};
use crate::transcript::Direction;
use crate::{Peer, Stream};

/// The longest packet that the wire format can express.
pub(crate) const MAXIMUM_PACKET_SIZE: u32 = 268_435_460;
/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// What a peer meets when it listens.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// A whole packet.
    Packet(Vec<u8>),
    /// The orderly end of the stream.
    Closed,
    /// The stream broke.
    Broken(io::Error),
    /// Nothing until the deadline.
    Nothing,
}

impl<S: Stream> Peer<S> {
    /// Until when an expectation that begins now waits.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.timeout
    }

    /// The next packet or other happening: the oldest deferred one, else from the stream.
    #[track_caller]
    pub(crate) fn next_arrival(&mut self, deadline: Instant) -> Arrival {
        match self.deferred.pop_front() {
            Some(packet) => Arrival::Packet(packet),
            None => self.next_from_stream(deadline),
        }
    }

    /// The next packet or other happening on the stream itself.
    #[track_caller]
    pub(crate) fn next_from_stream(&mut self, deadline: Instant) -> Arrival {
        loop {
            if let Some(packet) = self.take_packet() {
                return Arrival::Packet(packet);
            }
            match self.read(deadline) {
                Ok(Some(0)) if self.unread.is_empty() => {
                    self.transcript.add(Direction::Event, "closed by the other side".to_owned());
                    return Arrival::Closed;
                }
                Ok(Some(0)) => {
                    let rest = describe_bytes(&self.unread);
                    self.fail(&format!("The stream ended within a packet: {rest}"));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Arrival::Nothing,
                Err(error) => {
                    self.transcript.add(Direction::Event, format!("broken: {error}"));
                    return Arrival::Broken(error);
                }
            }
        }
    }

    /// How many bytes of a packet that has not arrived to its end were read.
    pub(crate) const fn part_of_a_packet(&self) -> usize {
        self.unread.len()
    }

    /// Reads once; `None` when the deadline passed without anything to read.
    fn read(&mut self, deadline: Instant) -> io::Result<Option<usize>> {
        let mut chunk = [0; READ_SIZE];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            // A socket takes no time-out of zero; it would wait for ever.
            self.stream.set_read_timeout(left.max(Duration::from_millis(1)))?;
            match self.stream.read(&mut chunk) {
                Ok(length) => {
                    self.unread.extend_from_slice(&chunk[..length]);
                    return Ok(Some(length));
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => {
                        if Instant::now() >= deadline {
                            return Ok(None);
                        }
                    }
                    _ => return Err(error),
                },
            }
        }
    }

    /// Takes the first packet from what was read, if it is complete, and notes it.
    #[track_caller]
    fn take_packet(&mut self) -> Option<Vec<u8>> {
        let length = match split(&self.unread, self.maximum_packet_size) {
            Ok(Framing::Complete(frame)) => frame.length,
            Ok(Framing::Partial { .. }) => return None,
            Err(error) => {
                let shown = describe_bytes(&self.unread);
                self.fail(&format!("What arrived is no packet ({error}): {shown}"));
            }
        };
        let packet: Vec<u8> = self.unread.drain(..length).collect();
        self.follow_connect(&packet);
        match self.with_packet(&packet, describe) {
            Ok(text) => self.transcript.add(Direction::Received, text),
            Err(error) => {
                let shown = describe_bytes(&packet);
                self.transcript.add(Direction::Received, format!("{shown} ({error})"));
                self.fail(&format!("A packet that cannot be decoded arrived: {error}"));
            }
        }
        Some(packet)
    }

    /// Notes bytes that were sent, packet by packet as far as they are packets.
    pub(crate) fn note_sent(&mut self, mut sent: &[u8]) {
        while !sent.is_empty() {
            let length = match split(sent, MAXIMUM_PACKET_SIZE) {
                Ok(Framing::Complete(frame)) => frame.length,
                Ok(Framing::Partial { .. }) | Err(_) => sent.len(),
            };
            let (packet, rest) = sent.split_at(length);
            self.follow_connect(packet);
            let text = match self.with_packet(packet, describe) {
                Ok(text) => text,
                Err(_) => describe_bytes(packet),
            };
            self.transcript.add(Direction::Sent, text);
            sent = rest;
        }
    }

    /// Speaks the version of a CONNECT that passes by.
    fn follow_connect(&mut self, packet: &[u8]) {
        if let Some(frame) = whole_frame(packet)
            && frame.packet_type == PacketType::Connect
            && let Ok(connect) = Connect::decode(&frame, self.text_rules)
        {
            self.version = connect.version;
        }
    }

    /// Decodes a packet for as long as `look` needs it.
    pub(crate) fn with_packet<T>(
        &self,
        packet: &[u8],
        look: impl FnOnce(&Packet<'_>) -> T,
    ) -> Result<T, String> {
        let frame = whole_frame(packet).ok_or("no packet")?;
        match Packet::decode(&frame, self.version, self.text_rules) {
            Ok(packet) => Ok(look(&packet)),
            Err(error) => Err(match error.statement() {
                Some(statement) => format!("{error} [{statement}]"),
                None => error.to_string(),
            }),
        }
    }
}

/// The frame of bytes that are exactly one packet.
fn whole_frame(packet: &[u8]) -> Option<Frame<'_>> {
    match split(packet, MAXIMUM_PACKET_SIZE) {
        Ok(Framing::Complete(frame)) if frame.length == packet.len() => Some(frame),
        _ => None,
    }
}
