//! Messages of queues as they stand in runs: the body is the message, and the flags are the rest of
//! the reference to it. Which shared subscription it is of stands behind the message.

use std::sync::Arc;

use noctule_broker_core::{Record, Reference, References, Step, StoredMessage};

use super::changes::bytes;
use super::damaged::Damaged;
use super::message::read_message;
use super::reader::{Reader, flags, read_flags};
use super::record::decode;
use super::references::{Groups, group_of, note_groups, read_groups};
use crate::error::StoreError;
use crate::run::{QueueMessage, Spill};

/// So many Subscription Identifiers go into flags. With more, which nobody has, the body is the
/// whole record, and the message has no flags.
const IDENTIFIERS_MAX: usize = 32;

/// Identities of bodies that belong to one reference alone.
const OWN: u64 = 1 << 63;

/// Takes a message that waits for a session, as its bytes.
pub(super) fn push(
    spill: &mut Spill,
    identity: u64,
    message: &[u8],
    reference: &Reference,
) -> Result<(), StoreError> {
    let Reference { session, sequence, qos, retain, identifiers, .. } = reference;
    let mut of_reference = vec![flags(*qos, *retain)];
    if identifiers.len() <= IDENTIFIERS_MAX {
        for identifier in identifiers {
            of_reference.extend_from_slice(&identifier.to_le_bytes());
        }
        return spill.push(*session, *sequence, &of_reference, identity, message);
    }
    // What cannot be read is told when it is to be delivered.
    let mut groups = Groups::new();
    let others = |tag, field: &mut Reader<'_>| read_groups(tag, field, &mut groups);
    if let Ok(message) = read_message(Reader::new(message), others) {
        let mut references = References::from(reference.clone());
        note_groups(&groups, &mut references);
        let message = Arc::new(message);
        let body = bytes(&Record::Queued { publication: 0, message, references });
        spill.push(*session, *sequence, &[], OWN | spill.len() as u64, &body)?;
    }
    Ok(())
}

/// The message of a queue that was spilled.
pub(super) fn read(queue: u64, found: &QueueMessage<'_>) -> Result<StoredMessage, Damaged> {
    let step = Step::Published;
    if found.flags.is_empty() {
        let Record::Queued { message, mut references, .. } = decode(found.body)? else {
            return Err(Damaged::Misplaced);
        };
        let Reference { sequence, qos, retain, identifiers, group, .. } =
            references.pop().ok_or(Damaged::Misplaced)?;
        return Ok(StoredMessage { message, sequence, qos, retain, identifiers, group, step });
    }
    let mut reader = Reader::new(found.flags);
    let (qos, retain) = read_flags(reader.byte("flags")?, 0)?;
    let mut identifiers = Vec::new();
    while reader.left() > 0 {
        identifiers.push(reader.identifier()?);
    }
    let (sequence, mut groups) = (found.seq, Groups::new());
    let others = |tag, field: &mut Reader<'_>| read_groups(tag, field, &mut groups);
    let message = Arc::new(read_message(Reader::new(found.body), others)?);
    let group = group_of(&groups, (queue, sequence));
    Ok(StoredMessage { message, sequence, qos, retain, identifiers, group, step })
}
