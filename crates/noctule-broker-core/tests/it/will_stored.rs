//! Wills that are kept: a crash loses none that is due, and doubles none.

use noctule_broker_core::{
    Authorization, Effect, Input, Record, Restored, Source, StoredSession, WillOwner,
};
use noctule_packet::{QoS, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedWill, VERSIONS};

use crate::broker::{lasting, placement_of, shards};
use crate::stored::{message, name, stored_session, storing, storing_with, subscription};

fn will() -> OwnedWill {
    OwnedWill::new("t", "gone").qos(QoS::ExactlyOnce)
}

#[test]
fn a_will_is_stored_as_a_publication_before_it_is_routed_and_forgotten_when_it_is() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8");
    for version in VERSIONS {
        for is_over in [false, true] {
            let broker = storing();
            let mut reader = broker.lasting(version, "reader");
            reader.subscribe(&[("t", QoS::ExactlyOnce)]);
            let connect =
                if is_over { OwnedConnect::new(version, "a") } else { lasting(version, "a") };
            let client = broker.connect(&connect.will(will()));
            broker.leisurely();
            broker.hold();
            drop(client);
            let record = broker.record();
            let Record::WillDue { publication, owner, message, .. } = record else {
                panic!("{record:?}")
            };
            assert_eq!((&*owner.client_id, owner.user_name), ("a", None));
            assert_eq!((&*message.payload, message.qos), (&b"gone"[..], QoS::ExactlyOnce));
            reader.expect_nothing_before_pong();
            let queued = loop {
                broker.kept();
                if let Some(Record::Queued { publication, references, .. }) =
                    broker.records().into_iter().find(|it| matches!(it, Record::Queued { .. }))
                {
                    break (publication, references.len());
                }
            };
            assert_eq!(queued, (publication, 1));
            assert_eq!(broker.leisurely().iter().filter(|it| is_routed(it)).count(), 0);
            broker.keep_all();
            assert_eq!(reader.expect_publish().text(), "gone");
            assert_eq!(broker.leisurely().iter().filter(|it| is_routed(it)).count(), 1);
        }
    }
}

fn is_routed(record: &Record) -> bool {
    matches!(record, Record::Routed { .. })
}

#[test]
fn a_will_that_was_due_before_a_crash_is_asked_about_and_reaches_who_has_not_got_it() {
    spec!("MQTT5-3.1.2-8", "MQTT311-3.1.2-8");
    for allowed in [true, false] {
        // A store tells every shard who has got what; here one shard is told.
        let homes = ["a", "has-it", "lacks-it", "t"].map(|name| (name, 0));
        let broker = storing_with(|settings| {
            settings.authorization = Authorization::Ask;
            settings.placement = placement_of(shards(), &homes);
        });
        let reader = |number, client_id| {
            Restored::Session(Box::new(StoredSession {
                subscriptions: vec![subscription("t", QoS::ExactlyOnce)],
                ..stored_session(number, client_id)
            }))
        };
        let owner = WillOwner { client_id: "a".into(), user_name: Some("u".into()) };
        let (publication, sessions) = (name(9), vec![name(1)]);
        broker.restore_up_to_end(vec![
            reader(1, "has-it"),
            reader(2, "lacks-it"),
            Restored::Queued { publication, sessions },
            Restored::Unrouted {
                publication,
                session: name(8),
                source: Source::Will(owner),
                message: message(1, "gone", QoS::ExactlyOnce).message,
            },
        ]);
        broker.hold();
        broker.go_on();
        let (shard, question) = broker.asked_by();
        let Effect::Authorize { token, client_id, principal, .. } = question else {
            panic!("{question:?}")
        };
        assert_eq!((&*client_id, principal.user_name.as_deref()), ("a", Some("u")));
        assert_eq!(broker.leisurely(), []);
        broker.input_at(shard, Input::Authorized { token, allowed });
        broker.keep_all();
        assert_eq!(broker.leisurely(), [Record::Routed { publication }]);
        broker.answer_all();
        let count = |client_id| broker.lasting(Version::V5_0, client_id).receive_all().len();
        assert_eq!([count("has-it"), count("lacks-it")], [0, usize::from(allowed)]);
    }
}
