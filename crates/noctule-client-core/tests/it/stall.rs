//! Users who wait for an answer and take no message meanwhile.

use std::time::Duration;

use noctule_client_core::{
    AckToken, AcknowledgementMode, Event, Observation, Outcome, Settings, SubscribeRequest,
};
use noctule_packet::{
    Ack, Packet, PacketId, Publish, QoS, ReasonCode, Subscription, SubscriptionOptions,
    TopicFilter, TopicName, Version,
};

use crate::world::{World, brief, id};

const BOUND: usize = 16 * 1_024;

fn settings() -> Settings {
    let mut settings = brief(Version::V5_0);
    settings.acknowledgement = AcknowledgementMode::Manual;
    settings.limits.held_bytes_max = BOUND;
    settings
}

/// A client, and what its server has said that it has not read.
struct Backlog {
    world: World,
    unread: Vec<u8>,
    held: Vec<AckToken>,
    events: Vec<Event>,
}

impl Backlog {
    /// So many messages of 1 KiB have come, of which nobody takes any.
    fn of(qos: QoS, messages: u16) -> Self {
        let mut world = World::online(settings());
        world.session.observe();
        let mut backlog = Self { world, unread: Vec::new(), held: Vec::new(), events: Vec::new() };
        for number in 1..=messages {
            let packet_id = PacketId::new(number).filter(|_| qos > QoS::AtMostOnce);
            let topic = Some(TopicName::new("t").expect("a topic"));
            let payload = &[b'.'; 1_024];
            let message = Publish { qos, packet_id, topic, payload, ..Publish::default() };
            backlog.add(&Packet::Publish(message));
        }
        backlog.read();
        backlog
    }

    fn add(&mut self, packet: &Packet<'_>) {
        self.unread.extend(self.world.encoded(packet));
    }

    fn read(&mut self) {
        let consumed = self.world.session.receive(self.world.now, &self.unread);
        self.unread.drain(..consumed);
        for event in self.world.events() {
            match event {
                Event::Message { token, .. } => self.held.extend(token),
                event => self.events.push(event),
            }
        }
    }

    fn advance(&mut self, milliseconds: u64) {
        self.world.advance(Duration::from_millis(milliseconds));
        self.read();
    }

    fn take(&mut self) {
        let token = self.held.remove(0);
        self.world.session.acknowledge(self.world.now, token, ReasonCode::Success).expect("good");
    }

    fn is_stalled(&self) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Stalled { .. }))
    }

    fn dropped(&mut self) -> usize {
        let all = self.world.session.take_observations();
        all.filter(|one| *one == Observation::MessageDropped).count()
    }
}

fn puback() -> Packet<'static> {
    Packet::Puback(Ack::new(id(1), ReasonCode::Success))
}

#[test]
fn an_answer_behind_messages_that_nobody_takes_comes_all_the_same() {
    let mut backlog = Backlog::of(QoS::AtMostOnce, 100);
    let held = backlog.held.len();
    assert!(held < 20 && !backlog.unread.is_empty());
    let operation = backlog.world.publish(QoS::AtLeastOnce, "awaited");
    backlog.add(&puback());
    backlog.advance(1_999);
    assert_eq!((backlog.held.len(), backlog.is_stalled()), (held, false));
    backlog.advance(1);
    assert!(backlog.is_stalled());
    let delivered = Event::Published { operation, outcome: Outcome::DELIVERED, topic: None };
    assert!(backlog.events.contains(&delivered), "{:?}", backlog.events);
    assert_eq!((backlog.held.len(), backlog.unread.len()), (held, 0));
    assert_eq!(backlog.dropped(), 100 - held);

    // As soon as messages are taken, none are dropped any more.
    backlog.take();
    let message = Publish {
        topic: Some(TopicName::new("t").expect("a topic")),
        payload: &[b'.'; 1_024],
        ..Publish::default()
    };
    backlog.add(&Packet::Publish(message.clone()));
    backlog.add(&Packet::Publish(message));
    backlog.read();
    assert_eq!((backlog.held.len(), backlog.dropped()), (held, 0));
    assert!(!backlog.unread.is_empty());
}

#[test]
fn so_does_the_answer_to_a_subscription_behind_messages_that_must_not_be_lost() {
    let mut backlog = Backlog::of(QoS::AtLeastOnce, 50);
    let held = backlog.held.len();
    let filter = TopicFilter::new("a").expect("a filter");
    let filters = [Subscription { filter, options: SubscriptionOptions::default() }];
    let request = SubscribeRequest::new(&filters);
    backlog.world.session.subscribe(backlog.world.now, &request).expect("accepted");
    backlog.advance(2_000);
    assert!(backlog.is_stalled());
    assert!(held < 20);
    assert_eq!((backlog.held.len(), backlog.dropped()), (50, 0));
}

#[test]
fn messages_that_must_not_be_lost_have_a_bound_that_is_final() {
    let mut backlog = Backlog::of(QoS::AtLeastOnce, 200);
    backlog.world.publish(QoS::AtLeastOnce, "awaited");
    backlog.advance(2_000);
    let held = backlog.world.session.held_bytes();
    assert!((4 * BOUND..4 * BOUND + 2_048).contains(&held), "{held}");
    backlog.advance(60_000);
    assert_eq!(backlog.world.session.held_bytes(), held);
}

#[test]
fn whoever_waits_for_nothing_has_back_pressure_for_ever() {
    let mut backlog = Backlog::of(QoS::AtMostOnce, 100);
    let held = backlog.held.len();
    backlog.advance(3_600_000);
    assert_eq!((backlog.held.len(), backlog.is_stalled()), (held, false));
}

#[test]
fn whoever_takes_messages_slowly_has_back_pressure_while_he_does() {
    let mut backlog = Backlog::of(QoS::AtMostOnce, 100);
    backlog.world.publish(QoS::AtLeastOnce, "awaited");
    backlog.add(&puback());
    for _ in 0..50 {
        backlog.advance(1_900);
        backlog.take();
        backlog.read();
    }
    assert_eq!((backlog.is_stalled(), backlog.dropped()), (false, 0));
}
