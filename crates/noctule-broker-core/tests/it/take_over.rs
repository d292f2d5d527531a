//! Take-over: a client identifier has one connection at a time, however the answers fall.

use noctule_broker_core::{
    Authentication, Command, ConnectionId, Durability, Effect, Ended, Event, Input, Principal,
    Reason, Record,
};
use noctule_packet::{QoS, ReasonCode, Version, spec};
use noctule_testkit::{OwnedConnect, OwnedWill, VERSIONS};

use crate::broker::{Broker, Client, lasting};

/// A broker that asks about every client and stores sessions, and whose questions wait.
fn asking() -> Broker {
    let broker = Broker::with(|settings| {
        settings.listeners[0].authentication = Authentication::Ask;
        settings.durability = Durability::Stored;
    });
    broker.hold();
    broker
}

/// A connection that has sent this CONNECT and waits.
fn knock(broker: &Broker, connect: &OwnedConnect) -> Client {
    let mut client = broker.open();
    client.send_connect(connect);
    client
}

#[test]
fn the_older_connection_is_told_and_closed() {
    spec!("MQTT5-3.1.4-3", "MQTT311-3.1.4-2", "MQTT31-3.1-10");
    for before in VERSIONS {
        for after in VERSIONS {
            let broker = Broker::new();
            let mut old = broker.client(before, "a");
            broker.trace();
            broker.events();
            let mut new = broker.client(after, "a");
            old.expect_refused(ReasonCode::SessionTakenOver);
            new.expect_nothing_before_pong();
            let trace = broker.trace();
            let closed = trace.iter().position(|step| step == "Close");
            let let_in = trace.iter().position(|step| step == "Write CONNACK");
            assert!(closed < let_in && closed.is_some(), "{trace:?}");
            let events = broker.events();
            let gone = events.iter().position(|event| matches!(event, Event::Disconnected { .. }));
            let came = events.iter().position(|event| matches!(event, Event::Connected { .. }));
            assert!(gone < came && gone.is_some(), "{events:?}");
            assert_eq!(broker.look(|shard| shard.gauges().clients_connected), 1);
        }
    }
}

#[test]
fn the_session_goes_on_with_the_newer_connection() {
    spec!("MQTT5-3.1.2-5", "MQTT5-3.1.4-4", "MQTT311-3.1.4-3");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut old = broker.lasting(version, "a");
        old.subscribe(&[("a", QoS::AtLeastOnce)]);
        old.publish("a", "unacknowledged", QoS::AtLeastOnce);
        assert_eq!(old.expect_publish().text(), "unacknowledged");
        let mut new = broker.lasting(version, "a");
        let connack = new.connack().expect("it is connected");
        assert_eq!(connack.session_present, version != Version::V3_1);
        old.expect_refused(ReasonCode::SessionTakenOver);
        let again = new.receive();
        assert_eq!((again.text(), again.dup), ("unacknowledged", true));
        new.publish("a", "to the new one", QoS::AtLeastOnce);
        assert_eq!(new.receive().text(), "to the new one");
    }
}

#[test]
fn a_clean_start_takes_over_without_the_session() {
    spec!("MQTT5-3.1.2-4", "MQTT311-3.1.2-6", "MQTT5-3.1.4-4");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut old = broker.lasting(version, "a");
        old.subscribe(&[("a", QoS::AtLeastOnce)]);
        let mut new = broker.client(version, "a");
        assert!(!new.connack().expect("it is connected").session_present);
        old.expect_refused(ReasonCode::SessionTakenOver);
        new.publish("a", "x", QoS::AtLeastOnce);
        new.expect_nothing_before_pong();
        let ended = |event: &Event| matches!(event, Event::SessionEnded { .. });
        assert_eq!(broker.events().iter().filter(|event| ended(event)).count(), 1);
    }
}

#[test]
fn a_session_that_ends_with_its_connection_ends_by_take_over() {
    spec!("MQTT5-4.1.0-2", "MQTT311-3.1.2-6", "MQTT31-3.1-9");
    for version in VERSIONS {
        let broker = Broker::new();
        let mut old = broker.client(version, "a");
        old.subscribe(&[("a", QoS::AtMostOnce)]);
        let mut new = broker.lasting(version, "a");
        assert!(!new.connack().expect("it is connected").session_present);
        new.publish("a", "x", QoS::AtMostOnce);
        new.expect_nothing_before_pong();
    }
}

#[test]
fn who_is_not_authenticated_takes_nothing_over() {
    for version in VERSIONS {
        let broker = Broker::with(|settings| {
            settings.listeners[0].authentication = Authentication::Ask;
        });
        let mut owner = broker.client(version, "a");
        broker.hold();
        let mut thief = knock(&broker, &OwnedConnect::new(version, "a"));
        owner.expect_nothing_before_pong();
        let Effect::Authenticate { token, .. } = broker.asked() else { panic!("not asked who") };
        let outcome = Err(ReasonCode::NotAuthorized);
        broker.input(Input::Authenticated { token, outcome });
        thief.expect_connack_with(ReasonCode::NotAuthorized);
        thief.expect_closed();
        owner.expect_nothing_before_pong();
    }
}

#[test]
fn who_is_authenticated_last_owns_the_identifier() {
    spec!("MQTT5-3.1.4-3", "MQTT311-3.1.4-2");
    for version in VERSIONS {
        for later_first in [false, true] {
            let broker = Broker::with(|settings| {
                settings.listeners[0].authentication = Authentication::Ask;
            });
            broker.hold();
            let mut clients = [(); 2].map(|()| knock(&broker, &lasting(version, "a")));
            let mut tokens = [(); 2].map(|()| match broker.asked() {
                Effect::Authenticate { token, .. } => token,
                other => panic!("{other:?}"),
            });
            if later_first {
                clients.reverse();
                tokens.reverse();
            }
            for token in tokens {
                broker.input(Input::Authenticated { token, outcome: Ok(Principal::default()) });
            }
            let [mut first, mut last] = clients;
            first.expect_connack_with(ReasonCode::Success);
            first.expect_refused(ReasonCode::SessionTakenOver);
            let connack = last.expect_connack_with(ReasonCode::Success);
            assert_eq!(connack.session_present, version != Version::V3_1);
            last.expect_nothing_before_pong();
        }
    }
}

#[test]
fn a_lost_connection_that_still_waits_leaves_the_identifier_free() {
    for version in VERSIONS {
        for answered in 0..2 {
            let broker = asking();
            let waiting = knock(&broker, &lasting(version, "a"));
            (0..answered).for_each(|_| broker.answer());
            drop(waiting);
            // The answer comes for nobody.
            broker.answer();
            let mut next = knock(&broker, &lasting(version, "a"));
            while !broker.has_asked_nothing() {
                broker.answer();
            }
            next.expect_connack_with(ReasonCode::Success);
            next.expect_nothing_before_pong();
        }
    }
}

#[test]
fn who_waits_is_kicked_without_a_word_that_comes_before_its_connack() {
    spec!("MQTT5-3.14.0-1");
    let broker = asking();
    let mut waiting = knock(&broker, &lasting(Version::V5_0, "a"));
    broker.answer();
    let reason = ReasonCode::AdministrativeAction;
    broker.input(Input::Command(Command::Kick { client_id: "a".into(), reason }));
    let connack = waiting.expect_connack();
    assert!(connack.reason_code.is_error());
    waiting.expect_closed();
    broker.answer();
    assert_eq!(broker.look(|shard| shard.gauges().clients_connected), 0);
}

#[test]
fn a_will_is_nobodys_until_its_connack() {
    for answered in 0..2 {
        let broker = asking();
        let will = OwnedWill::new("will", "never valid");
        let waiting = knock(&broker, &lasting(Version::V5_0, "a").will(will));
        (0..answered).for_each(|_| broker.answer());
        drop(waiting);
        let published = |event: &Event| matches!(event, Event::WillPublished { .. });
        assert!(!broker.events().iter().any(published));
    }
}

/// What one step of [`explore`] does.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The next client connects.
    Connect,
    /// The question at this place is answered.
    Answer(usize),
    /// The oldest record that somebody waits for is durable.
    Keep,
    /// The connection of this client is lost.
    Lose(usize),
}

/// Plays one order of steps with clients of one identifier and checks each moment. Returns which
/// steps were possible at the end.
fn play(connects: &[OwnedConnect], steps: &[Step], losing: bool) -> Vec<Step> {
    let broker = asking();
    let mut clients: Vec<Option<Client>> = Vec::new();
    let mut questions = Vec::new();
    let mut owner: Option<ConnectionId> = None;
    // Which session the store holds, and how many records it does not have yet.
    let (mut stored, mut records) = (None, 0);
    for step in steps {
        match step {
            Step::Connect => clients.push(Some(knock(&broker, &connects[clients.len()]))),
            Step::Answer(at) => broker.input(questions.remove(*at)),
            Step::Keep => {
                broker.kept();
                records -= 1;
            }
            Step::Lose(at) => clients[*at] = None,
        }
        while !broker.has_asked_nothing() {
            match broker.asked() {
                Effect::Authenticate { token, .. } => {
                    let outcome = Ok(Principal::default());
                    questions.push(Input::Authenticated { token, outcome });
                }
                Effect::Persist { record, .. } => {
                    records += 1;
                    note(record, &mut stored);
                }
                other => panic!("{other:?}"),
            }
        }
        for event in broker.events() {
            match event {
                Event::Connected { connection, session_present, .. } => {
                    assert_eq!(owner.replace(connection), None, "{steps:?}");
                    let connect = &connects[connection.slot as usize];
                    assert!(!(connect.clean_start && session_present), "{steps:?}");
                }
                Event::Disconnected { connection, ended, .. } => {
                    assert_eq!(owner.take(), Some(connection), "{steps:?}");
                    match ended {
                        Ended::ByServer(Reason { code: ReasonCode::SessionTakenOver, .. }) => {}
                        Ended::ConnectionLost if losing => {}
                        other => panic!("{steps:?}: {other:?}"),
                    }
                }
                Event::Refused { reason, .. } => {
                    assert_eq!(reason.code, ReasonCode::SessionTakenOver);
                }
                _ => {}
            }
        }
        // The session that is held is the one that the store has, or has been told to have.
        let held = broker.look(|shard| shard.clients().next());
        if let Some(held) = held {
            assert_eq!(held.session_expiry_interval > 0, stored.is_some(), "{steps:?}");
        }
    }
    let mut possible: Vec<Step> = (0..questions.len()).map(Step::Answer).collect();
    possible.extend((records > 0).then_some(Step::Keep));
    if clients.len() < connects.len() {
        possible.push(Step::Connect);
    }
    if losing {
        let there = clients.iter().enumerate().filter(|(_, client)| client.is_some());
        possible.extend(there.map(|(at, _)| Step::Lose(at)));
    }
    if possible.is_empty() && !losing {
        let clients = clients.into_iter().flatten().collect();
        assert_eq!(standing(&broker, owner, clients), 1, "{steps:?}");
    }
    possible
}

/// What a store with this content makes of a record.
fn note(record: Record, stored: &mut Option<u64>) {
    match record {
        Record::SessionStarted(terms) => {
            assert!(stored.is_none_or(|name| name == terms.session), "one goes on as another");
            *stored = Some(terms.session);
        }
        Record::SessionEnded { session } => assert_eq!(stored.take(), Some(session)),
        other => panic!("{other:?}"),
    }
}

/// How many clients were let in and still are. The others were told nothing false.
fn standing(broker: &Broker, owner: Option<ConnectionId>, clients: Vec<Client>) -> usize {
    let owner = owner.expect("somebody is let in");
    assert_eq!(broker.look(|shard| shard.clients().count()), 1);
    let summary = broker.look(|shard| shard.clients().next()).expect("a session");
    assert_eq!(summary.connection, Some(owner));
    let mut standing = 0;
    for (slot, mut client) in clients.into_iter().enumerate() {
        if slot == owner.slot as usize {
            standing += 1;
            client.expect_connack_with(ReasonCode::Success);
            client.expect_nothing_before_pong();
            continue;
        }
        let connack = client.expect_connack();
        if connack.reason_code == ReasonCode::Success {
            client.expect_disconnect(ReasonCode::SessionTakenOver);
        }
        client.expect_closed();
    }
    standing
}

/// Every order in which these clients can connect, be lost, and the answers to them can come.
fn explore(connects: &[OwnedConnect], losing: bool) -> usize {
    let (mut orders, mut open) = (0, vec![Vec::new()]);
    while let Some(steps) = open.pop() {
        let possible = play(connects, &steps, losing);
        orders += usize::from(possible.is_empty());
        open.extend(possible.into_iter().map(|step| [&steps[..], &[step]].concat()));
    }
    orders
}

/// A session that stays, one that is gone on with and ends, and one that begins and ends.
fn kinds() -> [OwnedConnect; 3] {
    let connect = OwnedConnect::v5("a");
    [lasting(Version::V5_0, "a"), connect.clone().clean_start(false), connect]
}

#[test]
fn two_connections_never_own_one_identifier_in_whatever_order_answers_come() {
    spec!("MQTT5-3.1.4-3");
    for first in kinds() {
        for second in kinds() {
            let orders = explore(&[first.clone(), second], false);
            assert!(orders >= 2, "only {orders} orders");
        }
    }
}

#[test]
fn three_connections_never_own_one_identifier_in_whatever_order_answers_come() {
    let [stays, _, begins] = kinds();
    let orders = explore(&[stays.clone(), begins, stays], false);
    assert!(orders > 50, "only {orders} orders");
}

#[test]
fn connections_that_are_lost_at_any_moment_leave_what_the_store_has() {
    for first in kinds() {
        for second in kinds() {
            let orders = explore(&[first.clone(), second], true);
            assert!(orders > 20, "only {orders} orders");
        }
    }
}
