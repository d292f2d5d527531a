//! SUBSCRIBE, UNSUBSCRIBE and their answers that own what they hold.

use noctule_packet::{ReasonCode, Suback, Subscribe, SubscriptionOptions, Unsuback, Unsubscribe};

use super::own_user_properties;

/// A SUBSCRIBE that a server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedSubscribe {
    /// Which SUBACK answers.
    pub packet_id: u16,
    /// The number that comes back with each message of these subscriptions.
    pub subscription_identifier: Option<u32>,
    /// The filters, each with its options.
    pub subscriptions: Vec<(String, SubscriptionOptions)>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedSubscribe {
    /// A copy of the packet.
    pub fn copy_of(subscribe: &Subscribe<'_>) -> Self {
        OwnedSubscribe {
            packet_id: subscribe.packet_id.value(),
            subscription_identifier: subscribe.subscription_identifier,
            subscriptions: subscribe
                .subscriptions
                .iter()
                .map(|subscription| (subscription.filter.as_str().to_owned(), subscription.options))
                .collect(),
            user_properties: own_user_properties(&subscribe.user_properties),
        }
    }
}

/// A SUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedSuback {
    /// Which SUBSCRIBE is answered.
    pub packet_id: u16,
    /// One code for each filter; failure is 0x80 before 5.0.
    pub reason_codes: Vec<ReasonCode>,
    /// The reason in words.
    pub reason_string: Option<String>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedSuback {
    /// A copy of the packet.
    pub fn copy_of(suback: &Suback<'_>) -> Self {
        OwnedSuback {
            packet_id: suback.packet_id.value(),
            reason_codes: suback.reason_codes.to_vec(),
            reason_string: suback.reason_string.map(str::to_owned),
            user_properties: own_user_properties(&suback.user_properties),
        }
    }
}

/// An UNSUBSCRIBE that a server received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedUnsubscribe {
    /// Which UNSUBACK answers.
    pub packet_id: u16,
    /// The filters.
    pub filters: Vec<String>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedUnsubscribe {
    /// A copy of the packet.
    pub fn copy_of(unsubscribe: &Unsubscribe<'_>) -> Self {
        OwnedUnsubscribe {
            packet_id: unsubscribe.packet_id.value(),
            filters: unsubscribe.filters.iter().map(|filter| filter.as_str().to_owned()).collect(),
            user_properties: own_user_properties(&unsubscribe.user_properties),
        }
    }
}

/// An UNSUBACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedUnsuback {
    /// Which UNSUBSCRIBE is answered.
    pub packet_id: u16,
    /// One code for each filter; empty before 5.0.
    pub reason_codes: Vec<ReasonCode>,
    /// The reason in words.
    pub reason_string: Option<String>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedUnsuback {
    /// A copy of the packet.
    pub fn copy_of(unsuback: &Unsuback<'_>) -> Self {
        OwnedUnsuback {
            packet_id: unsuback.packet_id.value(),
            reason_codes: unsuback.reason_codes.to_vec(),
            reason_string: unsuback.reason_string.map(str::to_owned),
            user_properties: own_user_properties(&unsuback.user_properties),
        }
    }
}
