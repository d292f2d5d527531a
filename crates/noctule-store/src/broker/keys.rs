//! The keys of what a broker has in the state: they sort so that what belongs to one session lies
//! together.

use sha2::{Digest, Sha256};

/// The largest name that was ever given to a session or a publication.
pub(super) const LAST_NAME: &[u8] = b"n";
/// From which segment on the log counts.
pub(super) const FIRST_SEGMENT: &[u8] = b"f";
/// The manifest of the runs.
pub(super) const RUNS: &[u8] = b"m";
/// What the keys of all publications begin with that are not routed to all.
pub(super) const UNROUTED: &[u8] = b"p";
/// And who has got them.
pub(super) const GOT: &[u8] = b"g";
/// What the keys of all retained messages begin with.
pub(super) const RETAINED: &[u8] = b"r";
/// What the keys of all sessions begin with.
pub(super) const SESSIONS: &[u8] = b"s";

/// What the keys of all queues of shared subscriptions begin with.
pub(super) const SHARED: &[u8] = b"q";

const CLIENTS: &[u8] = b"c";

/// A longer text would not fit into every key.
const TEXT_BYTES_MAX: usize = 1_024;
/// What no text has in it.
const SHORTENED: u8 = 0xFF;

/// What of a session a key is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Terms,
    Left,
    Progress,
    Subscription(&'a str),
    Received(u16),
}

/// Which session a client identifier belongs to.
pub(super) fn client(client_id: &str) -> Vec<u8> {
    with_text(CLIENTS.to_vec(), client_id)
}

/// The retained message of a topic.
pub(super) fn retained(topic: &str) -> Vec<u8> {
    with_text(RETAINED.to_vec(), topic)
}

/// A QoS 2 publication that is not routed to all.
pub(super) fn unrouted(publication: u64) -> Vec<u8> {
    [UNROUTED, &publication.to_be_bytes()].concat()
}

/// Who has got a QoS 2 publication.
pub(super) fn got(publication: u64) -> Vec<u8> {
    [GOT, &publication.to_be_bytes()].concat()
}

/// A queue of a shared subscription.
pub(super) fn shared(queue: u64) -> Vec<u8> {
    [SHARED, &queue.to_be_bytes()].concat()
}

/// What all keys of a session begin with.
pub(super) fn session(name: u64) -> Vec<u8> {
    [SESSIONS, &name.to_be_bytes()].concat()
}

pub(super) fn part(name: u64, part: Part<'_>) -> Vec<u8> {
    let mut key = session(name);
    match part {
        Part::Terms => key.push(1),
        Part::Left => key.push(2),
        Part::Progress => key.push(3),
        Part::Subscription(filter) => {
            key.push(4);
            key = with_text(key, filter);
        }
        Part::Received(packet_id) => {
            key.push(5);
            key.extend_from_slice(&packet_id.to_be_bytes());
        }
    }
    key
}

fn with_text(mut key: Vec<u8>, text: &str) -> Vec<u8> {
    if text.len() <= TEXT_BYTES_MAX {
        key.extend_from_slice(text.as_bytes());
    } else {
        key.push(SHORTENED);
        key.extend_from_slice(&Sha256::digest(text.as_bytes()));
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KEY_BYTES_MAX;

    #[test]
    fn keys_of_one_session_lie_together_and_no_two_are_the_same() {
        let longest = "a".repeat(65_535);
        let other = format!("{}b", &longest[1..]);
        let limit = "a".repeat(TEXT_BYTES_MAX);
        let mut keys = Vec::new();
        for name in [1, 2, 255, 256, u64::MAX] {
            for of in [Part::Terms, Part::Left, Part::Progress, Part::Received(1)] {
                keys.push(part(name, of));
            }
            for filter in ["", "a", &limit, &longest, &other] {
                keys.push(part(name, Part::Subscription(filter)));
            }
        }
        for text in ["", "a", &limit, &longest, &other] {
            keys.push(client(text));
            keys.push(retained(text));
        }
        assert!(keys.iter().all(|key| key.len() <= KEY_BYTES_MAX));
        keys.sort();
        let count = keys.len();
        let owners: Vec<_> = keys.iter().map(|key| key.get(..9)).collect();
        let of_second = |owner: &Option<&[u8]>| *owner == Some(&*session(2));
        let first = owners.iter().position(of_second).expect("it has keys");
        assert!(owners[first..first + 9].iter().all(of_second));
        assert_eq!(owners.iter().filter(|owner| of_second(owner)).count(), 9);
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
