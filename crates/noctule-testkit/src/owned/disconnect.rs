//! DISCONNECT and AUTH that own what they hold.

use noctule_packet::{Auth, Disconnect, ReasonCode};

use super::{lend_user_properties, own_user_properties};

/// A DISCONNECT. Before 5.0 it holds nothing.
///
/// ```
/// use noctule_packet::ReasonCode;
/// use noctule_testkit::OwnedDisconnect;
///
/// let leave = OwnedDisconnect::new(ReasonCode::DisconnectWithWillMessage)
///     .session_expiry_interval(60);
/// assert_eq!(leave.session_expiry_interval, Some(60));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedDisconnect {
    /// Why the connection ends.
    pub reason_code: ReasonCode,
    /// How many seconds the session outlives the connection from now on.
    pub session_expiry_interval: Option<u32>,
    /// The reason in words.
    pub reason_string: Option<String>,
    /// Another server to use.
    pub server_reference: Option<String>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedDisconnect {
    /// A DISCONNECT without properties.
    pub const fn new(reason_code: ReasonCode) -> Self {
        OwnedDisconnect {
            reason_code,
            session_expiry_interval: None,
            reason_string: None,
            server_reference: None,
            user_properties: Vec::new(),
        }
    }

    /// How many seconds the session outlives the connection.
    #[must_use]
    pub const fn session_expiry_interval(mut self, seconds: u32) -> Self {
        self.session_expiry_interval = Some(seconds);
        self
    }

    /// A copy of the packet.
    pub fn copy_of(disconnect: &Disconnect<'_>) -> Self {
        OwnedDisconnect {
            reason_code: disconnect.reason_code,
            session_expiry_interval: disconnect.session_expiry_interval,
            reason_string: disconnect.reason_string.map(str::to_owned),
            server_reference: disconnect.server_reference.map(str::to_owned),
            user_properties: own_user_properties(&disconnect.user_properties),
        }
    }

    /// The packet to send.
    #[track_caller]
    pub fn to_packet(&self) -> Disconnect<'_> {
        Disconnect {
            reason_code: self.reason_code,
            session_expiry_interval: self.session_expiry_interval,
            reason_string: self.reason_string.as_deref(),
            server_reference: self.server_reference.as_deref(),
            user_properties: lend_user_properties(&self.user_properties),
        }
    }
}

/// An AUTH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedAuth {
    /// Which step this is.
    pub reason_code: ReasonCode,
    /// The method.
    pub authentication_method: Option<String>,
    /// The data of this step.
    pub authentication_data: Option<Vec<u8>>,
    /// The reason in words.
    pub reason_string: Option<String>,
    /// The user properties in their order.
    pub user_properties: Vec<(String, String)>,
}

impl OwnedAuth {
    /// A copy of the packet.
    pub fn copy_of(auth: &Auth<'_>) -> Self {
        OwnedAuth {
            reason_code: auth.reason_code,
            authentication_method: auth.authentication_method.map(str::to_owned),
            authentication_data: auth.authentication_data.map(<[u8]>::to_vec),
            reason_string: auth.reason_string.map(str::to_owned),
            user_properties: own_user_properties(&auth.user_properties),
        }
    }
}
