//! The CONNACK return codes of MQTT 3.1 and 3.1.1 and how they stand for reason codes.

use crate::ReasonCode;

/// A CONNACK return code of MQTT 3.1 and 3.1.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConnectReturnCode {
    /// The connection is accepted.
    Accepted = 0,
    /// The server does not speak the client's version.
    UnacceptableProtocolVersion = 1,
    /// The client identifier is not accepted.
    IdentifierRejected = 2,
    /// The server is not available.
    ServerUnavailable = 3,
    /// User name or password are malformed or not accepted.
    BadUserNameOrPassword = 4,
    /// The client may not connect.
    NotAuthorized = 5,
}

impl ConnectReturnCode {
    /// The number on the wire.
    pub const fn value(self) -> u8 {
        self as u8
    }

    /// The return code with this number; 6 and above are reserved.
    pub const fn from_value(value: u8) -> Option<Self> {
        Some(match value {
            0 => ConnectReturnCode::Accepted,
            1 => ConnectReturnCode::UnacceptableProtocolVersion,
            2 => ConnectReturnCode::IdentifierRejected,
            3 => ConnectReturnCode::ServerUnavailable,
            4 => ConnectReturnCode::BadUserNameOrPassword,
            5 => ConnectReturnCode::NotAuthorized,
            _ => return None,
        })
    }
}

impl From<ReasonCode> for ConnectReturnCode {
    /// The nearest return code: what the client can do about it decides.
    fn from(code: ReasonCode) -> Self {
        match code {
            ReasonCode::UnsupportedProtocolVersion => {
                ConnectReturnCode::UnacceptableProtocolVersion
            }
            ReasonCode::ClientIdentifierNotValid => ConnectReturnCode::IdentifierRejected,
            ReasonCode::BadUserNameOrPassword | ReasonCode::BadAuthenticationMethod => {
                ConnectReturnCode::BadUserNameOrPassword
            }
            // Asking again unchanged will not help: the client may not do what it asks for.
            ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::TopicNameInvalid
            | ReasonCode::PacketTooLarge
            | ReasonCode::PayloadFormatInvalid
            | ReasonCode::RetainNotSupported
            | ReasonCode::QosNotSupported => ConnectReturnCode::NotAuthorized,
            code if code.is_error() => ConnectReturnCode::ServerUnavailable,
            _ => ConnectReturnCode::Accepted,
        }
    }
}

impl From<ConnectReturnCode> for ReasonCode {
    fn from(code: ConnectReturnCode) -> Self {
        match code {
            ConnectReturnCode::Accepted => ReasonCode::Success,
            ConnectReturnCode::UnacceptableProtocolVersion => {
                ReasonCode::UnsupportedProtocolVersion
            }
            ConnectReturnCode::IdentifierRejected => ReasonCode::ClientIdentifierNotValid,
            ConnectReturnCode::ServerUnavailable => ReasonCode::ServerUnavailable,
            ConnectReturnCode::BadUserNameOrPassword => ReasonCode::BadUserNameOrPassword,
            ConnectReturnCode::NotAuthorized => ReasonCode::NotAuthorized,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PacketType;

    #[test]
    fn only_success_is_accepted() {
        for code in (0..=u8::MAX).filter_map(ReasonCode::from_value) {
            if code.allowed_in(PacketType::Connack) {
                let accepted = ConnectReturnCode::from(code) == ConnectReturnCode::Accepted;
                assert_eq!(accepted, code == ReasonCode::Success, "{code}");
            }
        }
    }

    #[test]
    fn return_codes_survive_both_mappings() {
        for code in (0..=u8::MAX).filter_map(ConnectReturnCode::from_value) {
            assert_eq!(ConnectReturnCode::from(ReasonCode::from(code)), code);
        }
        assert_eq!(ConnectReturnCode::from_value(6), None);
    }
}
