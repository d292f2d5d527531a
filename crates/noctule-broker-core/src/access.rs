//! Who may come in, and who decides what clients may do.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use noctule_packet::Version;

use crate::settings::Durability;

/// What distinguishes one way in from another.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerSettings {
    /// The protocol versions that are spoken here.
    pub versions: Vec<Version>,
    /// Who decides about a client's identity.
    pub authentication: Authentication,
    /// What an acknowledgement means here: what it means for the broker, or with
    /// [`Durability::Memory`] less. A user may have [another](crate::Principal::durability).
    pub durability: Option<Durability>,
    /// Whether CONNACK says what an acknowledgement means, in a User Property `durability`.
    pub tell_durability: bool,
}

impl Default for ListenerSettings {
    /// All versions; everybody may come in.
    fn default() -> Self {
        Self {
            versions: vec![Version::V3_1, Version::V3_1_1, Version::V5_0],
            authentication: Authentication::Open,
            durability: None,
            tell_durability: false,
        }
    }
}

/// Who decides about a client's identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authentication {
    /// Nobody: every client is anonymous, whatever user name it gives.
    #[default]
    Open,
    /// The driver, by [`Effect::Authenticate`](crate::Effect::Authenticate).
    Ask,
}

/// Who decides what clients may publish and subscribe to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Authorization {
    /// Nobody: all is allowed.
    #[default]
    AllowAll,
    /// The driver, by [`Effect::Authorize`](crate::Effect::Authorize).
    Ask,
}

/// A rule over (client identifier, topic name) that says whether a delivery may happen.
#[derive(Clone)]
pub struct ReadRules(pub Arc<ReadRule>);

/// What [`ReadRules`] calls with a client identifier and a topic name.
pub type ReadRule = dyn Fn(&str, &str) -> bool + Send + Sync;

impl fmt::Debug for ReadRules {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ReadRules")
    }
}
