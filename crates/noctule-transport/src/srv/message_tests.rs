//! What a question looks like, and what is read from answers to it.

use proptest::prelude::*;
use simple_dns::rdata::{CNAME, SRV};
use simple_dns::{Name, PacketFlag, ResourceRecord};

use super::*;

const NAME: &str = "_mqtt._tcp.plant.example";

fn query() -> Query<'static> {
    Query::new(0x1234, NAME).unwrap()
}

fn srv(owner: &'static str, port: u16) -> ResourceRecord<'static> {
    let target = Name::new("b1.plant.example").unwrap();
    let data = RData::SRV(SRV { priority: 1, weight: 2, port, target });
    ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, data)
}

fn alias(owner: &'static str, target: &'static str) -> ResourceRecord<'static> {
    let data = RData::CNAME(CNAME(Name::new(target).unwrap()));
    ResourceRecord::new(Name::new(owner).unwrap(), CLASS::IN, 60, data)
}

fn packet(records: Vec<ResourceRecord<'static>>) -> Vec<u8> {
    let mut packet = Packet::new_reply(0x1234);
    packet.set_flags(PacketFlag::RESPONSE);
    let (kind, class) = (QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN));
    packet.questions.push(Question::new(Name::new(NAME).unwrap(), kind, class, false));
    packet.answers = records;
    packet.build_bytes_vec_compressed().unwrap()
}

fn ports(records: Vec<ResourceRecord<'static>>) -> Vec<u16> {
    match query().read(&packet(records)) {
        Reply::Records(records) => records.into_iter().map(|record| record.port).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_question_asks_for_srv_records_and_wants_them_looked_up() {
    let mut expected = vec![0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0];
    expected.extend(b"\x05_mqtt\x04_tcp\x05plant\x07example\x00\x00\x21\x00\x01");
    assert_eq!(query().bytes, expected);
    let long = "x".repeat(64);
    assert!(matches!(Query::new(1, &long), Err(SrvError::Name { .. })));
    let long = "x.".repeat(130);
    assert!(matches!(Query::new(1, &long), Err(SrvError::Name { .. })));
}

#[test]
fn a_record_says_everything() {
    let expected =
        Record { priority: 1, weight: 2, port: 9, target: "b1.plant.example".to_owned() };
    let answer = packet(vec![srv("_MQTT._tcp.Plant.example", 9)]);
    assert_eq!(query().read(&answer), Reply::Records(vec![expected]));
}

#[test]
fn only_records_of_the_name_or_of_what_it_is_an_alias_for_count() {
    assert_eq!(ports(vec![srv("_mqtt._tcp.other.example", 1), srv(NAME, 2)]), [2]);
    let chain = vec![srv("c", 3), alias("b", "c"), alias(NAME, "b"), srv("d", 4), srv("c", 5)];
    assert_eq!(ports(chain), [3, 5]);
    assert_eq!(ports(vec![alias(NAME, "b"), alias("b", NAME), srv("c", 1)]), [0_u16; 0]);
}

#[test]
fn the_root_is_an_empty_target() {
    let mut record = srv(NAME, 0);
    let RData::SRV(data) = &mut record.rdata else { panic!() };
    data.target = Name::new(".").unwrap();
    let Reply::Records(records) = query().read(&packet(vec![record])) else { panic!() };
    assert_eq!(records[0].target, "");
}

#[test]
fn a_code_says_why_there_is_nothing() {
    let with = |code: u8| {
        let mut message = packet(vec![]);
        message[3] |= code;
        query().read(&message)
    };
    assert_eq!(with(0), Reply::Records(vec![]));
    assert_eq!(with(3), Reply::Records(vec![]));
    assert!(matches!(with(2), Reply::Failed(reason) if reason.ends_with("ServerFailure")));
    assert!(matches!(with(5), Reply::Failed(reason) if reason.ends_with("Refused")));
}

fn some_bytes() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), 0..600)
}

fn some_changes() -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..200_usize, any::<u8>()), 1..6)
}

proptest! {
    #[test]
    fn whatever_comes_is_read_without_a_panic(mut bytes in some_bytes()) {
        query().read(&bytes);
        // The same behind a header that is believed.
        bytes.splice(0..0, [0x12, 0x34, 0x81, 0x80, 0, 1, 0, 2, 0, 1, 0, 1]);
        query().read(&bytes);
    }

    #[test]
    fn a_change_of_some_bytes_does_no_harm(changes in some_changes()) {
        let mut message = packet(vec![alias(NAME, "b"), srv("b", 1), srv("b", 2)]);
        for (place, byte) in changes {
            if let Some(old) = message.get_mut(place) {
                *old = byte;
            }
        }
        query().read(&message);
    }
}
