//! Why a connection cannot go on, and the one place that turns it into CONNACK or DISCONNECT and
//! the end.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::ToString;

use noctule_packet::{
    Connack, ConnackProperties, DecodeError, Disconnect, Packet, PacketType, ReasonCode, Version,
};
use noctule_session::{AliasError, ReceiverError};

use crate::connection::Phase;
use crate::effect::{Effect, Effects};
use crate::event::{Ended, Event, Limit, Reason};
use crate::input::ConnectionId;
use crate::shard::Shard;

/// What ends a connection, split by whose fault it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bytes are no packet.
    Decode(DecodeError),
    /// The packet is well-formed, but not allowed now.
    Protocol(ProtocolError),
    /// The packet is allowed by the protocol, but not by this broker.
    Refused(Refused),
}

/// A well-formed packet that is not allowed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// AUTH although CONNECT named no authentication method.
    #[error("AUTH without an authentication method in CONNECT")]
    AuthWithoutMethod,
    /// The first packet is another one.
    #[error("the first packet is not CONNECT")]
    FirstPacketNotConnect,
    /// A PUBLISH with a topic alias that means nothing.
    #[error(transparent)]
    TopicAlias(AliasError),
    /// More unacknowledged publications than allowed.
    #[error(transparent)]
    Receiver(ReceiverError),
    /// CONNECT came twice.
    #[error("a second CONNECT")]
    SecondConnect,
    /// A packet that only servers send.
    #[error("{0:?} is sent by servers only")]
    ServerPacket(PacketType),
    /// DISCONNECT with a Session Expiry Interval although CONNECT had none.
    #[error("the Session Expiry Interval cannot be raised from 0 in DISCONNECT")]
    SessionExpiryFromZero,
    /// A PUBLISH from a client with a Subscription Identifier.
    #[error("a PUBLISH from a client carries no Subscription Identifier")]
    SubscriptionIdentifierFromClient,
    /// An acknowledgement that does not fit the message's quality of service or step.
    #[error("the message expects another acknowledgement")]
    UnexpectedAcknowledgement,
    /// CONNECT names an authentication method; none is supported.
    #[error("the authentication method is not supported")]
    AuthenticationMethod,
}

/// A packet that the broker's rules do not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What a 5.0 client is told.
    pub code: ReasonCode,
    /// A sentence for people.
    pub text: &'static str,
    /// The bound that was reached, if one was.
    pub limit: Option<Limit>,
}

impl Refused {
    /// A refusal without a bound.
    pub(crate) const fn new(code: ReasonCode, text: &'static str) -> Self {
        Self { code, text, limit: None }
    }

    /// A refusal because `wanted` is more than the setting allows.
    pub(crate) fn limit(
        code: ReasonCode,
        text: &'static str,
        setting: &'static str,
        maximum: impl Into<u64>,
        wanted: impl Into<u64>,
    ) -> Self {
        let (maximum, wanted) = (maximum.into(), wanted.into());
        Self { code, text, limit: Some(Limit { setting, maximum, wanted }) }
    }

    pub(crate) fn reason(&self) -> Reason {
        Reason { code: self.code, text: self.text.into(), limit: self.limit }
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Self {
        Self::Decode(error)
    }
}

impl From<ProtocolError> for Fault {
    fn from(error: ProtocolError) -> Self {
        Self::Protocol(error)
    }
}

impl From<Refused> for Fault {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl ProtocolError {
    /// The reason code that tells a 5.0 client.
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::TopicAlias(AliasError::OutOfRange { .. }) => ReasonCode::TopicAliasInvalid,
            Self::Receiver(_) => ReasonCode::ReceiveMaximumExceeded,
            Self::AuthenticationMethod => ReasonCode::BadAuthenticationMethod,
            Self::AuthWithoutMethod
            | Self::FirstPacketNotConnect
            | Self::TopicAlias(AliasError::Undefined { .. })
            | Self::SecondConnect
            | Self::ServerPacket(_)
            | Self::SessionExpiryFromZero
            | Self::SubscriptionIdentifierFromClient
            | Self::UnexpectedAcknowledgement => ReasonCode::ProtocolError,
        }
    }

    /// The statement that the packet breaks, where one has an identifier.
    pub fn statement(&self) -> Option<&'static str> {
        match self {
            Self::AuthWithoutMethod => Some("MQTT5-4.12.0-1"),
            Self::FirstPacketNotConnect => Some("MQTT5-3.1.0-1"),
            Self::TopicAlias(AliasError::OutOfRange { .. }) => Some("MQTT5-3.3.2-9"),
            Self::Receiver(_) => Some("MQTT5-3.3.4-7"),
            Self::SecondConnect => Some("MQTT5-3.1.0-2"),
            Self::SubscriptionIdentifierFromClient => Some("MQTT5-3.3.4-6"),
            Self::AuthenticationMethod => Some("MQTT5-4.12.0-1"),
            Self::TopicAlias(AliasError::Undefined { .. })
            | Self::ServerPacket(_)
            | Self::SessionExpiryFromZero
            | Self::UnexpectedAcknowledgement => None,
        }
    }
}

impl Fault {
    /// The reason code that tells a 5.0 client.
    pub fn reason_code(&self) -> ReasonCode {
        match self {
            Self::Decode(error) => error.reason_code(),
            Self::Protocol(error) => error.reason_code(),
            Self::Refused(refused) => refused.code,
        }
    }

    /// The statement that the packet breaks, where one is known.
    pub fn statement(&self) -> Option<&'static str> {
        match self {
            Self::Decode(error) => error.statement(),
            Self::Protocol(error) => error.statement(),
            Self::Refused(_) => None,
        }
    }

    /// What goes into the log and, where allowed, to the client.
    fn reason(&self, phase: Phase) -> Reason {
        let code = self.reason_code();
        match self {
            Self::Decode(DecodeError::PacketTooLarge { size, maximum }) => Reason {
                code,
                text: "the packet is too large".into(),
                limit: Some(Limit {
                    setting: match phase {
                        Phase::Connecting => "limits.connect_bytes_max",
                        Phase::Online(_) | Phase::Closing => "limits.maximum_packet_size",
                    },
                    maximum: u64::from(*maximum),
                    wanted: *size as u64,
                }),
            },
            Self::Decode(error) => Reason { code, text: with_statement(error, self), limit: None },
            Self::Protocol(error) => Reason {
                code,
                text: with_statement(error, self),
                limit: match error {
                    ProtocolError::Receiver(ReceiverError::ReceiveMaximumExceeded { maximum }) => {
                        let maximum = u64::from(*maximum);
                        let wanted = maximum + 1;
                        Some(Limit { setting: "limits.receive_maximum", maximum, wanted })
                    }
                    ProtocolError::TopicAlias(AliasError::OutOfRange { alias, maximum }) => {
                        Some(Limit {
                            setting: "limits.topic_alias_maximum",
                            maximum: u64::from(*maximum),
                            wanted: u64::from(*alias),
                        })
                    }
                    _ => None,
                },
            },
            Self::Refused(refused) => refused.reason(),
        }
    }
}

fn with_statement(error: &dyn core::fmt::Display, fault: &Fault) -> Box<str> {
    match fault.statement() {
        Some(statement) => format!("{error} [{statement}]").into(),
        None => error.to_string().into(),
    }
}

impl Shard {
    /// Ends a connection because of `fault`: the only place where an error becomes a packet.
    // [MQTT5-4.13.1-1] [MQTT5-4.13.2-1] [MQTT311-4.8.0-1] [MQTT311-4.8.0-2]
    pub(crate) fn fail(&mut self, id: ConnectionId, fault: &Fault, effects: &mut Effects) {
        let Some(connection) = self.connections.find(id) else { return };
        let reason = fault.reason(connection.phase);
        match connection.phase {
            Phase::Closing => {}
            Phase::Connecting => {
                if is_answered(fault, connection.version) {
                    self.send_refusal(id, &reason, None);
                }
                self.refuse(id, reason, effects);
            }
            Phase::Online(_) if is_past_words(fault) => {
                self.statistics.clients_disconnected += 1;
                self.end(id, Ended::ByServer(reason), effects);
            }
            Phase::Online(_) => self.disconnect(id, reason, None, effects),
        }
    }

    /// Ends a connection that has done nothing wrong: with a DISCONNECT where the version has one,
    /// and before CONNACK with that.
    // [MQTT5-3.14.0-1]
    pub(crate) fn disconnect(
        &mut self,
        id: ConnectionId,
        reason: Reason,
        server_reference: Option<&str>,
        effects: &mut Effects,
    ) {
        let Some(connection) = self.connections.find(id) else { return };
        match connection.phase {
            Phase::Closing => {}
            Phase::Connecting => {
                // Nobody knows what a peer speaks that has said nothing.
                if connection.parked.is_some() {
                    self.send_refusal(id, &reason, server_reference);
                }
                self.refuse(id, reason, effects);
            }
            Phase::Online(_) => {
                self.send_disconnect(id, &reason, server_reference);
                self.statistics.clients_disconnected += 1;
                self.end(id, Ended::ByServer(reason), effects);
            }
        }
    }

    /// Sends a DISCONNECT where the version has one for servers.
    // [MQTT5-3.14.2-1] [MQTT5-3.14.2-2] [MQTT5-3.14.2-3] [MQTT5-3.14.2-4]
    fn send_disconnect(
        &mut self,
        id: ConnectionId,
        reason: &Reason,
        server_reference: Option<&str>,
    ) {
        let Some(connection) = self.connections.find(id) else { return };
        if !connection.version.is_v5() {
            return;
        }
        let sayable = reason.code.allowed_in(PacketType::Disconnect);
        let text = reason.to_string();
        let disconnect = Disconnect {
            reason_code: if sayable { reason.code } else { ReasonCode::UnspecifiedError },
            session_expiry_interval: None,
            reason_string: Some(&text),
            server_reference,
            ..Default::default()
        };
        self.send(id, &Packet::Disconnect(disconnect));
    }

    /// Sends a CONNACK that refuses, if the version has a code for the reason.
    // [MQTT5-3.2.2-6] [MQTT311-3.2.2-4] [MQTT311-3.2.2-6] [MQTT31-3.2-2]
    fn send_refusal(&mut self, id: ConnectionId, reason: &Reason, server_reference: Option<&str>) {
        let Some(connection) = self.connections.find(id) else { return };
        let Some(reason_code) = connack_code(reason.code, connection.version) else { return };
        let text = reason.to_string();
        let properties = ConnackProperties {
            reason_string: Some(&text),
            server_reference,
            ..Default::default()
        };
        let connack = Connack { session_present: false, reason_code, properties };
        self.send(id, &Packet::Connack(connack));
    }

    /// Turns away a connection that was never let in; its CONNACK, if any, is written already.
    // [MQTT5-3.2.2-7] [MQTT311-3.2.2-5] [MQTT5-3.1.4-6] [MQTT311-3.1.4-5]
    fn refuse(&mut self, id: ConnectionId, reason: Reason, effects: &mut Effects) {
        let Some(connection) = self.connections.find_mut(id) else { return };
        let client_id = connection.connecting_client_id();
        let peer = connection.peer.clone();
        self.statistics.connections_refused += 1;
        effects.push(Effect::Event(Event::Refused { connection: id, client_id, peer, reason }));
        self.close(id, effects);
    }
}

/// Whether nobody is left to be told: the bytes are no packets any more, or the client leaves, in a
/// way that only it understands.
fn is_past_words(fault: &Fault) -> bool {
    let Fault::Decode(error) = fault else { return false };
    matches!(
        error,
        DecodeError::RemainingLengthTooLong
            | DecodeError::InvalidReasonCode { packet_type: PacketType::Disconnect, .. }
    )
}

/// Whether a CONNECT that is refused like this gets a CONNACK.
// [MQTT5-3.1.4-1] [MQTT5-3.1.4-2] [MQTT311-3.1.4-1] [MQTT31-3.1-11]
fn is_answered(fault: &Fault, version: Version) -> bool {
    match fault {
        // Nothing shows that the peer speaks MQTT.
        Fault::Protocol(ProtocolError::FirstPacketNotConnect) => false,
        // [MQTT5-3.1.2-2] [MQTT311-3.1.2-2]
        Fault::Decode(DecodeError::UnsupportedProtocolVersion { .. }) => true,
        // Credentials that cannot be read get no answer that helps to guess others.
        Fault::Decode(
            DecodeError::MissingUserName
            | DecodeError::InvalidUserName
            | DecodeError::MissingPassword,
        ) => false,
        Fault::Decode(_) => version.is_v5() && !is_past_words(fault),
        Fault::Protocol(_) | Fault::Refused(_) => true,
    }
}

/// What a CONNACK says for this reason; nothing before 5.0 where no return code is near.
fn connack_code(code: ReasonCode, version: Version) -> Option<ReasonCode> {
    // CONNACK has no word for a broker that stops.
    let code = match code {
        ReasonCode::ServerShuttingDown => ReasonCode::ServerUnavailable,
        code => code,
    };
    if version.is_v5() {
        let sayable = code.is_error() && code.allowed_in(PacketType::Connack);
        return Some(if sayable { code } else { ReasonCode::UnspecifiedError });
    }
    let nameless = matches!(
        code,
        ReasonCode::UnspecifiedError
            | ReasonCode::ProtocolError
            | ReasonCode::ImplementationSpecificError
            | ReasonCode::SessionTakenOver
            | ReasonCode::AdministrativeAction
            | ReasonCode::RetainNotSupported
            | ReasonCode::QosNotSupported
    );
    (code.is_error() && !nameless).then_some(code)
}
