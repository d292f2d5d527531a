//! For whom a message waits, as a part of its record: the part that is written most often.

use noctule_broker_core::{Reference, References};

use super::damaged::Damaged;
use super::reader::{Reader, flags, read_flags};

/// The bit of a reference that has Subscription Identifiers, next to its QoS and RETAIN.
const HAS_IDENTIFIERS: u8 = 0b1000;

pub(super) fn put_references(references: &[Reference], out: &mut Vec<u8>) {
    let count = |length| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&count(references.len()));
    for Reference { session, sequence, qos, retain, identifiers } in references {
        out.extend_from_slice(&session.to_le_bytes());
        out.extend_from_slice(&sequence.to_le_bytes());
        let has_identifiers = if identifiers.is_empty() { 0 } else { HAS_IDENTIFIERS };
        out.push(flags(*qos, *retain) | has_identifiers);
        if !identifiers.is_empty() {
            out.extend_from_slice(&count(identifiers.len()));
            identifiers.iter().for_each(|one| out.extend_from_slice(&one.to_le_bytes()));
        }
    }
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
        let (session, sequence) = (reader.long("references")?, reader.long("references")?);
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
        visit(Reference { session, sequence, qos, retain, identifiers });
    }
    Ok(())
}

fn at_most(count: u32, room: usize) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX).min(room)
}
