//! Several streams over one subscription, and several subscriptions to one filter.

use std::time::Duration;

use noctule_client::{Acknowledged, Client, Incoming, QoS, ReasonCode, Subscription};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::house::{House, next, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server, body};

async fn texts<const COUNT: usize>(stream: &mut Subscription) -> [String; COUNT] {
    let mut texts = [const { String::new() }; COUNT];
    for text in &mut texts {
        *text = next(stream).await.topic().to_string();
    }
    texts
}

#[tokio::test]
async fn a_stream_is_narrowed_without_a_word_to_the_server() {
    let house = House::new();
    let client = house.client("c").await;
    let mut all = soon(client.subscribe("house/#").and("garden")).await.unwrap();
    let mut lights = all.narrowed("+/+/light").unwrap();
    let mut kitchen = all.narrowed("house/kitchen/#").unwrap();
    let mut kitchen_lights = kitchen.narrowed("house/+/light").unwrap();
    let mut other = soon(client.subscribe("other/x/light")).await.unwrap();
    assert!(all.narrowed("a/#/b").is_err());
    for topic in ["house/hall/light", "house/kitchen/door", "other/x/light", "house/kitchen/light"]
    {
        drop(client.publish(topic, "").send().unwrap());
    }
    assert_eq!(
        texts(&mut all).await,
        ["house/hall/light", "house/kitchen/door", "house/kitchen/light"]
    );
    // Not what only another subscription brings.
    assert_eq!(texts(&mut lights).await, ["house/hall/light", "house/kitchen/light"]);
    assert_eq!(texts(&mut kitchen).await, ["house/kitchen/door", "house/kitchen/light"]);
    assert_eq!(texts(&mut kitchen_lights).await, ["house/kitchen/light"]);
    assert_eq!(texts(&mut other).await, ["other/x/light"]);
    let subscriptions = async || house.broker().clients().await.unwrap()[0].subscriptions;
    assert_eq!(subscriptions().await, 3);

    // The subscription lasts as long as one of them uses it.
    soon(all.unsubscribe()).await.unwrap();
    soon(kitchen.unsubscribe()).await.unwrap();
    soon(kitchen_lights.unsubscribe()).await.unwrap();
    assert_eq!(subscriptions().await, 3);
    drop(client.publish("house/hall/light", "").send().unwrap());
    assert_eq!(texts(&mut lights).await, ["house/hall/light"]);
    soon(lights.unsubscribe()).await.unwrap();
    assert_eq!(subscriptions().await, 1);
}

/// C-05: whoever has a message has to acknowledge it.
#[tokio::test]
async fn a_message_of_narrowed_streams_is_acknowledged_when_all_have_done_so() {
    let server = Server::new();
    let builder = server.builder().settings(|it| it.unclaimed_kept_for = Duration::ZERO);
    let client = start(builder).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    let asking = client.subscribe("#").manual_acknowledgement(true);
    let (wide, _) = soon(async { tokio::join!(asking, granting(&mut stream, 2)) }).await;
    let wide = wide.unwrap();
    let mut one = wide.narrowed("a/+").unwrap();
    let mut two = wide.narrowed("+/b").unwrap();
    drop(wide);
    stream.write_all(b"\x32\x08\0\x03a/b\0\x01\0").await.unwrap();
    stream.write_all(b"\x32\x08\0\x03a/c\0\x02\0").await.unwrap();
    let [first, second] = [next(&mut one).await, next(&mut one).await];
    let shared = next(&mut two).await;
    assert_eq!(second.acknowledge(), Some(Acknowledged::Done));
    assert_eq!(first.acknowledge(), Some(Acknowledged::Waiting { holders: 1 }));
    let refused = shared.refuse(ReasonCode::QuotaExceeded).unwrap();
    assert_eq!(refused, Some(Acknowledged::Done));
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 1, 0x97]));
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 2]));
    // One that no stream wants is acknowledged all the same.
    stream.write_all(b"\x32\x06\0\x01x\0\x03\0").await.unwrap();
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 3]));
}

/// The server reads a SUBSCRIBE to one filter and grants it. The options of the subscription.
async fn granting(stream: &mut TcpStream, code: u8) -> u8 {
    let (first, subscribe) = body(stream).await;
    assert_eq!(first, 0x82);
    stream.write_all(&[0x90, 4, subscribe[0], subscribe[1], 0, code]).await.unwrap();
    *subscribe.last().unwrap()
}

async fn subscribed(client: &Client, stream: &mut TcpStream, qos: QoS) -> (Subscription, u8) {
    let subscribe = client.subscribe("t").qos(qos);
    let both = async { tokio::join!(subscribe, granting(stream, qos as u8)) };
    let (subscription, options) = soon(both).await;
    (subscription.unwrap(), options)
}

/// The server does what the newest stream has asked for, and all streams get what it sends; when
/// the newest has ended, the server does what the one before it has asked for.
#[tokio::test]
async fn of_two_streams_on_one_filter_the_newest_tells_the_server() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    let (mut high, options) = subscribed(&client, &mut stream, QoS::ExactlyOnce).await;
    assert_eq!(options, 0x02);
    let (mut low, options) = subscribed(&client, &mut stream, QoS::AtMostOnce).await;
    assert_eq!(options, 0x00);
    stream.write_all(b"\x30\x04\0\x01t\0").await.unwrap();
    let of = |message: &Incoming| message.qos();
    assert_eq!([of(&next(&mut high).await), of(&next(&mut low).await)], [QoS::AtMostOnce; 2]);

    // Back to what the older one wants, without what is retained a second time.
    let ended = low.unsubscribe();
    let ((), options) = soon(async {
        tokio::join!(async { ended.await.map(drop).unwrap() }, granting(&mut stream, 2))
    })
    .await;
    assert_eq!(options, 0x02 | 0x10);
    stream.write_all(b"\x32\x06\0\x01t\0\x01\0").await.unwrap();
    assert_eq!(of(&next(&mut high).await), QoS::AtLeastOnce);
    assert_eq!(body(&mut stream).await, (0x40, vec![0, 1]));

    // One that is not the newest ends without a word, and so does one that wanted the same.
    let (newest, _) = subscribed(&client, &mut stream, QoS::AtLeastOnce).await;
    let (same, _) = subscribed(&client, &mut stream, QoS::AtLeastOnce).await;
    soon(high.unsubscribe()).await.unwrap();
    soon(same.unsubscribe()).await.unwrap();
    let ended = tokio::spawn(async move { newest.unsubscribe().await });
    let (first, unsubscribe) = body(&mut stream).await;
    assert_eq!(first, 0xA2);
    stream.write_all(&[0xB0, 4, unsubscribe[0], unsubscribe[1], 0, 0]).await.unwrap();
    soon(ended).await.unwrap().unwrap();
}
