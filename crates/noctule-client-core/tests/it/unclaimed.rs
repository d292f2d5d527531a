//! Messages that come before the program has said who wants them.

use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::Duration;

use noctule_client_core::{
    ClientEvent, FollowerId, Hub, MailboxId, MailboxSettings, OnFull, Settings, Timestamp,
};
use noctule_packet::{
    Connack, ConnackProperties, Packet, PacketId, Publish, QoS, ReasonCode, TopicFilter, TopicName,
    Version,
};

use crate::world::{VERSIONS, lasting};

const START: Timestamp = Timestamp::from_millis(1_000);

/// A hub whose session goes on, and what its client writes.
struct Desk {
    hub: Hub,
    now: Timestamp,
    version: Version,
    follower: FollowerId,
}

impl Desk {
    fn new(settings: Settings) -> Self {
        let version = settings.version;
        let mut hub = Hub::new(settings).expect("the settings are good");
        let follower = hub.follow();
        hub.session_mut().transport_up(START);
        let mut desk = Self { hub, now: START, version, follower };
        desk.written();
        desk.say(&Packet::Connack(Connack {
            session_present: false,
            reason_code: ReasonCode::Success,
            properties: ConnackProperties::default(),
        }));
        desk
    }

    fn say(&mut self, packet: &Packet<'_>) {
        let mut bytes = Vec::new();
        packet.encode(self.version, &mut bytes).expect("a good packet");
        assert_eq!(self.hub.session_mut().receive(self.now, &bytes), bytes.len());
        self.hub.settle(self.now);
    }

    fn message(&mut self, qos: QoS, packet_id: u16, topic: &str) {
        self.say(&Packet::Publish(Publish {
            qos,
            packet_id: PacketId::new(packet_id),
            topic: Some(TopicName::new(topic).expect("a topic")),
            payload: topic.as_bytes(),
            ..Publish::default()
        }));
    }

    /// What the client has written since the last look.
    fn written(&mut self) -> Vec<u8> {
        let session = self.hub.session_mut();
        let bytes = session.outbound().to_vec();
        session.written(self.now, bytes.len());
        bytes
    }

    fn mailbox(&mut self, filters: &[&str]) -> MailboxId {
        let id = self.hub.open_mailbox(MailboxSettings::default());
        for filter in filters {
            self.hub.add_filter(id, &TopicFilter::new(filter).expect("a filter"));
        }
        id
    }

    fn topics(&mut self, mailbox: MailboxId) -> Vec<Arc<str>> {
        let mut topics = Vec::new();
        while let Some(taken) = self.hub.take_message(self.now, mailbox) {
            topics.push(Arc::clone(taken.message.topic()));
        }
        topics
    }

    /// What falls due on the way happens when it is due.
    fn advance(&mut self, duration: Duration) {
        self.hub.settle(self.now);
        let end = self.now + duration;
        while let Some(due) = self.hub.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.hub.on_timeout(self.now);
            self.hub.settle(self.now);
        }
        self.now = end;
    }

    fn unclaimed_event(&mut self) -> Option<Arc<str>> {
        while let Poll::Ready(Some(event)) = self.hub.poll_event(self.follower, Waker::noop()) {
            if let ClientEvent::Unclaimed { topic } = event {
                return Some(topic);
            }
        }
        None
    }
}

/// Settings without pings, which would be among what is written.
fn settings(version: Version) -> Settings {
    let mut settings = lasting(version);
    settings.connect.keep_alive = 0;
    settings
}

fn puback(packet_id: u8) -> Vec<u8> {
    vec![0x40, 2, 0, packet_id]
}

#[test]
fn what_comes_before_the_first_subscription_waits_for_it_however_long() {
    for version in VERSIONS {
        let mut desk = Desk::new(settings(version));
        desk.message(QoS::AtLeastOnce, 1, "a/1");
        desk.message(QoS::AtLeastOnce, 2, "b");
        desk.message(QoS::AtLeastOnce, 3, "a/2");
        desk.advance(Duration::from_secs(3_600));
        assert_eq!(desk.written(), []);
        let mailbox = desk.mailbox(&["a/+", "c"]);
        assert_eq!(desk.topics(mailbox), ["a/1".into(), "a/2".into()]);
        // Acknowledgements keep their order.
        assert_eq!(desk.written(), puback(1));
        let other = desk.mailbox(&["$share/group/b"]);
        assert_eq!(desk.topics(other), ["b".into()]);
        assert_eq!(desk.written(), [puback(2), puback(3)].concat());
        assert_eq!((desk.hub.unclaimed(), desk.unclaimed_event()), (0, None));
    }
}

#[test]
fn after_the_first_subscription_the_others_have_some_seconds() {
    let mut desk = Desk::new(settings(Version::V5_0));
    let mailbox = desk.mailbox(&["a"]);
    desk.message(QoS::AtLeastOnce, 1, "b");
    desk.advance(Duration::from_secs(9));
    assert_eq!(desk.written(), []);
    desk.advance(Duration::from_secs(1));
    assert_eq!(desk.written(), puback(1));
    assert_eq!((desk.hub.unclaimed(), desk.unclaimed_event()), (1, Some("b".into())));
    // From then on nothing waits for nobody.
    desk.message(QoS::AtLeastOnce, 2, "b");
    assert_eq!(desk.written(), puback(2));
    let late = desk.mailbox(&["b"]);
    assert_eq!(desk.topics(late), []);
    desk.message(QoS::AtLeastOnce, 3, "a");
    assert_eq!(desk.topics(mailbox), ["a".into()]);
    assert_eq!(desk.hub.unclaimed(), 2);
}

#[test]
fn whoever_claims_the_rest_gets_what_was_kept() {
    let mut desk = Desk::new(settings(Version::V5_0));
    desk.message(QoS::AtLeastOnce, 1, "a");
    desk.message(QoS::AtMostOnce, 0, "q0");
    let rest = desk.mailbox(&[]);
    desk.hub.claim_rest(rest);
    assert_eq!(desk.topics(rest), ["a".into()]);
    // QoS 0 has not waited.
    assert_eq!((desk.hub.unclaimed(), desk.unclaimed_event()), (1, Some("q0".into())));
}

#[test]
fn what_is_kept_has_a_bound_and_the_oldest_goes_first() {
    let mut settings = settings(Version::V5_0);
    settings.limits.held_bytes_max = 64 * 1_024;
    let mut desk = Desk::new(settings);
    for packet_id in 1..=1_000 {
        desk.message(QoS::AtLeastOnce, packet_id, &format!("topic/{packet_id}"));
        desk.written();
        assert!(desk.hub.session().wants_input());
    }
    let given_up = usize::try_from(desk.hub.unclaimed()).expect("few");
    assert!((1..1_000).contains(&given_up), "{given_up}");
    let mailbox = desk.mailbox(&["topic/#"]);
    let topics = desk.topics(mailbox);
    assert_eq!(topics.len(), 1_000 - given_up);
    assert_eq!(*topics[0], format!("topic/{}", given_up + 1));
}

#[test]
fn nothing_waits_where_that_is_not_wanted() {
    let mut settings = settings(Version::V5_0);
    settings.unclaimed_kept_for = Duration::ZERO;
    let mut desk = Desk::new(settings);
    desk.message(QoS::AtLeastOnce, 1, "a");
    assert_eq!(desk.written(), puback(1));
}

#[test]
fn a_stream_that_was_too_full_refuses_what_it_cannot_take() {
    let mut desk = Desk::new(settings(Version::V5_0));
    let settings =
        MailboxSettings { capacity: 1, on_full: OnFull::Close, ..MailboxSettings::default() };
    let full = desk.hub.open_mailbox(settings);
    desk.hub.add_filter(full, &TopicFilter::new("a").expect("a filter"));
    for packet_id in 1..=3 {
        desk.message(QoS::AtLeastOnce, packet_id, "a");
    }
    assert_eq!(desk.topics(full), ["a".into()]);
    let refused = |packet_id| vec![0x40, 3, 0, packet_id, ReasonCode::UnspecifiedError as u8];
    let expected = [puback(1), refused(2), refused(3)].concat();
    assert_eq!(desk.written(), expected);
}
