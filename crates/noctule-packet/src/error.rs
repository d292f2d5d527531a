//! What can be wrong with bytes that a peer sent, and with values that we were asked to send.

use crate::{PacketType, ReasonCode, TopicError};

/// Why bytes are not a control packet: one variant for each cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the text of each variant in `error_text.rs` is its documentation")]
pub enum DecodeError {
    ReservedPacketType,
    ReservedFlags { packet_type: PacketType },
    RemainingLengthTooLong,
    VariableByteIntegerTooLong,
    VariableByteIntegerNotMinimal,
    PacketTooLarge { size: usize, maximum: u32 },
    UnexpectedPacketType { packet_type: PacketType },
    PacketNotInVersion { packet_type: PacketType },
    Truncated,
    TrailingBytes,
    IllFormedUtf8,
    NullCharacter,
    DisallowedCharacter,
    UnknownProperty { identifier: u32 },
    PropertyNotAllowed { identifier: u8, packet_type: PacketType },
    DuplicateProperty { identifier: u8 },
    InvalidFlagProperty { identifier: u8 },
    ZeroReceiveMaximum,
    ZeroMaximumPacketSize,
    ZeroTopicAlias,
    ZeroSubscriptionIdentifier,
    ZeroPacketId { packet_type: PacketType },
    InvalidReasonCode { value: u8, packet_type: PacketType },
    InvalidProtocolName,
    UnsupportedProtocolVersion { level: u8 },
    ReservedConnectFlag,
    WillFlagsWithoutWill,
    InvalidWillQos,
    PasswordWithoutUserName,
    MissingUserName,
    MissingPassword,
    InvalidUserName,
    InvalidClientIdentifier,
    InvalidWillTopic(TopicError),
    AuthenticationDataWithoutMethod,
    MissingAuthenticationMethod,
    ReservedConnackFlags,
    SessionPresentOnRefusal,
    InvalidQos,
    DupAtQos0,
    MissingTopic,
    InvalidTopicName(TopicError),
    InvalidResponseTopic(TopicError),
    InvalidTopicFilter(TopicError),
    NoTopicFilter,
    NoReasonCode,
    InvalidSubscriptionOptions,
    InvalidRetainHandling,
    NoLocalOnSharedSubscription,
}

impl DecodeError {
    /// The reason code of MQTT 5.0 that tells the peer about this error.
    pub const fn reason_code(&self) -> ReasonCode {
        use DecodeError as E;
        match self {
            E::PacketTooLarge { .. } => ReasonCode::PacketTooLarge,
            E::InvalidProtocolName | E::UnsupportedProtocolVersion { .. } => {
                ReasonCode::UnsupportedProtocolVersion
            }
            E::InvalidClientIdentifier => ReasonCode::ClientIdentifierNotValid,
            E::ZeroTopicAlias => ReasonCode::TopicAliasInvalid,
            // The specification's wording leaves room for either code here; these are the ones that
            // established servers answer with.
            E::PropertyNotAllowed {
                packet_type: PacketType::Subscribe | PacketType::Unsubscribe,
                ..
            }
            | E::ZeroPacketId {
                packet_type: PacketType::Publish | PacketType::Subscribe | PacketType::Unsubscribe,
            } => ReasonCode::MalformedPacket,
            E::PropertyNotAllowed { .. } | E::ZeroPacketId { .. } => ReasonCode::ProtocolError,
            E::InvalidTopicFilter(TopicError::ShareName | TopicError::ShareWithoutFilter)
            | E::ReservedPacketType
            | E::UnexpectedPacketType { .. }
            | E::PacketNotInVersion { .. }
            | E::DuplicateProperty { .. }
            | E::InvalidFlagProperty { .. }
            | E::ZeroReceiveMaximum
            | E::ZeroMaximumPacketSize
            | E::ZeroSubscriptionIdentifier
            | E::InvalidReasonCode { .. }
            | E::AuthenticationDataWithoutMethod
            | E::MissingAuthenticationMethod
            | E::SessionPresentOnRefusal
            | E::MissingTopic
            | E::InvalidResponseTopic(_)
            | E::NoTopicFilter
            | E::InvalidRetainHandling
            | E::NoLocalOnSharedSubscription => ReasonCode::ProtocolError,
            _ => ReasonCode::MalformedPacket,
        }
    }

    /// The normative statement that the bytes break, where the specification numbers one.
    pub const fn statement(&self) -> Option<&'static str> {
        use DecodeError as E;
        Some(match self {
            E::ReservedFlags { packet_type } => match packet_type {
                PacketType::Pubrel => "MQTT5-3.6.1-1",
                PacketType::Subscribe => "MQTT5-3.8.1-1",
                PacketType::Unsubscribe => "MQTT5-3.10.1-1",
                PacketType::Disconnect => "MQTT5-3.14.1-1",
                PacketType::Auth => "MQTT5-3.15.1-1",
                _ => "MQTT5-2.1.3-1",
            },
            E::VariableByteIntegerNotMinimal => "MQTT5-1.5.5-1",
            E::PacketTooLarge { .. } => "MQTT5-3.2.2-15",
            E::IllFormedUtf8 => "MQTT5-1.5.4-1",
            E::NullCharacter => "MQTT5-1.5.4-2",
            E::ZeroPacketId { .. } => "MQTT5-2.2.1-3",
            E::InvalidReasonCode { packet_type, .. } => match packet_type {
                PacketType::Connack => "MQTT5-3.2.2-8",
                PacketType::Puback => "MQTT5-3.4.2-1",
                PacketType::Pubrec => "MQTT5-3.5.2-1",
                PacketType::Pubrel => "MQTT5-3.6.2-1",
                PacketType::Pubcomp => "MQTT5-3.7.2-1",
                PacketType::Suback => "MQTT5-3.9.3-2",
                PacketType::Unsuback => "MQTT5-3.11.3-2",
                PacketType::Disconnect => "MQTT5-3.14.2-1",
                PacketType::Auth => "MQTT5-3.15.2-1",
                _ => return None,
            },
            E::InvalidProtocolName => "MQTT5-3.1.2-1",
            E::UnsupportedProtocolVersion { .. } => "MQTT5-3.1.2-2",
            E::ReservedConnectFlag => "MQTT5-3.1.2-3",
            E::WillFlagsWithoutWill => "MQTT5-3.1.2-11",
            E::InvalidWillQos => "MQTT5-3.1.2-12",
            E::PasswordWithoutUserName => "MQTT311-3.1.2-22",
            E::MissingUserName => "MQTT5-3.1.2-17",
            E::MissingPassword => "MQTT5-3.1.2-19",
            E::InvalidUserName => "MQTT5-3.1.3-12",
            E::InvalidClientIdentifier => "MQTT5-3.1.3-4",
            E::InvalidWillTopic(error)
            | E::InvalidTopicName(error)
            | E::InvalidResponseTopic(error)
            | E::InvalidTopicFilter(error) => error.statement(),
            E::ReservedConnackFlags => "MQTT5-3.2.2-1",
            E::SessionPresentOnRefusal => "MQTT5-3.2.2-6",
            E::InvalidQos => "MQTT5-3.3.1-4",
            E::DupAtQos0 => "MQTT5-3.3.1-2",
            E::ZeroTopicAlias => "MQTT5-3.3.2-8",
            E::MissingTopic => "MQTT5-3.3.2-1",
            E::NoTopicFilter => "MQTT5-3.8.3-2",
            E::InvalidSubscriptionOptions => "MQTT5-3.8.3-5",
            E::NoLocalOnSharedSubscription => "MQTT5-3.8.3-4",
            _ => return None,
        })
    }
}

/// Why a packet cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than its two length bytes can say.
    StringTooLong,
    /// The packet is longer than a remaining length can say.
    TooLarge,
    /// The value has no form in this protocol version.
    NotInVersion,
    /// A value that no packet may carry, such as a subscription identifier of 0.
    InvalidValue,
}
