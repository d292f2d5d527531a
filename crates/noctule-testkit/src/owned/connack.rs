//! A CONNACK that owns what it holds.

use noctule_packet::{Connack, ConnackProperties, QoS, ReasonCode};

use super::{lend_user_properties, own_user_properties};

/// A CONNACK with its properties by their names in the specification; those that are absent are
/// `None`. Before 5.0 the reason code is the one that the return code stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the specification's properties by their names")]
pub struct OwnedConnack {
    pub session_present: bool,
    pub reason_code: ReasonCode,
    pub session_expiry_interval: Option<u32>,
    pub receive_maximum: Option<u16>,
    pub maximum_qos: Option<QoS>,
    pub retain_available: Option<bool>,
    pub maximum_packet_size: Option<u32>,
    pub assigned_client_identifier: Option<String>,
    pub topic_alias_maximum: Option<u16>,
    pub reason_string: Option<String>,
    pub user_properties: Vec<(String, String)>,
    pub wildcard_subscription_available: Option<bool>,
    pub subscription_identifiers_available: Option<bool>,
    pub shared_subscription_available: Option<bool>,
    pub server_keep_alive: Option<u16>,
    pub response_information: Option<String>,
    pub server_reference: Option<String>,
    pub authentication_method: Option<String>,
    pub authentication_data: Option<Vec<u8>>,
}

impl OwnedConnack {
    /// A CONNACK with this code, without a session and without properties.
    pub const fn new(reason_code: ReasonCode) -> Self {
        OwnedConnack {
            session_present: false,
            reason_code,
            session_expiry_interval: None,
            receive_maximum: None,
            maximum_qos: None,
            retain_available: None,
            maximum_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_maximum: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: None,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }

    /// Says whether the server had a session.
    #[must_use]
    pub const fn session_present(mut self, session_present: bool) -> Self {
        self.session_present = session_present;
        self
    }

    /// A copy of the packet.
    pub fn copy_of(connack: &Connack<'_>) -> Self {
        let properties = &connack.properties;
        OwnedConnack {
            session_present: connack.session_present,
            reason_code: connack.reason_code,
            session_expiry_interval: properties.session_expiry_interval,
            receive_maximum: properties.receive_maximum,
            maximum_qos: properties.maximum_qos,
            retain_available: properties.retain_available,
            maximum_packet_size: properties.maximum_packet_size,
            assigned_client_identifier: properties.assigned_client_identifier.map(str::to_owned),
            topic_alias_maximum: properties.topic_alias_maximum,
            reason_string: properties.reason_string.map(str::to_owned),
            user_properties: own_user_properties(&properties.user_properties),
            wildcard_subscription_available: properties.wildcard_subscription_available,
            subscription_identifiers_available: properties.subscription_identifiers_available,
            shared_subscription_available: properties.shared_subscription_available,
            server_keep_alive: properties.server_keep_alive,
            response_information: properties.response_information.map(str::to_owned),
            server_reference: properties.server_reference.map(str::to_owned),
            authentication_method: properties.authentication_method.map(str::to_owned),
            authentication_data: properties.authentication_data.map(<[u8]>::to_vec),
        }
    }

    /// The packet to send.
    #[track_caller]
    pub fn to_packet(&self) -> Connack<'_> {
        Connack {
            session_present: self.session_present,
            reason_code: self.reason_code,
            properties: ConnackProperties {
                session_expiry_interval: self.session_expiry_interval,
                receive_maximum: self.receive_maximum,
                maximum_qos: self.maximum_qos,
                retain_available: self.retain_available,
                maximum_packet_size: self.maximum_packet_size,
                assigned_client_identifier: self.assigned_client_identifier.as_deref(),
                topic_alias_maximum: self.topic_alias_maximum,
                reason_string: self.reason_string.as_deref(),
                user_properties: lend_user_properties(&self.user_properties),
                wildcard_subscription_available: self.wildcard_subscription_available,
                subscription_identifiers_available: self.subscription_identifiers_available,
                shared_subscription_available: self.shared_subscription_available,
                server_keep_alive: self.server_keep_alive,
                response_information: self.response_information.as_deref(),
                server_reference: self.server_reference.as_deref(),
                authentication_method: self.authentication_method.as_deref(),
                authentication_data: self.authentication_data.as_deref(),
            },
        }
    }
}
