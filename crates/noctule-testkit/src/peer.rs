//! The peer itself: one end of a connection, what it has read, and how it fails.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::time::{Duration, Instant};

use noctule_packet::{Connect, Frame, Framing, Packet, PacketType, TextRules, Version, split};

use crate::describe::{describe, describe_bytes};
use crate::transcript::{Direction, Transcript};
use crate::{OwnedConnack, OwnedConnect, Stream};

/// How long a peer waits for a packet unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest packet that the wire format can express.
const MAXIMUM_PACKET_SIZE: u32 = 268_435_460;
/// How much is read at once.
const READ_SIZE: usize = 64 * 1024;

/// One end of an MQTT connection that does what a test says, and fails it when anything else comes.
///
/// Dropping a peer closes the connection without a DISCONNECT, as a network failure does.
///
/// See the [crate's documentation](crate) for how tests read.
#[derive(Debug)]
pub struct Peer<S: Stream = TcpStream> {
    pub(crate) stream: S,
    pub(crate) version: Version,
    timeout: Duration,
    text_rules: TextRules,
    /// What this peer said in CONNECT that it takes; a longer packet fails the test.
    maximum_packet_size: u32,
    /// What was read and not yet split into packets.
    unread: Vec<u8>,
    /// Packets that arrived while a handshake waited for its own answer, in their order.
    pub(crate) deferred: VecDeque<Vec<u8>>,
    pub(crate) transcript: Transcript,
    pub(crate) last_packet_id: u16,
    pub(crate) connack: Option<OwnedConnack>,
}

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

impl Peer<TcpStream> {
    /// Opens a TCP connection and sends nothing yet.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    #[track_caller]
    pub fn connect(address: impl ToSocketAddrs) -> Self {
        let stream = match TcpStream::connect(address) {
            Ok(stream) => stream,
            Err(error) => panic!("the connection cannot be opened: {error}"),
        };
        // A script's small packets must leave when it says so.
        stream.set_nodelay(true).expect("a socket without delay");
        Self::over(stream)
    }

    /// Opens a TCP connection, sends this CONNECT and expects it to be accepted.
    #[track_caller]
    pub fn connect_with(address: impl ToSocketAddrs, connect: &OwnedConnect) -> Self {
        let mut peer = Self::connect(address);
        peer.open(connect);
        peer
    }

    /// Connects with clean start in this version and expects to be accepted.
    #[track_caller]
    pub fn speaking(version: Version, address: impl ToSocketAddrs, client_id: &str) -> Self {
        Self::connect_with(address, &OwnedConnect::new(version, client_id))
    }

    /// Connects with clean start in MQTT 5.0 and expects to be accepted.
    #[track_caller]
    pub fn v5(address: impl ToSocketAddrs, client_id: &str) -> Self {
        Self::speaking(Version::V5_0, address, client_id)
    }

    /// Connects with a clean session in MQTT 3.1.1 and expects to be accepted.
    #[track_caller]
    pub fn v311(address: impl ToSocketAddrs, client_id: &str) -> Self {
        Self::speaking(Version::V3_1_1, address, client_id)
    }

    /// Connects with a clean session in MQTT 3.1 and expects to be accepted.
    #[track_caller]
    pub fn v31(address: impl ToSocketAddrs, client_id: &str) -> Self {
        Self::speaking(Version::V3_1, address, client_id)
    }
}

#[cfg(unix)]
impl Peer<UnixStream> {
    /// Opens a connection to a Unix socket and sends nothing yet.
    ///
    /// # Panics
    ///
    /// When nobody listens there.
    #[track_caller]
    pub fn connect_unix(path: impl AsRef<Path>) -> Self {
        match UnixStream::connect(path) {
            Ok(stream) => Self::over(stream),
            Err(error) => panic!("the connection cannot be opened: {error}"),
        }
    }
}

impl<S: Stream> Peer<S> {
    /// Speaks over a stream that is already open, as either side. Until a CONNECT has been sent or
    /// received, or [`set_version`](Self::set_version) says otherwise, the version is 5.0.
    pub fn over(stream: S) -> Self {
        Peer {
            stream,
            version: Version::V5_0,
            timeout: TIMEOUT,
            text_rules: TextRules::Lenient,
            maximum_packet_size: MAXIMUM_PACKET_SIZE,
            unread: Vec::new(),
            deferred: VecDeque::new(),
            transcript: Transcript::new(),
            last_packet_id: 0,
            connack: None,
        }
    }

    /// The version in which packets are written and read.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// Changes the version in which packets are written and read from here on. A valid CONNECT does
    /// the same, whoever sends it.
    pub const fn set_version(&mut self, version: Version) {
        self.version = version;
    }

    /// Changes how long an expectation waits, and how long sending may be blocked.
    pub const fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = timeout;
    }

    /// Changes which characters this peer takes in texts; all that the specification allows at
    /// first.
    pub const fn set_text_rules(&mut self, text_rules: TextRules) {
        self.text_rules = text_rules;
    }

    /// Changes the size above which a packet that arrives fails the test. A CONNECT that announces
    /// a maximum packet size does the same.
    pub const fn set_maximum_packet_size(&mut self, size: u32) {
        self.maximum_packet_size = size;
    }

    /// The CONNACK that was received last, if any was.
    pub const fn connack(&self) -> Option<&OwnedConnack> {
        self.connack.as_ref()
    }

    /// The stream underneath.
    pub const fn stream(&self) -> &S {
        &self.stream
    }

    /// The conversation so far, a line for each packet.
    pub fn transcript(&self) -> String {
        self.transcript.to_string()
    }

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

    /// Half-closes the connection: the other side sees its end and may still send.
    #[track_caller]
    pub fn shut_down_writing(&mut self) {
        self.transcript.add(Direction::Event, "writing shut down".to_owned());
        if let Err(error) = self.stream.shut_down(Shutdown::Write) {
            self.fail(&format!("The connection cannot be shut down: {error}"));
        }
    }

    /// Ends the test with a message and the whole conversation.
    #[track_caller]
    pub(crate) fn fail(&self, message: &str) -> ! {
        panic!("{message}\n{}", self.transcript)
    }
}

/// The frame of bytes that are exactly one packet.
fn whole_frame(packet: &[u8]) -> Option<Frame<'_>> {
    match split(packet, MAXIMUM_PACKET_SIZE) {
        Ok(Framing::Complete(frame)) if frame.length == packet.len() => Some(frame),
        _ => None,
    }
}
