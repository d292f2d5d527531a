//! UNSUBSCRIBE: a client ends subscriptions.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::property::{Properties, PropertyWriter};
use crate::wire::{Reader, put_packet, put_text, put_two_byte};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, TextRules, TopicFilter, UserProperties,
    Version,
};

/// A client's request to end subscriptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Unsubscribe<'a> {
    /// The packet identifier that UNSUBACK repeats.
    pub packet_id: PacketId,
    /// The user properties (5.0 only).
    pub user_properties: UserProperties<'a>,
    /// The filters of the subscriptions to end, at least one.
    pub filters: FilterList<'a>,
}

/// The topic filters of an UNSUBSCRIBE in their validated wire form.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct FilterList<'a> {
    encoded: Cow<'a, [u8]>,
    count: usize,
}

impl<'a> FilterList<'a> {
    /// No filters.
    pub const fn new() -> Self {
        FilterList { encoded: Cow::Borrowed(&[]), count: 0 }
    }

    fn decode(mut body: Reader<'a>, rules: TextRules) -> Result<Self, DecodeError> {
        let encoded = Cow::Borrowed(body.rest());
        let mut count = 0;
        while !body.is_empty() {
            // [MQTT5-3.10.3-1] [MQTT311-3.10.3-1]
            TopicFilter::new(body.text(rules)?).map_err(DecodeError::InvalidTopicFilter)?;
            count += 1;
        }
        // [MQTT5-3.10.3-2] [MQTT311-3.10.3-2]
        if count == 0 {
            return Err(DecodeError::NoTopicFilter);
        }
        Ok(FilterList { encoded, count })
    }

    /// Appends a filter.
    pub fn push(&mut self, filter: &TopicFilter<'_>) {
        // A topic filter is short enough and has no null character, so this cannot fail.
        if put_text(self.encoded.to_mut(), filter.as_str()).is_ok() {
            self.count += 1;
        }
    }

    /// The filters in order.
    pub fn iter(&self) -> impl Iterator<Item = TopicFilter<'_>> + Clone {
        let mut reader = Reader::new(&self.encoded);
        // The bytes are good, so the first failure is the end.
        core::iter::from_fn(move || TopicFilter::new(reader.text(TextRules::Lenient).ok()?).ok())
    }

    /// How many filters there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Debug for FilterList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Unsubscribe<'a> {
    /// Reads an UNSUBSCRIBE.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        // [MQTT5-3.10.1-1] [MQTT311-3.10.1-1]
        frame.check(PacketType::Unsubscribe, version)?;
        let mut body = Reader::new(frame.body);
        let packet_id = body.packet_id(PacketType::Unsubscribe)?;
        let mut user_properties = UserProperties::new();
        if version.is_v5() {
            let mut properties = Properties::read(&mut body, PacketType::Unsubscribe, rules)?;
            if let Some((property, _)) = properties.next()? {
                return Err(properties.not_allowed(property));
            }
            user_properties = properties.user_properties();
        }
        let filters = FilterList::decode(body, rules)?;
        Ok(Unsubscribe { packet_id, user_properties, filters })
    }

    /// Appends the packet.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.filters.is_empty() {
            return Err(EncodeError::InvalidValue);
        }
        put_packet(out, PacketType::Unsubscribe.first_byte(), |out| {
            put_two_byte(out, self.packet_id.value());
            if version.is_v5() {
                PropertyWriter::section(out, |to| {
                    to.user_properties(&self.user_properties);
                    Ok(())
                })?;
            }
            out.extend_from_slice(&self.filters.encoded);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Framing, spec, split};

    fn check(bytes: &[u8], version: Version, code: Option<u8>) {
        let Ok(Framing::Complete(frame)) = split(bytes, u32::MAX) else { panic!("{bytes:x?}") };
        let decoded = Unsubscribe::decode(&frame, version, TextRules::Strict);
        let found = decoded.err().map(|error| error.reason_code().value());
        assert_eq!(found, code, "{bytes:x?} {version}");
    }

    #[test]
    fn there_is_at_least_one_filter() {
        spec!("MQTT5-3.10.3-2", "MQTT311-3.10.3-2");
        check(&[0xA2, 3, 0, 1, 0], Version::V5_0, Some(0x82));
        check(&[0xA2, 2, 0, 1], Version::V3_1_1, Some(0x82));
        check(&[0xA2, 5, 0, 1, 0, 1, b'a'], Version::V3_1_1, None);
        check(&[0xA2, 6, 0, 1, 0, 0, 1, b'a'], Version::V5_0, None);
    }

    #[test]
    fn filters_are_text() {
        spec!("MQTT5-3.10.3-1", "MQTT311-3.10.3-1");
        for bytes in [
            &[0xA2, 5, 0, 1, 0, 1, 0xFF][..], // ill-formed
            &[0xA2, 5, 0, 1, 0, 1, 0],        // U+0000
            &[0xA2, 4, 0, 1, 0, 0],           // empty
            &[0xA2, 4, 0, 1, 0, 1],           // cut off
            &[0xA2, 6, 0, 1, 0, 2, b'#', b'a'],
        ] {
            check(bytes, Version::V3_1_1, Some(0x81));
        }
        check(&[0xA2, 6, 0, 1, 0, 0, 1, 0xFF], Version::V5_0, Some(0x81));
    }

    #[test]
    fn the_packet_identifier_is_not_zero() {
        spec!("MQTT5-2.2.1-3", "MQTT311-2.3.1-1");
        check(&[0xA2, 5, 0, 0, 0, 1, b'a'], Version::V3_1_1, Some(0x81));
        check(&[0xA2, 6, 0, 0, 0, 0, 1, b'a'], Version::V5_0, Some(0x81));
    }

    #[test]
    fn only_user_properties_are_allowed() {
        check(&[0xA2, 8, 0, 1, 2, 0x0B, 1, 0, 1, b'a'], Version::V5_0, Some(0x81));
        check(&[0xA2, 11, 0, 1, 5, 0x26, 0, 0, 0, 0, 0, 1, b'a'], Version::V5_0, None);
    }
}
