//! Messages of queues as they stand in runs: the body is the message, and the flags are the rest of
//! the reference to it.

use std::sync::Arc;

use noctule_broker_core::{Message, Record, Reference};

use super::changes::bytes;
use super::damaged::Damaged;
use super::message::{put_message, read_message};
use super::reader::{Reader, flags, read_flags};
use super::record::decode;
use crate::error::StoreError;
use crate::run::{QueueMessage, Spill};

/// So many Subscription Identifiers go into flags. With more, which nobody has, the body is the
/// whole record, and the message has no flags.
const IDENTIFIERS_MAX: usize = 32;

/// Identities of bodies that belong to one reference alone.
const OWN: u64 = 1 << 63;

/// Takes a message that waits for a session.
pub(super) fn push(
    spill: &mut Spill,
    identity: u64,
    message: &Arc<Message>,
    reference: &Reference,
) -> Result<(), StoreError> {
    let Reference { session, sequence, qos, retain, identifiers } = reference;
    if identifiers.len() > IDENTIFIERS_MAX {
        let (message, references) = (Arc::clone(message), vec![reference.clone()]);
        let body = bytes(&Record::Queued { publication: 0, message, references });
        let identity = OWN | spill.len() as u64;
        return spill.push(*session, *sequence, &[], identity, &body);
    }
    let mut of_reference = vec![flags(*qos, *retain)];
    for identifier in identifiers {
        of_reference.extend_from_slice(&identifier.to_le_bytes());
    }
    let mut body = Vec::new();
    put_message(message, &mut body);
    spill.push(*session, *sequence, &of_reference, identity, &body)
}

/// The record that a message in a run stands for.
pub(super) fn read(session: u64, found: &QueueMessage<'_>) -> Result<Record, Damaged> {
    if found.flags.is_empty() {
        return decode(found.body);
    }
    let mut reader = Reader::new(found.flags);
    let (qos, retain) = read_flags(reader.byte("flags")?, 0)?;
    let mut identifiers = Vec::new();
    while reader.left() > 0 {
        identifiers.push(reader.identifier()?);
    }
    let message = read_message(Reader::new(found.body), |_, _| Ok(()))?;
    let sequence = found.seq;
    let reference = Reference { session, sequence, qos, retain, identifiers };
    Ok(Record::Queued { publication: 0, message: Arc::new(message), references: vec![reference] })
}
