//! What is blamed when connections end: messages and requests that were sent and have no answer.
//! They are counted, go alone when they are suspected, and are given up in the end.

use noctule_packet::PacketId;

use crate::event::Event;
use crate::operation::{Doubt, OperationId, RequestOutcome};
use crate::outgoing::Outgoing;
use crate::record::Record;
use crate::request::{Content, Request};
use crate::requesting::Requests;
use crate::session::ClientSession;
use crate::settings::Redelivery;

/// After so many connections in a row something is suspected.
const SUSPICIOUS: u16 = 3;

impl Redelivery {
    /// From how many interruptions on something is suspected: before it is given up.
    pub(crate) fn suspicious(&self) -> u16 {
        self.interruptions_max.map_or(SUSPICIOUS, |maximum| maximum.clamp(1, SUSPICIOUS))
    }

    /// Whether so many interruptions are too many.
    pub(crate) fn is_too_often(&self, interruptions: u16) -> bool {
        self.interruptions_max.is_some_and(|maximum| interruptions > maximum)
    }

    /// Whether a message that is sent again goes alone. What is behind one that was answered on
    /// this connection has made progress.
    pub(crate) fn goes_alone(&self, outgoing: &Outgoing, answered: Option<OperationId>) -> bool {
        self.is_slow
            || (outgoing.interruptions >= self.suspicious()
                && answered.is_none_or(|answered| outgoing.operation < answered))
    }
}

impl ClientSession {
    /// A connection has ended: counts that for everything that was in flight on it, and gives up
    /// what has been in flight too often.
    pub(crate) fn count_interruptions(&mut self, is_wanted: bool, alone: Option<PacketId>) {
        let answered = self.first_answered.take();
        if !self.is_accepted || is_wanted {
            return;
        }
        // What a message that is suspected already has ended is no fault of the requests.
        if !self.count_messages(answered, alone) {
            self.count_requests();
        }
    }

    /// Whether one of them was suspected and alone.
    fn count_messages(&mut self, answered: Option<OperationId>, alone: Option<PacketId>) -> bool {
        let redelivery = self.settings.redelivery;
        let mut poisonous = alloc::vec::Vec::new();
        let mut is_suspect = false;
        for (packet_id, _, was_sent, outgoing) in self.sender.published_mut() {
            if !was_sent {
                continue;
            }
            let (operation, before) = (outgoing.operation, outgoing.interruptions);
            if answered.is_some_and(|answered| answered < operation) {
                outgoing.interruptions = 0;
            } else {
                is_suspect |= alone == Some(packet_id) && before >= redelivery.suspicious();
                outgoing.interruptions = before.saturating_add(1);
            }
            let interruptions = outgoing.interruptions;
            if interruptions != before {
                self.records.note(|| Record::Interrupted { operation, interruptions });
            }
            if redelivery.is_too_often(outgoing.interruptions) {
                poisonous.push((packet_id, outgoing.interruptions));
            }
        }
        let mut published = self.sender.published_mut();
        let has_suspect = published.any(|(.., it)| it.interruptions >= redelivery.suspicious());
        drop(published);
        self.has_suspect = has_suspect;
        for (packet_id, interruptions) in poisonous {
            self.give_up_in_flight(packet_id, Doubt::GivenUp { interruptions });
        }
        is_suspect
    }

    fn count_requests(&mut self) {
        let redelivery = self.settings.redelivery;
        for request in self.requests.sent_mut() {
            request.interruptions = request.interruptions.saturating_add(1);
        }
        for request in self.requests.take_sent(|it| redelivery.is_too_often(it.interruptions)) {
            let (packet_id, request) = request;
            self.sender.unreserve(packet_id);
            if let Content::Subscribe { list, is_again: true, .. } = &request.content {
                for subscription in list.iter() {
                    self.give_subscription_up(subscription.filter.as_str());
                }
            }
            let why = Doubt::GivenUp { interruptions: request.interruptions };
            self.finish_request(request, RequestOutcome::Indeterminate { why });
        }
    }

    fn give_subscription_up(&mut self, filter: &str) {
        self.subscriptions.remove(filter);
        self.records.note(|| Record::Unsubscribed { filter: filter.into() });
        self.events.push(Event::Resubscribed { filter: filter.into(), code: None, remarks: None });
    }

    /// A message was answered: what is behind it has made progress.
    #[inline]
    pub(crate) fn note_answered(&mut self, operation: OperationId) {
        if self.first_answered.is_none_or(|first| operation < first) {
            self.first_answered = Some(operation);
            self.has_suspect = false;
        }
    }

    /// Whether messages of QoS 1 and 2 wait, so that it is clear who is to blame: requests go
    /// before them.
    #[inline]
    pub(crate) fn holds_messages_back(&self) -> bool {
        let requests = &self.requests;
        requests.has_suspect || (self.has_suspect && requests.are_feared())
    }

    /// The server has answered something that was sent behind the requests: it has outlived them.
    pub(crate) fn outlived_requests(&mut self) {
        self.requests.are_outlived = true;
        if self.requests.has_suspect {
            for request in self.requests.sent_mut() {
                request.interruptions = 0;
            }
            self.look_for_suspects();
        }
    }

    /// Looks whether any request has to go alone.
    pub(crate) fn look_for_suspects(&mut self) {
        let suspicious = self.settings.redelivery.suspicious();
        let has_suspect = self.requests.iter().any(|request| request.interruptions >= suspicious);
        self.requests.has_suspect = has_suspect;
    }
}

impl Requests {
    /// Whether the connection may yet end because of any.
    fn are_feared(&self) -> bool {
        !self.sent.is_empty() && !self.are_outlived
    }

    /// Takes the request that is to be sent next: those that are suspected when all others have
    /// been answered, one at a time.
    pub(crate) fn pop_next(&mut self, suspicious: u16) -> Option<Request> {
        if !self.has_suspect {
            return self.waiting.pop_front();
        }
        let is_suspect = |request: &Request| request.interruptions >= suspicious;
        if self.sent.values().any(|(_, request)| is_suspect(request)) {
            return None;
        }
        if let Some(at) = self.waiting.iter().position(|request| !is_suspect(request)) {
            return self.waiting.remove(at);
        }
        if self.are_feared() {
            return None;
        }
        let least = self.waiting.iter().enumerate().min_by_key(|(_, it)| it.interruptions);
        let (at, _) = least?;
        self.waiting.remove(at)
    }
}
