//! SUBSCRIBE: a client asks for subscriptions.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::fmt;

use crate::property::{Properties, PropertyId, PropertyWriter};
use crate::wire::{Reader, put_packet, put_text, put_two_byte};
use crate::{
    DecodeError, EncodeError, Frame, PacketId, PacketType, QoS, TextRules, TopicFilter,
    UserProperties, Version,
};

/// A client's request for subscriptions.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// The packet identifier that SUBACK repeats.
    pub packet_id: PacketId,
    /// A number that comes with every message of these subscriptions (5.0 only).
    pub subscription_identifier: Option<u32>,
    /// The user properties (5.0 only).
    pub user_properties: UserProperties<'a>,
    /// What to subscribe to, at least one.
    pub subscriptions: SubscriptionList<'a>,
}

/// One subscription that a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subscription<'a> {
    /// The topics.
    pub filter: TopicFilter<'a>,
    /// How to deliver.
    pub options: SubscriptionOptions,
}

/// How a subscription wants its messages; before 5.0 there is only [`qos`](Self::qos).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SubscriptionOptions {
    /// The highest quality of service.
    pub qos: QoS,
    /// Whether to leave out the client's own messages.
    pub no_local: bool,
    /// Whether the retain flag arrives as it was published.
    pub retain_as_published: bool,
    /// When to send retained messages.
    pub retain_handling: RetainHandling,
}

/// When a subscription gets the retained messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RetainHandling {
    /// Whenever it is asked for.
    #[default]
    SendAtSubscribe = 0,
    /// Only if it did not exist before.
    SendIfNew = 1,
    /// Never.
    DoNotSend = 2,
}

const QOS: u8 = 0x03;
const NO_LOCAL: u8 = 0x04;
const RETAIN_AS_PUBLISHED: u8 = 0x08;
const RETAIN_HANDLING: u8 = 0x30;
const RETAIN_HANDLING_SHIFT: u8 = 4;
const RESERVED: u8 = 0xC0;

impl SubscriptionOptions {
    fn from_byte(byte: u8, version: Version) -> Result<Self, DecodeError> {
        // [MQTT5-3.8.3-5] [MQTT311-3.8.3-4]
        let reserved = if version.is_v5() { RESERVED } else { !QOS };
        if byte & reserved != 0 {
            return Err(DecodeError::InvalidSubscriptionOptions);
        }
        let qos = QoS::from_level(byte & QOS).ok_or(DecodeError::InvalidSubscriptionOptions)?;
        let retain_handling = match (byte & RETAIN_HANDLING) >> RETAIN_HANDLING_SHIFT {
            0 => RetainHandling::SendAtSubscribe,
            1 => RetainHandling::SendIfNew,
            2 => RetainHandling::DoNotSend,
            _ => return Err(DecodeError::InvalidRetainHandling),
        };
        Ok(SubscriptionOptions {
            qos,
            no_local: byte & NO_LOCAL != 0,
            retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
            retain_handling,
        })
    }

    const fn to_byte(self) -> u8 {
        let no_local = if self.no_local { NO_LOCAL } else { 0 };
        let retain_as_published = if self.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
        let retain_handling = (self.retain_handling as u8) << RETAIN_HANDLING_SHIFT;
        self.qos.level() | no_local | retain_as_published | retain_handling
    }
}

/// The subscriptions of a SUBSCRIBE in their validated wire form.
///
/// ```
/// use noctule_packet::{SubscriptionList, SubscriptionOptions, TopicFilter};
///
/// let mut list = SubscriptionList::new();
/// let filter = TopicFilter::new("house/#").unwrap();
/// list.push(&filter, SubscriptionOptions::default());
/// assert_eq!(list.iter().next().unwrap().filter, filter);
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SubscriptionList<'a> {
    encoded: Cow<'a, [u8]>,
    count: usize,
}

impl<'a> SubscriptionList<'a> {
    /// No subscriptions.
    pub const fn new() -> Self {
        SubscriptionList { encoded: Cow::Borrowed(&[]), count: 0 }
    }

    fn decode(
        mut body: Reader<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        let encoded = Cow::Borrowed(body.rest());
        let mut count = 0;
        while !body.is_empty() {
            // [MQTT5-3.8.3-1] [MQTT311-3.8.3-1]
            let filter =
                TopicFilter::new(body.text(rules)?).map_err(DecodeError::InvalidTopicFilter)?;
            // [MQTT5-3.8.3-2] [MQTT311-3.8.3-3]
            let options = SubscriptionOptions::from_byte(body.byte()?, version)?;
            // [MQTT5-3.8.3-4]
            if options.no_local && filter.share_name().is_some() {
                return Err(DecodeError::NoLocalOnSharedSubscription);
            }
            count += 1;
        }
        // [MQTT5-3.8.3-2] [MQTT311-3.8.3-3]
        if count == 0 {
            return Err(DecodeError::NoTopicFilter);
        }
        Ok(SubscriptionList { encoded, count })
    }

    /// Appends a subscription.
    pub fn push(&mut self, filter: &TopicFilter<'_>, options: SubscriptionOptions) {
        let encoded = self.encoded.to_mut();
        // A topic filter is short enough and has no null character, so this cannot fail.
        if put_text(encoded, filter.as_str()).is_ok() {
            encoded.push(options.to_byte());
            self.count += 1;
        }
    }

    /// The subscriptions in order.
    pub fn iter(&self) -> impl Iterator<Item = Subscription<'_>> + Clone {
        let mut reader = Reader::new(&self.encoded);
        // The bytes are good, so the first failure is the end.
        core::iter::from_fn(move || {
            let filter = TopicFilter::new(reader.text(TextRules::Lenient).ok()?).ok()?;
            let options = SubscriptionOptions::from_byte(reader.byte().ok()?, Version::V5_0);
            options.ok().map(|options| Subscription { filter, options })
        })
    }

    /// How many subscriptions there are.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Debug for SubscriptionList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> Subscribe<'a> {
    /// Reads a SUBSCRIBE.
    pub fn decode(
        frame: &Frame<'a>,
        version: Version,
        rules: TextRules,
    ) -> Result<Self, DecodeError> {
        // [MQTT5-3.8.1-1] [MQTT311-3.8.1-1]
        frame.check(PacketType::Subscribe, version)?;
        let mut body = Reader::new(frame.body);
        let packet_id = body.packet_id(PacketType::Subscribe)?;
        let mut subscription_identifier = None;
        let mut user_properties = UserProperties::new();
        if version.is_v5() {
            let mut properties = Properties::read(&mut body, PacketType::Subscribe, rules)?;
            while let Some((property, value)) = properties.next()? {
                match property {
                    PropertyId::SubscriptionIdentifier => {
                        subscription_identifier = value.four_byte();
                    }
                    other => return Err(properties.not_allowed(other)),
                }
            }
            user_properties = properties.user_properties();
        }
        let subscriptions = SubscriptionList::decode(body, version, rules)?;
        Ok(Subscribe { packet_id, subscription_identifier, user_properties, subscriptions })
    }

    /// Appends the packet. Options that only 5.0 has are an error before it.
    pub fn encode(&self, version: Version, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        if self.subscriptions.is_empty() {
            return Err(EncodeError::InvalidValue);
        }
        for subscription in self.subscriptions.iter() {
            let options = subscription.options;
            if !version.is_v5() && options.to_byte() & !QOS != 0 {
                return Err(EncodeError::NotInVersion);
            }
            if options.no_local && subscription.filter.share_name().is_some() {
                return Err(EncodeError::InvalidValue);
            }
        }
        put_packet(out, PacketType::Subscribe.first_byte(), |out| {
            put_two_byte(out, self.packet_id.value());
            if version.is_v5() {
                PropertyWriter::section(out, |to| {
                    to.subscription_identifier(self.subscription_identifier)?;
                    to.user_properties(&self.user_properties);
                    Ok(())
                })?;
            }
            out.extend_from_slice(&self.subscriptions.encoded);
            Ok(())
        })
    }
}

#[cfg(test)]
#[path = "subscribe_tests.rs"]
mod tests;
