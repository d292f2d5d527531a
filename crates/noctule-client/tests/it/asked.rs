//! Asking for subscriptions and for their end: in time, and only as long as somebody wants it.

use std::time::Duration;

use noctule_client::{
    Client, ClientEvent, ConnectError, DisconnectOptions, DisconnectRefused, Doubt, DropCause,
    OnOwnThread, QoS, ReasonCode, Remarks, RequestOutcome, SubscribeError, SubscriptionOptions,
    TimedOut, UnsubscribeError, UserProperties,
};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::timeout;

use crate::house::{House, next, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server, body, packet};

const SHORT: Duration = Duration::from_millis(100);
const SUBSCRIBE: u8 = 0x82;
const UNSUBSCRIBE: u8 = 0xA2;

async fn connected(server: &Server) -> (Client, TcpStream) {
    let client = start(server.builder()).unwrap();
    let stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    (client, stream)
}

/// The next packet, which is to be this one, about `t`. Its packet identifier.
async fn expect(stream: &mut TcpStream, packet_type: u8) -> [u8; 2] {
    let (head, body) = body(stream).await;
    assert_eq!(head, packet_type);
    assert!(body.windows(3).any(|window| window == b"\0\x01t"), "{body:?}");
    [body[0], body[1]]
}

/// Grants a subscription, or its end.
async fn answer(stream: &mut TcpStream, packet_type: u8, [high, low]: [u8; 2], code: u8) {
    stream.write_all(&[packet_type, 4, high, low, 0, code]).await.unwrap();
}

#[tokio::test]
async fn a_subscription_that_is_not_granted_in_time_is_taken_back() {
    let server = Server::new();
    let (client, stream) = connected(&server).await;
    let error = soon(client.subscribe("t").timeout(SHORT)).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Indeterminate(Doubt::TimedOut)), "{error}");
    expect_undone(client, server, stream).await;
}

#[tokio::test]
async fn a_subscription_that_nobody_waits_for_any_more_is_taken_back() {
    let server = Server::new();
    let (client, stream) = connected(&server).await;
    assert!(timeout(SHORT, client.subscribe("t").into_future()).await.is_err());
    expect_undone(client, server, stream).await;
}

#[tokio::test]
async fn a_subscription_that_was_started_and_is_dropped_is_taken_back() {
    let server = Server::new();
    let (client, stream) = connected(&server).await;
    let pending = client.subscribe("t").start();
    drop(pending);
    expect_undone(client, server, stream).await;
}

#[tokio::test]
async fn what_was_started_is_asked_for_before_anybody_waits() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let mut subscribing = client.subscribe("t").start();
    let asked = expect(&mut stream, SUBSCRIBE).await;
    assert!(subscribing.try_wait().is_none());
    assert_eq!(subscribing.wait_timeout(SHORT).unwrap_err(), TimedOut);
    answer(&mut stream, 0x90, asked, 0).await;
    let subscription = soon(&mut subscribing).await.unwrap();
    assert!(subscribing.try_wait().is_none(), "it is told once");
    let mut ending = subscription.unsubscribe().start();
    let asked = expect(&mut stream, UNSUBSCRIBE).await;
    assert!(ending.try_wait().is_none());
    answer(&mut stream, 0xB0, asked, 0x11).await;
    soon(client.idle()).await;
    assert_eq!(*ending.try_wait().unwrap().unwrap().codes, [ReasonCode::NoSubscriptionExisted]);
    // What nobody waits for any more goes on, if it is an end.
    drop(client.unsubscribe(&["t"]).start());
    expect(&mut stream, UNSUBSCRIBE).await;
    // What is wrong is known at once, and told like everything else.
    let wrong = client.subscribe("#/t").start().try_wait().unwrap().unwrap_err();
    assert!(matches!(wrong, SubscribeError::Filter { .. }), "{wrong}");
}

#[tokio::test]
async fn functions_are_called_when_requests_have_ended() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let (tell, mut told) = unbounded_channel();
    let (again, other) = (client.clone(), tell.clone());
    // From the client's own thread, too, the server can be asked and nobody waits.
    client.subscribe("t").start().on_complete(move |subscribed| {
        let subscription = subscribed.unwrap();
        let waited = again.subscribe("t/waited").start().wait().unwrap_err();
        assert!(matches!(waited, SubscribeError::OnOwnThread(OnOwnThread)), "{waited}");
        subscription.unsubscribe().start().on_complete(move |ended| {
            other.send(Ok(ended.unwrap().codes)).unwrap();
        });
    });
    let asked = expect(&mut stream, SUBSCRIBE).await;
    answer(&mut stream, 0x90, asked, 0).await;
    // Nobody can wait there, so it is taken back.
    assert_eq!(packet(&mut stream).await, SUBSCRIBE);
    assert_eq!(packet(&mut stream).await, UNSUBSCRIBE);
    assert!(told.try_recv().is_err());
    let asked = expect(&mut stream, UNSUBSCRIBE).await;
    answer(&mut stream, 0xB0, asked, 0).await;
    assert_eq!(*soon(told.recv()).await.unwrap().unwrap(), [ReasonCode::Success]);

    // What ends badly is told as well, and each function is called once.
    let late = tell.clone();
    client.subscribe("t").start().on_complete(move |it| tell.send(Err(it.unwrap_err())).unwrap());
    expect(&mut stream, SUBSCRIBE).await;
    soon(client.shutdown(Duration::ZERO)).await;
    let error = soon(told.recv()).await.unwrap().unwrap_err();
    assert!(matches!(error, SubscribeError::Indeterminate(_)), "{error}");
    client.subscribe("t").start().on_complete(move |it| late.send(Err(it.unwrap_err())).unwrap());
    let error = told.try_recv().unwrap().unwrap_err();
    assert!(matches!(error, SubscribeError::Refused(_)), "{error}");
    assert!(soon(told.recv()).await.is_none());
}

/// The server is told that nobody wants the subscription, even if it grants it late, and is not
/// asked for it again.
async fn expect_undone(client: Client, server: Server, mut stream: TcpStream) {
    let subscribe = expect(&mut stream, SUBSCRIBE).await;
    let unsubscribe = expect(&mut stream, UNSUBSCRIBE).await;
    answer(&mut stream, 0x90, subscribe, 0).await;
    answer(&mut stream, 0xB0, unsubscribe, 0).await;
    soon(client.idle()).await;
    drop(stream);
    let mut again = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    soon(client.shutdown(SHORT)).await;
    assert_eq!(packet(&mut again).await, 0xE0, "DISCONNECT, and nothing before it");
}

#[tokio::test]
async fn what_was_not_sent_is_not_sent_after_its_time() {
    let server = Server::new();
    let client = start(Client::builder("mqtt://127.0.0.1:1")).unwrap();
    let error = soon(client.subscribe("t").timeout(SHORT)).await.unwrap_err();
    assert!(matches!(error, SubscribeError::Dropped(DropCause::TimedOut)), "{error}");
    let error = soon(client.unsubscribe(&["t"]).timeout(SHORT)).await.unwrap_err();
    assert!(matches!(error, UnsubscribeError::Dropped(DropCause::TimedOut)), "{error}");
    let error = soon(client.connected_within(SHORT)).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(SHORT)), "{error}");
    drop(client);

    let client = start(server.builder()).unwrap();
    assert!(timeout(SHORT, client.subscribe("t").into_future()).await.is_err());
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected_within(SHORT * 50)).await.unwrap();
    soon(client.shutdown(SHORT)).await;
    assert_eq!(packet(&mut stream).await, 0xE0);
}

#[tokio::test]
async fn unsubscribing_goes_on_whether_anybody_waits_or_not() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let unsubscribing = client.unsubscribe(&["t"]).into_future();
    assert!(timeout(SHORT, unsubscribing).await.is_err());
    let asked = expect(&mut stream, UNSUBSCRIBE).await;
    answer(&mut stream, 0xB0, asked, 0).await;
    let error = soon(client.unsubscribe(&["t"]).timeout(SHORT)).await.unwrap_err();
    assert!(matches!(error, UnsubscribeError::Indeterminate(Doubt::TimedOut)), "{error}");
    expect(&mut stream, UNSUBSCRIBE).await;
}

#[tokio::test]
async fn a_subscription_ends_when_its_last_stream_unsubscribes() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let mut streams = Vec::new();
    // The last one is refused, which does not take the others' away.
    for code in [0, 0, 0, 0x87] {
        let answered = async {
            let asked = expect(&mut stream, SUBSCRIBE).await;
            answer(&mut stream, 0x90, asked, code).await;
        };
        let (subscription, ()) = tokio::join!(soon(client.subscribe("t")), answered);
        streams.extend(subscription);
    }
    assert_eq!(streams.len(), 3);
    drop(streams.pop());
    soon(streams.pop().unwrap().unsubscribe()).await.unwrap();
    // The server was not told, or it would be the next thing to be read.
    drop(client.publish("u", "").send().unwrap());
    assert_eq!(packet(&mut stream).await, 0x30);
    let ended = async {
        let asked = expect(&mut stream, UNSUBSCRIBE).await;
        answer(&mut stream, 0xB0, asked, 0).await;
    };
    let (unsubscribed, ()) = tokio::join!(soon(streams.pop().unwrap().unsubscribe()), ended);
    unsubscribed.unwrap();
}

#[tokio::test]
async fn a_stream_goes_on_when_another_one_of_the_same_filter_ends() {
    let house = House::new();
    let client = house.client("c").await;
    let one = soon(client.subscribe("t")).await.unwrap();
    let mut other = soon(client.subscribe("t")).await.unwrap();
    soon(one.unsubscribe()).await.unwrap();
    drop(client.publish("t", "x").send().unwrap());
    assert_eq!(next(&mut other).await.text(), Some("x"));
}

#[tokio::test]
async fn whoever_follows_is_told_what_was_asked_and_answered() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let mut events = client.events();
    let pending = client.subscribe("t").and("u").qos(QoS::AtLeastOnce).start();
    let [high, low] = expect(&mut stream, SUBSCRIBE).await;
    stream.write_all(&[0x90, 9, high, low, 4, 0x1F, 0, 1, b's', 1, 0x87]).await.unwrap();
    let codes: Box<[ReasonCode]> = [ReasonCode::GrantedQos1, ReasonCode::NotAuthorized].into();
    let remarks = Some(Box::new(Remarks::new("s")));
    let answered = RequestOutcome::Answered { codes, remarks };
    let Some(ClientEvent::Subscribed { subscriptions, outcome }) = soon(events.recv()).await else {
        panic!("nobody was told");
    };
    let asked: Vec<_> =
        subscriptions.iter().map(|it| (it.filter.as_str().to_owned(), it.options.qos)).collect();
    let qos = QoS::AtLeastOnce;
    assert_eq!((asked, outcome), (vec![("t".to_owned(), qos), ("u".to_owned(), qos)], answered));
    soon(pending).await.unwrap_err();
    // What was granted is taken back, which nobody waits for.
    let asked = expect(&mut stream, UNSUBSCRIBE).await;
    answer(&mut stream, 0xB0, asked, 0).await;
    let ended = soon(events.recv()).await;
    let Some(ClientEvent::Unsubscribed { filters, outcome }) = ended else { panic!("{ended:?}") };
    assert_eq!(filters.iter().map(|it| it.as_str().to_owned()).collect::<Vec<_>>(), ["t"]);
    assert!(outcome.is_granted());
    // What comes to nothing is told, too.
    let late = soon(client.subscribe("t").timeout(SHORT)).await.unwrap_err();
    assert!(matches!(late, SubscribeError::Indeterminate(_)), "{late}");
    let late = soon(events.recv()).await;
    let why = Doubt::TimedOut;
    let expected = RequestOutcome::Indeterminate { why };
    assert!(matches!(&late, Some(ClientEvent::Subscribed { outcome, .. }) if *outcome == expected));
}

#[tokio::test]
async fn each_filter_may_have_options_of_its_own() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let mut properties = UserProperties::new();
    properties.push("k", "v").unwrap();
    let options = SubscriptionOptions { no_local: true, ..SubscriptionOptions::default() };
    let subscribe = client.subscribe("t").qos(QoS::AtLeastOnce).and_with("u", options).and("v");
    let subscribe = subscribe.user_properties(properties.clone()).timeout(SHORT);
    let (result, (head, bytes)) = tokio::join!(soon(subscribe), body(&mut stream));
    assert!(result.is_err() && head == SUBSCRIBE);
    assert_eq!(bytes[2..], *b"\x07&\0\x01k\0\x01v\0\x01t\x01\0\x01u\x04\0\x01v\x01");
    // What was taken back comes first.
    assert_eq!(packet(&mut stream).await, UNSUBSCRIBE);
    let unsubscribe = client.unsubscribe(&["t"]).user_properties(properties).timeout(SHORT);
    let (result, (head, bytes)) = tokio::join!(soon(unsubscribe), body(&mut stream));
    assert!(result.is_err() && head == UNSUBSCRIBE);
    assert_eq!(bytes[2..], *b"\x07&\0\x01k\0\x01v\0\x01t");
}

#[tokio::test]
async fn a_client_may_say_why_it_ends() {
    let server = Server::new();
    let (client, mut stream) = connected(&server).await;
    let reason = ReasonCode::DisconnectWithWillMessage;
    let options = DisconnectOptions { reason, ..DisconnectOptions::default() };
    let raised = DisconnectOptions { session_expiry_interval: Some(1), ..options.clone() };
    let refused = soon(client.shutdown_with(SHORT, raised)).await.unwrap_err();
    assert_eq!(refused, DisconnectRefused::SessionExpiryFromZero);
    assert!(client.state().is_connected());
    assert!(soon(client.shutdown_with(SHORT, options)).await.unwrap().is_clean());
    let (head, bytes) = body(&mut stream).await;
    assert_eq!((head, bytes.first()), (0xE0, Some(&4)));
}
