//! What servers and users say beside reason codes.

use noctule_client::{Outcome, QoS, ReasonCode, Remarks, SubscribeError};
use tokio::io::AsyncWriteExt;

use crate::house::{next, soon};
use crate::start::start;
use crate::wire::{CONNACK, Server, body};

/// The properties of an acknowledgement: the reason string `so`, and the user property `a`, `b`.
const SO: &[u8] = b"\x0c\x1f\0\x02so\x26\0\x01a\0\x01b";

fn is_so(remarks: Option<&Remarks>) -> bool {
    remarks.is_some_and(|remarks| {
        remarks.reason_string.as_deref() == Some("so")
            && remarks.user_properties.iter().eq([("a", "b")])
    })
}

#[tokio::test]
async fn both_sides_say_what_they_think() {
    let server = Server::new();
    let client = start(server.builder()).unwrap();
    let mut stream = server.accept_and_say(&CONNACK).await;
    let answering = async {
        for code in [0, 0x87] {
            let (_, subscribe) = body(&mut stream).await;
            let head = [0x90, 2 + 13 + 1, subscribe[0], subscribe[1]];
            stream.write_all(&[&head[..], SO, &[code]].concat()).await.unwrap();
        }
    };
    let asking = async {
        let inbox = client.subscribe("t").manual_acknowledgement(true).await.unwrap();
        assert!(is_so(inbox.remarks()));
        let error = client.subscribe("other").await.unwrap_err();
        let SubscribeError::Rejected { remarks, .. } = error else { panic!("{error}") };
        assert!(is_so(remarks.as_deref()));
        inbox
    };
    let (mut inbox, ()) = soon(async { tokio::join!(asking, answering) }).await;

    let receipt = client.publish("t", "").qos(QoS::AtLeastOnce).send().unwrap();
    let (first, publish) = body(&mut stream).await;
    assert_eq!(first, 0x32);
    let head = [0x40, 3 + 13, publish[3], publish[4], 0x97];
    stream.write_all(&[&head[..], SO].concat()).await.unwrap();
    let outcome = soon(receipt).await;
    assert!(matches!(outcome, Outcome::Rejected { reason: ReasonCode::QuotaExceeded, .. }));
    assert!(is_so(outcome.remarks()));
    assert!(outcome.to_string().ends_with("(so)"), "{outcome}");

    stream.write_all(b"\x32\x06\0\x01t\0\x07\0").await.unwrap();
    let mut remarks = Remarks::new("so");
    remarks.user_properties.push("a", "b").unwrap();
    let message = next(&mut inbox).await;
    message.answer(ReasonCode::NotAuthorized, remarks).unwrap();
    assert_eq!(body(&mut stream).await, (0x40, [&[0, 7, 0x87][..], SO].concat()));

    let ended = tokio::spawn(async move { inbox.unsubscribe().await });
    let (_, unsubscribe) = body(&mut stream).await;
    let head = [0xB0, 2 + 13 + 1, unsubscribe[0], unsubscribe[1]];
    stream.write_all(&[&head[..], SO, &[0x11]].concat()).await.unwrap();
    let ended = soon(ended).await.unwrap().unwrap();
    assert_eq!(*ended.codes, [ReasonCode::NoSubscriptionExisted]);
    assert!(is_so(ended.remarks.as_deref()));
}
