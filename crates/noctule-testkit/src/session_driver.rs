//! Drives a client session against a test broker in virtual time, by bytes, without any runtime.

use std::fmt;
use std::time::Duration;

use noctule_client_core::{
    ClientSession, Event, Hub, Record, Settings, SettingsError, Timestamp, TransportEnd,
};

use crate::TestBroker;
use crate::broker::outlet::{Chunk, Due};

/// So many things may be due at the same time.
const TURNS_MAX: u32 = 10_000;

/// What a [`SessionDriver`] drives: a [`ClientSession`] alone, or a [`Hub`] around one.
pub trait Driven: fmt::Debug {
    /// The session.
    fn session(&self) -> &ClientSession;

    /// The session.
    fn session_mut(&mut self) -> &mut ClientSession;

    /// When it is to be [woken](Self::on_timeout).
    fn poll_timeout(&self) -> Option<Timestamp>;

    /// A time has come.
    fn on_timeout(&mut self, now: Timestamp);

    /// Bytes were moved: takes note of what has happened.
    fn settle(&mut self, now: Timestamp);
}

impl Driven for ClientSession {
    fn session(&self) -> &ClientSession {
        self
    }

    fn session_mut(&mut self) -> &mut ClientSession {
        self
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.poll_timeout()
    }

    fn on_timeout(&mut self, now: Timestamp) {
        self.on_timeout(now);
    }

    fn settle(&mut self, _now: Timestamp) {}
}

impl Driven for Hub {
    fn session(&self) -> &ClientSession {
        self.session()
    }

    fn session_mut(&mut self) -> &mut ClientSession {
        self.session_mut()
    }

    fn poll_timeout(&self) -> Option<Timestamp> {
        self.poll_timeout()
    }

    fn on_timeout(&mut self, now: Timestamp) {
        self.on_timeout(now);
        self.take_wakes().wake();
    }

    fn settle(&mut self, now: Timestamp) {
        self.settle(now);
        self.take_wakes().wake();
    }
}

/// Drives a [`ClientSession`] of `noctule-client-core` against a test broker: it carries the bytes
/// both ways, and time passes when the test says so.
///
/// ```
/// use std::time::Duration;
///
/// use noctule_client_core::Settings;
/// use noctule_packet::PacketType;
/// use noctule_testkit::{SessionDriver, TestBroker};
///
/// let broker = TestBroker::in_virtual_time();
/// let mut settings = Settings::default();
/// settings.connect.client_id = "thermometer".into();
/// settings.connect.keep_alive = 3_600;
/// let mut driver = SessionDriver::new(settings, &broker).unwrap();
/// driver.connect();
///
/// driver.advance(Duration::from_secs(24 * 3_600));
/// for _ in 0..23 {
///     assert!(broker.next_packet(PacketType::Pingreq).now().is_some());
/// }
/// ```
///
/// The test calls the session itself ([`client_mut`](Self::client_mut), with [`now`](Self::now)),
/// and then [`run`](Self::run).
#[derive(Debug)]
pub struct SessionDriver<'a, C: Driven = ClientSession> {
    broker: &'a TestBroker,
    client: C,
    connection: Option<u64>,
    /// What has arrived and the session has not taken.
    unread: Vec<u8>,
    records: Vec<Record>,
}

impl TestBroker {
    /// A broker whose time stands still unless a [`SessionDriver`] moves it.
    pub fn in_virtual_time() -> Self {
        Self::without_sockets(crate::broker::clock::Clock::virtual_time())
    }
}

impl<'a> SessionDriver<'a> {
    /// Drives a new session.
    ///
    /// # Errors
    ///
    /// If the settings contradict each other.
    ///
    /// # Panics
    ///
    /// When the broker's time is not [virtual](TestBroker::in_virtual_time).
    #[track_caller]
    pub fn new(settings: Settings, broker: &'a TestBroker) -> Result<Self, SettingsError> {
        Ok(Self::of(ClientSession::new(settings)?, broker))
    }

    /// What happened since the last look.
    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.client.next_event()).collect()
    }
}

impl<'a, C: Driven> SessionDriver<'a, C> {
    /// Drives a session that exists already, such as one that was restored, or a [`Hub`].
    ///
    /// # Panics
    ///
    /// When the broker's time is not [virtual](TestBroker::in_virtual_time).
    #[track_caller]
    pub fn of(client: C, broker: &'a TestBroker) -> Self {
        let is_virtual = broker.house.clock.is_virtual();
        assert!(is_virtual, "a session driver needs a broker in virtual time");
        Self { broker, client, connection: None, unread: Vec::new(), records: Vec::new() }
    }

    /// The session or hub.
    pub const fn client(&self) -> &C {
        &self.client
    }

    /// The session or hub, to be called. What comes of that, [`run`](Self::run) carries out.
    pub const fn client_mut(&mut self) -> &mut C {
        &mut self.client
    }

    /// The time.
    pub fn now(&self) -> Timestamp {
        Timestamp::default() + self.broker.house.clock.now()
    }

    /// Whether there is a connection.
    pub const fn is_connected(&self) -> bool {
        self.connection.is_some()
    }

    /// Opens a connection, and carries out what comes of it.
    ///
    /// # Panics
    ///
    /// When there is one already.
    #[track_caller]
    pub fn connect(&mut self) {
        assert!(self.connection.is_none(), "there is a connection already");
        self.connection = Some(self.broker.house.with(|state| state.open()));
        let now = self.now();
        self.client.session_mut().transport_up(now);
        self.run();
    }

    /// Loses the connection, if there is one.
    pub fn lose_connection(&mut self) {
        self.end(TransportEnd::Failed);
    }

    fn end(&mut self, end: TransportEnd) {
        let Some(number) = self.connection.take() else { return };
        self.unread.clear();
        let now = self.now();
        self.client.session_mut().transport_down(now, end);
        self.broker.house.with(|state| state.close(number));
    }

    /// Carries bytes both ways until nobody has anything to say.
    pub fn run(&mut self) {
        loop {
            let has_moved = self.write() | self.read();
            let now = self.now();
            self.client.settle(now);
            let has_more = self.is_connected() && !self.client.session().outbound().is_empty();
            if !has_moved && !has_more {
                break;
            }
        }
        self.records.extend(self.client.session_mut().take_records());
    }

    /// Lets time pass. What is due meanwhile happens when it is due.
    ///
    /// # Panics
    ///
    /// When the session cannot be brought to wait.
    #[track_caller]
    pub fn advance(&mut self, duration: Duration) {
        let end = self.broker.house.clock.now() + duration;
        let mut turns = 0;
        loop {
            self.run();
            let before = self.broker.house.clock.now();
            let Some(due) = self.next_due().map(|due| due.max(before)).filter(|due| *due <= end)
            else {
                break;
            };
            turns = if due == before { turns + 1 } else { 0 };
            assert!(turns < TURNS_MAX, "the session is due again and again at {before:?}");
            self.broker.house.clock.set(due);
            let now = self.now();
            self.client.on_timeout(now);
        }
        self.broker.house.clock.set(end);
        self.run();
    }

    /// What is to be stored of what happened since the last look, if the session is durable.
    pub fn records(&mut self) -> Vec<Record> {
        std::mem::take(&mut self.records)
    }

    /// Everything that was said so far.
    pub fn transcript(&self) -> String {
        self.broker.transcript()
    }

    /// When the session or the broker next has to do something of itself.
    fn next_due(&self) -> Option<Duration> {
        let session = self.client.poll_timeout().map(|at| at.since(Timestamp::default()));
        let due = self.connection.and_then(|number| self.broker.house.next_due(number, None));
        // Everything that was due was done.
        let broker = match due {
            Some(Due::At(at)) => Some(at),
            Some(Due::Now(_) | Due::Never) | None => None,
        };
        session.into_iter().chain(broker).min()
    }

    /// Whether the session had anything to say.
    fn write(&mut self) -> bool {
        let Some(number) = self.connection else { return false };
        // What is written depends on what is stored.
        self.records.extend(self.client.session_mut().take_records());
        let bytes = self.client.session().outbound().to_vec();
        if !bytes.is_empty() {
            let now = self.now();
            self.client.session_mut().written(now, bytes.len());
            self.broker.house.with(|state| state.receive(number, &bytes));
        }
        if self.client.session().wants_close() {
            self.end(TransportEnd::Closed);
            return true;
        }
        !bytes.is_empty()
    }

    /// Whether the broker had anything to say that the session takes.
    fn read(&mut self) -> bool {
        let Some(number) = self.connection else { return false };
        if !self.client.session().wants_input() {
            return false;
        }
        if !self.unread.is_empty() {
            let now = self.now();
            let taken = self.client.session_mut().receive(now, &self.unread);
            self.unread.drain(..taken);
            if taken > 0 {
                return true;
            }
        }
        match self.broker.house.next_due(number, None) {
            Some(Due::Now(Chunk::Bytes(bytes))) => self.unread.extend(bytes),
            Some(Due::Now(Chunk::Reset)) => self.end(TransportEnd::Failed),
            Some(Due::Now(Chunk::End)) | None => self.end(TransportEnd::Closed),
            Some(Due::At(_) | Due::Never) => return false,
        }
        true
    }
}
