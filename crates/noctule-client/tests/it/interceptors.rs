//! Interceptors: what they see, change, refuse and filter out.

use std::error::Error;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, OnceLock};

use noctule_client::{
    Client, ClientEvent, Counter, Draft, Figures, Interceptor, Message, Passage, PublishError, QoS,
    ReasonCode, RequestOutcome, SubscribeDraft, SubscribeError, SubscriptionStatus, TopicName,
    UnsubscribeDraft, UnsubscribeError, Version,
};
use tokio::sync::mpsc;

use crate::house::{House, next, soon};
use crate::start::{connect, start};
use crate::wire::{CONNACK, Server, body};

type Refusal = Box<dyn Error + Send + Sync>;

/// Puts its name behind every payload that leaves, and behind every one that arrives.
struct Signing(&'static str);

impl Interceptor for Signing {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Refusal> {
        let signed = [message.payload(), b">", self.0.as_bytes()].concat();
        message.set_payload(signed);
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        let signed = [message.payload(), b"<", self.0.as_bytes()].concat();
        message.set_payload(signed);
        Passage::Passed
    }
}

#[tokio::test]
async fn several_change_a_message_one_after_the_other() {
    let house = House::new();
    let builder = house.builder("c").interceptor(Signing("a")).interceptor(Signing("b"));
    let client = connect(builder).await.unwrap();
    let plain = house.client("plain").await;
    let mut seen = soon(plain.subscribe("t")).await.unwrap();
    let mut inbox = soon(client.subscribe("t")).await.unwrap();
    let mut route = soon(client.route("{topic}")).await.unwrap();
    drop(client.publish("t", "x").send().unwrap());
    assert_eq!(next(&mut seen).await.text(), Some("x>a>b"), "on the wire");
    assert_eq!(next(&mut inbox).await.text(), Some("x>a>b<b<a"));
    assert_eq!(soon(route.recv()).await.unwrap().text(), Some("x>a>b<b<a"));
    drop(soon(client.publish("t", "y").send_when_ready()).await.unwrap());
    assert_eq!(next(&mut seen).await.text(), Some("y>a>b"));
    let taken = async {
        loop {
            match inbox.try_recv() {
                Some(message) => break message,
                None => tokio::task::yield_now().await,
            }
        }
    };
    assert_eq!(soon(taken).await.text(), Some("y>a>b<b<a"));
}

/// Changes whatever can be changed.
struct Rewriting;

impl Interceptor for Rewriting {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Refusal> {
        assert!(message.set_topic("a/#").is_err());
        message.set_topic(format!("moved/{}", message.topic()))?;
        message.set_qos(QoS::AtLeastOnce);
        message.set_retain(true);
        if message.version().is_v5() {
            message.add_user_property("traceparent", "00-1-2-00")?;
            message.set_content_type(Some("text/plain".to_owned()));
            message.set_correlation_data(Some(b"7".to_vec()));
            message.set_message_expiry_interval(Some(60));
            message.set_payload_format_indicator(Some(true));
            assert!(message.set_response_topic(Some("a/+".to_owned())).is_err());
            message.set_response_topic(Some("answers".to_owned()))?;
        }
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        let before = message.clone();
        let mut properties = before.properties();
        properties.content_type = Some("text/html");
        message.set_properties(&properties);
        message.set_topic(TopicName::new("seen").unwrap());
        Passage::Passed
    }
}

#[tokio::test]
async fn everything_about_a_message_can_be_changed() {
    let house = House::new();
    for version in [Version::V3_1_1, Version::V5_0] {
        let builder = house.builder("c").interceptor(Rewriting).version(version);
        let client = connect(builder).await.unwrap();
        let plain = house.client("plain").await;
        let receipt = client.publish("t", "x").send().unwrap();
        assert!(soon(receipt).await.is_delivered());
        let mut seen = soon(plain.subscribe("moved/t")).await.unwrap();
        let message = next(&mut seen).await;
        assert!(message.retain() && message.qos() == QoS::AtLeastOnce);
        let properties = message.properties();
        let pairs: Vec<_> = properties.user_properties.iter().collect();
        if version.is_v5() {
            assert_eq!(pairs, [("traceparent", "00-1-2-00")]);
            assert_eq!(properties.content_type, Some("text/plain"));
            assert_eq!(properties.correlation_data, Some(&b"7"[..]));
            assert_eq!(properties.payload_format_indicator, Some(true));
            assert_eq!(properties.response_topic, TopicName::new("answers").ok());
            assert!(message.message_expiry_interval().is_some());
        } else {
            assert_eq!(pairs, []);
        }
        let mut inbox = soon(client.subscribe("moved/t")).await.unwrap();
        let message = next(&mut inbox).await;
        assert_eq!((&**message.topic(), message.text()), ("seen", Some("x")));
        let properties = message.properties();
        assert_eq!(properties.content_type, Some("text/html"));
        assert_eq!(properties.user_properties.len(), pairs.len());
    }
}

/// Lets nothing pass that is secret.
struct Censor;

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0:?} is secret")]
struct Secret(String);

impl Interceptor for Censor {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Refusal> {
        if message.payload() == b"secret" {
            return Err(Secret(message.topic().to_owned()).into());
        }
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        match message.payload() {
            b"dull" => Passage::FilteredOut,
            _ => Passage::Passed,
        }
    }
}

#[tokio::test]
async fn what_is_refused_is_not_accepted_and_its_sender_is_told_why() {
    let house = House::new();
    let figures = Figures::new();
    let builder = house.builder("c").interceptor(Censor).metrics(figures.clone());
    let client = connect(builder).await.unwrap();
    let refused = client.publish("t", "secret").qos(QoS::AtLeastOnce).send().unwrap_err();
    assert_eq!(refused.to_string(), "an interceptor refused the message: \"t\" is secret");
    let PublishError::Intercepted(reason) = refused else { panic!("{refused}") };
    assert_eq!(reason.downcast_ref(), Some(&Secret("t".to_owned())));
    let refused = soon(client.publish("t", "secret").send_when_ready()).await;
    assert!(matches!(refused, Err(PublishError::Intercepted(_))));
    assert_eq!(figures.count(Counter::PublicationsAccepted), 0);
    assert_eq!(figures.count(Counter::PublicationsRefused), 2);
}

#[tokio::test]
async fn what_is_filtered_out_is_acknowledged_and_seen_by_nobody() {
    let house = House::new();
    let figures = Figures::new();
    let builder = house.builder("c").interceptor(Censor).metrics(figures.clone());
    let client = connect(builder).await.unwrap();
    for is_manual in [false, true] {
        let inbox = client.subscribe("t").manual_acknowledgement(is_manual);
        let mut inbox = soon(inbox).await.unwrap();
        for _ in 0..200 {
            drop(client.publish("t", "dull").qos(QoS::AtLeastOnce).send().unwrap());
        }
        drop(client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap());
        let message = next(&mut inbox).await;
        assert_eq!(message.text(), Some("x"));
        message.acknowledge();
        let acknowledged = async {
            while house.broker().statistics().await.unwrap().1.in_flight_messages > 0 {
                tokio::task::yield_now().await;
            }
        };
        soon(acknowledged).await;
        assert!(inbox.try_recv().is_none());
    }
    assert_eq!(figures.count(Counter::MessagesFiltered), 400);
}

/// Fails at what is bad, both ways.
struct Failing;

impl Interceptor for Failing {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Refusal> {
        match message.payload() {
            b"bad way out" => resume_unwind(Box::new("outgoing")),
            _ => Ok(()),
        }
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        match message.payload() {
            b"bad way in" => resume_unwind(Box::new("incoming")),
            _ => Passage::Passed,
        }
    }
}

#[tokio::test]
async fn a_panic_is_its_callers_and_the_client_goes_on() {
    let house = House::new();
    let client = connect(house.builder("c").interceptor(Failing)).await.unwrap();
    let mut inbox = soon(client.subscribe("t").manual_acknowledgement(true)).await.unwrap();
    let publish = || client.publish("t", "bad way out").send();
    assert!(catch_unwind(AssertUnwindSafe(publish)).is_err());
    for payload in ["bad way in", "x"] {
        drop(client.publish("t", payload).qos(QoS::AtLeastOnce).send().unwrap());
    }
    while inbox.waiting() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(catch_unwind(AssertUnwindSafe(|| inbox.try_recv())).is_err());
    let message = next(&mut inbox).await;
    assert_eq!(message.text(), Some("x"));
    message.acknowledge();
    // The one that nobody has seen does not hold up the other.
    let acknowledged = async {
        while house.broker().statistics().await.unwrap().1.in_flight_messages > 0 {
            tokio::task::yield_now().await;
        }
    };
    soon(acknowledged).await;
    assert!(client.state().is_connected());
}

/// Calls the client from inside.
#[derive(Default)]
struct Calling {
    client: OnceLock<Client>,
    log: Mutex<Vec<String>>,
}

impl Interceptor for Calling {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Refusal> {
        if let Some(client) = self.client.get().filter(|_| message.topic() != "copy") {
            drop(client.publish("copy", message.payload()).send()?);
        }
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        let is_connected = self.client.get().is_some_and(|client| client.state().is_connected());
        self.log.lock().unwrap().push(format!("{} {is_connected}", message.topic()));
        Passage::Passed
    }
}

#[tokio::test]
async fn an_interceptor_may_call_the_client_and_handlers_pass_it() {
    let house = House::new();
    let calling = Arc::new(Calling::default());
    let client = connect(house.builder("c").interceptor(Arc::clone(&calling))).await.unwrap();
    assert!(calling.client.set(client.clone()).is_ok());
    let (handled, mut done) = mpsc::unbounded_channel();
    let handler = client.route("{topic}").handle(move |message| {
        handled.send(message.capture("topic").to_owned()).unwrap();
        async {}
    });
    soon(handler).await.unwrap();
    drop(client.publish("t", "x").send().unwrap());
    assert_eq!(soon(done.recv()).await.unwrap(), "copy");
    assert_eq!(soon(done.recv()).await.unwrap(), "t");
    assert_eq!(*calling.log.lock().unwrap(), ["copy true", "t true"]);
}

#[tokio::test]
async fn requests_and_their_answers_pass_too() {
    let house = House::new();
    let client = connect(house.builder("c").interceptor(Signing("a"))).await.unwrap();
    let plain = house.client("plain").await;
    let mut questions = soon(plain.subscribe("question")).await.unwrap();
    let answering = async {
        let question = next(&mut questions).await;
        assert_eq!(question.text(), Some("why>a"));
        drop(plain.reply(&question, "because").unwrap().send().unwrap());
    };
    let (answer, ()) =
        soon(async { tokio::join!(client.request("question", "why"), answering) }).await;
    assert_eq!(answer.unwrap().text(), Some("because<a"));
}

/// Has all topics of the program below one of its own, on the wire only.
struct Below(&'static str);

impl Interceptor for Below {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Refusal> {
        Ok(message.set_topic(format!("{}/{}", self.0, message.topic()))?)
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        let topic = message.topic().strip_prefix(self.0).and_then(|rest| rest.strip_prefix('/'));
        let Some(topic) = topic.map(str::to_owned) else { return Passage::FilteredOut };
        message.set_topic(TopicName::new(&topic).unwrap());
        Passage::Passed
    }

    fn subscribing(&self, request: &mut SubscribeDraft) -> Result<(), Refusal> {
        for (filter, _) in request.subscriptions_mut() {
            *filter = format!("{}/{filter}", self.0);
        }
        Ok(())
    }

    fn unsubscribing(&self, request: &mut UnsubscribeDraft) -> Result<(), Refusal> {
        for filter in request.filters_mut() {
            *filter = format!("{}/{filter}", self.0);
        }
        Ok(())
    }
}

#[tokio::test]
async fn topics_and_filters_may_have_other_names_on_the_wire() {
    let house = House::new();
    let builder = house.builder("c").interceptor(Below("b")).interceptor(Below("a"));
    let client = connect(builder).await.unwrap();
    let plain = house.client("plain").await;
    let mut seen = soon(plain.subscribe("a/b/#")).await.unwrap();
    let mut events = client.events();
    let mut inbox = soon(client.subscribe("t").and("u").and("t")).await.unwrap();
    let mut route = soon(client.route("{topic}")).await.unwrap();
    drop(client.publish("t", "x").send().unwrap());
    assert_eq!(&**next(&mut seen).await.topic(), "a/b/t");
    assert_eq!(&**next(&mut inbox).await.topic(), "t");
    assert_eq!(soon(route.recv()).await.unwrap().capture("topic"), "t");
    assert_eq!(inbox.filters(), ["t", "u", "t"]);
    assert_ne!(client.subscription_status("a/b/u"), SubscriptionStatus::None);
    // Whoever ends, ends what the server has.
    let ended = soon(inbox.unsubscribe()).await.unwrap();
    assert_eq!(*ended.codes, [ReasonCode::Success; 2]);
    let ended = soon(route.unsubscribe()).await.unwrap();
    assert_eq!(*ended.codes, [ReasonCode::Success]);
    let handled = |_: noctule_client::RoutedMessage| async {};
    let (handler, _handling) = soon(client.route("{topic}").handling(handled)).await.unwrap();
    assert_ne!(client.subscription_status("a/b/+"), SubscriptionStatus::None);
    handler.unsubscribe();
    assert_eq!(client.subscription_status("a/b/+"), SubscriptionStatus::None);
    soon(client.subscribe("v")).await.unwrap();
    let ended = soon(client.unsubscribe(&["v", "w"])).await.unwrap();
    let codes = [ReasonCode::Success, ReasonCode::NoSubscriptionExisted];
    assert_eq!(*ended.codes, codes);
    let is_end = |event: &ClientEvent| match event {
        ClientEvent::Unsubscribed { filters, outcome } => {
            let answer = RequestOutcome::Answered { codes: codes.into(), remarks: None };
            filters.iter().map(|it| it.as_str().to_owned()).eq(["a/b/v", "a/b/w"])
                && *outcome == answer
        }
        _ => false,
    };
    assert!(soon(events.wait_for(is_end)).await.is_some());
}

/// Lets nobody subscribe to what is secret or unsubscribe from what is needed, and says to all
/// servers who asks.
struct Clerk;

impl Interceptor for Clerk {
    fn subscribing(&self, request: &mut SubscribeDraft) -> Result<(), Refusal> {
        if request.subscriptions().any(|(filter, _)| filter == "secret") {
            return Err(Secret("secret".to_owned()).into());
        }
        assert_eq!((request.identifier(), request.version()), (Some(7), Version::V5_0));
        request.set_identifier(Some(8));
        for (_, options) in request.subscriptions_mut() {
            options.no_local = true;
        }
        Ok(request.add_user_property("k", "v")?)
    }

    fn unsubscribing(&self, request: &mut UnsubscribeDraft) -> Result<(), Refusal> {
        if request.filters().any(|filter| filter == "needed") {
            return Err(Secret("needed".to_owned()).into());
        }
        Ok(request.add_user_property("k", "v")?)
    }
}

#[tokio::test]
async fn what_is_asked_about_subscriptions_is_changed_and_refused() {
    let server = Server::new();
    let client = start(server.builder().interceptor(Arc::new(Clerk))).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let refused = soon(client.subscribe("t").and("secret")).await.unwrap_err();
    let text = "an interceptor refused the subscription: \"secret\" is secret";
    assert_eq!(refused.to_string(), text);
    let SubscribeError::Intercepted(reason) = refused else { panic!("{refused}") };
    assert_eq!(reason.downcast_ref(), Some(&Secret("secret".to_owned())));
    let refused = soon(client.unsubscribe(&["t", "needed"])).await.unwrap_err();
    assert!(matches!(refused, UnsubscribeError::Intercepted(_)), "{refused}");
    // Nothing has left before this.
    let pending = client.subscribe("t").identifier(7).qos(QoS::AtLeastOnce).start();
    let (head, bytes) = body(&mut stream).await;
    assert_eq!((head, &bytes[2..]), (0x82, &b"\x09\x0b\x08&\0\x01k\0\x01v\0\x01t\x05"[..]));
    drop(pending);
    // What is taken back has passed before.
    let (head, bytes) = body(&mut stream).await;
    assert_eq!((head, &bytes[2..]), (0xA2, &b"\0\0\x01t"[..]));
    let _ending = client.unsubscribe(&["t"]).start();
    let (head, bytes) = body(&mut stream).await;
    assert_eq!((head, &bytes[2..]), (0xA2, &b"\x07&\0\x01k\0\x01v\0\x01t"[..]));
}

/// Chooses the only alias for long topics, and asks the client something meanwhile.
struct Shortening(OnceLock<Client>);

#[tokio::test]
async fn the_program_chooses_aliases_and_may_use_the_client_meanwhile() {
    let house = House::new();
    let shortening = Arc::new(Shortening(OnceLock::new()));
    let resolver = Arc::clone(&shortening);
    let resolver = move |topic: &str| {
        let _ = resolver.0.get().map(|client| client.state());
        (topic.len() > 4).then_some(1)
    };
    let lines = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&lines);
    let log = move |line: &noctule_client::PacketLine<'_>| {
        noted.lock().unwrap().push(line.to_string());
    };
    let builder = house.builder("c").alias_resolver(resolver).packet_log(log);
    let client = connect(builder).await.unwrap();
    assert!(shortening.0.set(client.clone()).is_ok());
    for topic in ["long/1", "long/1", "t", "long/2"] {
        let receipt = client.publish(topic, "").qos(QoS::AtLeastOnce).send().unwrap();
        assert!(soon(receipt).await.is_delivered());
    }
    let lines = lines.lock().unwrap();
    let sent: Vec<_> = lines.iter().filter(|line| line.starts_with("sent PUBLISH")).collect();
    let aliases = sent.iter().map(|line| line.contains("alias 1"));
    assert_eq!(aliases.collect::<Vec<_>>(), [true, true, false, true]);
    assert!(!sent[1].contains("long") && sent[3].contains("long/2"));
}
