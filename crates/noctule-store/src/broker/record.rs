//! The records of a broker as bytes, as `docs/storage-format.md` draws them.

use std::sync::Arc;

use noctule_broker_core::{Message, QueuedRun, Record, Reference, StoredTerms, WillOwner};
use noctule_packet::PacketId;

use super::damaged::Damaged;
use super::message::{put_message, put_will, read_message, read_will};
use super::queued_run::{QueuedRunBytes, put_queued_run, read_version};
use super::reader::{Reader, put_sized, put_tagged, put_tagged_with, put_time};
use super::references::{
    Groups, each_reference, note_groups, put_groups, put_references, read_groups, read_references,
};
use super::shared::{put_shared_queue, read_shared_queue};
use super::subscription::{put_subscription, read_subscription};

const SESSION_STARTED: u8 = 1;
const SESSION_LEFT: u8 = 2;
const SESSION_ENDED: u8 = 3;
const SUBSCRIBED: u8 = 4;
const UNSUBSCRIBED: u8 = 5;
const RECEIVED: u8 = 6;
const ROUTED: u8 = 7;
const RELEASED: u8 = 8;
const QUEUED: u8 = 9;
const SKIPPED: u8 = 10;
const ACKNOWLEDGED: u8 = 11;
const PUBREC: u8 = 12;
const PUBCOMP: u8 = 13;
const RETAINED: u8 = 14;
const RETAINED_REMOVED: u8 = 15;
const SHARED_QUEUE: u8 = 16;
const MOVED: u8 = 17;
const MAY_SEND: u8 = 18;
const WILL_DUE: u8 = 19;
const QUEUED_RUN: u8 = 20;

/// The tags of a session's beginning.
const USER_NAME: u8 = 1;
const WILL: u8 = 2;
const MAY_BE_SENT: u8 = 3;
/// The tags of its connection's end.
const EXPIRES_AT: u8 = 1;
const WILL_AT: u8 = 2;
/// That of a message that waits or is retained; those of the message itself are smaller.
const PUBLICATION: u8 = 16;
/// That of a will that is due.
const OWNER_NAME: u8 = 16;

/// Appends [`Record::QueuedRun`] with packets that may be anywhere.
pub fn encode_run(run: &QueuedRun<impl AsRef<[u8]>>, out: &mut Vec<u8>) {
    out.push(QUEUED_RUN);
    put_queued_run(run, out);
}

/// Appends a record. Whether it is one that is known here.
#[must_use]
pub fn encode(record: &Record, out: &mut Vec<u8>) -> bool {
    match record {
        Record::SessionStarted(terms) => put_terms(terms, out),
        Record::SessionEnded { session } => put(out, SESSION_ENDED, *session),
        Record::Subscribed { session, subscription } => {
            put(out, SUBSCRIBED, *session);
            put_subscription(subscription, out);
        }
        Record::Unsubscribed { session, filter } => {
            put(out, UNSUBSCRIBED, *session);
            put_sized(out, filter.as_bytes());
        }
        Record::Received { session, packet_id, publication, message } => {
            put_of_packet(out, RECEIVED, *session, *packet_id);
            out.extend_from_slice(&publication.to_le_bytes());
            put_message(message, out);
        }
        Record::Routed { publication } => put(out, ROUTED, *publication),
        Record::Released { session, packet_id } => {
            put_of_packet(out, RELEASED, *session, *packet_id);
        }
        Record::Queued { publication, message, references } => {
            out.push(QUEUED);
            put_waiting(references, message, *publication, out);
        }
        Record::QueuedRun(run) => encode_run(run, out),
        Record::Skipped { session, sequence } => {
            put_of_place(out, SKIPPED, *session, *sequence);
        }
        Record::Acknowledged { session, up_to, next } => {
            put_of_place(out, ACKNOWLEDGED, *session, *up_to);
            out.extend_from_slice(&next.value().to_le_bytes());
        }
        Record::Pubrec { session, packet_id } => {
            put_of_packet(out, PUBREC, *session, *packet_id);
        }
        Record::Pubcomp { session, packet_id } => {
            put_of_packet(out, PUBCOMP, *session, *packet_id);
        }
        Record::Retained { publication, message } => {
            out.push(RETAINED);
            put_message(message, out);
            put_publication(*publication, out);
        }
        Record::RetainedRemoved { publication, topic } => {
            out.push(RETAINED_REMOVED);
            put_sized(out, topic.as_bytes());
            put_publication(*publication, out);
        }
        Record::SharedQueue { queue, filter, last } => {
            put(out, SHARED_QUEUE, *queue);
            put_shared_queue(filter, *last, out);
        }
        Record::MaySend { session, up_to } => {
            put_of_place(out, MAY_SEND, *session, *up_to);
        }
        Record::Moved { from, sequence, message, reference } => {
            put_of_place(out, MOVED, *from, *sequence);
            put_waiting(core::slice::from_ref(reference), message, 0, out);
        }
        other => return put_of_connection(other, out),
    }
    true
}

/// Appends what becomes of a session, and of its will, with its connection's end.
fn put_of_connection(record: &Record, out: &mut Vec<u8>) -> bool {
    match record {
        Record::SessionLeft { session, expiry_interval, expires_at, will_at, sent } => {
            put(out, SESSION_LEFT, *session);
            out.extend_from_slice(&expiry_interval.to_le_bytes());
            out.extend_from_slice(&sent.to_le_bytes());
            put_time(out, EXPIRES_AT, *expires_at);
            put_time(out, WILL_AT, *will_at);
        }
        Record::WillDue { session, publication, owner, message } => {
            put_of_place(out, WILL_DUE, *session, *publication);
            put_sized(out, owner.client_id.as_bytes());
            put_message(message, out);
            if let Some(user_name) = &owner.user_name {
                put_tagged(out, OWNER_NAME, user_name.as_bytes());
            }
        }
        _ => return false,
    }
    true
}

/// Appends which publication it is, if that has a name.
fn put_publication(publication: u64, out: &mut Vec<u8>) {
    if publication != 0 {
        put_tagged(out, PUBLICATION, &publication.to_le_bytes());
    }
}

/// Appends a message, for whom it waits, and which publication it is.
fn put_waiting(references: &[Reference], message: &Message, publication: u64, out: &mut Vec<u8>) {
    let has_groups = put_references(references, out);
    put_message(message, out);
    put_publication(publication, out);
    if has_groups {
        put_groups(references, out);
    }
}

/// Appends the kind, and which session or publication it is about.
fn put(out: &mut Vec<u8>, kind: u8, name: u64) {
    out.push(kind);
    out.extend_from_slice(&name.to_le_bytes());
}

fn put_of_place(out: &mut Vec<u8>, kind: u8, queue: u64, sequence: u64) {
    put(out, kind, queue);
    out.extend_from_slice(&sequence.to_le_bytes());
}

fn put_of_packet(out: &mut Vec<u8>, kind: u8, session: u64, packet_id: PacketId) {
    put(out, kind, session);
    out.extend_from_slice(&packet_id.value().to_le_bytes());
}

fn put_terms(terms: &StoredTerms, out: &mut Vec<u8>) {
    put(out, SESSION_STARTED, terms.session);
    out.push(terms.version.level());
    out.extend_from_slice(&terms.expiry_interval.to_le_bytes());
    out.extend_from_slice(&terms.receive_maximum.to_le_bytes());
    put_sized(out, terms.client_id.as_bytes());
    if let Some(user_name) = &terms.user_name {
        put_tagged(out, USER_NAME, user_name.as_bytes());
    }
    if let Some(will) = &terms.will {
        put_tagged_with(out, WILL, |out| put_will(will, out));
    }
    if let Some(up_to) = terms.may_send {
        put_tagged(out, MAY_BE_SENT, &up_to.to_le_bytes());
    }
}

/// Reads a record. Fields of later versions are passed over.
///
/// # Errors
///
/// If it is none, or one of a kind that only later versions know.
pub fn decode(bytes: &[u8]) -> Result<Record, Damaged> {
    let mut reader = Reader::new(bytes);
    let kind = reader.byte("kind")?;
    let record = match kind {
        SESSION_STARTED => return Ok(Record::SessionStarted(Box::new(read_terms(reader)?))),
        SESSION_LEFT => return read_left(reader),
        SESSION_ENDED => Record::SessionEnded { session: reader.number("session")? },
        SUBSCRIBED => {
            let session = reader.number("session")?;
            return Ok(Record::Subscribed { session, subscription: read_subscription(reader)? });
        }
        UNSUBSCRIBED => Record::Unsubscribed {
            session: reader.number("session")?,
            filter: reader.filter()?.into(),
        },
        RECEIVED => {
            let (session, packet_id) = (reader.number("session")?, reader.packet_id()?);
            let publication = reader.number("publication")?;
            let message = Arc::new(read_message(reader, |_, _| Ok(()))?);
            return Ok(Record::Received { session, packet_id, publication, message });
        }
        ROUTED => Record::Routed { publication: reader.number("publication")? },
        WILL_DUE => return read_will_due(reader),
        RELEASED => {
            let session = reader.number("session")?;
            Record::Released { session, packet_id: reader.packet_id()? }
        }
        QUEUED => return read_queued(reader),
        QUEUED_RUN => return Ok(Record::QueuedRun(QueuedRunBytes::look(reader)?.read()?)),
        SKIPPED => {
            let session = reader.number("session")?;
            Record::Skipped { session, sequence: reader.number("sequence")? }
        }
        ACKNOWLEDGED => {
            let looked = look_at_acknowledged(bytes)?;
            let (session, up_to, next) = looked.ok_or(Damaged::UnknownKind(kind))?;
            return Ok(Record::Acknowledged { session, up_to, next });
        }
        PUBREC => {
            let session = reader.number("session")?;
            Record::Pubrec { session, packet_id: reader.packet_id()? }
        }
        PUBCOMP => {
            let session = reader.number("session")?;
            Record::Pubcomp { session, packet_id: reader.packet_id()? }
        }
        RETAINED => {
            let (message, publication) = read_named_message(reader)?;
            return Ok(Record::Retained { publication, message });
        }
        RETAINED_REMOVED => {
            let (topic, mut publication) = (reader.topic()?.into(), 0);
            reader.tagged(|tag, field| read_publication(tag, field, &mut publication))?;
            return Ok(Record::RetainedRemoved { publication, topic });
        }
        SHARED_QUEUE => {
            let queue = reader.number("queue")?;
            let (filter, last) = read_shared_queue(reader, |_, _| Ok(()))?;
            return Ok(Record::SharedQueue { queue, filter, last });
        }
        MOVED => return read_moved(reader),
        MAY_SEND => {
            let session = reader.number("session")?;
            Record::MaySend { session, up_to: reader.number("sequence")? }
        }
        other => return Err(Damaged::UnknownKind(other)),
    };
    reader.tagged(|_, _| Ok(()))?;
    Ok(record)
}

fn read_terms(mut reader: Reader<'_>) -> Result<StoredTerms, Damaged> {
    let session = reader.number("session")?;
    let version = read_version(&mut reader)?;
    let expiry_interval = reader.word("expiry")?;
    let receive_maximum = reader.short("Receive Maximum")?;
    let client_id = reader.text("client identifier")?.into();
    let (mut user_name, mut will, mut may_send) = (None, None, None);
    reader.tagged(|tag, field| {
        match tag {
            USER_NAME => user_name = Some(read_user_name(field)?),
            WILL => will = Some(Box::new(read_will(*field)?)),
            MAY_BE_SENT => may_send = Some(field.number("sequence")?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(StoredTerms {
        session,
        client_id,
        user_name,
        version,
        expiry_interval,
        receive_maximum,
        may_send,
        will,
    })
}

fn read_left(mut reader: Reader<'_>) -> Result<Record, Damaged> {
    let (session, expiry_interval) = (reader.number("session")?, reader.word("expiry")?);
    let sent = reader.number("sequence")?;
    let (mut expires_at, mut will_at) = (None, None);
    reader.tagged(|tag, field| {
        match tag {
            EXPIRES_AT => expires_at = Some(field.time()?),
            WILL_AT => will_at = Some(field.time()?),
            _ => {}
        }
        Ok(())
    })?;
    Ok(Record::SessionLeft { session, expiry_interval, expires_at, will_at, sent })
}

fn read_will_due(mut reader: Reader<'_>) -> Result<Record, Damaged> {
    let (session, publication) = (reader.number("session")?, reader.number("publication")?);
    let (client_id, mut user_name) = (reader.text("client identifier")?.into(), None);
    let message = read_message(reader, |tag, field| {
        if tag == OWNER_NAME {
            user_name = Some(read_user_name(field)?);
        }
        Ok(())
    })?;
    let owner = WillOwner { client_id, user_name };
    Ok(Record::WillDue { session, publication, owner, message: Arc::new(message) })
}

fn read_user_name(field: &mut Reader<'_>) -> Result<Box<str>, Damaged> {
    let text = str::from_utf8(field.rest()).map_err(|_| Damaged::Invalid("user name"))?;
    Ok(text.into())
}

fn read_queued(mut reader: Reader<'_>) -> Result<Record, Damaged> {
    let mut references = read_references(&mut reader)?;
    let (mut publication, mut groups) = (0, Groups::new());
    let message = read_message(reader, |tag, field| {
        read_publication(tag, field, &mut publication)?;
        read_groups(tag, field, &mut groups)
    })?;
    note_groups(&groups, &mut references);
    Ok(Record::Queued { publication, message: Arc::new(message), references })
}

/// Reads a message and all that follows it, and which publication it is.
fn read_named_message(reader: Reader<'_>) -> Result<(Arc<Message>, u64), Damaged> {
    let mut publication = 0;
    let message =
        read_message(reader, |tag, field| read_publication(tag, field, &mut publication))?;
    Ok((Arc::new(message), publication))
}

fn read_publication(tag: u8, field: &mut Reader<'_>, into: &mut u64) -> Result<(), Damaged> {
    if tag == PUBLICATION {
        *into = field.number("publication")?;
    }
    Ok(())
}

/// A message that waits, as its bytes: what does not wait any more needs no more of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueuedBytes<'a> {
    /// As it stands where a message stands alone.
    pub(super) message: &'a [u8],
    pub(super) publication: u64,
    /// The place where it waits no more since.
    pub(super) from: Option<(u64, u64)>,
}

impl<'a> QueuedBytes<'a> {
    /// Looks at a record. Nothing if it is another one.
    pub(super) fn look(
        bytes: &'a [u8],
        visit: impl FnMut(Reference),
    ) -> Result<Option<Self>, Damaged> {
        let mut reader = Reader::new(bytes);
        let from = match reader.byte("kind")? {
            QUEUED => None,
            MOVED => Some((reader.number("queue")?, reader.number("sequence")?)),
            _ => return Ok(None),
        };
        each_reference(&mut reader, visit)?;
        let (message, mut publication) = (reader.rest(), 0);
        look_at_message(reader, |tag, field| read_publication(tag, field, &mut publication))?;
        Ok(Some(Self { message, publication, from }))
    }
}

/// Looks at messages that wait for one session. Nothing if it is another record.
pub(super) fn look_at_run(bytes: &[u8]) -> Result<Option<QueuedRunBytes<'_>>, Damaged> {
    let mut reader = Reader::new(bytes);
    if reader.byte("kind")? != QUEUED_RUN {
        return Ok(None);
    }
    QueuedRunBytes::look(reader).map(Some)
}

/// How far a session has acknowledged, and the packet identifier behind that. Nothing if it is
/// another record: there are as many of these as of messages.
pub(super) fn look_at_acknowledged(bytes: &[u8]) -> Result<Option<(u64, u64, PacketId)>, Damaged> {
    let mut reader = Reader::new(bytes);
    if reader.byte("kind")? != ACKNOWLEDGED {
        return Ok(None);
    }
    let (session, up_to) = (reader.number("session")?, reader.number("sequence")?);
    let next = reader.packet_id()?;
    reader.tagged(|_, _| Ok(()))?;
    Ok(Some((session, up_to, next)))
}

/// A QoS 2 publication that was received, as its bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceivedBytes<'a> {
    pub(super) session: u64,
    pub(super) packet_id: PacketId,
    pub(super) publication: u64,
    /// All but the message.
    pub(super) head: &'a [u8],
    message: Reader<'a>,
}

impl<'a> ReceivedBytes<'a> {
    /// Looks at a record, or at the head of one. Nothing if it is another one.
    pub(super) fn look(bytes: &'a [u8]) -> Result<Option<Self>, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.byte("kind")? != RECEIVED {
            return Ok(None);
        }
        let (session, packet_id) = (reader.number("session")?, reader.packet_id()?);
        let publication = reader.number("publication")?;
        let head = bytes.get(..bytes.len() - reader.left()).unwrap_or_default();
        Ok(Some(Self { session, packet_id, publication, head, message: reader }))
    }

    /// Looks whether there is a message behind the head.
    pub(super) fn look_at_message(self) -> Result<(), Damaged> {
        look_at_message(self.message, |_, _| Ok(()))
    }
}

/// Looks whether there is a message, and at its fields.
fn look_at_message(
    mut reader: Reader<'_>,
    visit: impl FnMut(u8, &mut Reader<'_>) -> Result<(), Damaged>,
) -> Result<(), Damaged> {
    let _ = (reader.byte("flags")?, reader.sized("topic")?, reader.sized("payload")?);
    reader.tagged(visit)
}

fn read_moved(mut reader: Reader<'_>) -> Result<Record, Damaged> {
    let (from, sequence) = (reader.number("queue")?, reader.number("sequence")?);
    let mut references = read_references(&mut reader)?;
    let mut groups = Groups::new();
    let message = read_message(reader, |tag, field| read_groups(tag, field, &mut groups))?;
    note_groups(&groups, &mut references);
    let reference = references.pop().filter(|_| references.is_empty());
    let reference = reference.ok_or(Damaged::Invalid("references"))?;
    Ok(Record::Moved { from, sequence, message: Arc::new(message), reference })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page says which fields there may be, and those that it says are all.
    #[test]
    fn the_page_names_every_tag() {
        let page = include_str!("../../../../docs/storage-format.md");
        let (_, section) = page.split_once("## Records of a broker").expect("it has the section");
        let (section, _) = section.split_once("\n## ").expect("it is not the last one");
        let cells = section.lines().filter_map(|line| line.strip_prefix("| tag "));
        let documented: Vec<_> = cells
            .filter_map(|line| {
                let mut cells = line.split('|').map(str::trim);
                Some((cells.next()?.parse::<u8>().ok()?, cells.next()?))
            })
            .collect();
        let message = crate::broker::message::TAGS;
        let written = [
            (USER_NAME, "of kind 1"),
            (WILL, "of kind 1"),
            (MAY_BE_SENT, "of kind 1"),
            (EXPIRES_AT, "of kind 2"),
            (WILL_AT, "of kind 2"),
            (crate::broker::subscription::IDENTIFIER, "of kind 4"),
            (crate::broker::subscription::OWED, "of kind 4"),
            (message[0], "of a message"),
            (message[1], "of a message and of a will"),
            (message[2], "of a will"),
            (PUBLICATION, "of kind 9"),
            (PUBLICATION, "of kind 14"),
            (PUBLICATION, "of kind 15"),
            (crate::broker::references::GROUPS, "of kind 9 and of kind 17"),
            (crate::broker::shared::LAST, "of kind 16"),
            (OWNER_NAME, "of kind 19"),
        ];
        assert_eq!(documented, written);
    }
}
