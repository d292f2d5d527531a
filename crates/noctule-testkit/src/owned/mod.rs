//! Packets that own what they hold: what an expectation returns, and what a test builds to send.

mod ack;
mod connack;
mod connect;
mod disconnect;
mod packet;
mod publish;
mod subscribe;
mod will;

pub use ack::OwnedAck;
pub use connack::OwnedConnack;
pub use connect::OwnedConnect;
pub use disconnect::{OwnedAuth, OwnedDisconnect};
pub use packet::OwnedPacket;
pub use publish::OwnedPublish;
pub use subscribe::{OwnedSuback, OwnedSubscribe, OwnedUnsuback, OwnedUnsubscribe};
pub use will::OwnedWill;

use noctule_packet::{TopicName, UserProperties};

/// Names and values of the user properties, in their order.
fn own_user_properties(properties: &UserProperties<'_>) -> Vec<(String, String)> {
    properties.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// The user properties to send.
#[track_caller]
fn lend_user_properties(properties: &[(String, String)]) -> UserProperties<'static> {
    let mut out = UserProperties::new();
    for (name, value) in properties {
        out.push(name, value).expect("user properties of at most 65,535 bytes");
    }
    out
}

/// The topic to send; `None` stands for the empty one.
#[track_caller]
fn lend_topic(topic: &str) -> Option<TopicName<'_>> {
    if topic.is_empty() {
        return None;
    }
    match TopicName::new(topic) {
        Ok(topic) => Some(topic),
        Err(error) => {
            panic!("{topic:?} is no topic name ({error}); it can be sent with `send_bytes` only")
        }
    }
}
