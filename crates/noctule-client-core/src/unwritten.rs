//! Messages of QoS 0 that a connection has ended before the transport took them: the server has not
//! got them, so they may wait for the next connection.

use noctule_packet::{Framing, Publish, TextRules, TopicName, Version, split};
use noctule_session::Timestamp;

use crate::event::Event;
use crate::operation::{DropCause, OperationId, Outcome};
use crate::outbound::{Unsaid, Unwritten};
use crate::outgoing::Outgoing;
use crate::publication::Publication;
use crate::record::{Record, StoredMessage};
use crate::session::ClientSession;

impl ClientSession {
    /// Puts them back before all that wait, if the queue keeps messages of QoS 0.
    pub(crate) fn take_unwritten_back(&mut self, now: Timestamp) {
        let queue = self.settings.queue;
        let keeps = queue.keep.keeps_message(noctule_packet::QoS::AtMostOnce) && !self.is_closed;
        let version = self.version;
        let are_manual = self.aliases.are_manual();
        while let Some(Unwritten { operation, packet, unsaid }) = self.outbound.pop_unwritten() {
            if let Some(timeout) = unsaid.times.timeout {
                self.deadlines.remove(&(timeout, operation));
            }
            if unsaid.times.discarded.is_some_and(|discarded| discarded <= now) {
                self.drop_unwritten(operation, DropCause::Expired);
                continue;
            }
            // The server, or what is before it, does not take such a message.
            let is_poison = self.settings.redelivery.is_too_often(unsaid.interruptions);
            let kept = (keeps && !is_poison)
                .then(|| publication(packet, version, &unsaid, are_manual))
                .flatten();
            let Some(publication) = kept else {
                self.drop_unwritten(operation, DropCause::ConnectionLost);
                continue;
            };
            let forwarded =
                noctule_packet::ForwardedProperties::from_publish(&publication.properties);
            if self.queue.full(Outgoing::bytes_of(&publication, &forwarded), &queue).is_some() {
                self.drop_unwritten(operation, DropCause::QueueFull);
                continue;
            }
            let mut outgoing = Outgoing::new(now, operation, &publication, &forwarded, None);
            // It has waited already.
            outgoing.set_times(unsaid.times);
            outgoing.interruptions = unsaid.interruptions;
            self.records.note(|| {
                let mut message = StoredMessage::of(&publication, &forwarded, None);
                message.set_times(now, unsaid.times);
                Record::Accepted { operation, message }
            });
            let deadline = outgoing.deadline(true);
            self.queue.push_front(outgoing);
            self.watch(operation, deadline);
        }
    }

    fn drop_unwritten(&mut self, operation: OperationId, why: DropCause) {
        let outcome = Outcome::Dropped { why };
        self.events.push(Event::Published { operation, outcome });
    }
}

/// What was to be published with this packet.
fn publication<'a>(
    packet: &'a [u8],
    version: Version,
    unsaid: &'a Unsaid,
    has_manual_alias: bool,
) -> Option<Publication<'a>> {
    let Ok(Framing::Complete(frame)) = split(packet, u32::MAX) else { return None };
    let mut publish = Publish::decode(&frame, version, TextRules::Lenient).ok()?;
    let alias = publish.properties.topic_alias.take();
    let topic = match publish.topic {
        Some(topic) => topic,
        None => TopicName::new(unsaid.topic.as_deref()?).ok()?,
    };
    let mut publication = Publication::new(topic, publish.payload).retain(publish.retain);
    publication.properties = publish.properties;
    if has_manual_alias {
        publication.properties.topic_alias = alias;
    }
    Some(publication)
}
