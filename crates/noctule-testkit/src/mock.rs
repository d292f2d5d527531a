//! A broker whose every answer to a publication is the test's: for unit tests of what a program
//! does with its client.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use noctule_packet::{QoS, ReasonCode};

use crate::broker::house::House;
use crate::broker::{check_filter, check_topic, matches};
use crate::{OwnedConnect, OwnedPacket, OwnedPublish, OwnedSubscribe, OwnedUnsubscribe};
use crate::{TestBroker, Wait};

/// A broker whose every answer to a publication is the test's.
///
/// The program under test has a real client. The test sees each message that it publishes and says
/// how it ends, sees what it subscribes to, and delivers messages to it.
///
/// ```
/// use noctule_client::{Client, QoS};
/// use noctule_packet::ReasonCode;
/// use noctule_testkit::Mock;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mock = Mock::new();
/// let client = Client::builder(mock.url()).connector(mock.connector()).connect().await?;
///
/// let receipt = client.publish("alarm", "fire").qos(QoS::AtLeastOnce).send()?;
/// mock.next_publish().await.reject(ReasonCode::QuotaExceeded);
/// assert!(!receipt.await.is_delivered());
///
/// let mut commands = client.subscribe("commands/#").await?;
/// mock.deliver("commands/stop", "now");
/// assert_eq!(commands.recv().await.unwrap().text(), Some("now"));
/// # Ok(())
/// # }
/// ```
///
/// With `Mock::new` there is no socket and no thread: everything happens in the test's own
/// runtime. [`Mock::listen`] does the same over a socket, for blocking clients and for those of
/// other makers; there the test calls `wait()` in place of `.await`.
///
/// Subscriptions are granted, and pings are answered. What else is to happen,
/// [rules](TestBroker::on_subscribe) of [the broker underneath](Self::broker) say; a publication
/// that a rule is for is not the test's.
#[derive(Debug)]
pub struct Mock {
    broker: TestBroker,
}

impl Mock {
    /// A mock in memory.
    #[cfg(feature = "tokio")]
    pub fn new() -> Self {
        Self::of(TestBroker::in_memory())
    }

    /// A mock that listens on a free port of the loopback address.
    pub fn listen() -> Self {
        Self::of(TestBroker::start())
    }

    fn of(broker: TestBroker) -> Self {
        broker.house.with(|state| state.holds_publications = true);
        Self { broker }
    }

    /// The URL to give to the client.
    pub fn url(&self) -> String {
        self.broker.url()
    }

    /// What makes a noctule-client connect in memory.
    #[cfg(feature = "tokio")]
    pub fn connector(&self) -> crate::MemoryConnector {
        self.broker.connector()
    }

    /// The broker underneath, for its rules and its records.
    pub const fn broker(&self) -> &TestBroker {
        &self.broker
    }

    /// Waits for the next CONNECT.
    #[track_caller]
    pub fn next_connect(&self) -> Wait<OwnedConnect> {
        self.broker.next_connect()
    }

    /// Waits for the next message that the program publishes.
    #[track_caller]
    pub fn next_publish(&self) -> Wait<Publication> {
        self.publication("a message", |_| true)
    }

    /// Waits for the next message that the program publishes to a topic that this filter matches.
    ///
    /// # Panics
    ///
    /// When it is no topic filter.
    #[track_caller]
    pub fn next_publish_to(&self, filter: &str) -> Wait<Publication> {
        check_filter(filter);
        let (wanted, filter) = (format!("a message to {filter:?}"), filter.to_owned());
        self.publication(&wanted, move |publish| matches(&filter, &publish.topic))
    }

    #[track_caller]
    fn publication(
        &self,
        wanted: &str,
        is_wanted: impl Fn(&OwnedPublish) -> bool + Send + 'static,
    ) -> Wait<Publication> {
        let house = Arc::clone(&self.broker.house);
        let waited = Wait::new(&self.broker.house, wanted, move |received, entry| {
            let publish = received.packet()?.publish().filter(|publish| is_wanted(publish))?;
            Some((publish.clone(), received.connection, entry))
        });
        waited.map(move |(publish, connection, entry)| Publication {
            house: Arc::clone(&house),
            publish,
            held: (connection, entry),
            is_ended: false,
        })
    }

    /// Fails the test if the program has published a message that the test has not seen.
    #[track_caller]
    pub fn assert_no_publish(&self) {
        if let Some(publication) = self.next_publish().now() {
            let (topic, transcript) = (&publication.topic, self.broker.transcript());
            panic!("a message to {topic:?} was published\n{transcript}");
        }
    }

    /// Waits for the next SUBSCRIBE, which is granted already.
    #[track_caller]
    pub fn next_subscribe(&self) -> Wait<OwnedSubscribe> {
        self.broker.next_subscribe()
    }

    /// Waits for the next UNSUBSCRIBE.
    #[track_caller]
    pub fn next_unsubscribe(&self) -> Wait<OwnedUnsubscribe> {
        self.broker.next_unsubscribe()
    }

    /// Delivers a message into the program's subscriptions, at QoS 1 if they allow it.
    ///
    /// # Panics
    ///
    /// When the program subscribes to nothing that matches.
    #[track_caller]
    pub fn deliver(&self, topic: &str, payload: impl AsRef<[u8]>) -> Delivery {
        self.deliver_publish(&OwnedPublish::new(topic, payload, QoS::AtLeastOnce))
    }

    /// Delivers a message with all that it may have into the program's subscriptions.
    ///
    /// # Panics
    ///
    /// When the program subscribes to nothing that matches.
    #[track_caller]
    pub fn deliver_publish(&self, publish: &OwnedPublish) -> Delivery {
        check_topic(&publish.topic);
        let house = &self.broker.house;
        let (count, since) = house.with(|state| {
            let since = state.recorded();
            (state.keep_and_route(publish, None), since)
        });
        if count == 0 {
            let (topic, transcript) = (&publish.topic, self.broker.transcript());
            panic!("nobody subscribes to {topic:?}\n{transcript}");
        }
        Delivery { house: Arc::clone(house), topic: publish.topic.clone(), since }
    }

    /// Breaks the connection as a network failure does. The client may connect again.
    pub fn lose_connection(&self) {
        self.broker.reset_all();
    }
}

#[cfg(feature = "tokio")]
impl Default for Mock {
    fn default() -> Self {
        Self::new()
    }
}

/// A message that the program has published, and whose end the test says. Dropped, it is
/// acknowledged.
#[must_use = "a publication that is dropped is acknowledged"]
pub struct Publication {
    house: Arc<House>,
    publish: OwnedPublish,
    held: (u64, u64),
    is_ended: bool,
}

impl fmt::Debug for Publication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publication").field("publish", &self.publish).finish_non_exhaustive()
    }
}

impl Deref for Publication {
    type Target = OwnedPublish;

    fn deref(&self) -> &OwnedPublish {
        &self.publish
    }
}

impl Publication {
    /// Acknowledges the message, and sends it to whoever subscribes to its topic. At QoS 2 the
    /// handshake is played to its end.
    pub fn acknowledge(self) {}

    /// Refuses the message. Before 5.0 there are no reasons: it is acknowledged there.
    ///
    /// # Panics
    ///
    /// When PUBACK cannot say this reason.
    #[track_caller]
    pub fn reject(mut self, reason: ReasonCode) {
        let is_sayable = reason.is_error() && reason.allowed_in(noctule_packet::PacketType::Puback);
        assert!(is_sayable, "PUBACK cannot refuse with {reason}");
        let number = self.held.0;
        self.end(|state, publish| state.acknowledge(number, publish, reason));
    }

    /// Never answers.
    pub fn leave_in_doubt(mut self) {
        self.end(|_, _| {});
    }

    /// Breaks the connection in place of an answer: the program cannot know whether the server has
    /// the message.
    pub fn lose_connection(mut self) {
        let number = self.held.0;
        self.end(|state, _| state.reset(number));
    }

    /// Says how it ends, if that is still open: the connection may be gone.
    fn end(&mut self, say: impl FnOnce(&mut crate::broker::State, &OwnedPublish)) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        let (held, publish) = (self.held, &self.publish);
        self.house.with(|state| {
            if state.held.remove(&held) {
                say(state, publish);
            }
        });
    }
}

impl Drop for Publication {
    fn drop(&mut self) {
        let number = self.held.0;
        self.end(|state, publish| state.accept(number, publish));
    }
}

/// A message that was sent to the program.
#[derive(Clone, Debug)]
pub struct Delivery {
    house: Arc<House>,
    topic: String,
    since: u64,
}

impl Delivery {
    /// Waits until the program has acknowledged a message of QoS 1 or 2 that came after this was
    /// delivered. With what reason.
    #[track_caller]
    pub fn acknowledged(&self) -> Wait<ReasonCode> {
        let (wanted, since) = (format!("the acknowledgement of {:?}", self.topic), self.since);
        Wait::new(&self.house, wanted, move |received, entry| match received.packet()? {
            OwnedPacket::Puback(ack) | OwnedPacket::Pubcomp(ack) if entry >= since => {
                Some(ack.reason_code)
            }
            OwnedPacket::Pubrec(ack) if entry >= since && ack.reason_code.is_error() => {
                Some(ack.reason_code)
            }
            _ => None,
        })
    }
}
