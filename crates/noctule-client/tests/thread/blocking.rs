//! The blocking client: no future in sight.

use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Duration;

use noctule_broker::Broker;
use noctule_client::blocking::Client;
use noctule_client::transport::BoxError;
use noctule_client::transport::blocking::{Attempt, BoxedTransport, Connector, mio};
use noctule_client::{
    Acknowledged, AuthError, Authenticator, Backoff, ClientEvent, ConnectError, ConnectionEnd,
    Credentials, CredentialsFuture, CredentialsProvider, DisconnectOptions, DropCause, Incoming,
    NextAttempt, OnOwnThread, Origin, Outcome, QoS, QueueSettings, ReasonCode, ReconnectSettings,
    Remarks, RoutedMessage, Scram, ScramMechanism, State, StopReason, TimedOut,
};

const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(20);

#[test]
fn it_publishes_and_subscribes_without_a_runtime() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let client = Client::builder(format!("mqtt://{address}")).connect().unwrap();
    let mut inbox = client.subscribe("t").send().unwrap();
    assert_eq!(inbox.recv_timeout(SHORT).unwrap_err(), TimedOut);
    let publisher = client.clone();
    let receipts = thread::spawn(move || {
        let publish =
            |number: u32| publisher.publish("t", &number.to_string()).qos(QoS::AtLeastOnce).send();
        (0..1_000).map(|number| publish(number).unwrap()).collect::<Vec<_>>()
    });
    let texts: Vec<_> =
        inbox.by_ref().take(1_000).map(|message| message.text().unwrap().to_owned()).collect();
    assert_eq!(texts, (0..1_000).map(|number| number.to_string()).collect::<Vec<_>>());
    for receipt in receipts.join().unwrap() {
        assert!(receipt.wait().is_delivered());
    }
    let mut events = client.events();
    inbox.unsubscribe().send().unwrap();
    client.idle();
    assert!(client.shutdown(LONG).is_clean());
    assert!(events.any(|event| matches!(event, ClientEvent::Stopped { error: None })));
}

#[test]
fn it_subscribes_without_waiting_and_waits_later() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let client = Client::builder(url).start().unwrap();
    let pending = ["a", "b"].map(|filter| client.subscribe(filter).start());
    let [a, mut b] = pending.map(|pending| pending.wait().unwrap());
    let (tell, told) = mpsc::channel();
    // A handler does not wait either, if it does not want to.
    let again = client.clone();
    let handler = client.route("b").handle(move |_| {
        let tell = tell.clone();
        again.subscribe("c").start().on_complete(move |stream| tell.send(stream.unwrap()).unwrap());
    });
    handler.unwrap();
    drop(client.publish("b", "").send().unwrap());
    assert!(b.recv_timeout(LONG).unwrap().is_some());
    let mut c = told.recv_timeout(LONG).unwrap();
    drop(client.publish("c", "").send().unwrap());
    assert!(c.recv_timeout(LONG).unwrap().is_some());
    let ended = a.unsubscribe().start().wait_timeout(LONG).unwrap().unwrap();
    assert_eq!(*ended.codes, [ReasonCode::Success]);
    assert!(client.shutdown(LONG).is_clean());
}

#[test]
fn it_has_receipts_for_what_an_earlier_process_has_published() {
    let name = format!("noctule-client-{}-blocking-restored", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let open = |url: String| {
        let lifetime = Duration::from_secs(3_600);
        let builder = Client::builder(url).client_id("durable").session_expiry(lifetime);
        builder.store(&folder).start().unwrap()
    };
    let client = open("mqtt://127.0.0.1:1".to_owned());
    let age_max = Duration::from_secs(2);
    let old = client.publish("old", "x").qos(QoS::AtLeastOnce).age_max(age_max).send().unwrap();
    old.stored().wait().unwrap();
    for (topic, qos) in [("a", QoS::ExactlyOnce), ("$SYS/b", QoS::AtLeastOnce)] {
        let receipt = client.publish(topic, "x").qos(qos).send().unwrap();
        receipt.stored().wait().unwrap();
    }
    client.shutdown(Duration::ZERO);
    drop(client);
    // Its time is up before there is a server again.
    let client = open("mqtt://127.0.0.1:1".to_owned());
    let mut restored = client.restored().into_iter();
    let old = restored.next().unwrap();
    assert_eq!(&*old.topic, "old");
    assert_eq!(old.receipt.wait(), Outcome::Dropped { why: DropCause::Expired });
    // Dropping the others changes nothing.
    assert_eq!(restored.map(|it| it.topic).collect::<Vec<_>>(), ["a".into(), "$SYS/b".into()]);
    client.shutdown(Duration::ZERO);
    drop(client);

    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let client = open(format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap()));
    client.idle();
    let restored = client.restored();
    assert!(restored.len() == 2 && client.restored().is_empty());
    let [a, b] = restored.try_into().map(|both: [_; 2]| both.map(|it| it.receipt.wait())).unwrap();
    assert!(a.is_delivered(), "{a}");
    assert!(matches!(b, Outcome::Rejected { reason: ReasonCode::NotAuthorized, .. }), "{b}");
    client.shutdown(LONG);
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn nobody_waits_for_ever() {
    let settings = ReconnectSettings { includes_first: false, ..Default::default() };
    let nobody = Client::builder("mqtt://127.0.0.1:1").reconnect(settings);
    let error = nobody.connect().unwrap_err();
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    let client = Client::builder("mqtt://127.0.0.1:1").start().unwrap();
    let mut receipt = client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap();
    assert_eq!(receipt.wait_timeout(SHORT), Err(TimedOut));
    let report = client.shutdown(SHORT);
    assert_eq!(report.unfinished.queued, 1);
    assert!(!receipt.wait().is_delivered());
}

#[test]
fn it_routes_and_requests() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let server = Client::builder(&*url).connect().unwrap();
    let answering = server.clone();
    let handler = move |request: RoutedMessage| {
        let text = request.capture("name").to_uppercase();
        drop(answering.reply(&request, &text).unwrap().send().unwrap());
    };
    server.route("upper/{name}").handle(handler).unwrap();
    let client = Client::builder(&*url).connect().unwrap();
    assert_eq!(client.request("upper/noctule", "").send().unwrap().text(), Some("NOCTULE"));
    let error = client.request("nobody", "").timeout(SHORT).send().unwrap_err();
    assert!(error.to_string().starts_with("no answer came within"), "{error}");
}

#[test]
fn it_goes_offline_and_comes_back() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let client = Client::builder(format!("mqtt://{address}")).connect().unwrap();
    let mut inbox = client.subscribe("t").send().unwrap();
    client.disconnect();
    assert!(matches!(client.state(), State::Offline));
    assert_eq!(client.last_end().map(|end| end.origin()), Some(Origin::User));
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    client.start();
    assert!(receipt.wait().is_delivered());
    assert_eq!(inbox.recv_timeout(LONG).unwrap().unwrap().text(), Some("x"));
    let before = client.connected().unwrap();
    client.reconnect();
    assert!(!std::sync::Arc::ptr_eq(&before, &client.connected().unwrap()));
}

#[test]
fn a_handler_is_stopped_from_within_and_from_without() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let client = Client::builder(url).connect().unwrap();
    let publish = |topic: &str| {
        let receipt = client.publish(topic, "").qos(QoS::AtLeastOnce).send().unwrap();
        assert!(receipt.wait().is_delivered());
    };
    let (tell, told) = mpsc::channel();
    let own = tell.clone();
    let within = client.route("within/{n}").handle(move |message| {
        own.send(message.capture("n").to_owned()).unwrap();
        message.handler().unwrap().stop();
    });
    let within = within.unwrap();
    publish("within/1");
    publish("within/2");
    assert!(within.wait());
    // It waits for messages when it is stopped, and it is at work when it is stopped.
    let waiting = client.route("waiting").handle(|_| ()).unwrap();
    let (go_on, wait) = mpsc::channel();
    let group = client.group("group");
    let own = tell.clone();
    let working = group.route("{n}").handle(move |message| {
        own.send(message.capture("n").to_owned()).unwrap();
        wait.recv().unwrap();
        assert!(message.topic().is_empty(), "it panics, as it should");
    });
    let working = working.unwrap();
    publish("group/3");
    assert_eq!([told.recv().unwrap(), told.recv().unwrap()], ["1", "3"]);
    publish("group/4");
    let (one, other) = (waiting.clone(), group);
    let stopper = thread::spawn(move || {
        one.stop();
        other.unsubscribe();
    });
    stopper.join().unwrap();
    assert!(waiting.wait());
    go_on.send(()).unwrap();
    assert!(!working.wait(), "it has panicked");
    drop(tell);
    assert_eq!(told.iter().count(), 0, "nothing more was handled");
}

#[test]
fn it_pings_and_waits_for_stages() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let client = Client::builder(format!("mqtt://{address}")).connect().unwrap();
    assert!(client.ping().unwrap() < LONG);
    let inbox = client.subscribe("t").send().unwrap();
    let again = client.resubscribe().unwrap();
    assert!(again.len() == 1 && again[0].result.is_ok());
    let mut receipt = client.publish("t", "x").qos(QoS::ExactlyOnce).send().unwrap();
    assert_eq!(receipt.wait_received_timeout(LONG), Ok(true));
    assert!(receipt.wait_received());
    let (tell, told) = mpsc::channel();
    receipt.on_complete(move |outcome| tell.send(outcome).unwrap());
    assert!(told.recv_timeout(LONG).unwrap().is_delivered());
    drop(inbox);
    client.disconnect();
    assert!(client.ping().is_err());
}

#[test]
fn a_stream_is_narrowed_and_ends_without_a_runtime() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let client = Client::builder(url).connect().unwrap();
    let mut all = client.subscribe("a/#").manual_acknowledgement(true).send().unwrap();
    let mut some = all.narrowed("+/b").unwrap();
    for topic in ["a/b", "a/c"] {
        let receipt = client.publish(topic, "").qos(QoS::AtLeastOnce).send().unwrap();
        assert_eq!(receipt.wait().remarks(), None);
    }
    let [first, second] = [all.recv().unwrap(), all.recv().unwrap()];
    assert_eq!((&**first.topic(), &**second.topic()), ("a/b", "a/c"));
    let answer = |message: Incoming| message.answer(ReasonCode::QuotaExceeded, Remarks::new("no"));
    assert_eq!(answer(first).unwrap(), Some(Acknowledged::Waiting { holders: 1 }));
    assert_eq!(answer(second).unwrap(), Some(Acknowledged::Done));
    assert_eq!(some.recv().unwrap().acknowledge(), Some(Acknowledged::Done));
    assert_eq!(some.recv_timeout(SHORT).unwrap_err(), TimedOut);
    assert!(all.unsubscribe().send().unwrap().codes.is_empty(), "another stream uses it");
    assert_eq!(*some.unsubscribe().send().unwrap().codes, [ReasonCode::Success]);
}

/// P-01 of what other clients have suffered from: publishing where messages are handled never
/// stalls.
#[test]
fn a_handler_publishes_as_often_as_it_likes() {
    const MESSAGES: u32 = 20_000;
    const AT_ONCE: u32 = 64;
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let client = Client::builder(url).connect().unwrap();
    let (tell, told) = mpsc::channel();
    let (publisher, mut expected) = (client.clone(), 0_u32);
    let ping = |client: &Client, number: u32| {
        client.publish("ping", &number.to_be_bytes()).qos(QoS::AtLeastOnce).send().unwrap()
    };
    let handler = client.route("ping").handle(move |message| {
        assert_eq!(message.payload(), expected.to_be_bytes());
        // The first one lets loose all that are on their way at once, so that only one thread
        // decides about their order.
        let first = if expected == 0 { 1 } else { AT_ONCE };
        for number in first..AT_ONCE {
            drop(ping(&publisher, number));
        }
        let receipt = ping(&publisher, expected + AT_ONCE);
        expected += 1;
        if expected.is_multiple_of(MESSAGES / 100) {
            tell.send(receipt).unwrap();
        }
    });
    handler.unwrap();
    drop(ping(&client, 0));
    for _ in 0..100 {
        assert!(told.recv_timeout(LONG).unwrap().wait().is_delivered());
    }
}

/// Connects to an address that the URL does not name.
struct Elsewhere(SocketAddr);

impl Connector for Elsewhere {
    fn connect(&self, attempt: &mut Attempt<'_>) -> Result<BoxedTransport, BoxError> {
        assert!(attempt.deadline().is_some());
        let stream = TcpStream::connect(self.0)?;
        stream.set_nonblocking(true)?;
        Ok(Box::new(mio::net::TcpStream::from_std(stream)))
    }
}

#[test]
fn it_goes_a_way_of_the_programs_own() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let address = broker.local_addrs()[0].tcp().unwrap();
    let builder = Client::builder("mqtt://nowhere.invalid");
    let client = builder.blocking_connector(Elsewhere(address)).connect().unwrap();
    let receipt = client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(receipt.wait().is_delivered());
    client.reconnect();
    client.connected().unwrap();
}

#[test]
fn a_function_that_the_client_calls_is_told_that_it_cannot_wait_for_it() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let client = Client::builder(url).connect().unwrap();
    client.disconnect();
    let publish = |client: &Client| client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap();
    let (tell, told) = mpsc::channel();
    let own = client.clone();
    publish(&client).on_complete(move |_| {
        let sentences = [
            own.subscribe("u").send().unwrap_err().to_string(),
            own.unsubscribe(&["u"]).send().unwrap_err().to_string(),
            own.request("u", "").send().unwrap_err().to_string(),
            own.ping().unwrap_err().to_string(),
        ];
        tell.send(sentences.to_vec()).unwrap();
        // What is there already is not waited for.
        assert!(own.connected().is_ok());
        drop(publish(&own));
        own.idle();
        tell.send(Vec::new()).unwrap();
    });
    client.start();
    let sentences = told.recv_timeout(LONG).unwrap();
    assert!(sentences.iter().all(|it| *it == OnOwnThread.to_string()), "{sentences:?}");
    assert!(told.recv_timeout(LONG).is_err(), "it has panicked");
    let mut receipt = publish(&client);
    assert!(receipt.wait_timeout(LONG).unwrap().is_delivered(), "the client goes on");
    assert!(client.shutdown(LONG).is_clean());
}

/// Waits for the client that waits for it.
struct Impatient(mpsc::Receiver<Client>);

impl Authenticator for Impatient {
    fn method(&self) -> &str {
        "IMPATIENT"
    }

    fn start(&mut self) -> Result<Option<Vec<u8>>, AuthError> {
        let client = self.0.recv_timeout(LONG).unwrap();
        drop(client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap());
        client.idle();
        Ok(None)
    }

    fn challenge(&mut self, _: Option<&[u8]>) -> Result<Option<Vec<u8>>, AuthError> {
        Ok(None)
    }

    fn verify(&mut self, _: Option<&[u8]>) -> Result<(), AuthError> {
        Ok(())
    }
}

#[test]
fn a_method_that_waits_for_the_client_fails_and_is_told_why() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let (tell, told) = mpsc::channel();
    let client = Client::builder(url).authentication(Impatient(told)).start().unwrap();
    tell.send(client.clone()).unwrap();
    let error = client.connected().unwrap_err();
    assert!(error.to_string().contains(&OnOwnThread.to_string()), "{error}");
    let State::Stopped(reason) = client.state() else { panic!("{:?}", client.state()) };
    assert!(matches!(&*reason, StopReason::Ended(_)), "{reason}");
}

#[test]
fn a_reconnector_that_panics_leaves_it_to_the_plan() {
    let backoff = Backoff { base: SHORT, maximum: SHORT, ..Backoff::default() };
    let (tell, told) = mpsc::channel();
    let decide = move |_: &ConnectionEnd, failures: u32| -> NextAttempt {
        tell.send(failures).unwrap();
        std::panic::resume_unwind(Box::new("a panic that nobody writes about"));
    };
    let _client = Client::builder("mqtt://127.0.0.1:1")
        .reconnect(ReconnectSettings { backoff, ..ReconnectSettings::default() })
        .reconnector(decide)
        .start()
        .unwrap();
    assert_eq!([told.recv_timeout(LONG), told.recv_timeout(LONG)], [Ok(1), Ok(2)]);
}

/// Tells that it was asked, and blocks until it is told to go on.
struct Blocks(mpsc::Sender<()>, Mutex<mpsc::Receiver<()>>);

impl CredentialsProvider for Blocks {
    fn credentials(&self) -> CredentialsFuture<'_> {
        let _ = self.0.send(());
        let _ = self.1.lock().unwrap().recv();
        Box::pin(async { Ok(Credentials::default()) })
    }
}

#[test]
fn a_provider_of_credentials_that_blocks_keeps_nobody_waiting() {
    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let backoff = Backoff { base: SHORT, maximum: SHORT, ..Backoff::default() };
    let start = || {
        let ((tell, asked), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
        let client = Client::builder(&*url)
            .reconnect(ReconnectSettings { backoff, ..ReconnectSettings::default() })
            .credentials_provider(Blocks(tell, Mutex::new(wait)));
        (client, asked, go_on)
    };
    // It has its time, and no longer.
    let (client, asked, go_on) = start();
    let client = client.credentials_timeout(SHORT).start().unwrap();
    let mut events = client.events();
    let failed = |event: &ClientEvent| matches!(event, ClientEvent::Waiting { .. });
    assert!(events.by_ref().filter(failed).nth(2).is_some());
    asked.recv_timeout(LONG).unwrap();
    assert!(asked.try_recv().is_err(), "there are never two at once");
    // An answer that was given up is none: it is asked anew.
    go_on.send(()).unwrap();
    asked.recv_timeout(LONG).unwrap();
    drop(go_on);
    client.connected_within(LONG).unwrap();
    // Nor does the end wait for it.
    let (client, asked, go_on) = start();
    let client = client.start().unwrap();
    asked.recv_timeout(LONG).unwrap();
    let (tell, told) = mpsc::channel();
    thread::spawn(move || tell.send(client.shutdown(SHORT)).unwrap());
    assert!(told.recv_timeout(LONG).unwrap().is_clean());
    go_on.send(()).unwrap();
}

#[test]
fn what_a_task_awaits_a_thread_waits_for() {
    let (url, server) = crate::scram::server(ScramMechanism::Sha256, false);
    let scram = Scram::new(ScramMechanism::Sha256, "alice", "pencil");
    let proven = Client::builder(url).client_id("c").authentication(scram).connect().unwrap();
    proven.reauthenticate().unwrap();
    proven.shutdown(Duration::ZERO);
    assert_eq!(server.join().unwrap(), 2);

    let broker = Broker::builder().listen("127.0.0.1:0").start().unwrap();
    let url = format!("mqtt://{}", broker.local_addrs()[0].tcp().unwrap());
    let queue = QueueSettings { count_max: 1, ..QueueSettings::default() };
    let client = Client::builder(url).queue(queue).connect().unwrap();
    let mut events = client.events();
    client.connected_within(LONG).unwrap();
    let nonsense =
        DisconnectOptions { reason: ReasonCode::NoMatchingSubscribers, ..Default::default() };
    client.disconnect_with(&nonsense).unwrap_err();
    assert!(client.state().is_connected());
    client.disconnect_with(&DisconnectOptions::default()).unwrap();
    let is_end = |event: &ClientEvent| matches!(event, ClientEvent::Disconnected { .. });
    assert!(events.wait_for(LONG, is_end).unwrap().is_some());
    assert_eq!(events.wait_for(SHORT, is_end).unwrap_err(), TimedOut);
    let error = client.connected_within(SHORT).unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(_)), "{error}");

    // There is room when what waits has been sent.
    let publish = || client.publish("t", "").qos(QoS::AtLeastOnce);
    let first = publish().send().unwrap();
    publish().send().unwrap_err();
    let (own, (tell, told)) = (client.clone(), mpsc::channel());
    let waiting = thread::spawn(move || {
        tell.send(()).unwrap();
        own.publish("t", "").qos(QoS::AtLeastOnce).send_when_ready().unwrap().wait()
    });
    told.recv_timeout(LONG).unwrap();
    client.start();
    assert!(waiting.join().unwrap().is_delivered() && first.wait().is_delivered());

    // One request, several answers.
    let answering = client.clone();
    let answer = move |request: RoutedMessage| {
        for text in ["one", "two"] {
            drop(answering.reply(&request, text).unwrap().send_when_ready().unwrap());
        }
    };
    client.route("count").handle(answer).unwrap();
    let mut answers = client.request("count", "").stream().unwrap();
    let mut next = || answers.recv_timeout(LONG).unwrap().unwrap().text().unwrap().to_owned();
    assert_eq!([next(), next()], ["one", "two"]);
    client.shutdown_with(LONG, nonsense).unwrap_err();
    assert!(client.shutdown_with(LONG, DisconnectOptions::default()).unwrap().is_clean());
}
