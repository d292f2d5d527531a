//! Why a connection ended, as far as anybody knows.

use alloc::boxed::Box;

use noctule_packet::{ReasonCode, UserProperties, Version};

use crate::auth::AuthError;
use crate::fault::Fault;

/// Why a connection ended, or did not come about.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// The user wanted it.
    ByUser,
    /// The server refused the connection in CONNACK.
    Refused(Box<ServerReason>),
    /// The server refused the version. The next connection speaks an older one.
    Downgraded {
        /// What was refused.
        from: Version,
        /// What comes next.
        to: Version,
    },
    /// The server sent DISCONNECT.
    ByServer(Box<ServerReason>),
    /// The server did what it must not do.
    Fault(Fault),
    /// Our side of the authentication failed.
    Authentication(AuthError),
    /// No CONNACK came in time.
    ConnectTimeout,
    /// Nothing came in time after a PINGREQ.
    PingTimeout,
    /// The transport ended.
    Transport(TransportEnd),
}

/// How a transport ended, as the driver knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransportEnd {
    /// It could not be opened.
    NotOpened,
    /// The other side closed it.
    Closed,
    /// Reading or writing failed.
    Failed,
}

/// What the server says about the end.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerReason {
    /// The reason code; before 5.0 it stands for the nearest return code.
    pub code: ReasonCode,
    /// The reason in words.
    pub text: Option<Box<str>>,
    /// Another server to use.
    pub server_reference: Option<Box<str>>,
    /// The user properties.
    pub user_properties: UserProperties<'static>,
}

impl Ended {
    /// What the server said, if it said anything.
    pub fn server_reason(&self) -> Option<&ServerReason> {
        match self {
            Self::Refused(reason) | Self::ByServer(reason) => Some(reason),
            _ => None,
        }
    }
}
