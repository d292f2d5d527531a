//! The mock, as a unit test of a program with a client uses it.

use std::time::Duration;

use noctule_client::blocking::Client as BlockingClient;
use noctule_client::{Client, Doubt, Outcome, QoS, ReasonCode, State};
use noctule_testkit::{Mock, OwnedPublish};

use crate::failure_of;

/// The program under test: it raises an alarm, and says what became of that.
async fn raise_alarm(client: &Client) -> &'static str {
    let receipt = client.publish("alarm", "fire").qos(QoS::AtLeastOnce).send().unwrap();
    match receipt.await {
        Outcome::Delivered { .. } => "raised",
        Outcome::Rejected { reason: ReasonCode::QuotaExceeded, .. } => "too many alarms",
        Outcome::Rejected { .. } => "refused",
        _ => "perhaps",
    }
}

async fn connected(mock: &Mock) -> Client {
    Client::builder(mock.url()).connector(mock.connector()).connect().await.unwrap()
}

#[tokio::test]
async fn the_test_says_how_each_publication_ends() {
    let mock = Mock::new();
    let client = connected(&mock).await;
    let program = tokio::spawn({
        let client = client.clone();
        async move { [raise_alarm(&client).await, raise_alarm(&client).await] }
    });
    let alarm = mock.next_publish().await;
    assert_eq!((alarm.topic.as_str(), alarm.text()), ("alarm", "fire"));
    alarm.acknowledge();
    mock.next_publish_to("alarm").await.reject(ReasonCode::QuotaExceeded);
    assert_eq!(program.await.unwrap(), ["raised", "too many alarms"]);
    mock.assert_no_publish();
}

#[tokio::test]
async fn qos_2_is_played_to_its_end() {
    let mock = Mock::new();
    let client = connected(&mock).await;
    let receipt = client.publish("t", "once").qos(QoS::ExactlyOnce).send().unwrap();
    drop(mock.next_publish().await);
    assert!(receipt.await.is_delivered());
    let receipt = client.publish("t", "never").qos(QoS::ExactlyOnce).send().unwrap();
    mock.next_publish().await.reject(ReasonCode::NotAuthorized);
    assert!(matches!(receipt.await, Outcome::Rejected { .. }));
    drop(client.publish("t", "at most once").send().unwrap());
    assert_eq!(mock.next_publish().await.text(), "at most once");
}

#[tokio::test]
async fn a_publication_is_left_in_doubt() {
    let mock = Mock::new();
    let client = connected(&mock).await;
    let receipt = client.publish("t", "x").qos(QoS::ExactlyOnce).send().unwrap();
    mock.next_publish().await.leave_in_doubt();
    let report = client.shutdown(Duration::from_millis(20)).await;
    assert_eq!(report.unfinished.in_flight, 1);
    assert_eq!(receipt.await, Outcome::Indeterminate { why: Doubt::Closed });
}

#[tokio::test(start_paused = true)]
async fn a_publication_comes_again_when_its_connection_is_lost() {
    let mock = Mock::new();
    let client = connected(&mock).await;
    let receipt = client.publish("t", "x").qos(QoS::AtLeastOnce).send().unwrap();
    let publication = mock.next_publish().await;
    mock.next_connect().await;
    publication.lose_connection();
    mock.next_connect().within(Duration::from_secs(600)).await;
    mock.next_publish().await.acknowledge();
    assert!(receipt.await.is_delivered());
    assert_eq!(mock.broker().connections(), 2);
}

#[tokio::test]
async fn the_program_sees_what_is_delivered() {
    let mock = Mock::new();
    let client = connected(&mock).await;
    failure_of(|| mock.deliver("commands/stop", ""));
    let mut commands = client.subscribe("commands/+").manual_acknowledgement(true).await.unwrap();
    assert_eq!(mock.next_subscribe().await.subscriptions[0].0, "commands/+");
    let delivery = mock.deliver("commands/stop", "now");
    let command = commands.recv().await.unwrap();
    assert_eq!((&**command.topic(), command.text()), ("commands/stop", Some("now")));
    assert!(delivery.acknowledged().now().is_none());
    command.refuse(ReasonCode::NotAuthorized).unwrap();
    assert_eq!(delivery.acknowledged().await, ReasonCode::NotAuthorized);
    let publish = OwnedPublish::new("commands/go", "", QoS::ExactlyOnce).content_type("text/plain");
    mock.deliver_publish(&publish);
    assert_eq!(commands.recv().await.unwrap().properties().content_type, Some("text/plain"));
    commands.unsubscribe().await.unwrap();
    assert_eq!(mock.next_unsubscribe().await.filters, ["commands/+"]);
}

#[tokio::test]
async fn rules_go_before_the_test() {
    let mock = Mock::new();
    mock.broker().on_subscribe("secret").refuse(ReasonCode::NotAuthorized);
    mock.broker().on_publish("rpc").answer(|request| request.text().to_uppercase());
    let client = connected(&mock).await;
    assert!(client.subscribe("secret").await.is_err());
    assert_eq!(client.request("rpc", "question").await.unwrap().text(), Some("QUESTION"));
}

#[tokio::test]
async fn what_the_test_has_not_seen_is_told() {
    let mock = Mock::new();
    let client = connected(&mock).await;
    drop(client.publish("surprise", "!").send().unwrap());
    client.idle().await;
    assert!(failure_of(|| mock.assert_no_publish()).contains("surprise"));
    mock.lose_connection();
    assert!(mock.broker().next_close().await > 0);
    assert!(!matches!(client.state(), State::Stopped(_)));
}

#[test]
fn a_blocking_program_is_tested_over_a_socket() {
    let mock = Mock::listen();
    let client = BlockingClient::builder(mock.url()).connect().unwrap();
    let mut inbox = client.subscribe("inbox").send().unwrap();
    let receipt = client.publish("outbox", "1").qos(QoS::AtLeastOnce).send().unwrap();
    mock.next_publish().wait().reject(ReasonCode::QuotaExceeded);
    assert!(matches!(receipt.wait(), Outcome::Rejected { .. }));
    mock.deliver("inbox", "2");
    assert_eq!(inbox.recv().unwrap().text(), Some("2"));
}
