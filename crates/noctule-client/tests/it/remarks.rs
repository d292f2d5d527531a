//! What servers and users say beside reason codes.

use std::sync::{Arc, OnceLock};

use noctule_client::{
    Client, ClientEvent, Outcome, PacketType, QoS, ReasonCode, ReleaseStep, Remarks, RoutedMessage,
    SubscribeError, Verdict, Version,
};
use tokio::io::AsyncWriteExt;

use crate::house::{LONG, next, soon};
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

#[tokio::test]
async fn the_program_has_a_word_in_the_second_half_of_qos_2() {
    let server = Server::new();
    let own = Arc::new(OnceLock::<Client>::new());
    let client = Arc::clone(&own);
    let say = move |step: ReleaseStep| {
        // It may use the client, and nothing that it does harms anybody.
        let client = client.get().unwrap();
        assert!(client.state().is_connected());
        drop(client.publish("asked", "").send().unwrap());
        let is_pubrel = step.packet_type() == PacketType::Pubrel;
        assert_eq!(step.operation().is_some(), is_pubrel);
        assert!(step.packet_id().value() < 8, "it panics, as it should");
        let mut remarks = Remarks::new("so");
        remarks.user_properties.push("a", "b").unwrap();
        Some(remarks)
    };
    let client = start(server.builder().release_remarks(say)).unwrap();
    assert!(own.set(client.clone()).is_ok());
    let mut events = client.events();
    let mut stream = server.accept_and_say(&CONNACK).await;
    soon(client.connected()).await.unwrap();
    let receipt = client.publish("t", "").qos(QoS::ExactlyOnce).send().unwrap();
    let (_, publish) = body(&mut stream).await;
    let packet_id = [publish[3], publish[4]];
    stream.write_all(&[&[0x50, 2], &packet_id[..]].concat()).await.unwrap();
    assert_eq!(body(&mut stream).await.0, 0x30);
    let said = [&packet_id[..], &[0], SO].concat();
    assert_eq!(body(&mut stream).await, (0x62, said));
    let said = [&[0x70, 3 + 13], &packet_id[..], &[0], SO].concat();
    stream.write_all(&said).await.unwrap();
    assert!(is_so(soon(receipt).await.remarks()));

    let mut inbox = client.unclaimed();
    for (number, answer) in [(7, [&[0, 7, 0][..], SO].concat()), (8, vec![0, 8])] {
        stream.write_all(&[0x34, 6, 0, 1, b't', 0, number, 0]).await.unwrap();
        next(&mut inbox).await;
        assert_eq!(body(&mut stream).await, (0x50, vec![0, number]));
        stream.write_all(&[&[0x62, 3 + 13, 0, number, 0], SO].concat()).await.unwrap();
        let is_told = |event: &ClientEvent| match event {
            ClientEvent::Released { packet_id, remarks } => {
                packet_id.value() == u16::from(number) && is_so(Some(remarks))
            }
            _ => false,
        };
        assert!(soon(events.wait_for(is_told)).await.is_some());
        assert_eq!(body(&mut stream).await.0, 0x30);
        assert_eq!(body(&mut stream).await, (0x70, answer));
    }
    assert!(soon(client.shutdown(LONG)).await.is_clean());
}

#[tokio::test]
async fn a_handler_says_what_it_thinks() {
    for version in [Version::V3_1_1, Version::V5_0] {
        let is_v5 = version.is_v5();
        let server = Server::new();
        let client = start(server.builder().version(version)).unwrap();
        let mut stream =
            server.accept_and_say(if is_v5 { &CONNACK } else { b"\x20\x02\0\0" }).await;
        let handle = |message: RoutedMessage| async move {
            let mut remarks = Remarks::new("so");
            remarks.user_properties.push("a", "b").unwrap();
            match message.payload() {
                b"good" => Verdict::from(()).saying(remarks),
                b"bad" => Verdict::from(Err(ReasonCode::QuotaExceeded)).saying(remarks),
                // What nobody can say harms no message.
                _ => Verdict::from(()).saying(Remarks::new("x\0")),
            }
        };
        let asking = tokio::spawn(client.route("t").handling(handle));
        let (_, subscribe) = body(&mut stream).await;
        let suback: &[u8] = if is_v5 { &[0, 1] } else { &[1] };
        let head = [0x90, 2 + suback.len() as u8, subscribe[0], subscribe[1]];
        stream.write_all(&[&head[..], suback].concat()).await.unwrap();
        let (_handler, handling) = soon(asking).await.unwrap().unwrap();
        tokio::spawn(handling);
        let says = |reason: &[u8]| if is_v5 { [reason, SO].concat() } else { Vec::new() };
        for (payload, said) in [("good", says(&[0])), ("bad", says(&[0x97])), ("ugly", Vec::new())]
        {
            let properties: &[u8] = if is_v5 { &[0] } else { &[] };
            let body_of = [b"\0\x01t\0\x07", properties, payload.as_bytes()].concat();
            let packet = [&[0x32, body_of.len() as u8], &body_of[..]].concat();
            stream.write_all(&packet).await.unwrap();
            let expected = [&[0, 7][..], &said].concat();
            assert_eq!(body(&mut stream).await, (0x40, expected), "{payload}");
        }
    }
}
