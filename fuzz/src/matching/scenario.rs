//! Clients that subscribe, unsubscribe, publish and come back in any order: who gets what, and how,
//! is compared with the model after each step.

use std::collections::BTreeMap;

use noctule_broker_core::{Gauges, SharedStrategy};
use noctule_packet::{
    FilterList, Packet, PacketId, Publish, QoS, ReasonCode, RetainHandling, Subscribe,
    SubscriptionList, SubscriptionOptions, TopicFilter, TopicName, Unsubscribe, UserProperties,
    Version,
};

use super::broker::{Answer, Broker, Delivered};
use super::model::{Model, Publication, Subscription, Terms};
use crate::choices::Choices;

const CLIENTS: [Version; 3] = [Version::V5_0, Version::V5_0, Version::V3_1_1];
const STEPS_MAX: usize = 200;
const LEVELS_MAX: usize = 5;
/// Few, so that filters and names meet often.
const LEVELS: [&str; 8] = ["a", "b", "", "ab", "$a", "$share", "g", "ä"];
const QOS: [QoS; 2] = [QoS::AtMostOnce, QoS::AtLeastOnce];
const STRATEGIES: [SharedStrategy; 5] = [
    SharedStrategy::LeastInFlight,
    SharedStrategy::RoundRobin,
    SharedStrategy::Random,
    SharedStrategy::StickyPublisher,
    SharedStrategy::StickyTopic,
];

pub(crate) fn check(choices: &mut Choices<'_>) {
    let shards = choices.pick(&[1, 2, 3]);
    let broker = Broker::new(shards, choices.pick(&STRATEGIES), &CLIENTS);
    let subscriptions = vec![BTreeMap::new(); CLIENTS.len()];
    let model = Model { subscriptions, retained: BTreeMap::new() };
    let mut scenario = Scenario { broker, model, published: 0 };
    for _ in 0..STEPS_MAX {
        if choices.is_done() {
            return;
        }
        scenario.step(choices);
        scenario.check_gauges();
    }
}

struct Scenario {
    broker: Broker,
    model: Model,
    published: u32,
}

impl Scenario {
    fn step(&mut self, choices: &mut Choices<'_>) {
        let client = choices.below(CLIENTS.len());
        match choices.below(8) {
            0..=2 => self.subscribe(client, choices),
            3 => self.unsubscribe(client, choices),
            4..=6 => self.publish(client, choices),
            _ => {
                self.broker.reconnect(client);
                self.model.subscriptions[client].clear();
                self.expect(&vec![Vec::new(); CLIENTS.len()]);
            }
        }
    }

    fn subscribe(&mut self, client: usize, choices: &mut Choices<'_>) {
        let v5 = self.broker.version(client).is_v5();
        let identifier = Some(1 + u32::from(choices.byte() % 4)).filter(|id| v5 && *id < 4);
        // A filter that stands twice in one packet is another matter: here each stands once.
        let mut asked: BTreeMap<String, Subscription> = BTreeMap::new();
        for _ in 0..=choices.below(3) {
            let filter = filter(choices);
            let options = options(choices, v5, filter.starts_with("$share/"));
            if TopicFilter::new(&filter).is_ok() {
                asked.insert(filter, Subscription { options, identifier });
            }
        }
        if asked.is_empty() {
            return;
        }
        let mut list = SubscriptionList::new();
        for (filter, subscription) in &asked {
            list.push(&TopicFilter::new(filter).expect("asked for above"), subscription.options);
        }
        let packet = Packet::Subscribe(Subscribe {
            packet_id: PacketId::MIN,
            subscription_identifier: identifier,
            user_properties: UserProperties::new(),
            subscriptions: list,
        });
        self.broker.send(client, &packet);
        let granted = asked.values().map(|asked| ReasonCode::granted(asked.options.qos)).collect();
        assert_eq!(self.broker.answer(client), Some(Answer::Codes(granted)));
        let mut expected = vec![Vec::new(); CLIENTS.len()];
        for (filter, subscription) in asked {
            let before = self.model.subscriptions[client].insert(filter.clone(), subscription);
            let wanted = match subscription.options.retain_handling {
                RetainHandling::SendAtSubscribe => true,
                RetainHandling::SendIfNew => before.is_none(),
                RetainHandling::DoNotSend => false,
            };
            if wanted && !filter.starts_with("$share/") {
                let replayed = self.model.replayed(&filter, &subscription);
                expected[client].extend(replayed.iter().map(|(kept, terms)| arrives(kept, terms)));
            }
        }
        self.expect(&expected);
    }

    fn unsubscribe(&mut self, client: usize, choices: &mut Choices<'_>) {
        let mut filters = FilterList::new();
        let mut codes = Vec::new();
        for _ in 0..=choices.below(3) {
            let text = self.known_or_any_filter(client, choices);
            let Ok(filter) = TopicFilter::new(&text) else { continue };
            filters.push(&filter);
            codes.push(match self.model.subscriptions[client].remove(&text) {
                Some(_) => ReasonCode::Success,
                None => ReasonCode::NoSubscriptionExisted,
            });
        }
        if filters.is_empty() {
            return;
        }
        let user_properties = UserProperties::new();
        let unsubscribe = Unsubscribe { packet_id: PacketId::MIN, user_properties, filters };
        self.broker.send(client, &Packet::Unsubscribe(unsubscribe));
        if !self.broker.version(client).is_v5() {
            codes.clear();
        }
        assert_eq!(self.broker.answer(client), Some(Answer::Codes(codes)));
        self.expect(&vec![Vec::new(); CLIENTS.len()]);
    }

    fn known_or_any_filter(&self, client: usize, choices: &mut Choices<'_>) -> String {
        let known: Vec<&String> = self.model.subscriptions[client].keys().collect();
        if choices.flag() && !known.is_empty() {
            choices.pick(&known).clone()
        } else {
            filter(choices)
        }
    }

    fn publish(&mut self, client: usize, choices: &mut Choices<'_>) {
        let flags = choices.byte();
        let topic = levels(choices, &LEVELS).join("/");
        let Ok(name) = TopicName::new(&topic) else { return };
        self.published += 1;
        let payload = if flags & 0b110 == 0 { String::new() } else { self.published.to_string() };
        let (qos, retain) = (QOS[usize::from(flags >> 3 & 1)], flags & 1 == 1);
        let publish = Publish {
            qos,
            retain,
            topic: Some(name),
            packet_id: (qos > QoS::AtMostOnce).then_some(PacketId::MIN),
            payload: payload.as_bytes(),
            ..Publish::default()
        };
        self.broker.send(client, &Packet::Publish(publish));
        let payload = payload.into_bytes();
        let publication = Publication { publisher: client, topic, payload, qos, retain };
        let code = if self.model.is_wanted(&publication.topic) || !CLIENTS[client].is_v5() {
            ReasonCode::Success
        } else {
            ReasonCode::NoMatchingSubscribers
        };
        let answer = Some(Answer::Published(code)).filter(|_| qos > QoS::AtMostOnce);
        assert_eq!(self.broker.answer(client), answer);
        self.model.retain(&publication);
        self.check_deliveries(&publication);
    }

    /// Each client has what its own subscriptions say, and each group has got the message once.
    fn check_deliveries(&mut self, publication: &Publication) {
        let mut left = Vec::new();
        for client in 0..CLIENTS.len() {
            let mut delivered = self.broker.delivered(client);
            if let Some(terms) = self.model.expected(client, publication) {
                let expected = arrives(publication, &terms);
                let Some(at) = delivered.iter().position(|found| *found == expected) else {
                    panic!("client {client} gets {delivered:?} and not {expected:?}");
                };
                delivered.remove(at);
            }
            left.extend(delivered.into_iter().map(|delivered| (client, delivered)));
        }
        let mut groups = Vec::new();
        for members in self.model.shares(publication) {
            let arrives = |(client, terms)| (client, arrives(publication, &terms));
            groups.push(members.into_iter().map(arrives).collect::<Vec<_>>());
        }
        assert!(is_assignment(&groups, &left), "of {publication:?} {groups:?} have got {left:?}");
    }

    fn expect(&mut self, expected: &[Vec<Delivered>]) {
        for (client, expected) in expected.iter().enumerate() {
            let mut expected = expected.clone();
            expected.sort_unstable();
            assert_eq!(self.broker.delivered(client), expected, "client {client}");
        }
    }

    fn check_gauges(&self) {
        let gauges = self.broker.gauges();
        let subscriptions: usize = self.model.subscriptions.iter().map(BTreeMap::len).sum();
        let sum = |gauge: fn(&Gauges) -> u64| gauges.iter().map(gauge).sum::<u64>();
        assert_eq!(sum(|gauges| gauges.subscriptions), subscriptions as u64);
        assert_eq!(sum(|gauges| gauges.shared_groups), self.model.groups() as u64);
        assert_eq!(sum(|gauges| gauges.retained_messages), self.model.retained.len() as u64);
        assert_eq!(sum(|gauges| gauges.retained_bytes) == 0, self.model.retained.is_empty());
        assert_eq!(sum(|gauges| gauges.queued_messages + gauges.queued_bytes), 0);
        assert_eq!(sum(|gauges| gauges.in_flight_messages), 0);
    }
}

fn arrives(publication: &Publication, terms: &Terms) -> Delivered {
    let (topic, payload) = (publication.topic.clone(), publication.payload.clone());
    Delivered { topic, payload, terms: terms.clone() }
}

/// Whether each group can have sent exactly one of the deliveries to one of its members.
fn is_assignment(groups: &[Vec<(usize, Delivered)>], left: &[(usize, Delivered)]) -> bool {
    let Some((first, groups)) = groups.split_first() else { return left.is_empty() };
    left.iter().enumerate().any(|(at, delivery)| {
        let mut rest = left.to_vec();
        rest.remove(at);
        first.contains(delivery) && is_assignment(groups, &rest)
    })
}

fn levels(choices: &mut Choices<'_>, of: &[&'static str]) -> Vec<&'static str> {
    let count = 1 + choices.below(LEVELS_MAX);
    (0..count).map(|_| choices.pick(of)).collect()
}

/// A filter, or what looks like one.
fn filter(choices: &mut Choices<'_>) -> String {
    let kind = choices.byte();
    let mut filter = levels(choices, &["+", "a", "b", "", "$a", "+", "$share", "g", "ab", "ä"]);
    if kind & 0b11 == 0b11 {
        filter.push("#");
    }
    if kind & 0b1100 == 0b1100 {
        filter.splice(..0, ["$share", if kind & 0b1_0000 == 0 { "g" } else { "h" }]);
    }
    filter.join("/")
}

fn options(choices: &mut Choices<'_>, v5: bool, shared: bool) -> SubscriptionOptions {
    let byte = choices.byte();
    let qos = QOS[usize::from(byte & 1)];
    if !v5 {
        return SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    }
    SubscriptionOptions {
        qos,
        no_local: byte & 0b10 != 0 && !shared,
        retain_as_published: byte & 0b100 != 0,
        retain_handling: match byte >> 3 & 3 {
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => RetainHandling::SendAtSubscribe,
        },
    }
}
