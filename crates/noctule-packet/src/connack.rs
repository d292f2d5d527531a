//! CONNACK: the server's answer to CONNECT.

use alloc::vec::Vec;
use core::fmt;

use crate::hidden::Hidden;
use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet};
use crate::{
    ConnectReturnCode, DecodeError, EncodeError, Frame, PacketType, QoS, ReasonCode, TextRules,
    UserProperties, Version,
};

/// The server's answer to CONNECT.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connack<'a> {
    /// Whether the server goes on with a stored session.
    pub session_present: bool,
    /// The outcome; before 5.0 it stands for the nearest [`ConnectReturnCode`].
    pub reason_code: ReasonCode,
    /// The properties, not sent before 5.0.
    pub properties: ConnackProperties<'a>,
}

/// The properties of CONNACK.
#[derive(Clone, Default, PartialEq)]
pub struct ConnackProperties<'a> {
    /// How long the session outlives the connection, when not as the client asked.
    pub session_expiry_interval: Option<u32>,
    /// How many unacknowledged QoS 1 and 2 messages the server takes.
    pub receive_maximum: Option<u16>,
    /// The highest quality of service that the server takes; absent means all.
    pub maximum_qos: Option<QoS>,
    /// Whether the server keeps retained messages.
    pub retain_available: Option<bool>,
    /// The largest packet that the server takes.
    pub maximum_packet_size: Option<u32>,
    /// The client identifier that the server chose.
    pub assigned_client_identifier: Option<&'a str>,
    /// The highest topic alias that the server takes.
    pub topic_alias_maximum: Option<u16>,
    /// The reason in words.
    pub reason_string: Option<&'a str>,
    /// Whether topic filters may have wildcards.
    pub wildcard_subscription_available: Option<bool>,
    /// Whether subscriptions may have identifiers.
    pub subscription_identifiers_available: Option<bool>,
    /// Whether subscriptions may be shared.
    pub shared_subscription_available: Option<bool>,
    /// The keep alive to use instead of the client's.
    pub server_keep_alive: Option<u16>,
    /// What to build response topics from.
    pub response_information: Option<&'a str>,
    /// Another server to use.
    pub server_reference: Option<&'a str>,
    /// The method of enhanced authentication.
    pub authentication_method: Option<&'a str>,
    /// The last data of the method.
    pub authentication_data: Option<&'a [u8]>,
    /// The user properties.
    pub user_properties: UserProperties<'a>,
}

const SESSION_PRESENT: u8 = 0x01;

impl<'a> Connack<'a> {
    /// Reads a CONNACK.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        frame.check(PacketType::Connack, version)?;
        let mut body = Reader::new(frame.body);
        let flags = body.byte()?;
        let code = body.byte()?;
        // [MQTT5-3.2.2-1] MQTT 3.1 leaves the byte unused.
        let (reserved, present) = match version {
            Version::V3_1 => (0, 0),
            _ => (flags & !SESSION_PRESENT, flags & SESSION_PRESENT),
        };
        if reserved != 0 {
            return Err(DecodeError::ReservedConnackFlags);
        }
        let session_present = present != 0;
        let reason_code = decode_code(code, version)?;
        let mut properties = ConnackProperties::default();
        if version.is_v5() {
            properties = ConnackProperties::decode(&mut body, rules)?;
        }
        body.finish()?;
        // [MQTT5-3.2.2-6] [MQTT311-3.2.2-4]
        if session_present && reason_code != ReasonCode::Success {
            return Err(DecodeError::SessionPresentOnRefusal);
        }
        Ok(Connack { session_present, reason_code, properties })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // [MQTT5-3.2.2-6] [MQTT311-3.2.2-4] [MQTT31-3.2-1]
        let session_present = self.session_present
            && self.reason_code == ReasonCode::Success
            && version != Version::V3_1;
        put_packet(out, PacketType::Connack.first_byte(), |out| {
            out.push(u8::from(session_present));
            if version.is_v5() {
                // [MQTT5-3.2.2-8]
                if !self.reason_code.allowed_in(PacketType::Connack) {
                    return Err(EncodeError::InvalidValue);
                }
                out.push(self.reason_code.value());
                return self.properties.encode(out);
            }
            // The nearest return code that there is.
            out.push(ConnectReturnCode::from(self.reason_code).value());
            Ok(())
        })
    }
}

fn decode_code(value: u8, version: Version) -> Result<ReasonCode, DecodeError> {
    let packet_type = PacketType::Connack;
    let code = if version.is_v5() {
        ReasonCode::from_value(value).filter(|code| code.allowed_in(packet_type))
    } else {
        ConnectReturnCode::from_value(value).map(ReasonCode::from)
    };
    code.ok_or(DecodeError::InvalidReasonCode { value, packet_type })
}

fn decode_qos(flag: Option<bool>) -> Option<QoS> {
    flag.map(|one| if one { QoS::AtLeastOnce } else { QoS::AtMostOnce })
}

impl<'a> ConnackProperties<'a> {
    fn decode(body: &mut Reader<'a>, rules: TextRules) -> Result<Self, DecodeError> {
        use PropertyId as P;
        let mut properties = Properties::read(body, PacketType::Connack, rules)?;
        let mut to = ConnackProperties::default();
        while let Some((property, value)) = properties.next()? {
            match property {
                P::SessionExpiryInterval => to.session_expiry_interval = value.four_byte(),
                P::ReceiveMaximum => to.receive_maximum = value.two_byte(),
                P::MaximumQos => to.maximum_qos = decode_qos(value.flag()),
                P::RetainAvailable => to.retain_available = value.flag(),
                P::MaximumPacketSize => to.maximum_packet_size = value.four_byte(),
                P::AssignedClientIdentifier => to.assigned_client_identifier = value.text(),
                P::TopicAliasMaximum => to.topic_alias_maximum = value.two_byte(),
                P::ReasonString => to.reason_string = value.text(),
                P::WildcardSubscriptionAvailable => {
                    to.wildcard_subscription_available = value.flag();
                }
                P::SubscriptionIdentifiersAvailable => {
                    to.subscription_identifiers_available = value.flag();
                }
                P::SharedSubscriptionAvailable => to.shared_subscription_available = value.flag(),
                P::ServerKeepAlive => to.server_keep_alive = value.two_byte(),
                P::ResponseInformation => to.response_information = value.text(),
                P::ServerReference => to.server_reference = value.text(),
                P::AuthenticationMethod => to.authentication_method = value.text(),
                P::AuthenticationData => to.authentication_data = value.binary(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        to.user_properties = properties.user_properties();
        Ok(to)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        use PropertyId as P;
        if self.receive_maximum == Some(0) || self.maximum_packet_size == Some(0) {
            return Err(EncodeError::InvalidValue);
        }
        // Full QoS is said by leaving the property out: its value can only be 0 or 1.
        let maximum_qos = match self.maximum_qos {
            Some(QoS::ExactlyOnce) | None => None,
            Some(qos) => Some(qos == QoS::AtLeastOnce),
        };
        PropertyWriter::section(out, |to| {
            to.four_byte(P::SessionExpiryInterval, self.session_expiry_interval);
            to.two_byte(P::ReceiveMaximum, self.receive_maximum);
            to.flag(P::MaximumQos, maximum_qos);
            to.flag(P::RetainAvailable, self.retain_available);
            to.four_byte(P::MaximumPacketSize, self.maximum_packet_size);
            to.text(P::AssignedClientIdentifier, self.assigned_client_identifier)?;
            to.two_byte(P::TopicAliasMaximum, self.topic_alias_maximum);
            to.text(P::ReasonString, self.reason_string)?;
            to.flag(P::WildcardSubscriptionAvailable, self.wildcard_subscription_available);
            to.flag(P::SubscriptionIdentifiersAvailable, self.subscription_identifiers_available);
            to.flag(P::SharedSubscriptionAvailable, self.shared_subscription_available);
            to.two_byte(P::ServerKeepAlive, self.server_keep_alive);
            to.text(P::ResponseInformation, self.response_information)?;
            to.text(P::ServerReference, self.server_reference)?;
            to.text(P::AuthenticationMethod, self.authentication_method)?;
            to.binary(P::AuthenticationData, self.authentication_data)?;
            to.user_properties(&self.user_properties);
            Ok(())
        })
    }
}

impl fmt::Debug for ConnackProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnackProperties")
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_qos", &self.maximum_qos)
            .field("retain_available", &self.retain_available)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("assigned_client_identifier", &self.assigned_client_identifier)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("reason_string", &self.reason_string)
            .field("wildcard_subscription_available", &self.wildcard_subscription_available)
            .field("subscription_identifiers_available", &self.subscription_identifiers_available)
            .field("shared_subscription_available", &self.shared_subscription_available)
            .field("server_keep_alive", &self.server_keep_alive)
            .field("response_information", &self.response_information)
            .field("server_reference", &self.server_reference)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &Hidden(self.authentication_data))
            .field("user_properties", &self.user_properties)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::{Framing, spec, split};

    fn encoded(connack: &Connack<'_>, version: Version) -> Vec<u8> {
        let mut out = vec![];
        connack.encode(version, &mut out).unwrap();
        out
    }

    fn decode(bytes: &[u8], version: Version) -> Result<Connack<'_>, DecodeError> {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        Connack::decode(&frame, version, TextRules::Strict)
    }

    #[test]
    fn a_refusal_has_no_session() {
        spec!("MQTT5-3.2.2-6", "MQTT311-3.2.2-4");
        let refusal = Connack {
            session_present: true,
            reason_code: ReasonCode::NotAuthorized,
            ..Connack::default()
        };
        assert_eq!(encoded(&refusal, Version::V5_0), [0x20, 3, 0, 0x87, 0]);
        assert_eq!(encoded(&refusal, Version::V3_1_1), [0x20, 2, 0, 5]);
        let error = Err(DecodeError::SessionPresentOnRefusal);
        assert_eq!(decode(&[0x20, 3, 1, 0x87, 0], Version::V5_0), error);
        assert_eq!(decode(&[0x20, 2, 1, 5], Version::V3_1_1), error);
    }

    #[test]
    fn return_codes_stand_for_reason_codes() {
        for (reason_code, value) in [
            (ReasonCode::Success, 0),
            (ReasonCode::UnsupportedProtocolVersion, 1),
            (ReasonCode::ClientIdentifierNotValid, 2),
            (ReasonCode::ServerBusy, 3),
            (ReasonCode::QuotaExceeded, 3),
            (ReasonCode::BadUserNameOrPassword, 4),
            (ReasonCode::Banned, 5),
        ] {
            let connack = Connack { reason_code, ..Connack::default() };
            for version in [Version::V3_1, Version::V3_1_1] {
                assert_eq!(encoded(&connack, version), [0x20, 2, 0, value], "{reason_code}");
            }
        }
    }

    #[test]
    fn session_present_is_bit_0() {
        spec!("MQTT5-3.2.2-1", "MQTT31-3.2-1");
        let connack = Connack { session_present: true, ..Connack::default() };
        assert_eq!(encoded(&connack, Version::V5_0), [0x20, 3, 1, 0, 0]);
        assert_eq!(encoded(&connack, Version::V3_1_1), [0x20, 2, 1, 0]);
        assert_eq!(encoded(&connack, Version::V3_1), [0x20, 2, 0, 0]);
        for flags in [0x02, 0x03, 0x80] {
            let error = Err(DecodeError::ReservedConnackFlags);
            assert_eq!(decode(&[0x20, 3, flags, 0, 0], Version::V5_0), error);
        }
    }

    #[test]
    fn codes_of_other_packets_are_refused() {
        spec!("MQTT5-3.2.2-8");
        let connack = Connack { reason_code: ReasonCode::SessionTakenOver, ..Connack::default() };
        let mut out = vec![];
        assert_eq!(connack.encode(Version::V5_0, &mut out), Err(EncodeError::InvalidValue));
        assert!(out.is_empty());
        let packet_type = PacketType::Connack;
        let error = Err(DecodeError::InvalidReasonCode { value: 0x8E, packet_type });
        assert_eq!(decode(&[0x20, 3, 0, 0x8E, 0], Version::V5_0), error);
    }

    #[test]
    fn authentication_data_is_not_shown() {
        let properties = ConnackProperties {
            authentication_data: Some(b"secret"),
            ..ConnackProperties::default()
        };
        let shown = alloc::format!("{properties:?}");
        assert!(shown.contains("<6 bytes>"), "{shown}");
    }
}
