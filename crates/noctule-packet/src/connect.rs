//! CONNECT: the first packet of a client.

use alloc::vec::Vec;
use core::fmt;

use crate::hidden::Hidden;
use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_binary, put_packet, put_text, put_two_byte};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, QoS, TextRules, UserProperties, Version, Will,
};

/// A client's request for a connection.
#[derive(Clone, PartialEq)]
pub struct Connect<'a> {
    /// The protocol version of everything that follows on the connection.
    pub version: Version,
    /// Clean Start, in 3.1 and 3.1.1 Clean Session.
    pub clean_start: bool,
    /// Seconds between two packets of the client; 0 means without limit.
    pub keep_alive: u16,
    /// The properties, empty before 5.0.
    pub properties: ConnectProperties<'a>,
    /// The client identifier; empty asks the server to choose one.
    pub client_id: &'a str,
    /// The message to publish when the connection ends badly.
    pub will: Option<Will<'a>>,
    /// The user name.
    pub user_name: Option<&'a str>,
    /// The password.
    pub password: Option<&'a [u8]>,
}

/// The properties of CONNECT.
#[derive(Clone, Default, PartialEq)]
pub struct ConnectProperties<'a> {
    /// How long the session outlives the connection, in seconds.
    pub session_expiry_interval: Option<u32>,
    /// How many unacknowledged QoS 1 and 2 messages the client takes.
    pub receive_maximum: Option<u16>,
    /// The largest packet that the client takes.
    pub maximum_packet_size: Option<u32>,
    /// The highest topic alias that the client takes.
    pub topic_alias_maximum: Option<u16>,
    /// Whether the client wants Response Information.
    pub request_response_information: Option<bool>,
    /// Whether the client wants reason strings and user properties.
    pub request_problem_information: Option<bool>,
    /// The user properties.
    pub user_properties: UserProperties<'a>,
    /// The method of enhanced authentication.
    pub authentication_method: Option<&'a str>,
    /// The first data of the method.
    pub authentication_data: Option<&'a [u8]>,
}

/// Why a CONNECT could not be read, and how to answer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectError {
    /// The client's version, as far as it was read and is one that we know.
    pub version: Option<Version>,
    /// What is wrong.
    pub error: DecodeError,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CONNECT: {}", self.error)
    }
}

impl core::error::Error for ConnectError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

const RESERVED: u8 = 0x01;
const CLEAN_START: u8 = 0x02;
const WILL: u8 = 0x04;
const WILL_QOS_SHIFT: u8 = 3;
const WILL_QOS: u8 = 0x18;
const WILL_RETAIN: u8 = 0x20;
const PASSWORD: u8 = 0x40;
const USER_NAME: u8 = 0x80;

impl<'a> Connect<'a> {
    /// Reads a CONNECT of any version.
    pub fn decode(frame: &Frame<'a>, rules: TextRules) -> Result<Self, ConnectError> {
        let mut body = Reader::new(frame.body);
        let version = decode_version(frame.packet_type, &mut body)
            .map_err(|error| ConnectError { version: None, error })?;
        frame
            .check(PacketType::Connect, version)
            .and_then(|()| Self::decode_rest(body, version, rules))
            .map_err(|error| ConnectError { version: Some(version), error })
    }

    fn decode_rest(
        mut body: Reader<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        let flags = body.byte()?;
        let will_settings = check_flags(flags, version)?;
        let keep_alive = body.two_byte()?;
        let mut properties = ConnectProperties::default();
        if version.is_v5() {
            properties = ConnectProperties::decode(&mut body, rules)?;
        }
        // [MQTT5-3.1.3-3] [MQTT311-3.1.3-3] [MQTT5-3.1.3-4] [MQTT311-3.1.3-4]
        // [MQTT5-3.1.3-1] [MQTT311-3.1.3-1] The order of the fields is the order of the reads.
        let client_id =
            rules.check(body.binary()?).map_err(|_| DecodeError::InvalidClientIdentifier)?;
        let will = match will_settings {
            Some((qos, retain)) => Some(Will::decode(&mut body, version, qos, retain, rules)?),
            None => None,
        };
        let user_name = decode_user_name(&mut body, flags, version, rules)?;
        // [MQTT5-3.1.2-19] [MQTT311-3.1.2-21]
        let password = if flags & PASSWORD != 0 && !ends_early(&body, version) {
            Some(body.binary().map_err(|_| DecodeError::MissingPassword)?)
        } else {
            None
        };
        // [MQTT5-3.1.2-16] [MQTT311-3.1.2-18] [MQTT5-3.1.2-18] [MQTT311-3.1.2-20]
        body.finish()?;
        let clean_start = flags & CLEAN_START != 0;
        Ok(Connect {
            version,
            clean_start,
            keep_alive,
            properties,
            client_id,
            will,
            user_name,
            password,
        })
    }

    /// Appends the packet in its own [`version`](Self::version).
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        // [MQTT311-3.1.2-22]
        if !self.version.is_v5() && self.password.is_some() && self.user_name.is_none() {
            return Err(EncodeError::NotInVersion);
        }
        put_packet(out, PacketType::Connect.first_byte(), |out| {
            put_text(out, self.version.name())?;
            out.push(self.version.level());
            out.push(self.flags());
            put_two_byte(out, self.keep_alive);
            if self.version.is_v5() {
                self.properties.encode(out)?;
            }
            put_text(out, self.client_id)?;
            if let Some(will) = &self.will {
                will.encode(self.version, out)?;
            }
            if let Some(user_name) = self.user_name {
                put_text(out, user_name)?;
            }
            match self.password {
                Some(password) => put_binary(out, password),
                None => Ok(()),
            }
        })
    }

    fn flags(&self) -> u8 {
        let bit = |set: bool, bit: u8| if set { bit } else { 0 };
        let will = match &self.will {
            Some(will) => WILL | will.qos.level() << WILL_QOS_SHIFT | bit(will.retain, WILL_RETAIN),
            None => 0,
        };
        will | bit(self.clean_start, CLEAN_START)
            | bit(self.password.is_some(), PASSWORD)
            | bit(self.user_name.is_some(), USER_NAME)
    }
}

fn decode_version(packet_type: PacketType, body: &mut Reader<'_>) -> Result<Version, DecodeError> {
    if packet_type != PacketType::Connect {
        return Err(DecodeError::UnexpectedPacketType { packet_type });
    }
    let name = body.binary()?;
    let versions: &[Version] = match name {
        b"MQTT" => &[Version::V5_0, Version::V3_1_1],
        b"MQIsdp" => &[Version::V3_1],
        // [MQTT5-3.1.2-1] [MQTT311-3.1.2-1]
        _ => return Err(DecodeError::InvalidProtocolName),
    };
    let level = body.byte()?;
    // [MQTT5-3.1.2-2] [MQTT311-3.1.2-2] [MQTT31-3.1-1] [MQTT31-3.1-2]
    let version = versions.iter().find(|version| version.level() == level);
    version.copied().ok_or(DecodeError::UnsupportedProtocolVersion { level })
}

/// Checks the connect flags; the result is QoS and retain of the will, if there is one.
fn check_flags(flags: u8, version: Version) -> Result<Option<(QoS, bool)>, DecodeError> {
    // [MQTT31-2.6-1] 3.1 leaves the bit unused and the will's bits open where there is no will.
    let v3_1 = version == Version::V3_1;
    // [MQTT5-3.1.2-3] [MQTT311-3.1.2-3]
    if flags & RESERVED != 0 && !v3_1 {
        return Err(DecodeError::ReservedConnectFlag);
    }
    // [MQTT311-3.1.2-22] [MQTT31-3.1-7] MQTT 5.0 allows a password alone.
    if flags & PASSWORD != 0 && flags & USER_NAME == 0 && !version.is_v5() {
        return Err(DecodeError::PasswordWithoutUserName);
    }
    if flags & WILL == 0 {
        // [MQTT5-3.1.2-11] [MQTT5-3.1.2-13] [MQTT311-3.1.2-11] [MQTT311-3.1.2-13]
        // [MQTT311-3.1.2-15]
        if flags & (WILL_QOS | WILL_RETAIN) != 0 && !v3_1 {
            return Err(DecodeError::WillFlagsWithoutWill);
        }
        return Ok(None);
    }
    // [MQTT5-3.1.2-12] [MQTT311-3.1.2-14]
    let qos =
        QoS::from_level((flags & WILL_QOS) >> WILL_QOS_SHIFT).ok_or(DecodeError::InvalidWillQos)?;
    Ok(Some((qos, flags & WILL_RETAIN != 0)))
}

/// MQTT 3.1 lets the remaining length win over the user name and password flags. [MQTT31-3.1-6]
fn ends_early(body: &Reader<'_>, version: Version) -> bool {
    version == Version::V3_1 && body.is_empty()
}

fn decode_user_name<'a>(
    body: &mut Reader<'a>,
    flags: u8,
    version: Version,
    rules: TextRules,
) -> Result<Option<&'a str>, DecodeError> {
    if flags & USER_NAME == 0 || ends_early(body, version) {
        return Ok(None);
    }
    // [MQTT5-3.1.2-17] [MQTT311-3.1.2-19]
    let bytes = body.binary().map_err(|_| DecodeError::MissingUserName)?;
    // [MQTT5-3.1.3-12] [MQTT311-3.1.3-11]
    rules.check(bytes).map(Some).map_err(|_| DecodeError::InvalidUserName)
}

impl<'a> ConnectProperties<'a> {
    fn decode(body: &mut Reader<'a>, rules: TextRules) -> Result<Self, DecodeError> {
        let mut properties = Properties::read(body, PacketType::Connect, rules)?;
        let mut connect = ConnectProperties::default();
        while let Some((property, value)) = properties.next()? {
            match property {
                PropertyId::SessionExpiryInterval => {
                    connect.session_expiry_interval = value.four_byte();
                }
                PropertyId::ReceiveMaximum => connect.receive_maximum = value.two_byte(),
                PropertyId::MaximumPacketSize => connect.maximum_packet_size = value.four_byte(),
                PropertyId::TopicAliasMaximum => connect.topic_alias_maximum = value.two_byte(),
                PropertyId::RequestResponseInformation => {
                    connect.request_response_information = value.flag();
                }
                PropertyId::RequestProblemInformation => {
                    connect.request_problem_information = value.flag();
                }
                PropertyId::AuthenticationMethod => connect.authentication_method = value.text(),
                PropertyId::AuthenticationData => connect.authentication_data = value.binary(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        if connect.authentication_data.is_some() && connect.authentication_method.is_none() {
            return Err(DecodeError::AuthenticationDataWithoutMethod);
        }
        connect.user_properties = properties.user_properties();
        Ok(connect)
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.receive_maximum == Some(0) || self.maximum_packet_size == Some(0) {
            return Err(EncodeError::InvalidValue);
        }
        PropertyWriter::section(out, |to| {
            to.four_byte(PropertyId::SessionExpiryInterval, self.session_expiry_interval);
            to.two_byte(PropertyId::ReceiveMaximum, self.receive_maximum);
            to.four_byte(PropertyId::MaximumPacketSize, self.maximum_packet_size);
            to.two_byte(PropertyId::TopicAliasMaximum, self.topic_alias_maximum);
            to.flag(PropertyId::RequestResponseInformation, self.request_response_information);
            to.flag(PropertyId::RequestProblemInformation, self.request_problem_information);
            to.user_properties(&self.user_properties);
            to.text(PropertyId::AuthenticationMethod, self.authentication_method)?;
            to.binary(PropertyId::AuthenticationData, self.authentication_data)
        })
    }
}

impl fmt::Debug for Connect<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("version", &self.version)
            .field("clean_start", &self.clean_start)
            .field("keep_alive", &self.keep_alive)
            .field("properties", &self.properties)
            .field("client_id", &self.client_id)
            .field("will", &self.will)
            .field("user_name", &self.user_name)
            .field("password", &Hidden(self.password))
            .finish()
    }
}

impl fmt::Debug for ConnectProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectProperties")
            .field("session_expiry_interval", &self.session_expiry_interval)
            .field("receive_maximum", &self.receive_maximum)
            .field("maximum_packet_size", &self.maximum_packet_size)
            .field("topic_alias_maximum", &self.topic_alias_maximum)
            .field("request_response_information", &self.request_response_information)
            .field("request_problem_information", &self.request_problem_information)
            .field("user_properties", &self.user_properties)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &Hidden(self.authentication_data))
            .finish()
    }
}

#[cfg(test)]
#[path = "connect_tests.rs"]
mod tests;
