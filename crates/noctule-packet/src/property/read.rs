//! Reading a property section: one property after the other, each checked against the table.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{Kind, PropertyId, Row, WILL, place, row};
use crate::wire::Reader;
use crate::{DecodeError, PacketType, TextRules, TopicName, UserProperties};

/// A property's value as it stood on the wire.
///
/// The table gives each property one type, so asking for the right one always succeeds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Flag(bool),
    TwoByte(u16),
    FourByte(u32),
    Text(&'a str),
    Binary(&'a [u8]),
    /// Kept by [`Properties`] itself, in wire form.
    TextPair,
}

impl<'a> Value<'a> {
    pub(crate) fn flag(self) -> Option<bool> {
        if let Value::Flag(flag) = self { Some(flag) } else { None }
    }

    pub(crate) fn two_byte(self) -> Option<u16> {
        if let Value::TwoByte(value) = self { Some(value) } else { None }
    }

    /// Variable byte integers too.
    pub(crate) fn four_byte(self) -> Option<u32> {
        if let Value::FourByte(value) = self { Some(value) } else { None }
    }

    pub(crate) fn text(self) -> Option<&'a str> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    /// The topic of a Response Topic property.
    pub(crate) fn response_topic(self) -> Result<Option<TopicName<'a>>, DecodeError> {
        // [MQTT5-3.3.2-13] [MQTT5-3.3.2-14]
        self.text().map(TopicName::new).transpose().map_err(DecodeError::InvalidResponseTopic)
    }

    pub(crate) fn binary(self) -> Option<&'a [u8]> {
        if let Value::Binary(bytes) = self { Some(bytes) } else { None }
    }
}

/// Reads one property section. User properties are collected on the way, all others are handed out
/// by [`next`](Self::next).
#[derive(Debug)]
pub(crate) struct Properties<'a> {
    section: &'a [u8],
    reader: Reader<'a>,
    packet_type: PacketType,
    place: u16,
    rules: TextRules,
    seen: u64,
    user: Collected,
}

/// The user properties so far: where they stand in the section as long as nothing stands between,
/// else a copy.
#[derive(Debug, Default)]
struct Collected {
    count: usize,
    start: usize,
    end: usize,
    copy: Option<Vec<u8>>,
}

impl<'a> Properties<'a> {
    /// Takes the length and the section off the front of `body`.
    pub(crate) fn read(
        body: &mut Reader<'a>,
        packet_type: PacketType,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        // [MQTT5-2.2.2-1] Where the packet has no shorter form, a missing length is an error.
        let section = body.prefixed()?.rest();
        Ok(Self::of(section, packet_type, place(packet_type), rules))
    }

    /// The same for the properties of the will.
    pub(crate) fn read_will(body: &mut Reader<'a>, rules: TextRules) -> Result<Self, DecodeError> {
        let section = body.prefixed()?.rest();
        Ok(Self::of(section, PacketType::Connect, WILL, rules))
    }

    /// A section without its length.
    pub(crate) fn without_length(
        section: &'a [u8],
        packet_type: PacketType,
        rules: TextRules,
    ) -> Self {
        Self::of(section, packet_type, place(packet_type), rules)
    }

    fn of(section: &'a [u8], packet_type: PacketType, place: u16, rules: TextRules) -> Self {
        let reader = Reader::new(section);
        let user = Collected::default();
        Properties { section, reader, packet_type, place, rules, seen: 0, user }
    }

    /// The next property that is not a user property.
    pub(crate) fn next(&mut self) -> Result<Option<(PropertyId, Value<'a>)>, DecodeError> {
        while !self.reader.is_empty() {
            let start = self.position();
            let identifier = self.reader.variable()?;
            let row = row(identifier).ok_or(DecodeError::UnknownProperty { identifier })?;
            let value = self.value(row)?;
            self.check(row, value)?;
            if matches!(value, Value::TextPair) {
                self.collect(start);
            } else {
                return Ok(Some((row.property, value)));
            }
        }
        Ok(None)
    }

    /// The user properties among those that were read.
    pub(crate) fn user_properties(self) -> UserProperties<'a> {
        let Collected { count, start, end, copy } = self.user;
        let encoded = match copy {
            Some(copy) => Cow::Owned(copy),
            None => Cow::Borrowed(self.section.get(start..end).unwrap_or_default()),
        };
        UserProperties::of_wire(encoded, count)
    }

    /// The error of a property that the table allows here but the packet does not know.
    pub(crate) fn not_allowed(&self, property: PropertyId) -> DecodeError {
        let packet_type = self.packet_type;
        DecodeError::PropertyNotAllowed { identifier: property as u8, packet_type }
    }

    fn position(&self) -> usize {
        self.section.len().saturating_sub(self.reader.len())
    }

    fn value(&mut self, row: &Row) -> Result<Value<'a>, DecodeError> {
        let reader = &mut self.reader;
        Ok(match row.kind {
            Kind::Flag => match reader.byte()? {
                0 => Value::Flag(false),
                1 => Value::Flag(true),
                _ => {
                    let identifier = row.property as u8;
                    return Err(DecodeError::InvalidFlagProperty { identifier });
                }
            },
            Kind::TwoByte => Value::TwoByte(reader.two_byte()?),
            Kind::FourByte => Value::FourByte(reader.four_byte()?),
            Kind::Variable => Value::FourByte(reader.variable()?),
            Kind::Text => Value::Text(reader.text(self.rules)?),
            Kind::Binary => Value::Binary(reader.binary()?),
            Kind::TextPair => {
                // [MQTT5-1.5.7-1]
                reader.text(self.rules)?;
                reader.text(self.rules)?;
                Value::TextPair
            }
        })
    }

    fn check(&mut self, row: &Row, value: Value<'a>) -> Result<(), DecodeError> {
        let property = row.property;
        if row.places & self.place == 0 {
            return Err(self.not_allowed(property));
        }
        let bit = 1_u64 << (property as u8);
        if self.seen & bit != 0 && row.many & self.place == 0 {
            return Err(DecodeError::DuplicateProperty { identifier: property as u8 });
        }
        self.seen |= bit;
        match (property, value) {
            (PropertyId::ReceiveMaximum, Value::TwoByte(0)) => Err(DecodeError::ZeroReceiveMaximum),
            (PropertyId::MaximumPacketSize, Value::FourByte(0)) => {
                Err(DecodeError::ZeroMaximumPacketSize)
            }
            // [MQTT5-3.3.2-8]
            (PropertyId::TopicAlias, Value::TwoByte(0)) => Err(DecodeError::ZeroTopicAlias),
            (PropertyId::SubscriptionIdentifier, Value::FourByte(0)) => {
                Err(DecodeError::ZeroSubscriptionIdentifier)
            }
            _ => Ok(()),
        }
    }

    /// Adds the user property that was just read and began at `start`.
    fn collect(&mut self, start: usize) {
        let end = self.position();
        let user = &mut self.user;
        if user.count == 0 {
            user.start = start;
        } else if user.copy.is_none() && user.end != start {
            user.copy = self.section.get(user.start..user.end).map(Vec::from);
        }
        if let (Some(copy), Some(pair)) = (&mut user.copy, self.section.get(start..end)) {
            copy.extend_from_slice(pair);
        }
        user.end = end;
        user.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::{ReasonCode, spec};

    fn read(section: &[u8], packet_type: PacketType) -> Result<usize, DecodeError> {
        let mut properties = Properties::without_length(section, packet_type, TextRules::Strict);
        let mut count = 0;
        while properties.next()?.is_some() {
            count += 1;
        }
        Ok(count + properties.user_properties().len())
    }

    /// A property of this row with a value that every packet takes.
    fn sample(row: &Row) -> Vec<u8> {
        let value: &[u8] = match row.kind {
            Kind::Flag => &[1],
            Kind::TwoByte => &[0, 1],
            Kind::FourByte => &[0, 0, 0, 1],
            Kind::Variable => &[1],
            Kind::Text | Kind::Binary => &[0, 1, b'p'],
            Kind::TextPair => &[0, 1, b'p', 0, 1, b'q'],
        };
        let mut bytes = vec![row.property as u8];
        bytes.extend_from_slice(value);
        bytes
    }

    #[test]
    fn properties_stand_where_the_table_allows_them() {
        for row in &super::super::TABLE {
            let once = sample(row);
            let twice = [once.clone(), once.clone()].concat();
            let identifier = row.property as u8;
            for packet_type in (1..=15).filter_map(PacketType::from_value) {
                let bit = place(packet_type);
                if row.places & bit == 0 {
                    let error = DecodeError::PropertyNotAllowed { identifier, packet_type };
                    assert_eq!(read(&once, packet_type), Err(error));
                    continue;
                }
                assert_eq!(read(&once, packet_type), Ok(1), "{:?} {packet_type}", row.property);
                let expected = if row.many & bit == 0 {
                    Err(DecodeError::DuplicateProperty { identifier })
                } else {
                    Ok(2)
                };
                assert_eq!(read(&twice, packet_type), expected);
                for cut in 1..once.len() {
                    assert_eq!(read(&once[..cut], packet_type), Err(DecodeError::Truncated));
                }
            }
        }
    }

    #[test]
    fn unknown_identifiers_are_malformed() {
        for (section, identifier) in [
            (&[0x00, 1][..], 0),
            (&[0x04, 1], 4),
            (&[0x2B, 1], 0x2B),
            (&[0x7F, 1], 0x7F),
            (&[0x80, 0x01, 1], 128),
            (&[0x81, 0x02, 1], 257),
        ] {
            let error = DecodeError::UnknownProperty { identifier };
            assert_eq!(read(section, PacketType::Connect), Err(error));
            assert_eq!(error.reason_code(), ReasonCode::MalformedPacket);
        }
    }

    #[test]
    fn values_out_of_range_are_refused() {
        spec!("MQTT5-3.3.2-8");
        for (section, packet_type, error, code) in [
            (&[0x21, 0, 0][..], PacketType::Connect, DecodeError::ZeroReceiveMaximum, 0x82),
            (&[0x27, 0, 0, 0, 0], PacketType::Connect, DecodeError::ZeroMaximumPacketSize, 0x82),
            (&[0x23, 0, 0], PacketType::Publish, DecodeError::ZeroTopicAlias, 0x94),
            (&[0x0B, 0], PacketType::Subscribe, DecodeError::ZeroSubscriptionIdentifier, 0x82),
            (
                &[0x01, 2],
                PacketType::Publish,
                DecodeError::InvalidFlagProperty { identifier: 1 },
                0x82,
            ),
        ] {
            assert_eq!(read(section, packet_type), Err(error));
            assert_eq!(error.reason_code().value(), code, "{error}");
        }
    }

    #[test]
    fn both_strings_of_a_user_property_are_text() {
        spec!("MQTT5-1.5.7-1");
        for (section, error) in [
            (&[0x26, 0, 1, 0, 0, 1, b'v'][..], DecodeError::NullCharacter),
            (&[0x26, 0, 1, b'k', 0, 1, 0xFF], DecodeError::IllFormedUtf8),
        ] {
            assert_eq!(read(section, PacketType::Publish), Err(error));
        }
    }

    #[test]
    fn user_properties_keep_their_order_wherever_they_stand() {
        let pair = |k: u8| vec![0x26, 0, 1, k, 0, 0];
        let other = vec![0x01, 1];
        let together = [pair(b'a'), pair(b'b'), other.clone()].concat();
        let apart = [pair(b'a'), other, pair(b'b'), pair(b'c')].concat();
        for (section, keys, borrowed) in [(&together, "ab", true), (&apart, "abc", false)] {
            let mut properties =
                Properties::without_length(section, PacketType::Publish, TextRules::Strict);
            while properties.next().unwrap().is_some() {}
            let user = properties.user_properties();
            assert!(user.iter().map(|(key, _)| key).eq(keys.split("").filter(|k| !k.is_empty())));
            let inside = section.as_ptr_range().contains(&user.as_encoded().as_ptr());
            assert_eq!(inside, borrowed);
        }
    }
}
