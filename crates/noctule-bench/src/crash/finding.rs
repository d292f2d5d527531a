//! What can be wrong with a broker after a crash, and how often it was.

use std::fmt;

use super::journal::{ClientIndex, Event, Message};

/// A broken promise. The order is the table's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// An acknowledged message never reached a subscriber, which got it at QoS 1 or 0.
    LostQos1,
    /// The same at QoS 2.
    LostQos2,
    /// A QoS 2 message reached a subscriber more than once.
    DuplicatedQos2,
    /// A message came again without DUP.
    RepeatedWithoutDup,
    /// A message came after a later one of its publisher and topic.
    Disordered,
    /// Session Present was 0 where a session was promised.
    SessionLost,
    /// Session Present was 1, or old messages came, where the session had ended.
    SessionResurrected,
    /// A subscription had been acknowledged, and none of its messages comes after the crash.
    SubscriptionLost,
    /// A message for which the client has no subscription, or no longer.
    NotSubscribed,
    /// A message came at another quality of service than its subscription has.
    QosChanged,
    /// An acknowledged retained message is not there.
    RetainedLost,
    /// A retained message is older than one that was acknowledged or seen.
    RetainedOld,
    /// The will of a connection that was cut was not published.
    WillMissing,
    /// A will was published twice, or though it must not be.
    WillUnwanted,
    /// A packet was never answered, or a client was thrown out, or told something else than is.
    Misbehaved,
}

/// All kinds in the order of the table.
pub(super) const KINDS: [Kind; 15] = [
    Kind::LostQos1,
    Kind::LostQos2,
    Kind::DuplicatedQos2,
    Kind::RepeatedWithoutDup,
    Kind::Disordered,
    Kind::SessionLost,
    Kind::SessionResurrected,
    Kind::SubscriptionLost,
    Kind::NotSubscribed,
    Kind::QosChanged,
    Kind::RetainedLost,
    Kind::RetainedOld,
    Kind::WillMissing,
    Kind::WillUnwanted,
    Kind::Misbehaved,
];

impl Kind {
    pub(super) const fn describe(self) -> &'static str {
        match self {
            Self::LostQos1 => "deliveries lost, QoS 1",
            Self::LostQos2 => "deliveries lost, QoS 2",
            Self::DuplicatedQos2 => "deliveries duplicated, QoS 2",
            Self::RepeatedWithoutDup => "repeated without DUP",
            Self::Disordered => "out of order",
            Self::SessionLost => "sessions lost",
            Self::SessionResurrected => "sessions resurrected",
            Self::SubscriptionLost => "subscriptions lost",
            Self::NotSubscribed => "delivered without subscription",
            Self::QosChanged => "delivered at another QoS",
            Self::RetainedLost => "retained messages lost",
            Self::RetainedOld => "retained messages too old",
            Self::WillMissing => "wills missing",
            Self::WillUnwanted => "wills too many",
            Self::Misbehaved => "unanswered, refused or closed",
        }
    }
}

/// One broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) client: Option<ClientIndex>,
    pub(super) message: Option<Message>,
    /// The event that showed it.
    pub(super) event: Event,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.kind.describe())?;
        if let Some(client) = self.client {
            write!(f, " client {client}")?;
        }
        if let Some(Message { stream, number }) = self.message {
            write!(f, " stream {stream} message {number}")?;
        }
        write!(f, " ({:?})", self.event)
    }
}

/// How much was checked, and how often each promise was broken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rounds: u64,
    /// How often the broker was ended, in whichever way.
    pub(super) kills: u64,
    /// Messages that the broker acknowledged.
    pub(super) acknowledged: u64,
    /// Deliveries that were owed for them.
    pub(super) owed: u64,
    /// Sessions that were promised and asked for.
    pub(super) sessions: u64,
    /// Subscriptions that were tried after a crash.
    pub(super) subscriptions: u64,
    /// Retained messages that had to be there.
    pub(super) retained: u64,
    /// Wills that had to be published.
    pub(super) wills: u64,
    /// Deliveries at QoS 1 that came more than once, as they may.
    pub(super) repeated: u64,
    broken: [u64; KINDS.len()],
}

impl Tally {
    pub(super) fn count(&mut self, kind: Kind) {
        self.broken[kind as usize] += 1;
    }

    pub(super) fn broken(&self, kind: Kind) -> u64 {
        self.broken[kind as usize]
    }

    pub(super) fn is_clean(&self) -> bool {
        self.broken.iter().all(|count| *count == 0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.kills += other.kills;
        self.acknowledged += other.acknowledged;
        self.owed += other.owed;
        self.sessions += other.sessions;
        self.subscriptions += other.subscriptions;
        self.retained += other.retained;
        self.wills += other.wills;
        self.repeated += other.repeated;
        for (all, more) in self.broken.iter_mut().zip(other.broken) {
            *all += more;
        }
    }

    /// What was broken, in short.
    pub(super) fn summary(&self) -> String {
        let broken = KINDS.iter().filter(|kind| self.broken(**kind) > 0);
        let broken: Vec<String> =
            broken.map(|kind| format!("{} {}", self.broken(*kind), kind.describe())).collect();
        if broken.is_empty() { "nothing wrong".to_owned() } else { broken.join("; ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_place_in_the_table() {
        for (place, kind) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, place);
        }
    }

    #[test]
    fn a_summary_names_what_is_broken() {
        let mut tally = Tally::default();
        assert_eq!(tally.summary(), "nothing wrong");
        tally.count(Kind::SessionLost);
        tally.count(Kind::LostQos2);
        let mut sum = tally.clone();
        sum.add(&tally);
        assert_eq!(sum.summary(), "2 deliveries lost, QoS 2; 2 sessions lost");
        assert!(!sum.is_clean());
    }
}
