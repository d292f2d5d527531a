//! Who takes part in a crash test: clients with a part each, and the streams of messages between
//! them. It is the same for every seed.

use noctule_packet::{QoS, Version};

use super::journal::{ClientIndex, Group, Stream, Will};

/// The group of retained messages.
pub(super) const KEPT: Group = 6;

/// The group of wills.
pub(super) const WILLS: Group = 7;

/// Subscribed to from the beginning, if at all.
const STEADY: [Group; 4] = [0, 1, 2, 3];

/// Subscribed to and unsubscribed from during the load.
pub(super) const CHANGING: [Group; 2] = [4, 5];

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Subscribes and unsubscribes during the load.
    Changing,
    /// Comes back with and without a clean start.
    Cleaning,
    /// Acknowledges only when so many acknowledgements are due.
    Dawdling,
    /// Looks at the retained messages, without a session.
    Looking,
    /// Dies with a will.
    Mortal(Will),
    /// Leaves before the load and returns after the crash.
    Offline,
    /// Stays, and acknowledges at once.
    Online,
    /// Publishes.
    Publishing,
    /// Leaves and returns during the load.
    Returning,
    /// Is taken over by another connection of its own.
    TakenOver,
    /// Receives the wills.
    Watching,
}

/// A client.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) name: String,
    pub(super) version: Version,
    pub(super) part: Part,
    /// What it is always subscribed to.
    pub(super) groups: Vec<Group>,
}

impl Member {
    fn new(part: Part, version: Version, groups: &[Group]) -> Self {
        let name = format!("{part:?}-{}", version.level());
        let name = name.chars().filter(|char| char.is_alphanumeric() || *char == '-').collect();
        Self { name, version, part, groups: groups.to_vec() }
    }

    /// Its session outlives its connections, unless it is asked to start clean.
    pub(super) fn is_stored(&self) -> bool {
        !matches!(self.part, Part::Looking | Part::Mortal(Will::AtOnce))
    }

    /// With which quality of service it subscribes.
    pub(super) fn qos(&self, group: Group) -> QoS {
        let is_exact = !(usize::from(group) + self.name.len()).is_multiple_of(3);
        if is_exact || group == WILLS { QoS::ExactlyOnce } else { QoS::AtLeastOnce }
    }

    pub(super) fn will(&self) -> Option<Will> {
        match self.part {
            Part::Mortal(will) => Some(will),
            _ => None,
        }
    }

    /// The seconds that the broker is to wait with its will.
    pub(super) fn will_delay(&self) -> u32 {
        match self.will() {
            Some(Will::Soon) => 1,
            Some(Will::Late) => 7_200,
            _ => 0,
        }
    }
}

/// Everybody.
pub(super) fn members() -> Vec<Member> {
    let mut members = Vec::new();
    for version in [Version::V5_0, Version::V3_1_1] {
        for number in 0..2 {
            let mut publisher = Member::new(Part::Publishing, version, &[]);
            publisher.name.push_str(&format!("-{number}"));
            members.push(publisher);
        }
        for (part, groups) in [
            (Part::Online, &[0, 1, KEPT][..]),
            (Part::Dawdling, &[0, 1, 2]),
            (Part::Offline, &[1, 2, KEPT]),
            (Part::TakenOver, &[0, 3]),
            (Part::Returning, &[2, 3]),
            (Part::Changing, &[0]),
            (Part::Cleaning, &[3]),
            (Part::Mortal(Will::AtOnce), &[]),
        ] {
            members.push(Member::new(part, version, groups));
        }
    }
    members.push(Member::new(Part::Mortal(Will::Soon), Version::V5_0, &[]));
    members.push(Member::new(Part::Mortal(Will::Late), Version::V5_0, &[]));
    members.push(Member::new(Part::Watching, Version::V5_0, &[WILLS]));
    members.push(Member::new(Part::Looking, Version::V5_0, &[]));
    members
}

/// A stream of every publisher for every group that has messages.
pub(super) fn streams(members: &[Member]) -> Vec<Stream> {
    let publishers: Vec<ClientIndex> =
        (0..members.len()).filter(|index| members[*index].part == Part::Publishing).collect();
    let groups = STEADY.into_iter().chain(CHANGING).chain([KEPT]);
    let stream = |(place, publisher): (usize, &ClientIndex), group: Group| {
        let is_exact = (place + usize::from(group)).is_multiple_of(2);
        let qos = if is_exact { QoS::ExactlyOnce } else { QoS::AtLeastOnce };
        Stream { publisher: *publisher, group, qos, retain: group == KEPT }
    };
    let of_group = |group| publishers.iter().enumerate().map(move |each| stream(each, group));
    groups.flat_map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn everybody_has_a_name_and_every_stream_an_audience_at_both_qualities() {
        let members = members();
        let names: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
        assert_eq!(names.len(), members.len(), "{names:?}");
        let mut pairs = BTreeSet::new();
        for stream in streams(&members) {
            for member in members.iter().filter(|member| member.groups.contains(&stream.group)) {
                pairs.insert((stream.qos, member.qos(stream.group)));
            }
        }
        assert_eq!(pairs.len(), 4, "{pairs:?}");
    }
}
