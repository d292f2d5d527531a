//! Subscriptions: asked for past any quota, answered once, brought back when the server has
//! forgotten them.

use noctule_client_core::{
    Doubt, DropCause, Event, Keep, Remarks, RequestOutcome, RequestRefused, SubscribeRequest,
    SubscriptionStatus, UnsubscribeRequest,
};
use noctule_packet::{
    ConnackProperties, Packet, PacketType, QoS, ReasonCode, Suback, Subscription,
    SubscriptionOptions, TopicFilter, Unsuback, Version, spec,
};

use crate::world::{VERSIONS, World, brief, id, lasting};

fn answered(codes: &[ReasonCode]) -> RequestOutcome {
    RequestOutcome::Answered { codes: codes.into(), remarks: None }
}

fn unsubscribe(world: &mut World, filter: &str) {
    let filters = [TopicFilter::new(filter).unwrap()];
    let request = UnsubscribeRequest::new(&filters);
    assert!(world.session.unsubscribe(world.now, &request).is_ok());
}

#[test]
fn a_subscription_is_granted_and_ended() {
    spec!("MQTT5-2.2.1-6", "MQTT5-3.8.4-6");
    for version in VERSIONS {
        let mut world = World::online(brief(version));
        world.subscribe(&["a", "b/#"], QoS::AtLeastOnce);
        assert_eq!(world.packets(), ["SUBSCRIBE 1 a b/#"]);
        let codes = [ReasonCode::GrantedQos1, ReasonCode::Success];
        world.suback(1, &codes);
        assert_eq!(world.answers(), [(1, answered(&codes))]);
        assert_eq!(world.session.granted("b/#"), Some(ReasonCode::Success));
        unsubscribe(&mut world, "a");
        assert_eq!(world.packets(), ["UNSUBSCRIBE 2 a"]);
        world.say(&Packet::Unsuback(Unsuback::new(id(2), vec![ReasonCode::Success])));
        assert_eq!(world.answers(), [(2, answered(&[ReasonCode::Success]))]);
        assert_eq!((world.session.granted("a"), world.session.subscriptions()), (None, 1));
    }
}

/// N-M3: the server's quota is for messages only.
#[test]
fn requests_wait_for_no_quota_and_share_the_packet_identifiers() {
    spec!("MQTT5-3.3.4-8", "MQTT5-2.2.1-3", "MQTT311-2.3.1-2");
    let mut world = World::new(brief(Version::V5_0));
    let properties = ConnackProperties { receive_maximum: Some(1), ..ConnackProperties::default() };
    world.connect_with(false, properties);
    for payload in ["a", "b"] {
        world.publish(QoS::AtLeastOnce, payload);
    }
    world.subscribe(&["a"], QoS::AtMostOnce);
    world.message(QoS::AtLeastOnce, 1, "t", b"");
    assert_eq!(world.packets(), ["PUBLISH 1 t:a", "SUBSCRIBE 2 a", "PUBACK 1"]);
    world.ack(PacketType::Puback, 1);
    assert_eq!(world.packets(), ["PUBLISH 3 t:b"]);
}

/// P-04: subscriptions come back, and only if the server has forgotten them.
#[test]
fn lost_subscriptions_are_asked_for_again() {
    for version in [Version::V3_1_1, Version::V5_0] {
        let mut world = World::online(lasting(version));
        world.subscribe(&["a", "b", "c"], QoS::AtLeastOnce);
        let granted = ReasonCode::GrantedQos1;
        world.suback(1, &[granted, granted, ReasonCode::UnspecifiedError]);
        world.packets();
        world.cut();
        world.connect(true);
        assert_eq!(world.packets(), Vec::<String>::new());
        world.cut();
        world.connect(false);
        world.events();
        assert_eq!(world.packets(), ["SUBSCRIBE 2 a b"]);
        let mut suback = Suback::new(id(2), vec![granted, ReasonCode::UnspecifiedError]);
        suback.reason_string = version.is_v5().then_some("so");
        world.say(&Packet::Suback(suback));
        let remarks = version.is_v5().then(|| Box::new(Remarks::new("so")));
        let again = |filter: &str, code| {
            let (filter, remarks) = (filter.into(), remarks.clone());
            Event::Resubscribed { filter, code, remarks }
        };
        let refused = Some(ReasonCode::UnspecifiedError);
        assert_eq!(world.events(), [again("a", Some(granted)), again("b", refused)]);
        assert_eq!(world.session.subscriptions(), 1);
    }
}

#[test]
fn a_subscription_is_asked_for_again_when_the_user_wants_it() {
    let mut settings = lasting(Version::V5_0);
    settings.subscribes_again = false;
    let mut world = World::online(settings);
    assert_eq!(world.session.subscription("a"), SubscriptionStatus::None);
    world.subscribe(&["a"], QoS::AtMostOnce);
    assert_eq!(world.session.subscription("a"), SubscriptionStatus::Pending);
    world.suback(1, &[ReasonCode::Success]);
    let granted = SubscriptionStatus::Granted(ReasonCode::Success);
    assert_eq!(world.session.subscription("a"), granted);
    world.subscribe(&["b"], QoS::AtMostOnce);
    world.suback(2, &[ReasonCode::Success]);
    world.packets();
    world.answers();
    let asked = world.session.resubscribe(world.now).unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].filters, [Box::from("a"), Box::from("b")]);
    assert_eq!(world.packets(), ["SUBSCRIBE 3 a b"]);
    world.suback(3, &[ReasonCode::Success; 2]);
    assert_eq!(world.answers(), [(3, answered(&[ReasonCode::Success; 2]))]);
    world.cut();
    // They are lost, and known, until the user asks again or wants them no more.
    world.connect(false);
    assert_eq!(world.packets(), Vec::<String>::new());
    assert_eq!(world.session.subscription("a"), SubscriptionStatus::Lost);
    assert_eq!((world.session.granted("a"), world.session.subscriptions()), (None, 0));
    let filters = [TopicFilter::new("b").unwrap()];
    world.session.unsubscribe(world.now, &UnsubscribeRequest::new(&filters)).unwrap();
    assert_eq!(world.session.subscription("b"), SubscriptionStatus::None);
    world.packets();
    world.session.resubscribe(world.now).unwrap();
    assert_eq!(world.packets(), ["SUBSCRIBE 5 a"]);
    // One that is refused may be asked for again.
    world.suback(5, &[ReasonCode::QuotaExceeded]);
    assert_eq!(world.session.subscription("a"), SubscriptionStatus::Lost);
    world.cut();
    world.session.resubscribe(world.now).unwrap();
    assert_eq!(world.session.subscription("a"), SubscriptionStatus::Pending);
    world.connect(true);
    assert_eq!(world.packets(), ["UNSUBSCRIBE 6 b", "SUBSCRIBE 7 a"]);
    world.suback(7, &[ReasonCode::Success]);
    assert_eq!(world.session.subscription("a"), granted);
}

#[test]
fn all_subscriptions_are_asked_for_again_or_none() {
    let mut settings = lasting(Version::V5_0);
    settings.limits.requests_max = 2;
    settings.limits.filters_per_subscribe_max = 1;
    let mut world = World::online(settings);
    for (packet_id, filter) in [(1, "a"), (2, "b"), (3, "c")] {
        world.subscribe(&[filter], QoS::AtMostOnce);
        world.suback(packet_id, &[ReasonCode::Success]);
    }
    world.packets();
    let refused = world.session.resubscribe(world.now).unwrap_err();
    assert_eq!(refused, RequestRefused::Full { maximum: 2 });
    assert_eq!(world.packets(), Vec::<String>::new());
    let mut settings = lasting(Version::V5_0);
    settings.queue.keep = Keep::AtLeastOnce;
    let mut world = World::new(settings);
    assert_eq!(world.session.resubscribe(world.now), Err(RequestRefused::Offline));
}

/// P-06: the identifier of a request that was answered is free again.
#[test]
fn requests_never_run_out_of_packet_identifiers() {
    let mut world = World::online(brief(Version::V5_0));
    for round in 0..70_000_u32 {
        world.subscribe(&["a"], QoS::AtMostOnce);
        let packet_id = 1 + (round % 65_535) as u16;
        let sent = world.bytes();
        assert_eq!(sent.get(2..4), Some(&packet_id.to_be_bytes()[..]), "round {round}");
        world.suback(packet_id, &[ReasonCode::Success]);
    }
    assert_eq!((world.answers().len(), world.session.pending_requests()), (70_000, 0));
}

#[test]
fn a_request_without_an_answer_is_asked_again() {
    for session_present in [false, true] {
        let mut world = World::online(lasting(Version::V5_0));
        world.subscribe(&["a"], QoS::AtMostOnce);
        world.subscribe(&["b"], QoS::AtMostOnce);
        world.packets();
        world.cut();
        world.subscribe(&["c"], QoS::AtMostOnce);
        world.connect(session_present);
        assert_eq!(world.packets(), ["SUBSCRIBE 3 a", "SUBSCRIBE 4 b", "SUBSCRIBE 5 c"]);
        world.suback(3, &[ReasonCode::Success]);
        assert_eq!(world.answers(), [(1, answered(&[ReasonCode::Success]))]);
    }
}

#[test]
fn where_requests_are_not_kept_they_end_with_the_connection() {
    let mut settings = brief(Version::V5_0);
    settings.queue.keep = Keep::AtLeastOnce;
    let mut world = World::online(settings);
    world.subscribe(&["a"], QoS::AtMostOnce);
    world.cut();
    let why = Doubt::ConnectionLost;
    assert_eq!(world.answers(), [(1, RequestOutcome::Indeterminate { why })]);
    let filters = [TopicFilter::new("a").unwrap()];
    let refused = world.session.unsubscribe(world.now, &UnsubscribeRequest::new(&filters));
    assert_eq!(refused, Err(RequestRefused::Offline));
}

#[test]
fn what_a_version_or_a_server_lacks_is_refused_by_name() {
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let local = [Subscription { filter: TopicFilter::new("a").unwrap(), options }];
    let options = SubscriptionOptions::default();
    let wild = [Subscription { filter: TopicFilter::new("a/#").unwrap(), options }];
    let shared = [Subscription { filter: TopicFilter::new("$share/g/a").unwrap(), options }];
    let version = Version::V3_1_1;
    let mut world = World::online(brief(version));
    let refused = world.session.subscribe(world.now, &SubscribeRequest::new(&local));
    assert_eq!(refused, Err(RequestRefused::NotInVersion { option: "no_local", version }));
    let refused = world.session.subscribe(world.now, &SubscribeRequest::new(&[]));
    assert_eq!(refused, Err(RequestRefused::Empty));

    let mut world = World::new(brief(Version::V5_0));
    world.subscribe(&["a/+"], QoS::AtMostOnce);
    let properties = ConnackProperties {
        wildcard_subscription_available: Some(false),
        shared_subscription_available: Some(false),
        subscription_identifiers_available: Some(false),
        ..ConnackProperties::default()
    };
    world.connect_with(false, properties);
    let why = DropCause::NotSupported { option: "wildcard subscriptions" };
    assert_eq!(world.answers(), [(1, RequestOutcome::Dropped { why })]);
    let mut identified = SubscribeRequest::new(&local);
    identified.identifier = Some(1);
    for (request, option) in [
        (SubscribeRequest::new(&wild), "wildcard subscriptions"),
        (SubscribeRequest::new(&shared), "shared subscriptions"),
        (identified, "subscription identifiers"),
    ] {
        let refused = world.session.subscribe(world.now, &request);
        assert_eq!(refused, Err(RequestRefused::NotSupported { option }));
    }
    assert_eq!(world.packets(), Vec::<String>::new());
}

/// Whoever unsubscribes before the answer does not have the subscription after it.
#[test]
fn an_answer_that_comes_after_unsubscribing_brings_nothing_back() {
    let mut world = World::online(lasting(Version::V5_0));
    world.subscribe(&["a", "b"], QoS::AtMostOnce);
    let filters = [TopicFilter::new("a").unwrap()];
    world.session.unsubscribe(world.now, &UnsubscribeRequest::new(&filters)).unwrap();
    assert_eq!(world.packets(), ["SUBSCRIBE 1 a b", "UNSUBSCRIBE 2 a"]);
    world.suback(1, &[ReasonCode::Success; 2]);
    assert_eq!((world.session.granted("a"), world.session.subscriptions()), (None, 1));
    // Asked for anew, it is there.
    world.subscribe(&["a"], QoS::AtMostOnce);
    world.packets();
    world.suback(3, &[ReasonCode::Success]);
    assert_eq!(world.session.subscriptions(), 2);
}
