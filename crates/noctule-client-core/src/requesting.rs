//! SUBSCRIBE and UNSUBSCRIBE on their way: they wait for a connection, never for the publish quota,
//! and are asked again on the next connection if their answer did not come.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use noctule_packet::{PacketId, PacketType, ReasonCode, Suback, Unsuback};
use noctule_session::Timestamp;

use crate::event::Event;
use crate::fault::{Fault, ProtocolError};
use crate::observe::Observation;
use crate::operation::{Doubt, DropCause, OperationId, RequestOutcome};
use crate::record::{Record, StoredSubscription};
use crate::remarks::Remarks;
use crate::request::{
    Content, Request, RequestRefused, Resubscribe, SubscribeRequest, UnsubscribeRequest,
};
use crate::session::{ClientSession, Status};

/// The requests that have no answer.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) waiting: VecDeque<Request>,
    pub(crate) sent: BTreeMap<PacketId, (u64, Request)>,
    /// Counts what was sent, so that it can be put back in order.
    counter: u64,
    /// Whether any of them was interrupted so often that it has to go alone.
    pub(crate) has_suspect: bool,
    /// Whether the server has shown signs of life since the last of them was sent.
    pub(crate) are_outlived: bool,
}

impl Requests {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.sent.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Request> {
        self.waiting.iter().chain(self.sent.values().map(|(_, request)| request))
    }

    pub(crate) fn sent_mut(&mut self) -> impl Iterator<Item = &mut Request> {
        self.sent.values_mut().map(|(_, request)| request)
    }

    /// Takes requests out that were sent.
    pub(crate) fn take_sent(
        &mut self,
        is_taken: impl Fn(&Request) -> bool,
    ) -> Vec<(PacketId, Request)> {
        let taken = self.sent.iter().filter(|(_, (_, request))| is_taken(request));
        let packet_ids: Vec<PacketId> = taken.map(|(packet_id, _)| *packet_id).collect();
        let take = |packet_id| Some((packet_id, self.sent.remove(&packet_id)?.1));
        packet_ids.into_iter().filter_map(take).collect()
    }

    /// Whether a subscription to this whole filter has no answer.
    pub(crate) fn asks_for(&self, filter: &str) -> bool {
        self.iter().any(|request| request.asks_for(filter))
    }

    /// What was asked for will be ended again: its answer makes nothing of it.
    fn note_ended(&mut self, filter: &str) {
        let sent = self.sent.values_mut().map(|(_, request)| request);
        for request in self.waiting.iter_mut().chain(sent) {
            if request.asks_for(filter) {
                request.ended.push(filter.into());
            }
        }
    }

    #[inline]
    pub(crate) fn are_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// The connection is gone: what was sent waits again, before the rest. Its packet identifiers
    /// are free.
    fn put_back(&mut self, mut free: impl FnMut(PacketId)) {
        let mut sent: Vec<_> = core::mem::take(&mut self.sent).into_iter().collect();
        sent.sort_unstable_by_key(|(_, (number, _))| *number);
        for (packet_id, (_, request)) in sent.into_iter().rev() {
            free(packet_id);
            // What the session asked for by itself is decided anew, and nobody waits for the rest.
            if request.operation.is_some() {
                self.waiting.push_front(request);
            }
        }
        self.waiting.retain(|request| !request.is_again());
    }

    fn take_waiting(&mut self, operation: OperationId) -> Option<Request> {
        let at = self.waiting.iter().position(|request| request.operation == Some(operation))?;
        self.waiting.remove(at)
    }
}

impl ClientSession {
    /// Asks for subscriptions. How it ends is told by exactly one
    /// [`Event::Subscribed`](crate::Event::Subscribed).
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub fn subscribe(
        &mut self,
        now: Timestamp,
        request: &SubscribeRequest<'_>,
    ) -> Result<OperationId, RequestRefused> {
        let operation = self.request(now, Request::subscribe(now, request))?;
        self.events.observe(Observation::SubscribeBegun { operation });
        Ok(operation)
    }

    /// Ends subscriptions. How it ends is told by exactly one
    /// [`Event::Unsubscribed`](crate::Event::Unsubscribed).
    ///
    /// # Errors
    ///
    /// If it cannot be asked.
    pub fn unsubscribe(
        &mut self,
        now: Timestamp,
        request: &UnsubscribeRequest<'_>,
    ) -> Result<OperationId, RequestRefused> {
        let operation = self.request(now, Request::unsubscribe(now, request))?;
        for filter in request.filters {
            self.requests.note_ended(filter.as_str());
            // From now on nobody wants it back, whatever becomes of the connection.
            if self.subscriptions.remove(filter.as_str()) {
                self.records.note(|| Record::Unsubscribed { filter: filter.as_str().into() });
            }
        }
        Ok(operation)
    }

    /// Asks again for all subscriptions that the server has granted, those too that it has
    /// forgotten and that nobody has [unsubscribed](Self::unsubscribe) from since. How each
    /// request ends is told by exactly one
    /// [`Event::Subscribed`](crate::Event::Subscribed).
    ///
    /// # Errors
    ///
    /// If they cannot be asked.
    pub fn resubscribe(&mut self, now: Timestamp) -> Result<Vec<Resubscribe>, RequestRefused> {
        let suspicious = self.settings.redelivery.suspicious();
        let filters_max = self.settings.limits.filters_per_subscribe_max;
        let mut requests = self.subscriptions.all(filters_max, suspicious);
        self.check_room(requests.len())?;
        let mut asked = Vec::new();
        for request in &mut requests {
            let operation = self.begin_operation();
            (request.operation, request.interruptions) = (Some(operation), 0);
            if let Content::Subscribe { list, is_again, .. } = &mut request.content {
                *is_again = false;
                let filters = list.iter().map(|it| it.filter.as_str().into()).collect();
                asked.push(Resubscribe { operation, filters });
            }
            self.events.observe(Observation::SubscribeBegun { operation });
        }
        self.requests.waiting.extend(requests);
        self.pump(now);
        Ok(asked)
    }

    fn request(
        &mut self,
        now: Timestamp,
        mut request: Request,
    ) -> Result<OperationId, RequestRefused> {
        if self.is_closed {
            return Err(RequestRefused::Closed);
        }
        request.check(self.version)?;
        request.check_text(self.settings.validation.text_rules())?;
        if self.status == Status::Online {
            self.check_request(&request)?;
        }
        self.check_room(1)?;
        let operation = self.begin_operation();
        request.operation = Some(operation);
        self.watch(operation, request.timeout);
        self.requests.waiting.push_back(request);
        self.pump(now);
        Ok(operation)
    }

    /// Whether so many requests are taken now.
    fn check_room(&self, count: usize) -> Result<(), RequestRefused> {
        if self.is_closed {
            return Err(RequestRefused::Closed);
        }
        if self.status != Status::Online && !self.settings.queue.keep.keeps_requests() {
            return Err(RequestRefused::Offline);
        }
        let maximum = self.settings.limits.requests_max;
        if self.requests.len().saturating_add(count) > maximum {
            return Err(RequestRefused::Full { maximum });
        }
        Ok(())
    }

    /// Whether the server takes a request.
    fn check_request(&self, request: &Request) -> Result<(), RequestRefused> {
        let Some(negotiated) = &self.negotiated else { return Ok(()) };
        request.check_server(negotiated)?;
        let mut packet = Vec::new();
        if request.encode(self.version, PacketId::MIN, &mut packet).is_err() {
            return Err(RequestRefused::InvalidValue { option: "topic filter" });
        }
        let (size, maximum) = (packet.len(), self.server.maximum_packet_size);
        if u32::try_from(size).map_or(true, |size| size > maximum) {
            return Err(RequestRefused::TooLarge { size, maximum });
        }
        Ok(())
    }

    /// Sends the next request that waits. Whether there was one.
    // [MQTT5-3.3.4-8] [MQTT311-2.3.1-2]
    pub(crate) fn send_request(&mut self, _now: Timestamp) -> bool {
        let suspicious = self.settings.redelivery.suspicious();
        let Some(request) = self.requests.pop_next(suspicious) else { return false };
        if let Err(refused) = self.check_request(&request) {
            self.finish_request(request, RequestOutcome::Dropped { why: refused.cause() });
            return true;
        }
        let Some(packet_id) = self.sender.reserve() else {
            let why = DropCause::NoPacketId;
            self.finish_request(request, RequestOutcome::Dropped { why });
            return true;
        };
        // It was encoded before, so it can be.
        let _ = request.encode(self.version, packet_id, self.outbound.bytes_mut());
        self.requests.counter += 1;
        self.requests.are_outlived = false;
        self.requests.sent.insert(packet_id, (self.requests.counter, request));
        true
    }

    /// Asks again for all subscriptions that the server has forgotten, before anything else.
    pub(crate) fn subscribe_again(&mut self) {
        let maximum = self.settings.limits.filters_per_subscribe_max;
        let suspicious = self.settings.redelivery.suspicious();
        for request in self.subscriptions.lost(maximum, suspicious).into_iter().rev() {
            self.requests.waiting.push_front(request);
        }
        self.look_for_suspects();
    }

    /// SUBACK.
    pub(crate) fn on_suback(&mut self, suback: &Suback<'_>) -> Result<(), Fault> {
        let (packet_type, codes) = (PacketType::Suback, &*suback.reason_codes);
        let Some(request) = self.answered(packet_type, suback.packet_id, codes.len())? else {
            return Ok(());
        };
        let remarks = Remarks::of(suback.reason_string, &suback.user_properties);
        if let Content::Subscribe { list, identifier, is_again } = &request.content {
            for (subscription, code) in list.iter().zip(codes) {
                let filter: Box<str> = subscription.filter.as_str().into();
                // UNSUBSCRIBE is on its way.
                if request.ended.contains(&filter) {
                    continue;
                }
                if *is_again {
                    let (filter, remarks) = (filter.clone(), remarks.clone());
                    self.events.push(Event::Resubscribed { filter, code: Some(*code), remarks });
                }
                if code.is_error() {
                    if *is_again {
                        self.subscriptions.remove(&filter);
                        self.records.note(|| Record::Unsubscribed { filter });
                    }
                    continue;
                }
                let subscription = StoredSubscription {
                    filter,
                    options: subscription.options,
                    identifier: *identifier,
                    user_properties: request.user_properties.clone(),
                };
                self.records.note(|| Record::Subscribed { subscription: subscription.clone() });
                self.subscriptions.insert(subscription, *code);
            }
        }
        self.finish_request(request, RequestOutcome::Answered { codes: codes.into(), remarks });
        Ok(())
    }

    /// UNSUBACK.
    pub(crate) fn on_unsuback(&mut self, unsuback: &Unsuback<'_>) -> Result<(), Fault> {
        let packet_type = PacketType::Unsuback;
        let is_v5 = self.version.is_v5();
        let count = if is_v5 { unsuback.reason_codes.len() } else { usize::MAX };
        let Some(request) = self.answered(packet_type, unsuback.packet_id, count)? else {
            return Ok(());
        };
        let codes = if is_v5 {
            unsuback.reason_codes.as_ref().into()
        } else {
            alloc::vec![ReasonCode::Success; request.filters()].into()
        };
        let remarks = Remarks::of(unsuback.reason_string, &unsuback.user_properties);
        self.finish_request(request, RequestOutcome::Answered { codes, remarks });
        Ok(())
    }

    /// Takes the request that an answer belongs to. None if that was let pass.
    // [MQTT5-2.2.1-6] [MQTT5-3.8.4-6] [MQTT311-3.8.4-5]
    fn answered(
        &mut self,
        packet_type: PacketType,
        packet_id: PacketId,
        codes: usize,
    ) -> Result<Option<Request>, Fault> {
        let is_subscribe = packet_type == PacketType::Suback;
        let sent = self.requests.sent.get(&packet_id).map(|(_, request)| request);
        let fits = |request: &&Request| {
            matches!(request.content, Content::Subscribe { .. }) == is_subscribe
        };
        let Some(filters) = sent.filter(fits).map(Request::filters) else {
            self.tolerate(ProtocolError::UnknownRequest(packet_type))?;
            return Ok(None);
        };
        if codes != filters && codes != usize::MAX {
            return Err(ProtocolError::CodeCount { packet_type, codes, filters }.into());
        }
        self.sender.unreserve(packet_id);
        Ok(self.requests.sent.remove(&packet_id).map(|(_, request)| request))
    }

    /// A request has ended: the only place that tells the user.
    pub(crate) fn finish_request(&mut self, request: Request, outcome: RequestOutcome) {
        if self.requests.has_suspect {
            self.look_for_suspects();
        }
        if request.is_again()
            && let RequestOutcome::Dropped { .. } = outcome
            && let Content::Subscribe { list, .. } = &request.content
        {
            for subscription in list.iter() {
                let filter: Box<str> = subscription.filter.as_str().into();
                self.events.push(Event::Resubscribed { filter, code: None, remarks: None });
            }
        }
        let Some(operation) = request.operation else { return };
        self.unwatch(operation, request.timeout);
        self.events.push(match request.content {
            Content::Subscribe { list: subscriptions, .. } => {
                Event::Subscribed { operation, subscriptions, outcome }
            }
            Content::Unsubscribe { filters } => Event::Unsubscribed { operation, filters, outcome },
        });
    }

    /// The connection is gone. What was asked for is asked again, if requests are kept.
    pub(crate) fn requests_interrupted(&mut self) {
        let Self { requests, sender, subscriptions, records, .. } = self;
        let sent: Vec<OperationId> =
            requests.sent.values().filter_map(|(_, request)| request.operation).collect();
        for request in requests.iter() {
            if let Content::Subscribe { list, is_again: true, .. } = &request.content {
                let interruptions = request.interruptions;
                for filter in list.iter().map(|it| it.filter) {
                    if subscriptions.note_interruptions(filter.as_str(), interruptions) {
                        let filter = filter.as_str().into();
                        records.note(|| Record::SubscriptionInterrupted { filter, interruptions });
                    }
                }
            }
        }
        requests.put_back(|packet_id| {
            sender.unreserve(packet_id);
        });
        self.look_for_suspects();
        if self.settings.queue.keep.keeps_requests() {
            return;
        }
        for operation in sent {
            let why = Doubt::ConnectionLost;
            self.end_waiting_request(operation, RequestOutcome::Indeterminate { why });
        }
        self.end_all_requests(DropCause::Offline, Doubt::ConnectionLost);
    }

    fn end_waiting_request(&mut self, operation: OperationId, outcome: RequestOutcome) {
        if let Some(request) = self.requests.take_waiting(operation) {
            self.finish_request(request, outcome);
        }
    }

    /// Ends every request.
    pub(crate) fn end_all_requests(&mut self, unsent: DropCause, sent: Doubt) {
        for request in core::mem::take(&mut self.requests.waiting) {
            self.finish_request(request, RequestOutcome::Dropped { why: unsent });
        }
        for (packet_id, (_, request)) in core::mem::take(&mut self.requests.sent) {
            self.sender.unreserve(packet_id);
            self.finish_request(request, RequestOutcome::Indeterminate { why: sent });
        }
    }

    /// Ends one request before its answer. Whether there is such a request.
    pub(crate) fn give_up_request(
        &mut self,
        operation: OperationId,
        unsent: DropCause,
        sent: Doubt,
    ) -> bool {
        if let Some(request) = self.requests.take_waiting(operation) {
            self.finish_request(request, RequestOutcome::Dropped { why: unsent });
            return true;
        }
        let mut found = self.requests.sent.values_mut().map(|(_, request)| request);
        let Some(request) = found.find(|request| request.operation == Some(operation)) else {
            return false;
        };
        // Its answer is still due, and tells what the server has granted.
        let told = request.clone();
        // Nothing waits any longer for what nobody waits for.
        (request.operation, request.interruptions) = (None, 0);
        self.finish_request(told, RequestOutcome::Indeterminate { why: sent });
        true
    }
}

impl RequestRefused {
    /// The same for something that was accepted and can now not be sent.
    const fn cause(self) -> DropCause {
        match self {
            Self::NotInVersion { option, version } => DropCause::NotInVersion { option, version },
            Self::NotSupported { option } | Self::InvalidValue { option } => {
                DropCause::NotSupported { option }
            }
            Self::TooLarge { size, maximum } => DropCause::TooLarge { size, maximum },
            Self::Empty | Self::Offline | Self::Full { .. } => DropCause::Offline,
            Self::Closed => DropCause::Closed,
        }
    }
}
