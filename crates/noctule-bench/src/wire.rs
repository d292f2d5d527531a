//! The packets that a load sends, encoded beforehand, and the few that it tells apart.

use anyhow::{Context, Result};
use noctule_packet::{
    Connect, ConnectProperties, Packet, PacketId, PacketType, Publish, QoS, Subscribe,
    SubscriptionList, SubscriptionOptions, TopicFilter, TopicName, UserProperties, Version,
};

const SESSION_EXPIRY_SECONDS: u32 = 3_600;

/// CONNECT of a client with a clean start that need not ping while it is measured.
pub(crate) fn connect(version: Version, client_id: &str) -> Result<Vec<u8>> {
    connect_for(version, client_id, None)
}

/// The same of a client whose session outlives its connection.
pub(crate) fn connect_stored(version: Version, client_id: &str) -> Result<Vec<u8>> {
    connect_for(version, client_id, Some(SESSION_EXPIRY_SECONDS))
}

fn connect_for(version: Version, client_id: &str, expiry: Option<u32>) -> Result<Vec<u8>> {
    let session_expiry_interval = expiry.filter(|_| version.is_v5());
    encode(
        version,
        &Packet::Connect(Box::new(Connect {
            version,
            clean_start: expiry.is_none(),
            keep_alive: 3_600,
            properties: ConnectProperties {
                session_expiry_interval,
                ..ConnectProperties::default()
            },
            client_id,
            will: None,
            user_name: None,
            password: None,
        })),
    )
}

/// SUBSCRIBE with one filter.
pub(crate) fn subscribe(version: Version, filter: &str, qos: QoS) -> Result<Vec<u8>> {
    let options = SubscriptionOptions { qos, ..SubscriptionOptions::default() };
    let mut subscriptions = SubscriptionList::new();
    subscriptions.push(&TopicFilter::new(filter)?, options);
    encode(
        version,
        &Packet::Subscribe(Subscribe {
            packet_id: PacketId::new(1).context("no packet identifier")?,
            subscription_identifier: None,
            user_properties: UserProperties::default(),
            subscriptions,
        }),
    )
}

/// PUBLISH; its packet identifier, if it has one, is 1.
pub(crate) fn publish(
    version: Version,
    topic: &str,
    payload: &[u8],
    qos: QoS,
    retain: bool,
) -> Result<Vec<u8>> {
    let packet_id = PacketId::new(1).filter(|_| qos != QoS::AtMostOnce);
    let topic = Some(TopicName::new(topic)?);
    let publish = Publish { topic, qos, retain, packet_id, payload, ..Publish::default() };
    encode(version, &Packet::Publish(publish))
}

fn encode(version: Version, packet: &Packet<'_>) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    packet.encode(version, &mut out)?;
    Ok(out)
}

/// Appends a packet that is nothing but a packet identifier.
pub(crate) fn put_ack(packet_type: PacketType, packet_id: [u8; 2], out: &mut Vec<u8>) {
    let flags = if packet_type == PacketType::Pubrel { 2 } else { 0 };
    let [high, low] = packet_id;
    out.extend_from_slice(&[(packet_type as u8) << 4 | flags, 2, high, low]);
}

/// The publications of one publisher: one packet, as often as it is wanted.
#[derive(Debug)]
pub(crate) struct Stencil {
    /// As many copies as the window has messages.
    copies: Vec<u8>,
    length: usize,
    /// Where the packet identifier stands.
    packet_id_at: Option<usize>,
}

impl Stencil {
    pub(crate) fn new(publish: &[u8], topic: &str, qos: QoS, copies: u32) -> Self {
        let header = publish.iter().skip(1).position(|byte| byte & 0x80 == 0).unwrap_or(0) + 2;
        let packet_id_at = (qos != QoS::AtMostOnce).then_some(header + 2 + topic.len());
        Self { copies: publish.repeat(copies as usize), length: publish.len(), packet_id_at }
    }

    /// Appends `count` publications with the identifiers that follow `packet_id`.
    pub(crate) fn put(&self, count: usize, packet_id: &mut u16, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.copies[..count * self.length]);
        let Some(at) = self.packet_id_at else { return };
        for packet in out[start..].chunks_exact_mut(self.length) {
            *packet_id = packet_id.checked_add(1).unwrap_or(1);
            packet[at..at + 2].copy_from_slice(&packet_id.to_be_bytes());
        }
    }
}

/// One packet from the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<'a> {
    /// The upper half of the first byte.
    pub(crate) packet_type: u8,
    /// The QoS, if it is a PUBLISH.
    pub(crate) qos: u8,
    /// Everything behind the fixed header.
    pub(crate) body: &'a [u8],
    /// With the fixed header.
    pub(crate) length: usize,
}

impl<'a> Arrival<'a> {
    /// The first packet, if it is complete.
    pub(crate) fn split(bytes: &'a [u8]) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        let (mut remaining, mut digits) = (0, 0);
        loop {
            let digit = *rest.get(digits)?;
            remaining |= usize::from(digit & 0x7F) << (7 * digits);
            digits += 1;
            if digit & 0x80 == 0 {
                break;
            }
        }
        let body = rest.get(digits..digits + remaining)?;
        let length = 1 + digits + remaining;
        Some(Self { packet_type: first >> 4, qos: first >> 1 & 3, body, length })
    }

    /// The packet identifier of an acknowledgement.
    pub(crate) fn packet_id(&self) -> Option<[u8; 2]> {
        self.body.first_chunk().copied()
    }

    /// The packet identifier of a PUBLISH with a QoS above 0.
    pub(crate) fn publish_id(&self) -> Option<[u8; 2]> {
        let topic = usize::from(u16::from_be_bytes(*self.body.first_chunk()?));
        self.body.get(2 + topic..)?.first_chunk().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stencil_counts_the_packet_identifiers() {
        let publish = publish(Version::V3_1_1, "a/b", b"xy", QoS::AtLeastOnce, false).unwrap();
        let stencil = Stencil::new(&publish, "a/b", QoS::AtLeastOnce, 4);
        let (mut out, mut packet_id) = (Vec::new(), u16::MAX - 1);
        stencil.put(3, &mut packet_id, &mut out);
        let mut ids = Vec::new();
        let mut rest = &out[..];
        while let Some(arrival) = Arrival::split(rest) {
            assert_eq!((arrival.packet_type, arrival.qos), (PacketType::Publish as u8, 1));
            ids.push(u16::from_be_bytes(arrival.publish_id().unwrap()));
            rest = &rest[arrival.length..];
        }
        assert!(rest.is_empty());
        assert_eq!(ids, [u16::MAX, 1, 2]);
    }

    #[test]
    fn only_whole_packets_arrive() {
        let publish = publish(Version::V3_1_1, "a", &[0; 200], QoS::AtMostOnce, false).unwrap();
        for end in 0..publish.len() {
            assert!(Arrival::split(&publish[..end]).is_none(), "{end}");
        }
        assert_eq!(Arrival::split(&publish).unwrap().length, publish.len());
    }
}
