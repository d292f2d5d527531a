//! The host's publishing connection: packet identifiers, the broker's window, and who waits for
//! which acknowledgement.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::task::{Context, Poll};

use noctule_broker_core::ConnectionId;
use noctule_packet::{Ack, ConnackProperties, Packet, PacketId, Publish, QoS, ReasonCode, Version};
use tokio::sync::oneshot;

use crate::error::{PublishError, Stopped};
use crate::host::{Role, send_to};
use crate::request::PublishRequest;
use crate::shard::ShardDriver;

/// Where the outcome of a publication goes.
type Reply = oneshot::Sender<Result<(), PublishError>>;

/// What the driver knows about the host's connections as a whole.
#[derive(Debug)]
pub(crate) struct PublisherDoor {
    client_id_prefix: String,
    last_number: u64,
    publisher: Option<ConnectionId>,
    /// Why the last publishing connection was not let in.
    refusal: Option<ReasonCode>,
}

impl PublisherDoor {
    pub(crate) fn new() -> Self {
        let tag = RandomState::new().build_hasher().finish();
        Self {
            client_id_prefix: format!("$host-{tag:016x}"),
            last_number: 0,
            publisher: None,
            refusal: None,
        }
    }

    /// A client identifier that was not used before.
    fn next_client_id(&mut self) -> String {
        self.last_number += 1;
        format!("{}-{}", self.client_id_prefix, self.last_number)
    }

    /// The publishing connection has ended; if it was never let in, this says why.
    pub(crate) fn on_closed(&mut self, refusal: Option<ReasonCode>) {
        self.publisher = None;
        self.refusal = refusal;
    }
}

/// The client half of publishing.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    is_connected: bool,
    refusal: Option<ReasonCode>,
    limits: ConnackLimits,
    /// How many more QoS 1 and 2 messages the broker takes now.
    send_quota: u16,
    waiting: HashMap<PacketId, Reply>,
    last_packet_id: u16,
}

/// What the broker has announced.
#[derive(Debug)]
struct ConnackLimits {
    maximum_qos: QoS,
    retain_available: bool,
    maximum_packet_size: usize,
}

impl Default for ConnackLimits {
    fn default() -> Self {
        Self {
            maximum_qos: QoS::ExactlyOnce,
            retain_available: true,
            maximum_packet_size: usize::MAX,
        }
    }
}

impl Publisher {
    fn is_ready(&self) -> bool {
        self.is_connected && self.send_quota > 0
    }

    /// Tells everybody who waits that nothing more will come, and why it never began.
    pub(crate) fn disconnect(&mut self, why: &PublishError) -> Option<ReasonCode> {
        for (_, reply) in self.waiting.drain() {
            let _ = reply.send(Err(why.clone()));
        }
        (!self.is_connected).then(|| self.refusal.unwrap_or(ReasonCode::ServerUnavailable))
    }

    pub(crate) fn on_packet(&mut self, packet: &Packet<'_>, out: &mut Vec<u8>) {
        match packet {
            Packet::Connack(connack) if connack.reason_code.is_error() => {
                self.refusal = Some(connack.reason_code);
            }
            Packet::Connack(connack) => self.on_connack(&connack.properties),
            Packet::Puback(ack) => self.finish(ack),
            Packet::Pubrec(ack) if ack.reason_code.is_error() => self.finish(ack),
            Packet::Pubrec(ack) => {
                send_to(out, &Packet::Pubrel(Ack::new(ack.packet_id, ReasonCode::Success)));
            }
            Packet::Pubcomp(ack) => self.finish(ack),
            _ => {}
        }
    }

    fn on_connack(&mut self, properties: &ConnackProperties<'_>) {
        self.is_connected = true;
        self.send_quota = properties.receive_maximum.unwrap_or(u16::MAX);
        self.limits = ConnackLimits {
            maximum_qos: properties.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: properties.retain_available.unwrap_or(true),
            maximum_packet_size: properties
                .maximum_packet_size
                .map_or(usize::MAX, |maximum| usize::try_from(maximum).unwrap_or(usize::MAX)),
        };
    }

    fn finish(&mut self, ack: &Ack<'_>) {
        let Some(reply) = self.waiting.remove(&ack.packet_id) else { return };
        self.send_quota = self.send_quota.saturating_add(1);
        let outcome = if ack.reason_code.is_error() {
            Err(PublishError::Refused(ack.reason_code))
        } else {
            Ok(())
        };
        // Whoever published may not want to know any more.
        let _ = reply.send(outcome);
    }

    fn check(&self, packet: &Publish<'_>) -> Result<(), PublishError> {
        let maximum = self.limits.maximum_qos;
        if packet.qos > maximum {
            return Err(PublishError::QosNotSupported { wanted: packet.qos, maximum });
        }
        if packet.retain && !self.limits.retain_available {
            return Err(PublishError::RetainNotSupported);
        }
        Ok(())
    }

    fn next_packet_id(&mut self) -> Option<PacketId> {
        // The window is smaller than the range, so a free one comes soon.
        for _ in 0..=u16::MAX {
            self.last_packet_id = self.last_packet_id.wrapping_add(1);
            if let Some(id) = PacketId::new(self.last_packet_id)
                && !self.waiting.contains_key(&id)
            {
                return Some(id);
            }
        }
        None
    }

    /// Encodes a message; for QoS 1 and 2 also takes a packet identifier.
    fn encode(
        &mut self,
        mut packet: Publish<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Option<PacketId>, PublishError> {
        self.check(&packet)?;
        if packet.qos > QoS::AtMostOnce {
            packet.packet_id = self.next_packet_id();
        }
        let start = out.len();
        let encoded = packet.encode(Version::V5_0, out);
        let (size, maximum) = (out.len() - start, self.limits.maximum_packet_size);
        if encoded.is_err() || size > maximum {
            out.truncate(start);
            encoded.map_err(|_| PublishError::FieldTooLong)?;
            return Err(PublishError::PacketTooLarge { size, maximum });
        }
        Ok(packet.packet_id)
    }
}

impl ShardDriver {
    /// A new client identifier of the host that has its home here.
    pub(crate) fn host_client_id(&mut self) -> String {
        loop {
            let client_id = self.publisher.next_client_id();
            let settings = self.shard.settings();
            if settings.placement.client(&client_id) == settings.shard {
                return client_id;
            }
        }
    }

    /// Ready when the host may publish one more message.
    pub(crate) fn poll_publisher(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), PublishError>> {
        loop {
            if self.is_stopping() {
                return Poll::Ready(Err(Stopped.into()));
            }
            if let Some(reason) = self.publisher.refusal.take() {
                return Poll::Ready(Err(PublishError::Refused(reason)));
            }
            if self.publisher.publisher.is_none() {
                let role = Role::Publisher(Publisher::default());
                self.publisher.publisher = self.open_host(role);
            }
            let Some(host) = self.publisher.publisher.and_then(|id| self.host(id)) else {
                self.publisher.publisher = None;
                return Poll::Ready(Err(PublishError::Disconnected));
            };
            let is_idle = host.is_idle();
            if let Role::Publisher(publisher) = &host.role
                && publisher.is_ready()
                && is_idle
            {
                return Poll::Ready(Ok(()));
            }
            if self.signals().publisher.poll_raised(context).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Publishes a message of the host, for which there is room.
    pub(crate) fn publish(&mut self, request: PublishRequest) {
        let PublishRequest { publication, reply } = request;
        let Some(id) = self.publisher.publisher else { return };
        let Some(host) = self.host(id) else { return };
        let encoded = publication.to_packet().and_then(|packet| host.encode(packet));
        match encoded {
            Ok(Some(packet_id)) => {
                host.await_acknowledgement(packet_id, reply);
                self.host_feed(id);
            }
            Ok(None) => {
                self.host_feed(id);
                let _ = reply.send(Ok(()));
            }
            Err(error) => {
                let _ = reply.send(Err(error));
            }
        }
    }
}

impl crate::host::HostClient {
    fn encode(&mut self, packet: Publish<'_>) -> Result<Option<PacketId>, PublishError> {
        match &mut self.role {
            Role::Publisher(publisher) => publisher.encode(packet, &mut self.inbound),
            Role::Subscriber(_) => Err(PublishError::Disconnected),
        }
    }

    fn await_acknowledgement(&mut self, packet_id: PacketId, reply: Reply) {
        if let Role::Publisher(publisher) = &mut self.role {
            publisher.send_quota = publisher.send_quota.saturating_sub(1);
            publisher.waiting.insert(packet_id, reply);
        }
    }
}
