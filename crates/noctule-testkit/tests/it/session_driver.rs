//! Sessions of the client's core in virtual time.

use std::task::{Poll, Waker};
use std::time::Duration;

use noctule_client_core::{
    ClientSession, DropCause, Event, Hub, MailboxSettings, Outcome, Publication, Settings, Status,
    SubscribeRequest,
};
use noctule_packet::{
    PacketType, QoS, Subscription, SubscriptionOptions, TopicFilter, TopicName, Version,
};
use noctule_testkit::{OwnedPublish, SessionDriver, TestBroker, VERSIONS, bytes};

const HOUR: Duration = Duration::from_secs(3_600);

fn settings(version: Version) -> Settings {
    let mut settings = Settings { version, lowest_version: version, ..Settings::default() };
    settings.connect.client_id = "c".into();
    settings.connect.keep_alive = 3_600;
    settings.connect.session_expiry_interval = if version.is_v5() { 86_400 } else { u32::MAX };
    settings
}

fn publish(driver: &mut SessionDriver<'_>, qos: QoS) {
    let topic = TopicName::new("t").unwrap();
    let now = driver.now();
    driver.client_mut().publish(now, &Publication::new(topic, b"x").qos(qos)).unwrap();
    driver.run();
}

fn outcomes(driver: &mut SessionDriver<'_>) -> Vec<Outcome> {
    let of = |event| match event {
        Event::Published { outcome, .. } => Some(outcome),
        _ => None,
    };
    driver.events().into_iter().filter_map(of).collect()
}

#[test]
fn a_session_stays_alive_for_a_day() {
    for version in VERSIONS {
        let broker = TestBroker::in_virtual_time();
        let mut driver = SessionDriver::new(settings(version), &broker).unwrap();
        driver.connect();
        driver.advance(24 * HOUR + HOUR / 2);
        let pings = std::iter::from_fn(|| broker.next_packet(PacketType::Pingreq).now()).count();
        assert_eq!(pings, 24);
        assert_eq!(driver.client().status(), Status::Online);
        assert_eq!(driver.now().since(Default::default()), 24 * HOUR + HOUR / 2);
    }
}

#[test]
fn a_server_that_answers_late_is_waited_for_or_left() {
    for (delay, is_left) in [(5, false), (50, true)] {
        let broker = TestBroker::in_virtual_time();
        broker.on_packet(PacketType::Pingreq).delay(Duration::from_secs(delay));
        let mut settings = settings(Version::V5_0);
        settings.ping_timeout = Some(Duration::from_secs(20));
        let mut driver = SessionDriver::new(settings, &broker).unwrap();
        driver.connect();
        driver.advance(HOUR + HOUR / 2);
        assert_eq!(driver.is_connected(), !is_left);
    }
}

#[test]
fn messages_are_delivered_once_over_lost_connections() {
    for version in VERSIONS {
        let broker = TestBroker::in_virtual_time();
        for number in 1..=2 {
            broker.on_publish("t").nth(number).reset();
        }
        let mut driver = SessionDriver::new(settings(version), &broker).unwrap();
        driver.connect();
        publish(&mut driver, QoS::ExactlyOnce);
        for _ in 0..2 {
            assert!(!driver.is_connected());
            driver.connect();
        }
        assert_eq!(outcomes(&mut driver), [Outcome::DELIVERED]);
        assert_eq!(broker.publishes("t").len(), 3);
    }
}

#[test]
fn a_message_expires_in_the_queue() {
    let broker = TestBroker::in_virtual_time();
    let mut settings = settings(Version::V5_0);
    settings.queue.age_max = Some(HOUR);
    let mut driver = SessionDriver::new(settings, &broker).unwrap();
    publish(&mut driver, QoS::AtLeastOnce);
    driver.advance(HOUR - Duration::from_secs(1));
    assert_eq!(outcomes(&mut driver), []);
    driver.advance(Duration::from_secs(1));
    assert_eq!(outcomes(&mut driver), [Outcome::Dropped { why: DropCause::Expired }]);
}

#[test]
fn subscriptions_and_messages_arrive() {
    let broker = TestBroker::in_virtual_time();
    let mut driver = SessionDriver::new(settings(Version::V5_0), &broker).unwrap();
    driver.connect();
    let filter = TopicFilter::new("in/#").unwrap();
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let wanted = [Subscription { filter, options }];
    let now = driver.now();
    driver.client_mut().subscribe(now, &SubscribeRequest::new(&wanted)).unwrap();
    driver.run();
    broker.publish(&OwnedPublish::new("in/1", "hello", QoS::AtLeastOnce));
    driver.run();
    let arrived = driver.events().into_iter().find_map(|event| match event {
        Event::Message { message, .. } => Some(message.payload().to_vec()),
        _ => None,
    });
    assert_eq!(arrived.as_deref(), Some(&b"hello"[..]));
    assert!(broker.next_packet(PacketType::Puback).now().is_some());
}

#[test]
fn a_hub_is_driven_too() {
    let broker = TestBroker::in_virtual_time();
    let mut driver = SessionDriver::of(Hub::new(settings(Version::V5_0)).unwrap(), &broker);
    driver.connect();
    let now = driver.now();
    let hub = driver.client_mut();
    let inbox = hub.open_mailbox(MailboxSettings::default());
    let filter = TopicFilter::new("t").unwrap();
    let options = SubscriptionOptions { qos: QoS::AtLeastOnce, ..Default::default() };
    let wanted = [Subscription { filter, options }];
    hub.subscribe(now, &SubscribeRequest::new(&wanted), inbox).unwrap();
    let publication = Publication::new(TopicName::new("t").unwrap(), b"x").qos(QoS::AtLeastOnce);
    let operation = hub.publish(now, &publication).unwrap();
    driver.run();
    let waker = Waker::noop();
    let hub = driver.client_mut();
    assert_eq!(hub.poll_published(operation, waker), Poll::Ready(Some(Outcome::DELIVERED)));
    assert!(broker.next_packet(PacketType::Puback).now().is_none());
    let taken = hub.take_message(now, inbox).unwrap();
    assert_eq!(taken.message.payload(), b"x");
    driver.run();
    assert!(broker.next_packet(PacketType::Puback).now().is_some());
}

#[test]
fn the_server_s_side_is_scripted() {
    let broker = TestBroker::in_virtual_time();
    let script = broker.script_next();
    let mut driver = SessionDriver::new(settings(Version::V3_1_1), &broker).unwrap();
    driver.connect();
    let server = script.now().unwrap();
    assert_eq!(server.expect_connect().now().unwrap().keep_alive, 3_600);
    server.send_bytes(&bytes("20 02 00 03"));
    driver.run();
    assert!(!driver.is_connected());
    let ended =
        driver.events().into_iter().any(|event| matches!(event, Event::Disconnected { .. }));
    assert!(ended, "{}", driver.transcript());
}

#[test]
fn a_session_expires_in_virtual_time() {
    let broker = TestBroker::in_virtual_time();
    let mut lasting = settings(Version::V5_0);
    lasting.connect.session_expiry_interval = 100;
    let mut driver = SessionDriver::new(lasting, &broker).unwrap();
    driver.connect();
    for (seconds, is_lost) in [(99, false), (100, true)] {
        driver.lose_connection();
        driver.events();
        driver.advance(Duration::from_secs(seconds));
        driver.connect();
        let events = driver.events();
        assert_eq!(events.contains(&Event::SessionLost), is_lost, "{}", driver.transcript());
    }
}

#[test]
fn what_is_to_be_stored_is_there() {
    let broker = TestBroker::in_virtual_time();
    let settings = Settings { is_durable: true, ..settings(Version::V5_0) };
    let mut driver = SessionDriver::of(ClientSession::new(settings).unwrap(), &broker);
    publish(&mut driver, QoS::AtLeastOnce);
    assert!(!driver.records().is_empty());
    assert!(driver.records().is_empty());
}

#[test]
#[should_panic(expected = "needs a broker in virtual time")]
fn a_broker_in_real_time_is_no_good() {
    let broker = TestBroker::start();
    let _ = SessionDriver::new(settings(Version::V5_0), &broker);
}
