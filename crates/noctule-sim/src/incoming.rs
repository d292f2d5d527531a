//! What a simulated client does with every packet that it gets, as a correct client would.

use noctule_packet::{
    Ack, Connack, Framing, Packet, PacketId, Publish, QoS, ReasonCode, Suback, TextRules, Unsuback,
    split,
};

use crate::brief::brief;
use crate::client::{Owed, OwedKind, Request};
use crate::link::{BrokerEnd, LinkId};
use crate::oracle::arrival::Arrived;
use crate::world::{Happening, World};

impl World {
    /// Takes every whole packet that has arrived.
    pub(crate) fn client_reads(&mut self, link: LinkId) {
        let inbox = std::mem::take(&mut self.links[link].inbox);
        let client = self.links[link].client;
        let version = self.clients[client].habits.version;
        let mut rest = &inbox[..];
        while self.links[link].client_is_open && !self.links[link].is_ghost {
            let frame = match split(rest, u32::MAX) {
                Ok(Framing::Complete(frame)) => frame,
                Ok(Framing::Partial { .. }) => break,
                Err(error) => {
                    self.oracle.malformed(client, &error.to_string());
                    break;
                }
            };
            rest = &rest[frame.length..];
            let maximum = self.clients[client].habits.maximum_packet_size;
            self.oracle.packet_size(client, frame.length, maximum);
            match Packet::decode(&frame, version, TextRules::Strict) {
                Ok(packet) => {
                    self.trace(|| format!("link {link} client {client} gets {}", brief(&packet)));
                    self.on_packet(link, client, packet);
                }
                Err(error) => self.oracle.malformed(client, &error.to_string()),
            }
        }
        self.links[link].inbox = rest.to_vec();
    }

    fn on_packet(&mut self, link: LinkId, client: usize, packet: Packet<'_>) {
        let is_online = self.clients[client].is_online;
        match packet {
            Packet::Connack(connack) if !is_online => self.on_connack(link, client, &connack),
            Packet::Publish(publish) if is_online => self.on_publish(client, &publish),
            Packet::Puback(ack) if is_online => self.on_puback(client, &ack),
            Packet::Pubrec(ack) if is_online => self.on_pubrec(link, client, &ack),
            Packet::Pubrel(ack) if is_online => self.on_pubrel(client, &ack),
            Packet::Pubcomp(ack) if is_online => self.on_pubcomp(client, &ack),
            Packet::Suback(suback) if is_online => self.on_suback(client, &suback),
            Packet::Unsuback(unsuback) if is_online => self.on_unsuback(client, &unsuback),
            Packet::Pingresp if is_online => self.clients[client].pings_answered += 1,
            Packet::Disconnect(_) if is_online => {}
            other => {
                let what = format!("{:?} out of turn", other.packet_type());
                self.oracle.malformed(client, &what);
            }
        }
    }

    fn on_connack(&mut self, link: LinkId, client: usize, connack: &Connack<'_>) {
        if connack.reason_code.is_error() {
            return;
        }
        let present = connack.session_present;
        self.oracle.connack(client, present, self.links[link].let_in);
        let known = &mut self.clients[client];
        known.is_online = true;
        // What comes from before a power cut says nothing of the session that there is now.
        known.begins_anew &= self.links[link].broker_end == BrokerEnd::Closed;
        known.server_receive_maximum = connack.properties.receive_maximum.unwrap_or(u16::MAX);
        known.server_alias_maximum = connack.properties.topic_alias_maximum.unwrap_or(0);
        // Whatever it was told: a CONNACK that it never got may have said that it was a new one.
        let number = self.links[link].session_number;
        let is_unknown = self.oracle.session_of(client).is_none();
        if !present || is_unknown || known.session_number != number {
            known.session_number = number;
            known.forget_session();
            self.oracle.session_begins(client);
        }
        self.oracle.online(client, link);
        self.resend(link, client);
    }

    fn on_publish(&mut self, client: usize, publish: &Publish<'_>) {
        let known = &mut self.clients[client];
        let mut name = publish.topic.map(|topic| topic.as_str().to_owned());
        if let Some(alias) = publish.properties.topic_alias {
            if alias == 0 || alias > known.habits.topic_alias_maximum {
                self.oracle.malformed(client, "a topic alias above the client's maximum");
                return;
            }
            match &name {
                Some(name) => {
                    known.aliases.insert(alias, name.clone());
                }
                None => name = known.aliases.get(&alias).cloned(),
            }
        }
        let topic = name.and_then(|name| self.topics.find(&name));
        let Some(topic) = topic else {
            self.oracle.malformed(client, "a PUBLISH on a topic that nobody has published on");
            return;
        };
        let arrived = Arrived {
            client,
            topic,
            publication: Arrived::publication_in(publish.payload),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
            identifiers: publish.properties.subscription_identifiers.clone(),
        };
        match (publish.qos, publish.packet_id) {
            (QoS::AtLeastOnce, Some(packet_id)) => {
                self.note_in_flight(client, packet_id, &arrived);
                self.oracle.arrived(&arrived);
                self.owe(client, OwedKind::Puback, packet_id);
            }
            (QoS::ExactlyOnce, Some(packet_id)) => {
                self.note_in_flight(client, packet_id, &arrived);
                self.take_exactly_once(client, packet_id, &arrived);
                self.owe(client, OwedKind::Pubrec, packet_id);
            }
            _ => self.oracle.arrived(&arrived),
        }
    }

    /// Passes a QoS 2 message on only if its packet identifier is not known.
    // MQTT5-4.3.3-10 MQTT311-4.3.3-2
    fn take_exactly_once(&mut self, client: usize, packet_id: PacketId, arrived: &Arrived) {
        let Some(publication) = arrived.publication else {
            self.oracle.arrived(arrived);
            return;
        };
        let known = self.clients[client].unreleased.get(&packet_id).copied();
        match known {
            None => {
                self.clients[client].unreleased.insert(packet_id, publication);
                self.oracle.arrived(arrived);
            }
            Some(known) => self.oracle.repeated(arrived, known),
        }
    }

    /// What is in flight to a client: no identifier twice, and no more than it takes.
    fn note_in_flight(&mut self, client: usize, packet_id: PacketId, arrived: &Arrived) {
        let known = &mut self.clients[client];
        let is_new = known.unacknowledged.insert(packet_id);
        let (count, maximum) = (known.unacknowledged.len(), known.habits.receive_maximum);
        if self.topics.is_for_groups(arrived.topic) {
            known.group_work.insert(packet_id);
        }
        self.oracle.in_flight(client, packet_id, (is_new, arrived.dup), (count, maximum));
        let last = std::mem::replace(&mut known.last_heard, packet_id.value());
        if is_new && last > u16::MAX - 100 && packet_id.value() < 100 {
            self.situations.packet_ids_to_client_wrap += 1;
        }
        if is_new && count == usize::from(maximum) {
            self.situations.window_full_to_client += 1;
        }
    }

    fn on_puback(&mut self, client: usize, ack: &Ack<'_>) {
        let known = &mut self.clients[client].unfinished;
        let packet_id = ack.packet_id.value();
        let at = known.iter().position(|sent| sent.packet_id == packet_id);
        let done = at.and_then(|at| known.remove(at)).filter(|sent| sent.qos == QoS::AtLeastOnce);
        match done {
            Some(done) => self.oracle.acknowledged(done.publication, ack.reason_code),
            None => self.oracle.unexpected(client, "PUBACK", packet_id),
        }
    }

    fn on_pubrec(&mut self, link: LinkId, client: usize, ack: &Ack<'_>) {
        let packet_id = ack.packet_id.value();
        let known = &mut self.clients[client].unfinished;
        let at = known.iter().position(|sent| sent.packet_id == packet_id);
        let Some(at) = at.filter(|at| known[*at].qos == QoS::ExactlyOnce) else {
            self.oracle.unexpected(client, "PUBREC", packet_id);
            return;
        };
        let publication = known[at].publication;
        if ack.reason_code.is_error() {
            known.remove(at);
            self.oracle.acknowledged(publication, ack.reason_code);
            return;
        }
        known[at].is_released = true;
        self.oracle.acknowledged(publication, ack.reason_code);
        self.send_ack(link, client, Packet::Pubrel(Ack::new(ack.packet_id, ReasonCode::Success)));
    }

    fn on_pubrel(&mut self, client: usize, ack: &Ack<'_>) {
        let known = &mut self.clients[client];
        known.unreleased.remove(&ack.packet_id);
        self.owe(client, OwedKind::Pubcomp, ack.packet_id);
    }

    fn on_pubcomp(&mut self, client: usize, ack: &Ack<'_>) {
        let packet_id = ack.packet_id.value();
        let unknown = &mut self.clients[client].unknown_releases;
        if let Some(at) = unknown.iter().position(|released| *released == packet_id) {
            unknown.remove(at);
            return;
        }
        let known = &mut self.clients[client].unfinished;
        let at = known.iter().position(|sent| sent.packet_id == packet_id && sent.is_released);
        match at {
            Some(at) => {
                known.remove(at);
            }
            None => self.oracle.unexpected(client, "PUBCOMP", packet_id),
        }
    }

    fn on_suback(&mut self, client: usize, suback: &Suback<'_>) {
        let packet_id = suback.packet_id.value();
        match self.clients[client].requests.remove(&packet_id) {
            Some(Request::Subscribe(filters)) => {
                self.oracle.subscribed(client, &filters, &suback.reason_codes);
            }
            _ => self.oracle.unexpected(client, "SUBACK", packet_id),
        }
    }

    fn on_unsuback(&mut self, client: usize, unsuback: &Unsuback<'_>) {
        let packet_id = unsuback.packet_id.value();
        match self.clients[client].requests.remove(&packet_id) {
            Some(Request::Unsubscribe(filters, sent)) => {
                self.oracle.unsubscribed(client, &filters, sent);
            }
            _ => self.oracle.unexpected(client, "UNSUBACK", packet_id),
        }
    }

    /// Acknowledges later, but in order.
    fn owe(&mut self, client: usize, kind: OwedKind, packet_id: PacketId) {
        let within = self.clients[client].habits.acknowledges_within;
        let delay = if within == 0 { 0 } else { self.random.between(0, within) };
        let known = &mut self.clients[client];
        let last = known.owed.back().map_or(0, |owed| owed.at);
        let at = last.max(self.now + delay);
        known.owed.push_back(Owed { at, kind, packet_id });
        self.schedule_at(at, Happening::Acknowledge(client));
    }

    /// Sends the acknowledgements that are due.
    // MQTT5-4.6.0-2 MQTT5-4.6.0-3
    pub(crate) fn acknowledge_due(&mut self, client: usize) {
        while !self.clients[client].withholds
            && let Some(link) = self.clients[client].link
            && let Some(owed) = self.clients[client].owed.front().copied()
            && owed.at <= self.now
        {
            let known = &mut self.clients[client];
            // Not as it should be, but the broker must not mind.
            let swaps = known.owed.len() > 1 && self.random.chance(2);
            let owed = if swaps { known.owed.remove(1).unwrap_or(owed) } else { owed };
            if !swaps {
                known.owed.pop_front();
            }
            let ack = Ack::new(owed.packet_id, ReasonCode::Success);
            let packet = match owed.kind {
                OwedKind::Puback => Packet::Puback(ack),
                OwedKind::Pubrec => Packet::Pubrec(ack),
                OwedKind::Pubcomp => Packet::Pubcomp(ack),
            };
            if owed.kind != OwedKind::Pubrec {
                known.unacknowledged.remove(&owed.packet_id);
                known.group_work.remove(&owed.packet_id);
            }
            self.send_ack(link, client, packet);
        }
    }

    /// The broker has ended a connection, and everything before that has arrived.
    pub(crate) fn client_sees_end(&mut self, link: LinkId) {
        let known = &mut self.links[link];
        if !known.client_is_open || known.is_stalled || known.broker_end != BrokerEnd::Closed {
            return;
        }
        known.client_is_open = false;
        let client = known.client;
        if self.clients[client].link == Some(link) {
            self.trace(|| format!("link {link} client {client} sees the end"));
            self.clients[client].forget_connection();
            self.oracle.offline(client);
        }
    }
}
