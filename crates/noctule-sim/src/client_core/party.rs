//! One session of the client core with its driver, and what its user has seen.

use std::collections::BTreeMap;

use noctule_client_core::{
    AckToken, Acknowledged, AcknowledgementMode, AliasPolicy, ClientSession, DisconnectOptions,
    Ended, Event, OperationId, Outcome, Publication, Record, Settings, Status, SubscribeRequest,
    Timestamp, TransportEnd, compact,
};
use noctule_packet::{
    QoS, ReasonCode, Subscription, SubscriptionOptions, TopicFilter, TopicName, Version,
};

use super::VERSIONS;
use super::broker::{Broker, LinkId};
use crate::random::Random;

/// A publication that was accepted.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) number: u32,
    pub(super) qos: QoS,
    pub(super) outcome: Option<Outcome>,
    /// The process that would have told how it ended is gone.
    pub(super) is_forgotten: bool,
}

/// A message that has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub(super) publisher: usize,
    pub(super) number: u32,
    /// Whether the user has acknowledged it, or need not.
    pub(super) is_kept: bool,
    /// Whether the process died before that.
    pub(super) is_void: bool,
}

/// A session, its driver and its user.
#[derive(Debug)]
pub(super) struct Party {
    pub(super) number: usize,
    pub(super) session: ClientSession,
    pub(super) link: Option<LinkId>,
    pub(super) published: BTreeMap<OperationId, Published>,
    pub(super) arrivals: Vec<Arrival>,
    pub(super) sessions_lost: u64,
    settings: Settings,
    aliases: u16,
    unread: Vec<u8>,
    records: Vec<Record>,
    /// What is not acknowledged, and its place among the arrivals.
    tokens: Vec<(AckToken, usize)>,
    count: u32,
    heard: Timestamp,
    violation: Option<String>,
}

impl Party {
    pub(super) fn new(number: usize, random: &mut Random) -> Self {
        let version = random.pick(&VERSIONS);
        let mut settings = Settings { version, lowest_version: version, ..Settings::default() };
        settings.connect.client_id = format!("client-{number}");
        // The first has a session that stays, whatever the others have.
        if number == 0 || random.chance(60) {
            settings.connect.session_expiry_interval = u32::MAX;
        } else if version == Version::V5_0 && random.chance(50) {
            // It may be gone when its client comes back.
            settings.connect.session_expiry_interval = 1;
        }
        settings.connect.keep_alive = 5;
        settings.ping_timeout = None;
        settings.is_durable = random.chance(50);
        if random.chance(50) {
            settings.acknowledgement = AcknowledgementMode::Manual;
        }
        if version == Version::V5_0 {
            settings.connect.receive_maximum = random.pick(&[1, 2, u16::MAX]);
        }
        settings.redelivery.is_slow = random.chance(30);
        settings.limits.outbound_bytes_max = random.pick(&[1, 100, 100_000]);
        settings.limits.held_bytes_max = random.pick(&[1, 1_000, 1_000_000]);
        let aliases = random.pick(&[0, 1, 8]);
        let mut party = Self {
            number,
            session: ClientSession::new(settings.clone()).expect("the settings are good"),
            link: None,
            published: BTreeMap::new(),
            arrivals: Vec::new(),
            sessions_lost: 0,
            settings,
            aliases,
            unread: Vec::new(),
            records: Vec::new(),
            tokens: Vec::new(),
            count: 0,
            heard: Timestamp::default(),
            violation: None,
        };
        party.choose_aliases();
        party
    }

    fn choose_aliases(&mut self) {
        let maximum = self.aliases;
        self.session.set_alias_policy(match maximum {
            0 => AliasPolicy::None,
            maximum => AliasPolicy::Lru { maximum },
        });
    }

    /// Whether the broker keeps its session whatever happens.
    pub(super) fn is_lasting(&self) -> bool {
        self.settings.connect.session_expiry_interval == u32::MAX
    }

    pub(super) fn is_durable(&self) -> bool {
        self.settings.is_durable
    }

    /// Whether something of its own is still to happen.
    pub(super) fn is_busy(&self) -> bool {
        self.session.status() != Status::Online
            || !self.session.outbound().is_empty()
            || self.session.queued() + self.session.in_flight() > 0
            || self.session.pending_requests() > 0
            || !self.unread.is_empty()
            || !self.tokens.is_empty()
    }

    pub(super) fn transport_up(&mut self, broker: &Broker, link: LinkId) {
        self.link = Some(link);
        self.session.transport_up(broker.now());
        self.turn();
    }

    pub(super) fn transport_down(&mut self, broker: &Broker) {
        self.unread.clear();
        self.session.transport_down(broker.now(), TransportEnd::Failed);
        self.turn();
    }

    pub(super) fn subscribe(&mut self, broker: &Broker) {
        let filter = TopicFilter::new("t/#").expect("a filter");
        let options =
            SubscriptionOptions { qos: QoS::ExactlyOnce, ..SubscriptionOptions::default() };
        let subscriptions = [Subscription { filter, options }];
        let request = SubscribeRequest::new(&subscriptions);
        self.session.subscribe(broker.now(), &request).expect("it may subscribe");
    }

    /// Publishes something. Whether that was accepted.
    pub(super) fn publish(&mut self, broker: &Broker, qos: QoS) -> bool {
        let topic = format!("t/{}", self.number);
        let topic = TopicName::new(&topic).expect("a topic");
        let number = self.count;
        let payload = format!("{} {number}", self.number);
        let publication = Publication::new(topic, payload.as_bytes()).qos(qos);
        let Ok(operation) = self.session.publish(broker.now(), &publication) else { return false };
        self.count += 1;
        let published = Published { number, qos, outcome: None, is_forgotten: false };
        if self.published.insert(operation, published).is_some() {
            self.violate(format!("{operation} names two operations"));
        }
        self.turn();
        true
    }

    /// Does what falls due.
    pub(super) fn tick(&mut self, broker: &Broker) {
        let now = broker.now();
        if self.session.poll_timeout().is_some_and(|due| due <= now) {
            self.session.on_timeout(now);
            self.turn();
        }
    }

    pub(super) fn disconnect(&mut self, broker: &Broker) {
        let disconnected = self.session.disconnect(broker.now(), &DisconnectOptions::default());
        disconnected.expect("a plain DISCONNECT can always be said");
        self.turn();
    }

    pub(super) fn cancel_some(&mut self, broker: &Broker, random: &mut Random) {
        let open = self.published.iter().filter(|(_, published)| published.outcome.is_none());
        let open: Vec<OperationId> = open.map(|(operation, _)| *operation).collect();
        if !open.is_empty() {
            self.session.cancel(broker.now(), random.pick(&open));
            self.turn();
        }
    }

    /// Acknowledges some messages, in any order.
    pub(super) fn acknowledge_some(&mut self, broker: &Broker, random: &mut Random) {
        for _ in 0..random.below(4) {
            if self.tokens.is_empty() {
                break;
            }
            let (token, at) = self.tokens.swap_remove(random.index(self.tokens.len()));
            let now = broker.now();
            match self.session.acknowledge(now, token, ReasonCode::Success) {
                Ok(Acknowledged::Done | Acknowledged::Stale) => self.arrivals[at].is_kept = true,
                other => self.violate(format!("an acknowledgement came to {other:?}")),
            }
            // What was not consumed may be taken now.
            self.consume(broker);
            self.turn();
        }
    }

    /// The process dies, and another one goes on with what was stored.
    pub(super) fn restart(&mut self, broker: &Broker) {
        // A store may throw away what is over.
        if self.count.is_multiple_of(2) {
            self.records = compact(&self.settings, core::mem::take(&mut self.records));
        }
        let records = self.records.clone();
        let session = ClientSession::restore(self.settings.clone(), broker.now(), records);
        self.session = session.expect("the settings are good");
        self.session.assume_silence(broker.now(), broker.now().since(self.heard));
        self.choose_aliases();
        // What its user has not acknowledged comes again.
        self.tokens.clear();
        for arrival in &mut self.arrivals {
            arrival.is_void |= !arrival.is_kept;
        }
        for published in self.published.values_mut().filter(|it| it.qos == QoS::AtMostOnce) {
            published.is_forgotten = published.outcome.is_none();
        }
        self.turn();
    }

    /// The transport takes bytes.
    pub(super) fn write(&mut self, broker: &Broker, count: usize) -> Vec<u8> {
        let bytes = self.session.outbound()[..count].to_vec();
        self.session.written(broker.now(), count);
        self.turn();
        bytes
    }

    pub(super) fn receive(&mut self, broker: &Broker, bytes: &[u8]) -> Result<(), String> {
        self.unread.extend_from_slice(bytes);
        if self.session.wants_input() {
            self.consume(broker);
        }
        // Before CONNACK nobody knows with whom one speaks.
        if !bytes.is_empty() && self.session.status() == Status::Online {
            self.heard = broker.now();
        }
        self.turn();
        self.check()
    }

    fn consume(&mut self, broker: &Broker) {
        let consumed = self.session.receive(broker.now(), &self.unread);
        self.unread.drain(..consumed);
    }

    /// A driver's turn: records, bytes (which the network fetches), events.
    fn turn(&mut self) {
        self.records.extend(self.session.take_records());
        while let Some(event) = self.session.next_event() {
            self.note(event);
        }
        self.records.extend(self.session.take_records());
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Published { operation, outcome, .. } => match self.published.get_mut(&operation)
            {
                Some(published) if published.outcome.is_none() => {
                    published.outcome = Some(outcome);
                }
                // A message of QoS 0 that has waited is told of again by the process that sends it.
                Some(published) if published.is_forgotten => {}
                Some(published) => {
                    let what = format!("{operation}: {published:?} has ended again: {outcome:?}");
                    self.violate(what);
                }
                None => self.violate(format!("{operation} has ended and never begun")),
            },
            Event::Message { message, token } => {
                let at = self.arrivals.len();
                self.tokens.extend(token.map(|token| (token, at)));
                let is_kept = token.is_none();
                let text = String::from_utf8_lossy(message.payload()).into_owned();
                let mut parts = text.split(' ').map(str::parse);
                let (Some(Ok(publisher)), Some(Ok(number))) = (parts.next(), parts.next()) else {
                    return self.violate(format!("nobody has published {text:?}"));
                };
                self.arrivals.push(Arrival {
                    publisher: publisher as usize,
                    number,
                    is_kept,
                    is_void: false,
                });
            }
            Event::SessionLost => self.sessions_lost += 1,
            Event::Disconnected { ended, .. } => match ended {
                Ended::ByUser | Ended::Transport(_) => {}
                Ended::ByServer(reason)
                    if matches!(
                        reason.code,
                        ReasonCode::SessionTakenOver | ReasonCode::KeepAliveTimeout
                    ) => {}
                Ended::ConnectTimeout => {}
                other => self.violate(format!("a connection ended: {other:?}")),
            },
            Event::Tolerated(error) => self.violate(error.to_string()),
            _ => {}
        }
    }

    fn violate(&mut self, what: String) {
        self.violation.get_or_insert(format!("client {}: {what}", self.number));
    }

    pub(super) fn check(&mut self) -> Result<(), String> {
        self.violation.take().map_or(Ok(()), Err)
    }
}
