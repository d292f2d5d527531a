//! A connection without a script, for what is counted by the ten thousand: it reads fast, keeps no
//! record, and says nothing on its own.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use noctule_packet::{Framing, split};
use noctule_testkit::{Stream, packet_bytes};

use crate::DEADLINE;

/// How long nothing must happen until a connection counts as stuck.
const STUCK: Duration = Duration::from_millis(500);

pub(crate) struct Raw<S: Stream = TcpStream> {
    stream: S,
    /// What came before an answer that was waited for.
    deferred: VecDeque<RawPacket>,
    unread: Vec<u8>,
    /// How much of `unread` has been looked at.
    at: usize,
}

/// A packet: its first byte, and what stands behind its length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawPacket {
    pub(crate) first_byte: u8,
    pub(crate) body: Vec<u8>,
}

impl RawPacket {
    /// The number at this place of the body.
    pub(crate) fn number_at(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.body[at], self.body[at + 1]])
    }

    /// What stands behind the topic and the packet identifier of a PUBLISH.
    pub(crate) fn behind_topic(&self) -> &[u8] {
        let id = if self.first_byte & 0x06 > 0 { 2 } else { 0 };
        &self.body[2 + usize::from(self.number_at(0)) + id..]
    }

    /// The topic and, above QoS 0, the packet identifier of a PUBLISH.
    pub(crate) fn topic_and_id(&self) -> (String, Option<u16>) {
        let end = 2 + usize::from(self.number_at(0));
        let topic = String::from_utf8(self.body[2..end].to_vec()).unwrap();
        (topic, (self.first_byte & 0x06 > 0).then(|| self.number_at(end)))
    }
}

impl Raw {
    /// Sends this CONNECT and expects that it is accepted.
    #[track_caller]
    pub(crate) fn connect(address: SocketAddr, connect: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self::over(stream, connect)
    }
}

impl<S: Stream> Raw<S> {
    /// Sends this CONNECT and expects that it is accepted.
    #[track_caller]
    pub(crate) fn over(stream: S, connect: &str) -> Self {
        let mut raw = Self { stream, deferred: VecDeque::new(), unread: Vec::new(), at: 0 };
        raw.send(&packet_bytes(0x10, connect));
        let connack = raw.next();
        assert_eq!((connack.first_byte, connack.body[1]), (0x20, 0), "{connack:?}");
        raw
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends the same again and again until the other side has taken nothing for a while, or this
    /// much has been taken. How many bytes were taken.
    pub(crate) fn send_until_stuck(&mut self, bytes: &[u8], maximum: usize) -> usize {
        self.stream.set_write_timeout(STUCK).unwrap();
        let mut taken = 0;
        while taken < maximum {
            match self.stream.write(&bytes[taken % bytes.len()..]) {
                Ok(count) => taken += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_write_timeout(4 * DEADLINE).unwrap();
        taken
    }

    /// The next packet.
    #[track_caller]
    pub(crate) fn next(&mut self) -> RawPacket {
        self.next_within(4 * DEADLINE).expect("a packet in time")
    }

    /// Subscribes; messages may come before the answer, and are kept.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, body: &str) {
        self.send(&packet_bytes(0x82, body));
        let mut before = VecDeque::new();
        loop {
            let packet = self.next();
            if packet.first_byte == 0x90 {
                break;
            }
            before.push_back(packet);
        }
        self.deferred = before;
    }

    /// The next packet, if one comes in this time.
    #[track_caller]
    pub(crate) fn next_within(&mut self, time: Duration) -> Option<RawPacket> {
        if let Some(packet) = self.deferred.pop_front() {
            return Some(packet);
        }
        loop {
            if let Some(packet) = self.take() {
                return Some(packet);
            }
            self.unread.drain(..self.at);
            self.at = 0;
            self.stream.set_read_timeout(time).unwrap();
            let mut chunk = [0; 64 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => panic!("the connection has ended"),
                Ok(count) => self.unread.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Every packet that comes before the answer to a PINGREQ.
    #[track_caller]
    pub(crate) fn before_pong(&mut self) -> Vec<RawPacket> {
        self.send(&[0xC0, 0]);
        std::iter::from_fn(|| Some(self.next()).filter(|packet| packet.first_byte != 0xD0))
            .collect()
    }

    fn take(&mut self) -> Option<RawPacket> {
        let rest = &self.unread[self.at..];
        let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) else { return None };
        self.at += frame.length;
        Some(RawPacket { first_byte: rest[0], body: frame.body.to_vec() })
    }
}
