//! The question for SRV records, and what an answer says. An answer is believed only as far as it
//! belongs to the question.

use simple_dns::rdata::RData;
use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE, header_buffer,
};

use super::error::SrvError;

/// The fewest bytes of a question and of a record: the root's name, and what has a fixed length.
const QUESTION_BYTES_MIN: usize = 5;
const RECORD_BYTES_MIN: usize = 11;
const HEADER_BYTES: usize = 12;

/// A question, ready to be sent.
#[derive(Debug)]
pub(super) struct Query<'a> {
    id: u16,
    name: Name<'a>,
    pub(super) bytes: Vec<u8>,
}

/// An SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) priority: u16,
    pub(super) weight: u16,
    pub(super) port: u16,
    /// As text without the last dot; empty if it is the root.
    pub(super) target: String,
}

impl Record {
    /// Whether it names a host that can have an address, and a port.
    pub(super) fn is_usable(&self) -> bool {
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        self.port != 0 && !self.target.is_empty() && self.target.bytes().all(is_host)
    }
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// Something else, or what nobody understands; the answer may still come.
    NotOurs,
    /// There is more than fits.
    Truncated,
    /// The server has no answer, for this reason.
    Failed(String),
    /// All records; none if there is no such name, or it has none.
    Records(Vec<Record>),
}

impl<'a> Query<'a> {
    pub(super) fn new(id: u16, name: &'a str) -> Result<Self, SrvError> {
        let wrong = |_| SrvError::Name { name: name.to_owned() };
        let parsed = Name::new(name).map_err(wrong)?;
        let mut packet = Packet::new_query(id);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let (kind, class) = (QTYPE::TYPE(TYPE::SRV), QCLASS::CLASS(CLASS::IN));
        packet.questions.push(Question::new(parsed.clone(), kind, class, false));
        let bytes = packet.build_bytes_vec().map_err(wrong)?;
        Ok(Self { id, name: parsed, bytes })
    }

    pub(super) fn read(&self, answer: &[u8]) -> Reply {
        let is_response = header_buffer::has_flags(answer, PacketFlag::RESPONSE);
        if header_buffer::id(answer) != Ok(self.id) || is_response != Ok(true) {
            return Reply::NotOurs;
        }
        // What is cut off may be cut anywhere, so only the whole answer is read.
        if header_buffer::has_flags(answer, PacketFlag::TRUNCATION) == Ok(true) {
            return Reply::Truncated;
        }
        if !is_plausible(answer) {
            return Reply::NotOurs;
        }
        let Ok(packet) = Packet::parse(answer) else { return Reply::NotOurs };
        let [question] = packet.questions.as_slice() else { return Reply::NotOurs };
        let is_ours = packet.opcode() == OPCODE::StandardQuery
            && question.qname == self.name
            && question.qtype == QTYPE::TYPE(TYPE::SRV)
            && question.qclass == QCLASS::CLASS(CLASS::IN);
        match packet.rcode() {
            _ if !is_ours => Reply::NotOurs,
            RCODE::NoError => Reply::Records(self.records(&packet)),
            RCODE::NameError => Reply::Records(Vec::new()),
            code => Reply::Failed(format!("the name server answers {code:?}")),
        }
    }

    /// The records of the name, or of the one that it is an alias for.
    fn records(&self, packet: &Packet<'_>) -> Vec<Record> {
        let mut owner = &self.name;
        // Aliases may lead round in a circle.
        for _ in 0..packet.answers.len() {
            let alias = packet.answers.iter().find_map(|record| match &record.rdata {
                RData::CNAME(alias) if record.name == *owner => Some(&alias.0),
                _ => None,
            });
            let Some(alias) = alias else { break };
            owner = alias;
        }
        let of_owner = packet.answers.iter().filter(|record| record.name == *owner);
        let records = of_owner.filter_map(|record| match &record.rdata {
            RData::SRV(srv) if record.class == CLASS::IN => Some(Record {
                priority: srv.priority,
                weight: srv.weight,
                port: srv.port,
                target: srv.target.to_string(),
            }),
            _ => None,
        });
        records.collect()
    }
}

/// Whether a message has room for as much as its header promises, before memory is taken for it.
fn is_plausible(message: &[u8]) -> bool {
    let records =
        [header_buffer::answers, header_buffer::name_servers, header_buffer::additional_records];
    let records = records.map(|count| count(message).map_or(usize::MAX, usize::from));
    let records = records.into_iter().fold(0_usize, usize::saturating_add);
    let questions = header_buffer::questions(message).map_or(usize::MAX, usize::from);
    let least = questions
        .saturating_mul(QUESTION_BYTES_MIN)
        .saturating_add(records.saturating_mul(RECORD_BYTES_MIN));
    message.len().saturating_sub(HEADER_BYTES) >= least
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
