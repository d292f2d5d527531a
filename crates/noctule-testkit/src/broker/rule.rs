//! Rules: where a test broker does something else than a broker usually does.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use noctule_packet::{PacketType, ReasonCode};

use super::house::House;
use super::record::matches;
use crate::{OwnedConnack, OwnedPacket, OwnedPublish};

/// Which packets a rule is for.
#[derive(Clone, Debug)]
pub(crate) enum Matcher {
    Type(PacketType),
    PublishTo(String),
    /// A SUBSCRIBE with exactly this filter, or any.
    SubscribeTo(Option<String>),
}

/// Which of them.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Every,
    Only(u64),
    UpTo(u64),
    After(u64),
}

/// What makes the payload of an answer.
type Answerer = Arc<dyn Fn(&OwnedPublish) -> Vec<u8> + Send + Sync>;

/// What to do.
#[derive(Clone)]
pub(crate) enum Act {
    Refuse(ReasonCode),
    Ignore,
    StaySilent,
    Delay(Duration),
    Disconnect(ReasonCode),
    Close,
    Reset,
    Instead(Vec<u8>),
    Accept(Box<OwnedConnack>),
    Answer(Answerer),
}

impl fmt::Debug for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Act::Refuse(_) => "refuse",
            Act::Ignore => "ignore",
            Act::StaySilent => "stay silent",
            Act::Delay(_) => "delay",
            Act::Disconnect(_) => "disconnect",
            Act::Close => "close",
            Act::Reset => "reset",
            Act::Instead(_) => "send instead",
            Act::Accept(_) => "accept with",
            Act::Answer(_) => "answer",
        })
    }
}

/// A rule, and how many packets it was for so far.
#[derive(Debug)]
pub(crate) struct Rule {
    matcher: Matcher,
    from: Option<String>,
    turn: Turn,
    seen: u64,
    act: Act,
}

impl Rule {
    /// Counts the packet if it is one of the rule's. What to do with it, if it is its turn.
    pub(crate) fn act_on(&mut self, client_id: &str, packet: &OwnedPacket) -> Option<Act> {
        let is_from = self.from.as_deref().is_none_or(|from| from == client_id);
        if !is_from || !self.matcher.is_for(packet) {
            return None;
        }
        self.seen += 1;
        let is_due = match self.turn {
            Turn::Every => true,
            Turn::Only(number) => self.seen == number,
            Turn::UpTo(number) => self.seen <= number,
            Turn::After(number) => self.seen > number,
        };
        is_due.then(|| self.act.clone())
    }
}

impl Matcher {
    fn is_for(&self, packet: &OwnedPacket) -> bool {
        match self {
            Matcher::Type(packet_type) => packet.packet_type() == *packet_type,
            Matcher::PublishTo(filter) => {
                packet.publish().is_some_and(|publish| matches(filter, &publish.topic))
            }
            Matcher::SubscribeTo(wanted) => match packet {
                OwnedPacket::Subscribe(subscribe) => match wanted {
                    None => true,
                    Some(wanted) => {
                        subscribe.subscriptions.iter().any(|(filter, _)| filter == wanted)
                    }
                },
                _ => false,
            },
        }
    }

    const fn packet_type(&self) -> PacketType {
        match self {
            Matcher::Type(packet_type) => *packet_type,
            Matcher::PublishTo(_) => PacketType::Publish,
            Matcher::SubscribeTo(_) => PacketType::Subscribe,
        }
    }
}

/// The first half of a rule: for which packets it is. Its last word says what happens to them.
///
/// ```
/// use noctule_packet::{QoS, ReasonCode};
/// use noctule_testkit::{OwnedConnect, Peer, TestBroker};
///
/// let broker = TestBroker::start();
/// broker.on_connect().nth(2).refuse(ReasonCode::ServerUnavailable);
/// broker.on_publish("alarm/#").first().stay_silent();
///
/// let mut client = Peer::v5(broker.address(), "first");
/// client.publish("state", "on", QoS::AtLeastOnce);
/// let mut second = Peer::connect(broker.address());
/// second.send_connect(&OwnedConnect::v5("second"));
/// second.expect_connack_with(ReasonCode::ServerUnavailable);
/// ```
///
/// Each rule counts the packets that it is for from when it was made. If it is several rules' turn,
/// the one that was made last decides.
#[must_use = "a rule is not made before its last word, such as `refuse`"]
#[derive(Debug)]
pub struct When<'a> {
    house: &'a House,
    matcher: Matcher,
    from: Option<String>,
    turn: Turn,
}

impl<'a> When<'a> {
    pub(crate) const fn new(house: &'a House, matcher: Matcher) -> Self {
        Self { house, matcher, from: None, turn: Turn::Every }
    }

    /// Only those of this client.
    pub fn from(mut self, client_id: &str) -> Self {
        self.from = Some(client_id.to_owned());
        self
    }

    /// Only the first one.
    pub const fn first(self) -> Self {
        self.nth(1)
    }

    /// Only the one with this number, counted from 1.
    pub const fn nth(mut self, number: u64) -> Self {
        self.turn = Turn::Only(number);
        self
    }

    /// Only so many, from the first on.
    pub const fn up_to(mut self, count: u64) -> Self {
        self.turn = Turn::UpTo(count);
        self
    }

    /// All but the first so many.
    pub const fn after(mut self, count: u64) -> Self {
        self.turn = Turn::After(count);
        self
    }

    /// Refuses what is asked for: a connection (which is closed then), a message, a subscription,
    /// the end of one. Before 5.0 only CONNACK and SUBACK can say so; a message is acknowledged
    /// there and goes nowhere.
    ///
    /// # Panics
    ///
    /// When the answer to such a packet has no reason, or not this one.
    #[track_caller]
    pub fn refuse(self, reason: ReasonCode) {
        let answer = match self.matcher.packet_type() {
            PacketType::Connect => PacketType::Connack,
            PacketType::Publish => PacketType::Puback,
            PacketType::Subscribe => PacketType::Suback,
            PacketType::Unsubscribe => PacketType::Unsuback,
            other => panic!("{other} asks for nothing that could be refused"),
        };
        assert!(reason.is_error(), "{reason} refuses nothing");
        assert!(reason.allowed_in(answer), "{answer} cannot say {reason}");
        self.then(Act::Refuse(reason));
    }

    /// Takes no notice, as if the packet had never arrived.
    pub fn ignore(self) {
        self.then(Act::Ignore);
    }

    /// Deals with the packet and does not answer it: the message is forwarded and not
    /// acknowledged, the subscription is made and not granted.
    pub fn stay_silent(self) {
        self.then(Act::StaySilent);
    }

    /// Answers later. Other packets overtake the answer, but for what comes behind CONNACK.
    pub fn delay(self, delay: Duration) {
        self.then(Act::Delay(delay));
    }

    /// Deals with the packet, answers it, and then ends the connection: with DISCONNECT and this
    /// reason in 5.0.
    ///
    /// # Panics
    ///
    /// When DISCONNECT cannot say this reason.
    #[track_caller]
    pub fn disconnect(self, reason: ReasonCode) {
        let is_sayable = reason.allowed_in(PacketType::Disconnect);
        assert!(is_sayable, "DISCONNECT cannot say {reason}");
        self.then(Act::Disconnect(reason));
    }

    /// Deals with the packet, and ends the connection in place of answering it.
    pub fn close(self) {
        self.then(Act::Close);
    }

    /// Deals with the packet, and resets the connection in place of answering it.
    pub fn reset(self) {
        self.then(Act::Reset);
    }

    /// Takes no notice of the packet, and sends these bytes. [`bytes`](crate::bytes) and
    /// [`packet_bytes`](crate::packet_bytes) help to write them.
    pub fn send_instead(self, bytes: impl Into<Vec<u8>>) {
        self.then(Act::Instead(bytes.into()));
    }

    /// Accepts a connection with this CONNACK. Whether a session is present, the broker knows.
    ///
    /// # Panics
    ///
    /// When the rule is not for CONNECT.
    #[track_caller]
    pub fn accept_with(self, connack: OwnedConnack) {
        let packet_type = self.matcher.packet_type();
        assert_eq!(packet_type, PacketType::Connect, "only CONNECT is accepted with a CONNACK");
        self.then(Act::Accept(Box::new(connack)));
    }

    /// Deals with a request, and publishes an answer to it: to its response topic, with its
    /// correlation data. A message that wants no answer gets none.
    ///
    /// The closure is called while the broker is locked, so it must not use the broker.
    ///
    /// ```
    /// use noctule_packet::QoS;
    /// use noctule_testkit::{OwnedPublish, Peer, TestBroker};
    ///
    /// let broker = TestBroker::start();
    /// broker.on_publish("rpc/upper").answer(|request| request.text().to_uppercase());
    ///
    /// let mut client = Peer::v5(broker.address(), "client");
    /// client.subscribe(&[("answers", QoS::AtMostOnce)]);
    /// let request = OwnedPublish::new("rpc/upper", "noctule", QoS::AtMostOnce);
    /// client.publish_with(&request.response_topic("answers").correlation_data("7"));
    /// assert_eq!(client.receive().text(), "NOCTULE");
    /// ```
    ///
    /// # Panics
    ///
    /// When the rule is not for PUBLISH.
    #[track_caller]
    pub fn answer<P: Into<Vec<u8>>>(
        self,
        answer: impl Fn(&OwnedPublish) -> P + Send + Sync + 'static,
    ) {
        let packet_type = self.matcher.packet_type();
        assert_eq!(packet_type, PacketType::Publish, "only PUBLISH is answered with a message");
        self.then(Act::Answer(Arc::new(move |request| answer(request).into())));
    }

    fn then(self, act: Act) {
        let Self { house, matcher, from, turn } = self;
        house.with(|state| state.rules.push(Rule { matcher, from, turn, seen: 0, act }));
    }
}
