//! What becomes durable just before a driver sleeps: nobody wakes it for that any more.

use std::io;
use std::sync::Arc;
use std::task::{Poll, Waker};

use noctule_client_core::{Publication, ReconnectPlan, ReconnectSettings, Settings};
use noctule_packet::{QoS, TopicName};
use noctule_store::SimulatedDisk;
use noctule_transport::DialerBuilder;

use crate::connection::{Connection, Line, Turn};
use crate::course::Course;
use crate::shared::Shared;
use crate::store::desk::Desk;
use crate::store::opening::open_on;
use crate::store::power_cut_tests::Server;
use crate::store::silence::Silence;
use crate::store::{Journal, StoreSettings};

/// A store of which the test says when a batch is durable.
struct Store {
    desk: Arc<Desk>,
    shared: Arc<Shared>,
}

impl Store {
    fn start(settings: Settings) -> Self {
        let store = StoreSettings::new("nowhere");
        let disk = Box::new(SimulatedDisk::new());
        let (hub, opened) = open_on(disk, &store, settings).expect("it opens");
        let lifetime = opened.settings.connect.session_expiry_interval;
        let silence = Silence::new(opened.log.ages().clone(), lifetime);
        let desk = Arc::new(Desk::default());
        let journal = Journal::new(Arc::clone(&desk), opened.bytes_max, opened.summary, silence);
        let shared = Arc::new(Shared::new(hub));
        shared.with(|inner| inner.journal = Some(journal));
        Self { desk, shared }
    }

    /// What is under way is durable, and everybody has been told so.
    fn finish(&self) {
        if self.shared.with(|inner| inner.is_keeping()) {
            self.desk.finish();
            self.shared.on_kept();
        }
    }
}

/// A server behind a buffer that is never quite empty.
struct Buffered<'a> {
    server: Server,
    store: &'a Store,
    /// Whether the store is as fast as the transport is asked to send on what it has.
    finishes: bool,
}

impl Line for Buffered<'_> {
    fn poll_read(&mut self, bytes: &mut [u8]) -> Poll<io::Result<usize>> {
        self.server.poll_read(bytes)
    }

    fn poll_write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.server.poll_write(bytes)
    }

    /// It is asked for after the driver has looked whether it may write.
    fn poll_flush(&mut self) -> Poll<io::Result<()>> {
        if self.finishes {
            self.store.finish();
        }
        Poll::Pending
    }
}

#[test]
fn bytes_leave_that_are_durable_just_before_the_driver_sleeps() {
    let mut settings = Settings::default();
    settings.connect.client_id = "client".into();
    settings.connect.session_expiry_interval = 3_600;
    let store = Store::start(settings.clone());
    let endpoints = vec![DialerBuilder::new("mqtt://localhost".parse().expect("a URL"))];
    let plan = ReconnectPlan::new(ReconnectSettings::default(), 1, 1);
    let shared = Arc::clone(&store.shared);
    let mut course = Course::new(shared, endpoints, plan, settings.connect, None);
    let mut line = Buffered { server: Server::default(), store: &store, finishes: false };
    let mut connection = Connection::new();
    course.up();
    let mut turn = |line: &mut Buffered<'_>| connection.turn(&mut course, line, Waker::noop());
    // Up to CONNACK, and until nothing is left to be kept.
    for _ in 0..10 {
        assert!(matches!(turn(&mut line), Turn::Rest(_)));
        store.finish();
    }
    let publication = Publication::new(TopicName::new("t").expect("a topic"), &[7, 0, 0, 0]);
    let publication = publication.qos(QoS::AtLeastOnce);
    store.shared.publish(&publication).expect("it is accepted");
    assert!(matches!(turn(&mut line), Turn::Rest(_)));
    assert!(line.server.received.is_empty(), "it is not durable");
    store.finish();
    assert!(matches!(turn(&mut line), Turn::Rest(_)));
    assert_eq!(line.server.received, [7], "it was durable before the driver looked");
    line.finishes = true;
    store.shared.publish(&publication).expect("it is accepted");
    assert!(matches!(turn(&mut line), Turn::Rest(_)));
    assert_eq!(line.server.received, [7, 7], "it was durable before the driver slept");
}
