//! How a publication came that is stored until it is routed to all.

use alloc::boxed::Box;
use alloc::sync::Arc;

use noctule_packet::PacketId;

/// Who is asked about when a will is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillOwner {
    /// The client identifier.
    pub client_id: Arc<str>,
    /// The user, if there was one.
    pub user_name: Option<Box<str>>,
}

/// How a publication came that is perhaps not routed to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// In a PUBLISH with this packet identifier.
    Packet(PacketId),
    /// As a will: whose it was.
    Will(WillOwner),
}
