//! What can be wrong with bytes that a peer sent, and with values that we were asked to send.

use thiserror::Error;

use crate::{PacketType, ReasonCode, TopicError};

/// Why bytes are not a control packet: one variant for each cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of each variant is its documentation")]
pub enum DecodeError {
    #[error("packet type 0 does not exist")]
    ReservedPacketType,
    #[error("the reserved flags of {packet_type} have another value than the specification's")]
    ReservedFlags { packet_type: PacketType },
    #[error("the remaining length has more than four bytes")]
    RemainingLengthTooLong,
    #[error("a variable byte integer has more than four bytes")]
    VariableByteIntegerTooLong,
    #[error("a variable byte integer has more bytes than its value needs")]
    VariableByteIntegerNotMinimal,
    #[error("the packet has {size} bytes, {maximum} are allowed")]
    PacketTooLarge { size: usize, maximum: u32 },
    #[error("{packet_type} is not the packet expected here")]
    UnexpectedPacketType { packet_type: PacketType },
    #[error("{packet_type} does not exist in this version")]
    PacketNotInVersion { packet_type: PacketType },
    #[error("the packet ends inside a field")]
    Truncated,
    #[error("bytes follow after the packet's last field")]
    TrailingBytes,
    #[error("a string is not well-formed UTF-8")]
    IllFormedUtf8,
    #[error("a string contains U+0000")]
    NullCharacter,
    #[error("a string contains a control character or a Unicode non-character")]
    DisallowedCharacter,
    #[error("there is no property {identifier:#04x}")]
    UnknownProperty { identifier: u32 },
    #[error("property {identifier:#04x} is not allowed in {packet_type}")]
    PropertyNotAllowed { identifier: u8, packet_type: PacketType },
    #[error("property {identifier:#04x} stands more than once")]
    DuplicateProperty { identifier: u8 },
    #[error("property {identifier:#04x} is neither 0 nor 1")]
    InvalidFlagProperty { identifier: u8 },
    #[error("Receive Maximum is 0")]
    ZeroReceiveMaximum,
    #[error("Maximum Packet Size is 0")]
    ZeroMaximumPacketSize,
    #[error("Topic Alias is 0")]
    ZeroTopicAlias,
    #[error("Subscription Identifier is 0")]
    ZeroSubscriptionIdentifier,
    #[error("the packet identifier of {packet_type} is 0")]
    ZeroPacketId { packet_type: PacketType },
    #[error("reason code {value:#04x} does not exist in {packet_type}")]
    InvalidReasonCode { value: u8, packet_type: PacketType },
    #[error("the protocol name is neither MQTT nor MQIsdp")]
    InvalidProtocolName,
    #[error("protocol level {level} is not supported")]
    UnsupportedProtocolVersion { level: u8 },
    #[error("the reserved connect flag is set")]
    ReservedConnectFlag,
    #[error("Will QoS or Will Retain is set without a will")]
    WillFlagsWithoutWill,
    #[error("Will QoS is 3")]
    InvalidWillQos,
    #[error("there is a password but no user name")]
    PasswordWithoutUserName,
    #[error("the user name flag is set, but there is no user name")]
    MissingUserName,
    #[error("the password flag is set, but there is no password")]
    MissingPassword,
    #[error("the user name is not a valid UTF-8 string")]
    InvalidUserName,
    #[error("the client identifier is not a valid UTF-8 string")]
    InvalidClientIdentifier,
    #[error("the will topic is not a topic name: {0}")]
    InvalidWillTopic(TopicError),
    #[error("there is Authentication Data but no Authentication Method")]
    AuthenticationDataWithoutMethod,
    #[error("AUTH without Authentication Method")]
    MissingAuthenticationMethod,
    #[error("a reserved connect acknowledge flag is set")]
    ReservedConnackFlags,
    #[error("Session Present is set although the connection is refused")]
    SessionPresentOnRefusal,
    #[error("QoS is 3")]
    InvalidQos,
    #[error("DUP is set at QoS 0")]
    DupAtQos0,
    #[error("the topic name is empty and there is no topic alias")]
    MissingTopic,
    #[error("the topic name is invalid: {0}")]
    InvalidTopicName(TopicError),
    #[error("the response topic is invalid: {0}")]
    InvalidResponseTopic(TopicError),
    #[error("a topic filter is invalid: {0}")]
    InvalidTopicFilter(TopicError),
    #[error("there is no topic filter")]
    NoTopicFilter,
    #[error("there is no reason code")]
    NoReasonCode,
    #[error("the reserved bits of the subscription options are set, or QoS is 3")]
    InvalidSubscriptionOptions,
    #[error("Retain Handling is 3")]
    InvalidRetainHandling,
    #[error("No Local is set on a shared subscription")]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A string or binary field is longer than its two length bytes can say.
    #[error("a string or binary field has more than 65,535 bytes")]
    StringTooLong,
    /// The packet is longer than a remaining length can say.
    #[error("the packet has more than 268,435,455 bytes")]
    TooLarge,
    /// The value has no form in this protocol version.
    #[error("this cannot be said in this protocol version")]
    NotInVersion,
    /// A value that no packet may carry, such as a subscription identifier of 0.
    #[error("a field has a value that no packet may carry")]
    InvalidValue,
}
