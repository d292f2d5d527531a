//! The Keep Alive interval: how long a peer may be silent before it counts as gone.

use core::time::Duration;

use crate::time::Timestamp;

/// A Keep Alive interval in seconds; 0 switches the mechanism off.
///
/// ```
/// use noctule_session::{KeepAlive, Timestamp};
///
/// let silent_since = Timestamp::from_millis(0);
/// let deadline = KeepAlive::from_seconds(60).deadline(silent_since);
/// assert_eq!(deadline, Some(Timestamp::from_millis(90_000)));
/// assert_eq!(KeepAlive::from_seconds(0).deadline(silent_since), None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    seconds: u16,
}

impl KeepAlive {
    /// An interval of this many seconds.
    pub const fn from_seconds(seconds: u16) -> Self {
        Self { seconds }
    }

    /// The interval in seconds, 0 for none.
    pub const fn seconds(self) -> u16 {
        self.seconds
    }

    /// When a server gives up a client that was last heard of at `heard`: one and a half intervals.
    // [MQTT5-3.1.2-22] [MQTT311-3.1.2-24] [MQTT31-3.1-16]
    pub fn deadline(self, heard: Timestamp) -> Option<Timestamp> {
        (self.seconds > 0).then(|| heard + Duration::from_millis(u64::from(self.seconds) * 1_500))
    }
}
