//! Topics and payloads: what is sent can be told from its bytes, and whether they are all there.

use noctule_packet::Publish;

use super::cast::{KEPT, WILLS};
use super::journal::{Group, Message, Stream};

/// The longest filler behind the numbers.
const FILLER_BYTES_MAX: u32 = 300;

/// What came in a PUBLISH.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Message(Message),
    /// The will of a connection.
    Will(u32),
}

pub(super) fn filter(group: Group) -> String {
    match group {
        KEPT => "kept/#".to_owned(),
        WILLS => "will/#".to_owned(),
        _ => format!("load/{group}/#"),
    }
}

pub(super) fn topic(stream: Stream) -> String {
    match stream.group {
        KEPT => format!("kept/{}", stream.publisher),
        group => format!("load/{group}/{}", stream.publisher),
    }
}

pub(super) fn will_topic(connection: u32) -> String {
    format!("will/{connection}")
}

pub(super) fn will_payload(connection: u32) -> Vec<u8> {
    connection.to_be_bytes().to_vec()
}

pub(super) fn payload(message: Message) -> Vec<u8> {
    let Message { stream, number } = message;
    let mut payload = (stream as u32).to_be_bytes().to_vec();
    payload.extend(number.to_be_bytes());
    let filler = number.wrapping_mul(2_654_435_761) % (FILLER_BYTES_MAX + 1);
    payload.resize(payload.len() + filler as usize, number as u8);
    payload
}

/// `None` if nobody has sent this.
pub(super) fn read(publish: &Publish<'_>, streams: &[Stream]) -> Option<Content> {
    let name = publish.topic?.as_str();
    let payload = publish.payload;
    let first = u32::from_be_bytes(*payload.first_chunk()?);
    if name == will_topic(first) && payload.len() == 4 {
        return Some(Content::Will(first));
    }
    let number = u32::from_be_bytes(*payload.get(4..)?.first_chunk()?);
    let message = Message { stream: first as usize, number };
    let is_right = name == topic(*streams.get(message.stream)?)
        && payload == self::payload(message).as_slice();
    is_right.then_some(Content::Message(message))
}

#[cfg(test)]
mod tests {
    use noctule_packet::TopicName;

    use super::*;
    use crate::crash::cast;

    #[test]
    fn a_message_is_read_back_and_a_damaged_one_is_not() {
        let streams = cast::streams(&cast::members());
        let message = Message { stream: 3, number: 77 };
        let (topic, payload) = (topic(streams[3]), payload(message));
        let publish = |topic, payload| {
            let topic = TopicName::new(topic).ok();
            read(&Publish { topic, payload, ..Publish::default() }, &streams)
        };
        assert_eq!(publish(&topic, &payload), Some(Content::Message(message)));
        assert_eq!(publish("load/0/9", &payload), None);
        assert_eq!(publish(&topic, &payload[1..]), None);
        assert_eq!(publish(&topic, &payload[..payload.len() - 1]), None);
        let will = will_payload(9);
        assert_eq!(publish("will/9", &will), Some(Content::Will(9)));
        assert_eq!(publish("will/8", &will), None);
    }
}
