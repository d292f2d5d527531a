//! A connection without a script, for what is counted by the ten thousand: it reads fast, keeps no
//! record, and says nothing on its own.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use noctule_packet::{Framing, split};
use noctule_testkit::packet_bytes;

use crate::DEADLINE;

/// How long nothing must happen until a connection counts as stuck.
const STUCK: Duration = Duration::from_millis(500);

pub(crate) struct Raw {
    stream: TcpStream,
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
        stream.set_read_timeout(Some(4 * DEADLINE)).unwrap();
        let mut raw = Self { stream, unread: Vec::new(), at: 0 };
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
        self.stream.set_nonblocking(true).unwrap();
        let (mut taken, mut last) = (0, Instant::now());
        while taken < maximum && last.elapsed() < STUCK {
            match self.stream.write(&bytes[taken % bytes.len()..]) {
                Ok(count) => {
                    taken += count;
                    last = Instant::now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
        self.stream.set_nonblocking(false).unwrap();
        taken
    }

    /// The next packet.
    #[track_caller]
    pub(crate) fn next(&mut self) -> RawPacket {
        loop {
            if let Some(packet) = self.take() {
                return packet;
            }
            assert!(self.fill(), "the connection has ended");
        }
    }

    /// Every packet that comes before the answer to a PINGREQ.
    #[track_caller]
    pub(crate) fn before_pong(&mut self) -> Vec<RawPacket> {
        self.send(&[0xC0, 0]);
        std::iter::from_fn(|| Some(self.next()).filter(|packet| packet.first_byte != 0xD0))
            .collect()
    }

    /// Reads more; false at the end of the connection.
    #[track_caller]
    fn fill(&mut self) -> bool {
        self.unread.drain(..self.at);
        self.at = 0;
        let mut chunk = [0; 64 * 1024];
        let count = self.stream.read(&mut chunk).expect("something to read");
        self.unread.extend_from_slice(&chunk[..count]);
        count > 0
    }

    fn take(&mut self) -> Option<RawPacket> {
        let rest = &self.unread[self.at..];
        let Ok(Framing::Complete(frame)) = split(rest, u32::MAX) else { return None };
        self.at += frame.length;
        Some(RawPacket { first_byte: rest[0], body: frame.body.to_vec() })
    }
}
