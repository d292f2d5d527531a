//! AUTH: a step of enhanced authentication, new in 5.0.

use alloc::vec::Vec;
use core::fmt;

use crate::hidden::Hidden;
use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet};
use crate::{
    DecodeError, EncodeError, Frame, PacketType, ReasonCode, TextRules, UserProperties, Version,
};

/// A step of enhanced authentication.
#[derive(Clone, Default, PartialEq)]
pub struct Auth<'a> {
    /// Whether the authentication goes on, starts anew or has succeeded.
    pub reason_code: ReasonCode,
    /// The method; absent only in the shortest form of the packet.
    pub authentication_method: Option<&'a str>,
    /// The data of this step.
    pub authentication_data: Option<&'a [u8]>,
    /// The reason in words.
    pub reason_string: Option<&'a str>,
    /// The user properties.
    pub user_properties: UserProperties<'a>,
}

impl<'a> Auth<'a> {
    /// Reads an AUTH.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        let packet_type = PacketType::Auth;
        if !version.is_v5() {
            return Err(DecodeError::PacketNotInVersion { packet_type });
        }
        // [MQTT5-3.15.1-1]
        frame.check(packet_type, version)?;
        let mut body = Reader::new(frame.body);
        let mut auth = Auth::default();
        if body.is_empty() {
            return Ok(auth);
        }
        let value = body.byte()?;
        auth.reason_code = ReasonCode::from_value(value)
            // [MQTT5-3.15.2-1]
            .filter(|code| code.allowed_in(packet_type))
            .ok_or(DecodeError::InvalidReasonCode { value, packet_type })?;
        if !body.is_empty() {
            auth.decode_properties(Properties::read(&mut body, packet_type, rules)?)?;
        }
        body.finish()?;
        if auth.authentication_method.is_none() {
            return Err(DecodeError::MissingAuthenticationMethod);
        }
        Ok(auth)
    }

    fn decode_properties(&mut self, mut properties: Properties<'a>) -> Result<(), DecodeError> {
        while let Some((property, value)) = properties.next()? {
            match property {
                PropertyId::AuthenticationMethod => self.authentication_method = value.text(),
                PropertyId::AuthenticationData => self.authentication_data = value.binary(),
                PropertyId::ReasonString => self.reason_string = value.text(),
                other => return Err(properties.not_allowed(other)),
            }
        }
        self.user_properties = properties.user_properties();
        Ok(())
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if !version.is_v5() {
            return Err(EncodeError::NotInVersion);
        }
        // [MQTT5-3.15.2-1]
        let shortest = *self == Auth::default();
        if !self.reason_code.allowed_in(PacketType::Auth)
            || (self.authentication_method.is_none() && !shortest)
        {
            return Err(EncodeError::InvalidValue);
        }
        put_packet(out, PacketType::Auth.first_byte(), |out| {
            if shortest {
                return Ok(());
            }
            out.push(self.reason_code.value());
            PropertyWriter::section(out, |to| {
                to.text(PropertyId::AuthenticationMethod, self.authentication_method)?;
                to.binary(PropertyId::AuthenticationData, self.authentication_data)?;
                to.text(PropertyId::ReasonString, self.reason_string)?;
                to.user_properties(&self.user_properties);
                Ok(())
            })
        })
    }
}

impl fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("reason_code", &self.reason_code)
            .field("authentication_method", &self.authentication_method)
            .field("authentication_data", &Hidden(self.authentication_data))
            .field("reason_string", &self.reason_string)
            .field("user_properties", &self.user_properties)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, spec, split};

    fn check(bytes: &[u8], version: Version, expected: Option<DecodeError>) {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        let decoded = Auth::decode(&frame, version, TextRules::Strict);
        assert_eq!(decoded.err(), expected, "{bytes:x?}");
    }

    #[test]
    fn auth_is_of_5_0_and_names_its_method() {
        spec!("MQTT5-3.15.2-1");
        let packet_type = PacketType::Auth;
        let not_there = Some(DecodeError::PacketNotInVersion { packet_type });
        let invalid = |value| Some(DecodeError::InvalidReasonCode { value, packet_type });
        check(&[0xF0, 0], Version::V3_1_1, not_there);
        check(&[0xF0, 0], Version::V5_0, None);
        check(&[0xF0, 6, 0x18, 4, 0x15, 0, 1, b'm'], Version::V5_0, None);
        check(&[0xF0, 2, 0x18, 0], Version::V5_0, Some(DecodeError::MissingAuthenticationMethod));
        check(&[0xF0, 1, 0x18], Version::V5_0, Some(DecodeError::MissingAuthenticationMethod));
        check(&[0xF0, 6, 0x01, 4, 0x15, 0, 1, b'm'], Version::V5_0, invalid(0x01));
        check(&[0xF0, 6, 0x87, 4, 0x15, 0, 1, b'm'], Version::V5_0, invalid(0x87));
    }

    #[test]
    fn data_is_not_shown() {
        let auth = Auth { authentication_data: Some(b"secret"), ..Auth::default() };
        let shown = alloc::format!("{auth:?}");
        assert!(shown.contains("<6 bytes>"), "{shown}");
    }
}
