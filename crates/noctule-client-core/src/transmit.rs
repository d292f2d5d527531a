//! What goes out when there is room: requests, repetitions, then what waits.

use noctule_packet::{PacketId, PublishHead, QoS};
use noctule_session::{Timestamp, Transmission};

use crate::alias::{AliasChoice, Aliases};
use crate::event::Event;
use crate::operation::{Doubt, DropCause, Outcome};
use crate::outbound::{Outbound, Unsaid};
use crate::outgoing::Outgoing;
use crate::publish::MAXIMUM_PACKET;
use crate::record::Record;
use crate::session::{ClientSession, Status};

/// What of a topic alias a packet may have more than the packet without it.
const ALIAS_BYTES: usize = 4;

impl ClientSession {
    /// Sends everything that may be sent now: before CONNACK, nothing.
    // [MQTT5-3.1.2-30]
    #[inline]
    pub(crate) fn pump(&mut self, now: Timestamp) {
        let has_queue = !self.queue.is_empty() || self.queue.is_awaited();
        if has_queue || self.is_repeating || self.requests.are_waiting() {
            self.pump_more(now);
        }
    }

    fn pump_more(&mut self, now: Timestamp) {
        while self.status == Status::Online
            && self.outbound.len() < self.settings.limits.outbound_bytes_max
            && (self.send_request(now) || self.repeat(now) || self.send_queued(now))
        {}
        if self.queue.take_room_again(&self.settings.queue) {
            self.events.push(Event::RoomAgain);
        }
    }

    /// Sends something again that an earlier connection has sent. Whether there was anything.
    fn repeat(&mut self, now: Timestamp) -> bool {
        if !self.is_repeating || self.repeated_alone.is_some() || self.holds_messages_back() {
            return false;
        }
        let (version, maximum) = (self.version, self.server.maximum_packet_size);
        let (redelivery, answered) = (self.settings.redelivery, self.first_answered);
        let Self { sender, outbound, aliases, server, .. } = self;
        // Only what is repeated: what is new waits in the queue.
        if !sender.has_repetitions() {
            self.is_repeating = false;
            return false;
        }
        match sender.next_transmission() {
            None => false,
            Some(Transmission::Pubrel { packet_id }) => {
                self.send_pubrel(packet_id);
                true
            }
            Some(Transmission::Publish { packet_id, message, dup, .. }) => {
                let head = message.head(now, version, Some(packet_id), dup);
                match unsendable(message, &head, server) {
                    None => {
                        let alias = message.topic_alias.map(Into::into);
                        write_publish(outbound, aliases, head, message.payload(), alias, maximum);
                        if redelivery.goes_alone(message, answered) {
                            self.repeated_alone = Some(packet_id);
                        }
                    }
                    Some(cause) => self.give_up_in_flight(packet_id, cause.doubt()),
                }
                true
            }
        }
    }

    /// Gives up a message that is in flight and cannot go on.
    pub(crate) fn give_up_in_flight(&mut self, packet_id: PacketId, why: Doubt) {
        // The server may have kept a message of QoS 2 under this identifier.
        if let Some(outgoing) = self.sender.abandon_for_good(packet_id) {
            if outgoing.qos == QoS::AtLeastOnce {
                self.sender.unreserve(packet_id);
            } else {
                self.records.note(|| Record::Abandoned { packet_id });
            }
            self.in_flight_bytes = self.in_flight_bytes.saturating_sub(outgoing.bytes());
            self.finish(&outgoing, false, Outcome::Indeterminate { why });
        }
    }

    /// Sends the next message that waits. Whether there was one.
    fn send_queued(&mut self, now: Timestamp) -> bool {
        let bytes = self.queue.peek(true).map_or(0, Outgoing::bytes);
        let has_quota = self.has_room_in_flight(bytes);
        let Some(outgoing) = self.queue.pop(has_quota) else { return false };
        let (version, maximum) = (self.version, self.server.maximum_packet_size);
        let packet_id = (outgoing.qos > QoS::AtMostOnce).then_some(PacketId::MIN);
        let head = outgoing.head(now, version, packet_id, false);
        // Whoever was asleep has not looked at the clock yet.
        let is_expired = outgoing.discarded.is_some_and(|discarded| discarded <= now);
        let unsendable = unsendable(&outgoing, &head, &self.server);
        if let Some(cause) = is_expired.then_some(DropCause::Expired).or(unsendable) {
            self.finish_dropped(&outgoing, cause);
            return true;
        }
        let operation = outgoing.operation;
        self.unwatch(operation, outgoing.deadline(true));
        if outgoing.qos == QoS::AtMostOnce {
            let alias = outgoing.topic_alias.map(Into::into);
            let start = self.outbound.position();
            let Self { outbound, aliases, .. } = self;
            let is_bare =
                write_publish(outbound, aliases, head, outgoing.payload(), alias, maximum);
            let topic = is_bare.then(|| outgoing.topic().into());
            let (times, interruptions) = (outgoing.times(), outgoing.interruptions);
            self.watch(operation, times.timeout);
            self.outbound.mark(start, operation, Unsaid { topic, times, interruptions });
            self.records.note(|| Record::Finished { operation });
            return true;
        }
        self.watch(operation, outgoing.timeout);
        self.in_flight_bytes += outgoing.bytes();
        let qos = outgoing.qos;
        // Whether the server has forgotten the session makes no difference to who is to blame.
        let is_alone = outgoing.was_sent
            && self.settings.redelivery.goes_alone(&outgoing, self.first_answered);
        self.sender.enqueue(outgoing, qos);
        let Self { sender, outbound, aliases, records, .. } = self;
        // It is open, so this is the one.
        if let Some(Transmission::Publish { packet_id, message, .. }) = sender.next_transmission() {
            records.note(|| Record::Transmitted { operation, packet_id });
            self.repeated_alone = is_alone.then_some(packet_id);
            let head = message.head(now, version, Some(packet_id), false);
            let alias = message.topic_alias.map(Into::into);
            write_publish(outbound, aliases, head, message.payload(), alias, maximum);
        }
        true
    }
}

/// Why a message cannot be sent on this connection.
// [MQTT5-3.2.2-11] [MQTT5-3.2.2-14] [MQTT5-3.2.2-15]
fn unsendable(
    outgoing: &Outgoing,
    head: &PublishHead<'_>,
    server: &crate::session::Server,
) -> Option<DropCause> {
    if let Some(option) = outgoing.missing_in(head.version) {
        return Some(DropCause::NotInVersion { option, version: head.version });
    }
    if outgoing.qos > server.maximum_qos {
        let option = if outgoing.qos == QoS::ExactlyOnce { "QoS 2" } else { "QoS 1" };
        return Some(DropCause::NotSupported { option });
    }
    if outgoing.retain && !server.retain_available {
        return Some(DropCause::NotSupported { option: "retain" });
    }
    let (size, maximum) = (head.encoded_length(), server.maximum_packet_size.min(MAXIMUM_PACKET));
    let is_too_large = u32::try_from(size).map_or(true, |size| size > maximum);
    is_too_large.then_some(DropCause::TooLarge { size, maximum })
}

/// Appends a PUBLISH, with the alias that its topic has or gets. Whether the alias stands there
/// alone.
#[inline]
pub(crate) fn write_publish(
    outbound: &mut Outbound,
    aliases: &mut Aliases,
    mut head: PublishHead<'_>,
    payload: &[u8],
    wanted: Option<u16>,
    maximum: u32,
) -> bool {
    if !aliases.are_unused() && head.version.is_v5() {
        let size = head.encoded_length() + ALIAS_BYTES;
        if u32::try_from(size).is_ok_and(|size| size <= maximum) {
            match aliases.choose(head.topic, wanted) {
                AliasChoice::Topic => {}
                AliasChoice::Define(alias) => head.topic_alias = Some(alias),
                AliasChoice::Use(alias) => (head.topic, head.topic_alias) = ("", Some(alias)),
            }
        }
    }
    let start = outbound.position();
    let out = outbound.bytes_mut();
    head.encode(out);
    out.extend_from_slice(payload);
    outbound.note_message(start);
    head.topic.is_empty()
}
