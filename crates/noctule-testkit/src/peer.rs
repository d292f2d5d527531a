//! The peer itself: how it is connected, what it holds, and how it fails.

use std::collections::VecDeque;
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
#[cfg(unix)]
use std::path::Path;
use std::time::Duration;

use noctule_packet::{TextRules, Version};

use crate::arrival::MAXIMUM_PACKET_SIZE;
use crate::transcript::{Direction, Transcript};
use crate::{OwnedConnack, OwnedConnect, Stream};

/// How long a peer waits for a packet unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(5);

/// One end of an MQTT connection that does what a test says, and fails it when anything else comes.
///
/// Dropping a peer closes the connection without a DISCONNECT, as a network failure does.
///
/// See the [crate's documentation](crate) for how tests read.
#[derive(Debug)]
pub struct Peer<S: Stream = TcpStream> {
    pub(crate) stream: S,
    pub(crate) version: Version,
    pub(crate) timeout: Duration,
    pub(crate) text_rules: TextRules,
    /// What this peer said in CONNECT that it takes; a longer packet fails the test.
    pub(crate) maximum_packet_size: u32,
    /// What was read and not yet split into packets.
    pub(crate) unread: Vec<u8>,
    /// Packets that arrived while a handshake waited for its own answer, in their order.
    pub(crate) deferred: VecDeque<Vec<u8>>,
    pub(crate) transcript: Transcript,
    pub(crate) last_packet_id: u16,
    pub(crate) connack: Option<OwnedConnack>,
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
