//! One rumqttc client of either version behind one set of names; a task polls its event loop.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS as QoS5;
use rumqttc::v5::mqttbytes::v5::{
    ConnAckProperties, ConnectProperties, Filter, LastWill as LastWill5, LastWillProperties,
    Packet as Packet5, PublishProperties, SubscribeProperties, SubscribeReasonCode as Code5,
    UnsubAckReason,
};
use rumqttc::{Event, LastWill, MqttOptions, Outgoing, Packet, QoS, SubscribeReasonCode, v5};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const WAIT: Duration = Duration::from_secs(6);
const PACKET_BYTES_MAX: u32 = 4 * 1024 * 1024;
const QUEUED_REQUESTS_MAX: usize = 1000;

/// The two versions that rumqttc speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    V311,
    V50,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Version::V311 { "3.1.1" } else { "5.0" })
    }
}

/// A name that no other test of this group has.
pub fn unique(prefix: &str) -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(1);
    format!("{prefix}{}", COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// A message as it arrived.
#[derive(Clone, Debug)]
pub struct Message {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    pub retain: bool,
    pub dup: bool,
    pub properties: PublishProperties,
}

impl Message {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }
}

/// What the broker answered.
#[derive(Debug)]
enum Answer {
    Connected { session_present: bool, properties: Option<ConnAckProperties> },
    Published(u8),
    Subscribed(Vec<u8>),
    Ended(String),
}

/// How a client connects.
#[derive(Clone, Default)]
pub struct Setup {
    pub client_id: Option<String>,
    /// Keeps the session beyond the connection; 5.0 asks for this many seconds.
    pub expiry: Option<u32>,
    /// Topic, QoS and retain flag; the payload is `will`.
    pub will: Option<(String, u8, bool)>,
    pub will_properties: Option<LastWillProperties>,
    pub receive_maximum: Option<u16>,
    pub topic_alias_maximum: Option<u16>,
}

enum Client {
    V311(rumqttc::AsyncClient),
    V50(v5::AsyncClient),
}

/// One connection.
pub struct Peer {
    client: Client,
    messages: UnboundedReceiver<Message>,
    answers: UnboundedReceiver<Answer>,
    task: JoinHandle<()>,
    pub session_present: bool,
    pub connack: Option<ConnAckProperties>,
}

fn address() -> (String, u16) {
    let variable = |name| std::env::var(name).expect("tests/interop/run sets it");
    (variable("INTEROP_HOST"), variable("INTEROP_PORT").parse().expect("a port"))
}

fn qos4(qos: u8) -> QoS {
    rumqttc::qos(qos).expect("0, 1 or 2")
}

fn qos5(qos: u8) -> QoS5 {
    rumqttc::v5::mqttbytes::qos(qos).expect("0, 1 or 2")
}

type Senders = (UnboundedSender<Message>, UnboundedSender<Answer>);

/// Polls the 3.1.1 event loop until its connection ends.
async fn poll_v311(mut events: rumqttc::EventLoop, (messages, answers): Senders) {
    loop {
        let answer = match events.poll().await {
            Err(error) => {
                // The receiver may have been dropped with the test.
                let _ = answers.send(Answer::Ended(error.to_string()));
                return;
            }
            Ok(Event::Incoming(Packet::Publish(p))) => {
                let _ = messages.send(Message {
                    topic: p.topic,
                    payload: p.payload,
                    qos: p.qos as u8,
                    retain: p.retain,
                    dup: p.dup,
                    properties: PublishProperties::default(),
                });
                continue;
            }
            Ok(Event::Incoming(Packet::ConnAck(c))) => {
                Answer::Connected { session_present: c.session_present, properties: None }
            }
            Ok(Event::Incoming(Packet::PubAck(_))) => Answer::Published(1),
            Ok(Event::Incoming(Packet::PubComp(_))) => Answer::Published(2),
            Ok(Event::Outgoing(Outgoing::Publish(0))) => Answer::Published(0),
            Ok(Event::Incoming(Packet::SubAck(ack))) => {
                let code = |code: &SubscribeReasonCode| match code {
                    SubscribeReasonCode::Success(qos) => *qos as u8,
                    SubscribeReasonCode::Failure => 0x80,
                };
                Answer::Subscribed(ack.return_codes.iter().map(code).collect())
            }
            Ok(Event::Incoming(Packet::UnsubAck(_))) => Answer::Subscribed(Vec::new()),
            Ok(_) => continue,
        };
        let _ = answers.send(answer);
    }
}

/// Polls the 5.0 event loop until its connection ends.
async fn poll_v50(mut events: v5::EventLoop, (messages, answers): Senders) {
    loop {
        let answer = match events.poll().await {
            Err(error) => {
                let _ = answers.send(Answer::Ended(error.to_string()));
                return;
            }
            Ok(v5::Event::Incoming(Packet5::Publish(p))) => {
                let _ = messages.send(Message {
                    topic: String::from_utf8_lossy(&p.topic).into_owned(),
                    payload: p.payload,
                    qos: p.qos as u8,
                    retain: p.retain,
                    dup: p.dup,
                    properties: p.properties.unwrap_or_default(),
                });
                continue;
            }
            Ok(v5::Event::Incoming(Packet5::ConnAck(c))) => {
                Answer::Connected { session_present: c.session_present, properties: c.properties }
            }
            Ok(v5::Event::Incoming(Packet5::PubAck(_))) => Answer::Published(1),
            Ok(v5::Event::Incoming(Packet5::PubComp(_))) => Answer::Published(2),
            Ok(v5::Event::Outgoing(Outgoing::Publish(0))) => Answer::Published(0),
            Ok(v5::Event::Incoming(Packet5::SubAck(ack))) => {
                let code = |code: &Code5| match code {
                    Code5::Success(qos) => *qos as u8,
                    _ => 0x80,
                };
                Answer::Subscribed(ack.return_codes.iter().map(code).collect())
            }
            Ok(v5::Event::Incoming(Packet5::UnsubAck(ack))) => {
                let code = |reason: &UnsubAckReason| match reason {
                    UnsubAckReason::Success => 0x00,
                    UnsubAckReason::NoSubscriptionExisted => 0x11,
                    _ => 0x80,
                };
                Answer::Subscribed(ack.reasons.iter().map(code).collect())
            }
            Ok(_) => continue,
        };
        let _ = answers.send(answer);
    }
}

fn start_v311(id: String, setup: &Setup, senders: Senders) -> (Client, JoinHandle<()>) {
    let (host, port) = address();
    let mut options = MqttOptions::new(id, host, port);
    options.set_clean_session(setup.expiry.is_none());
    options.set_keep_alive(Duration::from_secs(60));
    options.set_max_packet_size(PACKET_BYTES_MAX as usize, PACKET_BYTES_MAX as usize);
    if let Some((topic, qos, retain)) = &setup.will {
        options.set_last_will(LastWill::new(topic, "will", qos4(*qos), *retain));
    }
    let (client, events) = rumqttc::AsyncClient::new(options, QUEUED_REQUESTS_MAX);
    (Client::V311(client), tokio::spawn(poll_v311(events, senders)))
}

fn start_v50(id: String, setup: &Setup, senders: Senders) -> (Client, JoinHandle<()>) {
    let (host, port) = address();
    let mut options = v5::MqttOptions::new(id, host, port);
    options.set_clean_start(setup.expiry.is_none());
    options.set_keep_alive(Duration::from_secs(60));
    options.set_connect_properties(ConnectProperties {
        session_expiry_interval: setup.expiry,
        receive_maximum: setup.receive_maximum,
        topic_alias_max: setup.topic_alias_maximum,
        max_packet_size: Some(PACKET_BYTES_MAX),
        ..ConnectProperties::new()
    });
    if let Some((topic, qos, retain)) = &setup.will {
        let properties = setup.will_properties.clone();
        options.set_last_will(LastWill5::new(topic, "will", qos5(*qos), *retain, properties));
    }
    let (client, events) = v5::AsyncClient::new(options, QUEUED_REQUESTS_MAX);
    (Client::V50(client), tokio::spawn(poll_v50(events, senders)))
}

impl Peer {
    /// Connects with a new identifier and a clean session.
    pub async fn new(version: Version) -> Peer {
        Peer::connect(version, Setup::default()).await
    }

    pub async fn connect(version: Version, setup: Setup) -> Peer {
        let id = setup.client_id.clone().unwrap_or_else(|| unique("rumqttc"));
        let (message_sender, messages) = unbounded_channel();
        let (answer_sender, answers) = unbounded_channel();
        let start = if version == Version::V311 { start_v311 } else { start_v50 };
        let (client, task) = start(id, &setup, (message_sender, answer_sender));
        let mut peer =
            Peer { client, messages, answers, task, session_present: false, connack: None };
        match peer.answer().await {
            Answer::Connected { session_present, properties } => {
                peer.session_present = session_present;
                peer.connack = properties;
            }
            other => panic!("CONNECT was answered with {other:?}"),
        }
        peer
    }

    async fn answer(&mut self) -> Answer {
        timeout(WAIT, self.answers.recv()).await.expect("no answer").expect("the client has ended")
    }

    pub async fn subscribe(&mut self, filter: &str, qos: u8) -> Vec<u8> {
        self.subscribe_with(Filter::new(filter, qos5(qos)), None).await
    }

    /// Subscribes with the options of 5.0, of which 3.1.1 takes the QoS.
    pub async fn subscribe_with(&mut self, filter: Filter, id: Option<usize>) -> Vec<u8> {
        match &self.client {
            Client::V311(client) => {
                client.subscribe(filter.path, qos4(filter.qos as u8)).await.expect("taken");
            }
            Client::V50(client) => {
                let properties = SubscribeProperties { id, user_properties: Vec::new() };
                let sent = client.subscribe_many_with_properties([filter], properties).await;
                sent.expect("taken");
            }
        }
        self.codes().await
    }

    pub async fn unsubscribe(&mut self, filter: &str) -> Vec<u8> {
        match &self.client {
            Client::V311(client) => client.unsubscribe(filter).await.expect("taken"),
            Client::V50(client) => client.unsubscribe(filter).await.expect("taken"),
        }
        self.codes().await
    }

    async fn codes(&mut self) -> Vec<u8> {
        match self.answer().await {
            Answer::Subscribed(codes) => codes,
            other => panic!("got {other:?} instead of an acknowledgement"),
        }
    }

    /// Publishes without waiting for the acknowledgement.
    pub async fn send(&self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        match &self.client {
            Client::V311(client) => {
                client.publish(topic, qos4(qos), retain, payload).await.expect("taken");
            }
            Client::V50(client) => {
                let payload = payload.to_vec();
                client.publish(topic, qos5(qos), retain, payload).await.expect("taken");
            }
        }
    }

    pub async fn publish(&mut self, topic: &str, payload: &[u8], qos: u8, retain: bool) {
        self.send(topic, payload, qos, retain).await;
        self.published(1, qos).await;
    }

    /// Publishes with properties; 5.0 only.
    pub async fn publish_with(&mut self, topic: &str, qos: u8, properties: PublishProperties) {
        let Client::V50(client) = &self.client else { panic!("3.1.1 has no properties") };
        let sent = client.publish_with_properties(topic, qos5(qos), false, "x", properties).await;
        sent.expect("taken");
        self.published(1, qos).await;
    }

    /// Waits for the last acknowledgement of so many messages.
    pub async fn published(&mut self, count: usize, qos: u8) {
        for _ in 0..count {
            match self.answer().await {
                Answer::Published(found) if found == qos => {}
                other => panic!("got {other:?} instead of an acknowledgement"),
            }
        }
    }

    pub async fn take(&mut self) -> Message {
        let message = timeout(WAIT, self.messages.recv()).await.expect("no message arrived");
        message.expect("the connection has ended")
    }

    /// The payloads that arrive before this one.
    pub async fn until(&mut self, end: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let text = self.take().await.text();
            if text == end {
                return before;
            }
            before.push(text);
        }
    }

    /// Waits until the broker ends the connection; returns what rumqttc says about it.
    pub async fn ended(&mut self) -> String {
        match self.answer().await {
            Answer::Ended(reason) => reason,
            other => panic!("got {other:?} instead of the connection's end"),
        }
    }

    /// Ends the connection with DISCONNECT.
    pub async fn disconnect(mut self) {
        match &self.client {
            Client::V311(client) => client.disconnect().await.expect("taken"),
            Client::V50(client) => client.disconnect().await.expect("taken"),
        }
        self.ended().await;
    }

    /// Ends the connection without DISCONNECT.
    pub async fn cut(mut self) {
        self.task.abort();
        // The event loop owns the socket, and is gone when its task is.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
