//! For whom a message waits, as a part of its record: the part that is written most often.
//!
//! Which of them have it of a shared subscription stands behind the message, where there are any:
//! so it is wherever the message is, in the log and in runs.

use std::sync::Arc;

use noctule_broker_core::{Reference, References};

use super::damaged::Damaged;
use super::reader::{Reader, flags, put_sized, put_tagged_with, read_flags};

/// The tag behind a message that says who has it of which shared subscription.
pub(super) const GROUPS: u8 = 17;

/// The bit of a reference that has Subscription Identifiers, next to its QoS and RETAIN.
const HAS_IDENTIFIERS: u8 = 0b1000;

/// Appends them. Whether [`put_groups`] has something to say of them.
pub(super) fn put_references(references: &[Reference], out: &mut Vec<u8>) -> bool {
    let mut has_groups = false;
    let count = |length| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&count(references.len()));
    for Reference { session, sequence, qos, retain, identifiers, group } in references {
        has_groups |= group.is_some();
        out.extend_from_slice(&session.to_le_bytes());
        out.extend_from_slice(&sequence.to_le_bytes());
        let has_identifiers = if identifiers.is_empty() { 0 } else { HAS_IDENTIFIERS };
        out.push(flags(*qos, *retain) | has_identifiers);
        if !identifiers.is_empty() {
            out.extend_from_slice(&count(identifiers.len()));
            identifiers.iter().for_each(|one| out.extend_from_slice(&one.to_le_bytes()));
        }
    }
    has_groups
}

pub(super) fn read_references(reader: &mut Reader<'_>) -> Result<References, Damaged> {
    let mut references = References::default();
    each_reference(reader, |reference| references.push(reference))?;
    Ok(references)
}

/// Shows references one after the other, so that none takes memory.
pub(super) fn each_reference(
    reader: &mut Reader<'_>,
    mut visit: impl FnMut(Reference),
) -> Result<(), Damaged> {
    for _ in 0..reader.word("references")? {
        let (session, sequence) = (reader.number("references")?, reader.number("references")?);
        let flags = reader.byte("references")?;
        let (qos, retain) = read_flags(flags, HAS_IDENTIFIERS)?;
        let mut identifiers = Vec::new();
        if flags & HAS_IDENTIFIERS != 0 {
            let count = reader.word("references")?;
            identifiers.reserve_exact(at_most(count, reader.left() / size_of::<u32>()));
            for _ in 0..count {
                identifiers.push(reader.identifier()?);
            }
        }
        visit(Reference { session, sequence, qos, retain, identifiers, group: None });
    }
    Ok(())
}

/// Appends who of them has the message of which shared subscription.
#[cold]
pub(super) fn put_groups(references: &[Reference], out: &mut Vec<u8>) {
    put_tagged_with(out, GROUPS, |out| {
        for Reference { session, sequence, group, .. } in references {
            if let Some(filter) = group {
                out.extend_from_slice(&session.to_le_bytes());
                out.extend_from_slice(&sequence.to_le_bytes());
                put_sized(out, filter.as_bytes());
            }
        }
    });
}

/// Who has a message of which shared subscription: the session, the place, and the filter.
pub(super) type Groups = Vec<(u64, u64, Arc<str>)>;

/// Reads that, if it is what this field says.
pub(super) fn read_groups(
    tag: u8,
    field: &mut Reader<'_>,
    groups: &mut Groups,
) -> Result<(), Damaged> {
    while tag == GROUPS && field.left() > 0 {
        let (session, sequence) = (field.number("session")?, field.number("sequence")?);
        groups.push((session, sequence, field.filter()?.into()));
    }
    Ok(())
}

/// The shared subscription that has given a message to a session, in whose queue it has this place.
pub(super) fn group_of(groups: &Groups, (session, place): (u64, u64)) -> Option<Arc<str>> {
    let found = groups.iter().find(|(of, at, _)| (*of, *at) == (session, place));
    found.map(|(_, _, filter)| Arc::clone(filter))
}

/// Lets references say what was read behind their message.
pub(super) fn note_groups(groups: &Groups, references: &mut [Reference]) {
    // Nearly always there are none.
    if groups.is_empty() {
        return;
    }
    for reference in references {
        reference.group = group_of(groups, (reference.session, reference.sequence));
    }
}

fn at_most(count: u32, room: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(room)
}
