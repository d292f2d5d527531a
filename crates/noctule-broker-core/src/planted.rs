//! Faults that a simulation plants in the broker, to see that its oracle notices them. No build
//! that serves anybody has them.

use crate::shard::Shard;

/// A fault shows at one packet of so many.
const PACKETS: u64 = 61;

/// One thing that the broker does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlantedFault {
    /// PUBACK and PUBREC do not wait for other shards.
    AcknowledgeEarly,
    /// Other shards are not told that a route is known.
    DropRouteConfirmation,
    /// SUBACK does not wait for other shards.
    GrantEarly,
    /// A message gets the packet identifier of the one before.
    ReuseIdentifier,
    /// PUBREC is not answered.
    ForgetPubrel,
    /// A retained message stays although a newer one came.
    KeepOldRetained,
    /// A replay repeats, or sends something older than, what was delivered live.
    ReplayBehindLive,
    /// A QoS 2 message is passed on again when it is sent again.
    PassOnDuplicate,
    /// Clean Start does not end the session before.
    KeepCleanSession,
    /// A will is published in spite of DISCONNECT.
    PublishWillAnyway,
    /// One message more than the client takes is in flight.
    ExceedReceiveMaximum,
    /// What a member of a shared subscription leaves behind is forgotten.
    LoseWorkOfMember,
}

impl PlantedFault {
    /// Every fault.
    pub const ALL: [Self; 12] = [
        Self::AcknowledgeEarly,
        Self::DropRouteConfirmation,
        Self::GrantEarly,
        Self::ReuseIdentifier,
        Self::ForgetPubrel,
        Self::KeepOldRetained,
        Self::ReplayBehindLive,
        Self::PassOnDuplicate,
        Self::KeepCleanSession,
        Self::PublishWillAnyway,
        Self::ExceedReceiveMaximum,
        Self::LoseWorkOfMember,
    ];
}

impl Shard {
    /// Whether the broker does this wrong now: only at some packets, so that it takes more than
    /// one look to notice.
    pub(crate) fn is_planted(&self, fault: PlantedFault) -> bool {
        self.settings.planted_fault == Some(fault)
            && self.statistics.packets_received.is_multiple_of(PACKETS)
    }
}
