//! A subscription as a part of its record.

use noctule_broker_core::StoredSubscription;
use noctule_packet::{QoS, RetainHandling, SubscriptionOptions};

use super::damaged::Damaged;
use super::reader::{Reader, put_sized, put_tagged};

pub(super) const IDENTIFIER: u8 = 1;
pub(super) const OWED: u8 = 2;

const QOS: u8 = 0b0011;
const NO_LOCAL: u8 = 0b0100;
const RETAIN_AS_PUBLISHED: u8 = 0b1000;
const RETAIN_HANDLING_SHIFT: u8 = 4;

/// Appends a subscription, which is followed by nothing.
pub(super) fn put_subscription(subscription: &StoredSubscription, out: &mut Vec<u8>) {
    let StoredSubscription { filter, options, identifier, is_owed } = subscription;
    out.push(options_byte(*options));
    put_sized(out, filter.as_bytes());
    if let Some(identifier) = identifier {
        put_tagged(out, IDENTIFIER, &identifier.to_le_bytes());
    }
    if *is_owed {
        put_tagged(out, OWED, &[]);
    }
}

pub(super) fn read_subscription(mut reader: Reader<'_>) -> Result<StoredSubscription, Damaged> {
    let options = read_options(reader.byte("options")?)?;
    let filter = reader.filter()?.into();
    let (mut identifier, mut is_owed) = (None, false);
    reader.tagged(|tag, field| {
        match tag {
            IDENTIFIER => identifier = Some(field.identifier()?),
            OWED => is_owed = true,
            _ => {}
        }
        Ok(())
    })?;
    Ok(StoredSubscription { filter, options, identifier, is_owed })
}

/// As SUBSCRIBE has them.
const fn options_byte(options: SubscriptionOptions) -> u8 {
    let no_local = if options.no_local { NO_LOCAL } else { 0 };
    let as_published = if options.retain_as_published { RETAIN_AS_PUBLISHED } else { 0 };
    let handling = (options.retain_handling as u8) << RETAIN_HANDLING_SHIFT;
    options.qos.level() | no_local | as_published | handling
}

fn read_options(byte: u8) -> Result<SubscriptionOptions, Damaged> {
    let retain_handling = match byte >> RETAIN_HANDLING_SHIFT {
        0 => RetainHandling::SendAtSubscribe,
        1 => RetainHandling::SendIfNew,
        2 => RetainHandling::DoNotSend,
        _ => return Err(Damaged::Invalid("options")),
    };
    let qos = QoS::from_level(byte & QOS).ok_or(Damaged::Invalid("options"))?;
    Ok(SubscriptionOptions {
        qos,
        no_local: byte & NO_LOCAL != 0,
        retain_as_published: byte & RETAIN_AS_PUBLISHED != 0,
        retain_handling,
    })
}
