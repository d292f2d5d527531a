//! A user publishes: checked, sent at once if nothing is before it, kept otherwise.

use noctule_packet::{ForwardedProperties, PacketId, PublishHead, QoS};
use noctule_session::Timestamp;

use crate::event::Event;
use crate::observe::Observation;
use crate::operation::{DropCause, OperationId, Outcome};
use crate::outbound::Unsaid;
use crate::outgoing::{Outgoing, Times};
use crate::publication::{Publication, PublishRefused};
use crate::queue::Overflow;
use crate::record::{Record, StoredMessage};
use crate::session::{ClientSession, Status};
use crate::settings::Validation;
use crate::text::{are_texts, is_text};
use crate::transmit::write_publish;

/// The longest string or binary field.
const FIELD_BYTES_MAX: usize = u16::MAX as usize;

/// What PUBLISH has beside topic, properties that are passed on, and payload.
const HEAD_BYTES_MAX: usize = 32;

impl ClientSession {
    /// Publishes a message. How it ends is told by exactly one
    /// [`Event::Published`](crate::Event::Published).
    ///
    /// # Errors
    ///
    /// If it cannot be sent, or there is no room for it to wait.
    pub fn publish(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
    ) -> Result<OperationId, PublishRefused> {
        let operation = self.accept(now, publication)?;
        self.events.observe(Observation::Accepted { operation, qos: publication.qos });
        Ok(operation)
    }

    fn accept(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
    ) -> Result<OperationId, PublishRefused> {
        if self.is_closed {
            return Err(PublishRefused::Closed);
        }
        self.check(publication)?;
        let forwarded = ForwardedProperties::from_publish(&publication.properties);
        let bytes = Outgoing::bytes_of(publication, &forwarded);
        if self.status == Status::Online {
            self.check_server(publication, &forwarded)?;
            if self.may_send(publication.qos, bytes) {
                return Ok(self.send_now(now, publication, &forwarded));
            }
        } else if !self.settings.queue.keep.keeps_message(publication.qos) {
            return Err(PublishRefused::Offline);
        }
        self.enqueue(now, publication, &forwarded, bytes)
    }

    /// Whether a PUBLISH of the version in use can say this.
    fn check(&self, publication: &Publication<'_>) -> Result<(), PublishRefused> {
        if let Some(option) = publication.property() {
            let version = self.version;
            if !version.is_v5() {
                return Err(PublishRefused::NotInVersion { option, version });
            }
            self.check_properties(publication)?;
        }
        // What no rules allow is in no topic name.
        if self.settings.validation == Validation::Strict {
            let rules = self.settings.validation.text_rules();
            if !is_text(rules, publication.topic.as_str()) {
                return Err(PublishRefused::InvalidValue { option: "topic" });
            }
        }
        Ok(())
    }

    fn check_properties(&self, publication: &Publication<'_>) -> Result<(), PublishRefused> {
        let properties = &publication.properties;
        let invalid = |option| Err(PublishRefused::InvalidValue { option });
        // [MQTT5-3.3.4-6]
        if !properties.subscription_identifiers.is_empty() {
            return invalid("subscription_identifiers");
        }
        let rules = self.settings.validation.text_rules();
        if !properties.content_type.is_none_or(|text| is_text(rules, text)) {
            return invalid("content_type");
        }
        if properties.correlation_data.is_some_and(|it| it.len() > FIELD_BYTES_MAX) {
            return invalid("correlation_data");
        }
        if let Some(alias) = properties.topic_alias {
            let is_online = self.status == Status::Online;
            // [MQTT5-3.3.2-8] [MQTT5-3.3.2-9]
            if alias == 0
                || !self.aliases.are_manual()
                || (is_online && !self.aliases.allows(alias))
            {
                return invalid("topic_alias");
            }
        }
        if self.settings.validation == Validation::Strict {
            if !properties.response_topic.is_none_or(|topic| is_text(rules, topic.as_str())) {
                return invalid("response_topic");
            }
            if !are_texts(rules, &properties.user_properties) {
                return invalid("user_properties");
            }
            let claims_text = properties.payload_format_indicator == Some(true);
            if claims_text && core::str::from_utf8(publication.payload).is_err() {
                return invalid("payload");
            }
        }
        Ok(())
    }

    /// Whether the server takes it.
    // [MQTT5-3.2.2-11] [MQTT5-3.2.2-14]
    fn check_server(
        &self,
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
    ) -> Result<(), PublishRefused> {
        if publication.qos > self.server.maximum_qos {
            let option = if publication.qos == QoS::ExactlyOnce { "QoS 2" } else { "QoS 1" };
            return Err(PublishRefused::NotSupported { option });
        }
        if publication.retain && !self.server.retain_available {
            return Err(PublishRefused::NotSupported { option: "retain" });
        }
        let maximum = self.server.maximum_packet_size;
        let topic = publication.topic.as_str().len();
        let about = topic + forwarded.as_bytes().len() + publication.payload.len() + HEAD_BYTES_MAX;
        if u32::try_from(about).is_ok_and(|about| about <= maximum.min(MAXIMUM_PACKET)) {
            return Ok(());
        }
        // [MQTT5-3.2.2-15]
        let size = self.head(publication, forwarded, Some(PacketId::MIN)).encoded_length();
        if u32::try_from(size).is_ok_and(|size| size <= maximum.min(MAXIMUM_PACKET)) {
            return Ok(());
        }
        Err(PublishRefused::TooLarge { size, maximum: maximum.min(MAXIMUM_PACKET) })
    }

    fn head<'a>(
        &self,
        publication: &'a Publication<'_>,
        forwarded: &'a ForwardedProperties,
        packet_id: Option<PacketId>,
    ) -> PublishHead<'a> {
        PublishHead {
            version: self.version,
            dup: false,
            qos: publication.qos,
            retain: publication.retain,
            topic: publication.topic.as_str(),
            packet_id,
            topic_alias: None,
            message_expiry_interval: publication.properties.message_expiry_interval,
            subscription_identifiers: &[],
            forwarded: forwarded.as_bytes(),
            payload_length: publication.payload.len(),
        }
    }

    /// Whether a message goes out at once: nothing is before it, the server has room for it, and so
    /// has the transport.
    // [MQTT5-3.3.4-7]
    #[inline]
    pub(crate) fn may_send(&self, qos: QoS, bytes: usize) -> bool {
        self.outbound.len() < self.settings.limits.outbound_bytes_max
            && !self.queue.has_before(qos)
            && (qos == QoS::AtMostOnce || self.has_room_in_flight(bytes))
    }

    /// Whether one more message of QoS 1 or 2 may be in flight.
    pub(crate) fn has_room_in_flight(&self, bytes: usize) -> bool {
        let bytes_max = self.settings.limits.in_flight_bytes_max;
        self.sender.is_open()
            && self.repeated_alone.is_none()
            && !self.holds_messages_back()
            && (self.in_flight_bytes == 0
                || self.in_flight_bytes.saturating_add(bytes) <= bytes_max)
    }

    fn send_now(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
    ) -> OperationId {
        let operation = self.begin_operation();
        let qos = publication.qos;
        let mut packet_id = None;
        if qos > QoS::AtMostOnce {
            let outgoing = Outgoing::new(now, operation, publication, forwarded, None);
            self.note_accepted(operation, publication, forwarded);
            let (bytes, timeout) = (outgoing.bytes(), outgoing.timeout);
            self.watch(operation, timeout);
            match self.sender.send_now(outgoing, qos) {
                Ok(given) => packet_id = Some(given),
                Err(outgoing) => {
                    self.queue.push(outgoing);
                    return operation;
                }
            }
            self.in_flight_bytes += bytes;
            if let Some(packet_id) = packet_id {
                self.records.note(|| Record::Transmitted { operation, packet_id });
            }
        }
        let start = self.outbound.position();
        let head = self.head(publication, forwarded, packet_id);
        let maximum = self.server.maximum_packet_size;
        let alias = publication.properties.topic_alias;
        let is_bare = write_publish(
            &mut self.outbound,
            &mut self.aliases,
            head,
            publication.payload,
            alias,
            maximum,
        );
        if qos == QoS::AtMostOnce {
            let topic = is_bare.then(|| publication.topic.as_str().into());
            let times = Times::of(now, publication, self.settings.queue.age_max);
            self.watch(operation, times.timeout);
            self.outbound.mark(start, operation, Unsaid { topic, times, interruptions: 0 });
        }
        operation
    }

    fn note_accepted(
        &mut self,
        operation: OperationId,
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
    ) {
        let age_max = self.settings.queue.age_max;
        self.records.note(|| {
            let message = StoredMessage::of(publication, forwarded, age_max);
            Record::Accepted { operation, message }
        });
    }

    fn enqueue(
        &mut self,
        now: Timestamp,
        publication: &Publication<'_>,
        forwarded: &ForwardedProperties,
        bytes: usize,
    ) -> Result<OperationId, PublishRefused> {
        let settings = self.settings.queue;
        // No waiting would help.
        if bytes > settings.bytes_max {
            let maximum = settings.bytes_max;
            return Err(PublishRefused::TooLargeForQueue { size: bytes, maximum });
        }
        if let Some((limit, maximum)) = self.queue.full(bytes, &settings) {
            match settings.overflow {
                Overflow::Refuse => return Err(PublishRefused::Full { limit, maximum }),
                Overflow::Wait => {
                    self.queue.await_room(bytes);
                    return Err(PublishRefused::Full { limit, maximum });
                }
                Overflow::DropNewest => {
                    let operation = self.begin_operation();
                    let outcome = Outcome::Dropped { why: DropCause::QueueFull };
                    let topic = publication.topic.as_str();
                    self.events.push(Event::published(operation, outcome, topic));
                    return Ok(operation);
                }
                Overflow::DropOldest => self.make_room(bytes),
            }
        }
        let operation = self.begin_operation();
        self.note_accepted(operation, publication, forwarded);
        let outgoing = Outgoing::new(now, operation, publication, forwarded, settings.age_max);
        self.watch(operation, outgoing.deadline(true));
        self.queue.push(outgoing);
        Ok(operation)
    }

    /// Drops what has waited longest until so many bytes have room, or nothing is left.
    fn make_room(&mut self, bytes: usize) {
        let settings = self.settings.queue;
        while self.queue.full(bytes, &settings).is_some() {
            let Some(oldest) = self.queue.pop_oldest() else { return };
            self.finish_dropped(&oldest, DropCause::QueueFull);
        }
    }

    /// Looks at an operation when its time may be up.
    pub(crate) fn watch(&mut self, operation: OperationId, deadline: Option<Timestamp>) {
        if let Some(deadline) = deadline {
            self.deadlines.insert((deadline, operation));
        }
    }

    pub(crate) fn unwatch(&mut self, operation: OperationId, deadline: Option<Timestamp>) {
        if let Some(deadline) = deadline {
            self.deadlines.remove(&(deadline, operation));
        }
    }
}

/// The largest packet that there is.
pub(crate) const MAXIMUM_PACKET: u32 = 268_435_460;
