//! Writing a property section.

use alloc::vec::Vec;

use super::PropertyId;
use crate::wire::{VARIABLE_MAX, put_binary, put_prefixed, put_text, put_two_byte, put_variable};
use crate::{EncodeError, TopicName, UserProperties};

/// Appends properties, each only where it has a value.
#[derive(Debug)]
pub(crate) struct PropertyWriter<'o> {
    out: &'o mut Vec<u8>,
}

impl<'o> PropertyWriter<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Self {
        PropertyWriter { out }
    }

    /// Writes the section that `fill` writes with its length before it.
    pub(crate) fn section(
        out: &mut Vec<u8>,
        fill: impl FnOnce(&mut PropertyWriter<'_>) -> Result<(), EncodeError>,
    ) -> Result<(), EncodeError> {
        // [MQTT5-2.2.2-1] An empty section still gets its length.
        put_prefixed(out, |out| fill(&mut PropertyWriter::new(out)))
    }

    pub(crate) fn flag(&mut self, property: PropertyId, value: Option<bool>) {
        if let Some(value) = value {
            self.out.extend_from_slice(&[property as u8, u8::from(value)]);
        }
    }

    pub(crate) fn two_byte(&mut self, property: PropertyId, value: Option<u16>) {
        if let Some(value) = value {
            self.out.push(property as u8);
            put_two_byte(self.out, value);
        }
    }

    pub(crate) fn four_byte(&mut self, property: PropertyId, value: Option<u32>) {
        if let Some(value) = value {
            self.out.push(property as u8);
            self.out.extend_from_slice(&value.to_be_bytes());
        }
    }

    pub(crate) fn subscription_identifier(
        &mut self,
        value: Option<u32>,
    ) -> Result<(), EncodeError> {
        if let Some(value) = value {
            if value == 0 || value > VARIABLE_MAX {
                return Err(EncodeError::InvalidValue);
            }
            self.out.push(PropertyId::SubscriptionIdentifier as u8);
            put_variable(self.out, usize::try_from(value).unwrap_or(usize::MAX));
        }
        Ok(())
    }

    pub(crate) fn binary(
        &mut self,
        property: PropertyId,
        value: Option<&[u8]>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.out.push(property as u8);
                put_binary(self.out, value)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn text(
        &mut self,
        property: PropertyId,
        value: Option<&str>,
    ) -> Result<(), EncodeError> {
        match value {
            Some(value) => {
                self.out.push(property as u8);
                put_text(self.out, value)
            }
            None => Ok(()),
        }
    }

    pub(crate) fn topic(
        &mut self,
        property: PropertyId,
        value: Option<TopicName<'_>>,
    ) -> Result<(), EncodeError> {
        self.text(property, value.as_ref().map(TopicName::as_str))
    }

    pub(crate) fn user_properties(&mut self, value: &UserProperties<'_>) {
        self.out.extend_from_slice(value.as_encoded());
    }
}
