//! Messages of QoS 0 that a connection has ended before the transport took them: the server has not
//! got them, so they may wait for the next connection.

use noctule_packet::{Framing, Publish, TextRules, TopicName, Version, split};
use noctule_session::Timestamp;

use crate::event::Event;
use crate::operation::{DropCause, Outcome};
use crate::outbound::Unwritten;
use crate::outgoing::{Outgoing, Times};
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
        while let Some(unwritten) = self.outbound.pop_unwritten() {
            let operation = unwritten.operation;
            let Times { discarded, timeout, .. } = unwritten.unsaid.times;
            if let Some(timeout) = timeout {
                self.deadlines.remove(&(timeout, operation));
            }
            let is_expired = discarded.is_some_and(|discarded| discarded <= now);
            // The server, or what is before it, does not take such a message.
            let is_poison = self.settings.redelivery.is_too_often(unwritten.unsaid.interruptions);
            let kept = (keeps && !is_poison && !is_expired)
                .then(|| unwritten.publication(version, are_manual))
                .flatten();
            let Some(publication) = kept else {
                let lost = DropCause::ConnectionLost;
                let why = if is_expired { DropCause::Expired } else { lost };
                self.events.push(unwritten.ended(version, Outcome::Dropped { why }));
                continue;
            };
            let forwarded =
                noctule_packet::ForwardedProperties::from_publish(&publication.properties);
            if self.queue.full(Outgoing::bytes_of(&publication, &forwarded), &queue).is_some() {
                let outcome = Outcome::Dropped { why: DropCause::QueueFull };
                self.events.push(unwritten.ended(version, outcome));
                continue;
            }
            let unsaid = &unwritten.unsaid;
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
}

impl Unwritten<'_> {
    /// What was to be published.
    fn publication(&self, version: Version, has_manual_alias: bool) -> Option<Publication<'_>> {
        let Ok(Framing::Complete(frame)) = split(self.packet, u32::MAX) else { return None };
        let mut publish = Publish::decode(&frame, version, TextRules::Lenient).ok()?;
        let alias = publish.properties.topic_alias.take();
        let topic = match publish.topic {
            Some(topic) => topic,
            None => TopicName::new(self.unsaid.topic.as_deref()?).ok()?,
        };
        let mut publication = Publication::new(topic, publish.payload).retain(publish.retain);
        publication.properties = publish.properties;
        if has_manual_alias {
            publication.properties.topic_alias = alias;
        }
        Some(publication)
    }

    /// It has ended.
    pub(crate) fn ended(&self, version: Version, outcome: Outcome) -> Event {
        let publication = self.publication(version, false);
        let topic = publication.as_ref().map_or("", |publication| publication.topic.as_str());
        Event::published(self.operation, outcome, topic)
    }
}
