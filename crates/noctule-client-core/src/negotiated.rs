//! What client and server have agreed on for one connection: all that CONNACK says, with the
//! values that hold where it says nothing.

use alloc::boxed::Box;

use noctule_packet::{Connack, QoS, UserProperties, Version};

use crate::connect_options::ConnectOptions;

/// What holds on a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct Negotiated {
    /// The version that is spoken.
    pub version: Version,
    /// Whether the server has gone on with a session. Before 3.1.1 it cannot say so, and this is
    /// what we suppose.
    pub session_present: bool,
    /// The client identifier in use.
    pub client_id: Box<str>,
    /// Whether the server has chosen it.
    pub is_client_id_assigned: bool,
    /// How long the session outlives the connection, in seconds.
    pub session_expiry_interval: u32,
    /// How many unacknowledged QoS 1 and 2 messages the server takes.
    pub receive_maximum: u16,
    /// The highest quality of service that the server takes.
    pub maximum_qos: QoS,
    /// Whether the server keeps retained messages.
    pub retain_available: bool,
    /// The largest packet that the server takes.
    pub maximum_packet_size: u32,
    /// The highest topic alias that the server takes.
    pub topic_alias_maximum: u16,
    /// Whether topic filters may have wildcards.
    pub wildcard_subscription_available: bool,
    /// Whether subscriptions may have identifiers.
    pub subscription_identifiers_available: bool,
    /// Whether subscriptions may be shared.
    pub shared_subscription_available: bool,
    /// The keep alive in use, in seconds.
    pub keep_alive: u16,
    /// What to build response topics from.
    pub response_information: Option<Box<str>>,
    /// Another server that the server mentions.
    pub server_reference: Option<Box<str>>,
    /// What the server says in words.
    pub reason_string: Option<Box<str>>,
    /// The user properties of CONNACK.
    pub user_properties: UserProperties<'static>,
}

impl Negotiated {
    /// What a CONNACK leaves of what we asked for.
    // [MQTT5-3.1.2-21] [MQTT5-3.2.2-21]
    pub(crate) fn new(
        version: Version,
        options: &ConnectOptions,
        client_id: &str,
        session_present: bool,
        connack: &Connack<'_>,
    ) -> Self {
        let from = &connack.properties;
        let is_v5 = version.is_v5();
        let assigned = from.assigned_client_identifier;
        let session_expiry_interval =
            from.session_expiry_interval.unwrap_or(options.session_expiry_interval);
        Self {
            version,
            session_present,
            client_id: assigned.unwrap_or(client_id).into(),
            is_client_id_assigned: assigned.is_some(),
            session_expiry_interval,
            receive_maximum: from.receive_maximum.unwrap_or(u16::MAX),
            maximum_qos: from.maximum_qos.unwrap_or(QoS::ExactlyOnce),
            retain_available: from.retain_available.unwrap_or(true),
            maximum_packet_size: from.maximum_packet_size.unwrap_or(u32::MAX),
            topic_alias_maximum: from.topic_alias_maximum.unwrap_or(0),
            wildcard_subscription_available: from.wildcard_subscription_available.unwrap_or(true),
            subscription_identifiers_available: is_v5
                && from.subscription_identifiers_available.unwrap_or(true),
            // Some servers offer them before 5.0, and none can say that it does not.
            shared_subscription_available: from.shared_subscription_available.unwrap_or(true),
            keep_alive: from.server_keep_alive.unwrap_or(options.keep_alive),
            response_information: from.response_information.map(Into::into),
            server_reference: from.server_reference.map(Into::into),
            reason_string: from.reason_string.map(Into::into),
            user_properties: owned(&from.user_properties),
        }
    }
}

/// User properties that are kept.
pub(crate) fn owned(properties: &UserProperties<'_>) -> UserProperties<'static> {
    let mut owned = UserProperties::new();
    for (name, value) in properties.iter() {
        // They were in a packet, so they fit into one.
        let _ = owned.push(name, value);
    }
    owned
}
