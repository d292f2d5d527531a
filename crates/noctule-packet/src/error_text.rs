//! What is wrong with bytes and values, as sentences for people.

use core::fmt;

use crate::{DecodeError, EncodeError};

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use DecodeError as E;
        match self {
            E::ReservedFlags { packet_type } => write!(
                f,
                "the reserved flags of {packet_type} have another value than the specification's"
            ),
            E::PacketTooLarge { size, maximum } => {
                write!(f, "the packet has {size} bytes, {maximum} are allowed")
            }
            E::UnexpectedPacketType { packet_type } => {
                write!(f, "{packet_type} is not the packet expected here")
            }
            E::PacketNotInVersion { packet_type } => {
                write!(f, "{packet_type} does not exist in this version")
            }
            E::UnknownProperty { identifier } => {
                write!(f, "there is no property {identifier:#04x}")
            }
            E::PropertyNotAllowed { identifier, packet_type } => {
                write!(f, "property {identifier:#04x} is not allowed in {packet_type}")
            }
            E::DuplicateProperty { identifier } => {
                write!(f, "property {identifier:#04x} stands more than once")
            }
            E::InvalidFlagProperty { identifier } => {
                write!(f, "property {identifier:#04x} is neither 0 nor 1")
            }
            E::ZeroPacketId { packet_type } => {
                write!(f, "the packet identifier of {packet_type} is 0")
            }
            E::InvalidReasonCode { value, packet_type } => {
                write!(f, "reason code {value:#04x} does not exist in {packet_type}")
            }
            E::UnsupportedProtocolVersion { level } => {
                write!(f, "protocol level {level} is not supported")
            }
            E::InvalidWillTopic(error) => write!(f, "the will topic is not a topic name: {error}"),
            E::InvalidTopicName(error) => write!(f, "the topic name is invalid: {error}"),
            E::InvalidResponseTopic(error) => write!(f, "the response topic is invalid: {error}"),
            E::InvalidTopicFilter(error) => write!(f, "a topic filter is invalid: {error}"),
            _ => f.write_str(text_without_values(self)),
        }
    }
}

impl core::error::Error for DecodeError {}

/// Apart, so that neither function is too long to read; it names every variant, so that a new one
/// cannot be forgotten.
const fn text_without_values(error: &DecodeError) -> &'static str {
    use DecodeError as E;
    match error {
        E::ReservedPacketType => "packet type 0 does not exist",
        E::RemainingLengthTooLong => "the remaining length has more than four bytes",
        E::VariableByteIntegerTooLong => "a variable byte integer has more than four bytes",
        E::VariableByteIntegerNotMinimal => {
            "a variable byte integer has more bytes than its value needs"
        }
        E::Truncated => "the packet ends inside a field",
        E::TrailingBytes => "bytes follow after the packet's last field",
        E::IllFormedUtf8 => "a string is not well-formed UTF-8",
        E::NullCharacter => "a string contains U+0000",
        E::DisallowedCharacter => {
            "a string contains a control character or a Unicode non-character"
        }
        E::ZeroReceiveMaximum => "Receive Maximum is 0",
        E::ZeroMaximumPacketSize => "Maximum Packet Size is 0",
        E::ZeroTopicAlias => "Topic Alias is 0",
        E::ZeroSubscriptionIdentifier => "Subscription Identifier is 0",
        E::InvalidProtocolName => "the protocol name is neither MQTT nor MQIsdp",
        E::ReservedConnectFlag => "the reserved connect flag is set",
        E::WillFlagsWithoutWill => "Will QoS or Will Retain is set without a will",
        E::InvalidWillQos => "Will QoS is 3",
        E::PasswordWithoutUserName => "there is a password but no user name",
        E::MissingUserName => "the user name flag is set, but there is no user name",
        E::MissingPassword => "the password flag is set, but there is no password",
        E::InvalidUserName => "the user name is not a valid UTF-8 string",
        E::InvalidClientIdentifier => "the client identifier is not a valid UTF-8 string",
        E::AuthenticationDataWithoutMethod => {
            "there is Authentication Data but no Authentication Method"
        }
        E::MissingAuthenticationMethod => "AUTH without Authentication Method",
        E::ReservedConnackFlags => "a reserved connect acknowledge flag is set",
        E::SessionPresentOnRefusal => "Session Present is set although the connection is refused",
        E::InvalidQos => "QoS is 3",
        E::DupAtQos0 => "DUP is set at QoS 0",
        E::MissingTopic => "the topic name is empty and there is no topic alias",
        E::NoTopicFilter => "there is no topic filter",
        E::NoReasonCode => "there is no reason code",
        E::InvalidSubscriptionOptions => {
            "the reserved bits of the subscription options are set, or QoS is 3"
        }
        E::InvalidRetainHandling => "Retain Handling is 3",
        E::NoLocalOnSharedSubscription => "No Local is set on a shared subscription",
        // The others are said with their values, above.
        E::ReservedFlags { .. }
        | E::PacketTooLarge { .. }
        | E::UnexpectedPacketType { .. }
        | E::PacketNotInVersion { .. }
        | E::UnknownProperty { .. }
        | E::PropertyNotAllowed { .. }
        | E::DuplicateProperty { .. }
        | E::InvalidFlagProperty { .. }
        | E::ZeroPacketId { .. }
        | E::InvalidReasonCode { .. }
        | E::UnsupportedProtocolVersion { .. }
        | E::InvalidWillTopic(_)
        | E::InvalidTopicName(_)
        | E::InvalidResponseTopic(_)
        | E::InvalidTopicFilter(_) => "the bytes are no control packet",
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::StringTooLong => "a string or binary field has more than 65,535 bytes",
            Self::TooLarge => "the packet has more than 268,435,455 bytes",
            Self::NotInVersion => "this cannot be said in this protocol version",
            Self::InvalidValue => "a field has a value that no packet may carry",
        })
    }
}

impl core::error::Error for EncodeError {}
