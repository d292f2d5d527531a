//! Handlers of routes: how they are stopped, one at a time and together.

use std::future::pending;
use std::time::Duration;

use noctule_client::{Client, QoS, RoutedMessage};
use tokio::sync::mpsc;

use crate::house::{House, soon};
use crate::start::connect;

/// Publishes, and waits until the server has it.
async fn publish(client: &Client, topic: &str) {
    let receipt = client.publish(topic, "").qos(QoS::AtLeastOnce).send().unwrap();
    assert!(soon(receipt).await.is_delivered());
}

/// Waits until the client has so many subscriptions.
async fn until_subscribed(house: &House, count: usize) {
    let subscriptions = async || house.broker().clients().await.unwrap()[0].subscriptions;
    soon(async {
        while subscriptions().await != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_handler_that_never_returns_is_stopped() {
    let house = House::new();
    // What comes for nobody is acknowledged at once.
    let builder = house.builder("c").settings(|it| it.unclaimed_kept_for = Duration::ZERO);
    let client = connect(builder).await.unwrap();
    let (begin, mut begun) = mpsc::unbounded_channel();
    let stuck = client.route("stuck").handle(move |_| {
        begin.send(()).unwrap();
        pending::<()>()
    });
    let stuck = soon(stuck).await.unwrap();
    publish(&client, "stuck").await;
    soon(begun.recv()).await.unwrap();
    publish(&client, "stuck").await;
    stuck.clone().stop();
    assert!(soon(stuck.finished()).await, "it has not panicked");
    // Whoever asks again is told again, and what it held is not left unanswered.
    assert!(soon(stuck.finished()).await);
    assert!(begun.recv().await.is_none(), "the handler is gone");
    soon(async {
        while house.broker().statistics().await.unwrap().1.in_flight_messages > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    until_subscribed(&house, 1).await;
}

#[tokio::test]
async fn a_handler_stops_itself_and_ends_its_subscription() {
    let house = House::new();
    let client = house.client("c").await;
    let (tell, mut told) = mpsc::unbounded_channel();
    let handler = client.route("n/{number}").handle(move |message: RoutedMessage| {
        let tell = tell.clone();
        async move {
            tell.send(message.capture("number").to_owned()).unwrap();
            if message.capture("number") == "2" {
                message.handler().unwrap().unsubscribe();
                pending::<()>().await;
            }
        }
    });
    let handler = soon(handler).await.unwrap();
    for topic in ["n/1", "n/2", "n/3"] {
        publish(&client, topic).await;
    }
    assert!(soon(handler.finished()).await);
    assert_eq!(
        (soon(told.recv()).await, soon(told.recv()).await),
        (Some("1".into()), Some("2".into()))
    );
    assert_eq!(soon(told.recv()).await, None);
    until_subscribed(&house, 0).await;
    // A second time does no harm, nor does it end what others ask for.
    let _again = soon(client.subscribe("n/+")).await.unwrap();
    handler.unsubscribe();
    publish(&client, "x").await;
    until_subscribed(&house, 1).await;
}

#[tokio::test]
async fn a_group_ends_with_all_that_is_in_it() {
    let house = House::new();
    let client = house.client("c").await;
    let plant = client.group("plant");
    let north = plant.group("north");
    let (tell, mut told) = mpsc::unbounded_channel();
    let handle = |name: &'static str| {
        let tell = tell.clone();
        move |message: RoutedMessage| {
            tell.send((name, message.topic().to_string())).unwrap();
            async {}
        }
    };
    let all = soon(plant.route("{rest=**}").handle(handle("all"))).await.unwrap();
    let alarms = soon(north.route("alarm").handle(handle("alarms"))).await.unwrap();
    let mut states = soon(north.route("state")).await.unwrap();
    let mut outside = soon(client.route("plant/#")).await.unwrap();
    until_subscribed(&house, 3).await;

    // The inner one, and nothing else.
    north.unsubscribe();
    assert!(soon(alarms.finished()).await);
    assert!(soon(states.recv()).await.is_none());
    until_subscribed(&house, 1).await;
    publish(&client, "plant/north/alarm").await;
    assert_eq!(soon(told.recv()).await, Some(("all", "plant/north/alarm".into())));
    assert!(soon(outside.recv()).await.is_some());

    // The group is as good as new, and the outer one ends what is in the inner one.
    let alarms = soon(north.route("alarm").handle(handle("alarms"))).await.unwrap();
    plant.stop();
    assert!(soon(all.finished()).await && soon(alarms.finished()).await);
    until_subscribed(&house, 2).await;
    publish(&client, "plant/north/alarm").await;
    assert!(soon(outside.recv()).await.is_some());
    assert!(told.try_recv().is_err());
    soon(outside.unsubscribe()).await.unwrap();
}
