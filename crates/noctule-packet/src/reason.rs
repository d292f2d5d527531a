//! Reason codes of MQTT 5.0: the number, the name, and which packets may carry which.

use core::fmt;

use crate::{PacketType, QoS};

/// A reason code of MQTT 5.0 by its specification name. Values from 0x80 on tell of a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ReasonCode {
    /// The operation succeeded (also: normal disconnection, granted QoS 0).
    #[default]
    Success = 0x00,
    /// The subscription was accepted with at most QoS 1.
    GrantedQos1 = 0x01,
    /// The subscription was accepted with at most QoS 2.
    GrantedQos2 = 0x02,
    /// The client leaves and wants its will published.
    DisconnectWithWillMessage = 0x04,
    /// Accepted, but nobody subscribes to the topic.
    NoMatchingSubscribers = 0x10,
    /// There was no such subscription to end.
    NoSubscriptionExisted = 0x11,
    /// The authentication goes on with another step.
    ContinueAuthentication = 0x18,
    /// The client starts a new authentication.
    ReAuthenticate = 0x19,
    /// The sender does not say why.
    UnspecifiedError = 0x80,
    /// A packet did not have the form that the specification gives it.
    MalformedPacket = 0x81,
    /// A packet came out of order or says what it may not say.
    ProtocolError = 0x82,
    /// A valid packet that this implementation does not take.
    ImplementationSpecificError = 0x83,
    /// The server does not speak the client's version.
    UnsupportedProtocolVersion = 0x84,
    /// The client identifier is valid in form but not accepted.
    ClientIdentifierNotValid = 0x85,
    /// User name or password are not accepted.
    BadUserNameOrPassword = 0x86,
    /// The client may not do that.
    NotAuthorized = 0x87,
    /// The server is not available.
    ServerUnavailable = 0x88,
    /// The server is busy; try later.
    ServerBusy = 0x89,
    /// The client was banned by an administrator.
    Banned = 0x8A,
    /// The server is shutting down.
    ServerShuttingDown = 0x8B,
    /// The authentication method is unknown or not the one in use.
    BadAuthenticationMethod = 0x8C,
    /// Nothing was heard from the client for one and a half keep alive periods.
    KeepAliveTimeout = 0x8D,
    /// Another connection took over the client identifier.
    SessionTakenOver = 0x8E,
    /// The topic filter is correct but not accepted.
    TopicFilterInvalid = 0x8F,
    /// The topic name is correct but not accepted.
    TopicNameInvalid = 0x90,
    /// The packet identifier is already in use.
    PacketIdentifierInUse = 0x91,
    /// The packet identifier is not known.
    PacketIdentifierNotFound = 0x92,
    /// More unacknowledged messages than the receiver allowed.
    ReceiveMaximumExceeded = 0x93,
    /// The topic alias is zero or above the receiver's maximum.
    TopicAliasInvalid = 0x94,
    /// The packet is larger than the receiver allowed.
    PacketTooLarge = 0x95,
    /// The sender sends too much.
    MessageRateTooHigh = 0x96,
    /// A limit of the implementation or of the administrator is reached.
    QuotaExceeded = 0x97,
    /// Closed by an administrator.
    AdministrativeAction = 0x98,
    /// The payload is not what its format indicator says.
    PayloadFormatInvalid = 0x99,
    /// The server does not keep retained messages.
    RetainNotSupported = 0x9A,
    /// The server does not support that quality of service.
    QosNotSupported = 0x9B,
    /// Use another server for the time being.
    UseAnotherServer = 0x9C,
    /// Use another server from now on.
    ServerMoved = 0x9D,
    /// The server has no shared subscriptions.
    SharedSubscriptionsNotSupported = 0x9E,
    /// Too many connections in too short a time.
    ConnectionRateExceeded = 0x9F,
    /// The longest time allowed for a connection is over.
    MaximumConnectTime = 0xA0,
    /// The server has no subscription identifiers.
    SubscriptionIdentifiersNotSupported = 0xA1,
    /// The server takes no topic filters with wildcards.
    WildcardSubscriptionsNotSupported = 0xA2,
}

impl ReasonCode {
    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// The reason code with this number, if the specification has one.
    pub const fn from_value(value: u8) -> Option<Self> {
        Some(match value {
            0x00 => ReasonCode::Success,
            0x01 => ReasonCode::GrantedQos1,
            0x02 => ReasonCode::GrantedQos2,
            0x04 => ReasonCode::DisconnectWithWillMessage,
            0x10 => ReasonCode::NoMatchingSubscribers,
            0x11 => ReasonCode::NoSubscriptionExisted,
            0x18 => ReasonCode::ContinueAuthentication,
            0x19 => ReasonCode::ReAuthenticate,
            0x80 => ReasonCode::UnspecifiedError,
            0x81 => ReasonCode::MalformedPacket,
            0x82 => ReasonCode::ProtocolError,
            0x83 => ReasonCode::ImplementationSpecificError,
            0x84 => ReasonCode::UnsupportedProtocolVersion,
            0x85 => ReasonCode::ClientIdentifierNotValid,
            0x86 => ReasonCode::BadUserNameOrPassword,
            0x87 => ReasonCode::NotAuthorized,
            0x88 => ReasonCode::ServerUnavailable,
            0x89 => ReasonCode::ServerBusy,
            0x8A => ReasonCode::Banned,
            0x8B => ReasonCode::ServerShuttingDown,
            0x8C => ReasonCode::BadAuthenticationMethod,
            0x8D => ReasonCode::KeepAliveTimeout,
            0x8E => ReasonCode::SessionTakenOver,
            0x8F => ReasonCode::TopicFilterInvalid,
            0x90 => ReasonCode::TopicNameInvalid,
            0x91 => ReasonCode::PacketIdentifierInUse,
            0x92 => ReasonCode::PacketIdentifierNotFound,
            0x93 => ReasonCode::ReceiveMaximumExceeded,
            0x94 => ReasonCode::TopicAliasInvalid,
            0x95 => ReasonCode::PacketTooLarge,
            0x96 => ReasonCode::MessageRateTooHigh,
            0x97 => ReasonCode::QuotaExceeded,
            0x98 => ReasonCode::AdministrativeAction,
            0x99 => ReasonCode::PayloadFormatInvalid,
            0x9A => ReasonCode::RetainNotSupported,
            0x9B => ReasonCode::QosNotSupported,
            0x9C => ReasonCode::UseAnotherServer,
            0x9D => ReasonCode::ServerMoved,
            0x9E => ReasonCode::SharedSubscriptionsNotSupported,
            0x9F => ReasonCode::ConnectionRateExceeded,
            0xA0 => ReasonCode::MaximumConnectTime,
            0xA1 => ReasonCode::SubscriptionIdentifiersNotSupported,
            0xA2 => ReasonCode::WildcardSubscriptionsNotSupported,
            _ => return None,
        })
    }

    /// Whether the code tells of a failure.
    pub const fn is_error(self) -> bool {
        self.value() >= 0x80
    }

    /// The code of a subscription that was granted with this quality of service.
    pub const fn granted(qos: QoS) -> ReasonCode {
        match qos {
            QoS::AtMostOnce => ReasonCode::Success,
            QoS::AtLeastOnce => ReasonCode::GrantedQos1,
            QoS::ExactlyOnce => ReasonCode::GrantedQos2,
        }
    }

    /// The code's name in words.
    pub const fn name(self) -> &'static str {
        match self {
            ReasonCode::Success => "success",
            ReasonCode::GrantedQos1 => "granted QoS 1",
            ReasonCode::GrantedQos2 => "granted QoS 2",
            ReasonCode::DisconnectWithWillMessage => "disconnect with will message",
            ReasonCode::NoMatchingSubscribers => "no matching subscribers",
            ReasonCode::NoSubscriptionExisted => "no subscription existed",
            ReasonCode::ContinueAuthentication => "continue authentication",
            ReasonCode::ReAuthenticate => "re-authenticate",
            ReasonCode::UnspecifiedError => "unspecified error",
            ReasonCode::MalformedPacket => "malformed packet",
            ReasonCode::ProtocolError => "protocol error",
            ReasonCode::ImplementationSpecificError => "implementation specific error",
            ReasonCode::UnsupportedProtocolVersion => "unsupported protocol version",
            ReasonCode::ClientIdentifierNotValid => "client identifier not valid",
            ReasonCode::BadUserNameOrPassword => "bad user name or password",
            ReasonCode::NotAuthorized => "not authorized",
            ReasonCode::ServerUnavailable => "server unavailable",
            ReasonCode::ServerBusy => "server busy",
            ReasonCode::Banned => "banned",
            ReasonCode::ServerShuttingDown => "server shutting down",
            ReasonCode::BadAuthenticationMethod => "bad authentication method",
            ReasonCode::KeepAliveTimeout => "keep alive timeout",
            ReasonCode::SessionTakenOver => "session taken over",
            ReasonCode::TopicFilterInvalid => "topic filter invalid",
            ReasonCode::TopicNameInvalid => "topic name invalid",
            ReasonCode::PacketIdentifierInUse => "packet identifier in use",
            ReasonCode::PacketIdentifierNotFound => "packet identifier not found",
            ReasonCode::ReceiveMaximumExceeded => "receive maximum exceeded",
            ReasonCode::TopicAliasInvalid => "topic alias invalid",
            ReasonCode::PacketTooLarge => "packet too large",
            ReasonCode::MessageRateTooHigh => "message rate too high",
            ReasonCode::QuotaExceeded => "quota exceeded",
            ReasonCode::AdministrativeAction => "administrative action",
            ReasonCode::PayloadFormatInvalid => "payload format invalid",
            ReasonCode::RetainNotSupported => "retain not supported",
            ReasonCode::QosNotSupported => "QoS not supported",
            ReasonCode::UseAnotherServer => "use another server",
            ReasonCode::ServerMoved => "server moved",
            ReasonCode::SharedSubscriptionsNotSupported => "shared subscriptions not supported",
            ReasonCode::ConnectionRateExceeded => "connection rate exceeded",
            ReasonCode::MaximumConnectTime => "maximum connect time",
            ReasonCode::SubscriptionIdentifiersNotSupported => {
                "subscription identifiers not supported"
            }
            ReasonCode::WildcardSubscriptionsNotSupported => "wildcard subscriptions not supported",
        }
    }

    /// Whether a packet of this type may carry the code, whoever sends it.
    pub const fn allowed_in(self, packet_type: PacketType) -> bool {
        let value = self.value();
        match packet_type {
            PacketType::Connack => matches!(
                value,
                0x00 | 0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F
            ),
            PacketType::Puback | PacketType::Pubrec => {
                matches!(value, 0x00 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99)
            }
            PacketType::Pubrel | PacketType::Pubcomp => matches!(value, 0x00 | 0x92),
            PacketType::Suback => matches!(
                value,
                0x00..=0x02 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91 | 0x97 | 0x9E | 0xA1 | 0xA2
            ),
            PacketType::Unsuback => {
                matches!(value, 0x00 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8F | 0x91)
            }
            PacketType::Disconnect => matches!(
                value,
                0x00 | 0x04
                    | 0x80..=0x83
                    | 0x87
                    | 0x89
                    | 0x8B..=0x90
                    | 0x93..=0xA2
            ),
            PacketType::Auth => matches!(value, 0x00 | 0x18 | 0x19),
            PacketType::Connect
            | PacketType::Publish
            | PacketType::Subscribe
            | PacketType::Unsubscribe
            | PacketType::Pingreq
            | PacketType::Pingresp => false,
        }
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (0x{:02X})", self.name(), self.value())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    #[test]
    fn numbers_and_codes_map_both_ways() {
        let mut known = 0;
        for value in 0..=u8::MAX {
            if let Some(code) = ReasonCode::from_value(value) {
                assert_eq!(code.value(), value);
                assert_eq!(code.is_error(), value >= 0x80);
                known += 1;
            }
        }
        assert_eq!(known, 43);
        assert_eq!(ReasonCode::PacketTooLarge.value(), 0x95);
        assert_eq!(ReasonCode::WildcardSubscriptionsNotSupported.value(), 0xA2);
    }

    #[test]
    fn packets_carry_their_own_codes_only() {
        spec!("MQTT5-3.2.2-8", "MQTT5-3.4.2-1", "MQTT5-3.5.2-1", "MQTT5-3.6.2-1", "MQTT5-3.7.2-1");
        spec!("MQTT5-3.9.3-2", "MQTT5-3.11.3-2", "MQTT5-3.14.2-1", "MQTT5-3.15.2-1");
        let count = |packet_type| {
            (0..=u8::MAX)
                .filter_map(ReasonCode::from_value)
                .filter(|code| code.allowed_in(packet_type))
                .count()
        };
        for (packet_type, codes) in [
            (PacketType::Connect, 0),
            (PacketType::Connack, 22),
            (PacketType::Publish, 0),
            (PacketType::Puback, 9),
            (PacketType::Pubrec, 9),
            (PacketType::Pubrel, 2),
            (PacketType::Pubcomp, 2),
            (PacketType::Subscribe, 0),
            (PacketType::Suback, 12),
            (PacketType::Unsuback, 7),
            (PacketType::Pingreq, 0),
            (PacketType::Disconnect, 30),
            (PacketType::Auth, 3),
        ] {
            assert_eq!(count(packet_type), codes, "{packet_type}");
        }
        assert!(ReasonCode::SessionTakenOver.allowed_in(PacketType::Disconnect));
        assert!(!ReasonCode::SessionTakenOver.allowed_in(PacketType::Connack));
        assert!(!ReasonCode::ServerShuttingDown.allowed_in(PacketType::Connack));
    }
}
