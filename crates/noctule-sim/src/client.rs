//! A simulated client: what it is like, and the state that it keeps as a correct client does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use noctule_broker_core::{Durability, Placement, ShardId};
use noctule_packet::{PacketId, QoS, Version};

use crate::link::LinkId;
use crate::oracle::publication::PublicationId;
use crate::random::Random;

/// A Session Expiry Interval that never ends.
pub(crate) const NEVER: u32 = u32::MAX;

/// What a client is like throughout a run.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) version: Version,
    pub(crate) keep_alive: u16,
    pub(crate) receive_maximum: u16,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) maximum_packet_size: Option<u32>,
    /// In seconds; 0 ends the session with its connection.
    pub(crate) session_expiry: u32,
    /// Whether it asks for RETAIN as published.
    pub(crate) retain_as_published: bool,
    /// The shared subscription that it may join.
    pub(crate) group: usize,
    /// How long it may take to acknowledge, in milliseconds.
    pub(crate) acknowledges_within: u64,
    /// Never loses its connection by accident.
    pub(crate) is_steady: bool,
    /// The largest packet identifier that it uses.
    pub(crate) packet_ids_max: u16,
}

/// A publication that is not acknowledged to the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unfinished {
    pub(crate) packet_id: u16,
    pub(crate) publication: PublicationId,
    pub(crate) qos: QoS,
    pub(crate) is_released: bool,
}

/// What a client waits for an answer to.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Subscribe(Vec<usize>),
    /// With the moment at which it was sent.
    Unsubscribe(Vec<usize>, u64),
}

/// An acknowledgement that is held back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owed {
    pub(crate) at: u64,
    pub(crate) kind: OwedKind,
    pub(crate) packet_id: PacketId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwedKind {
    Puback,
    Pubrec,
    Pubcomp,
}

/// One client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) client_id: String,
    pub(crate) home: ShardId,
    pub(crate) habits: Habits,
    pub(crate) link: Option<LinkId>,
    /// What an acknowledgement meant when it was let in last.
    pub(crate) durability: Option<Durability>,
    /// CONNACK has come.
    pub(crate) is_online: bool,
    /// Which of its sessions the state belongs to.
    pub(crate) session_number: u32,
    /// What belongs to the session: publications that are not finished, in their order ...
    pub(crate) unfinished: VecDeque<Unfinished>,
    pub(crate) last_packet_id: u16,
    /// ... and QoS 2 messages that are not released.
    pub(crate) unreleased: BTreeMap<PacketId, PublicationId>,
    /// What belongs to the connection.
    pub(crate) requests: BTreeMap<u16, Request>,
    pub(crate) owed: VecDeque<Owed>,
    /// Packet identifiers of the broker that wait for the client's last acknowledgement.
    pub(crate) unacknowledged: BTreeSet<PacketId>,
    pub(crate) group_work: BTreeSet<PacketId>,
    /// The broker's last new packet identifier.
    pub(crate) last_heard: u16,
    pub(crate) aliases: BTreeMap<u16, String>,
    pub(crate) server_receive_maximum: u16,
    /// The aliases that it has defined, by topic.
    pub(crate) own_aliases: BTreeMap<usize, u16>,
    pub(crate) server_alias_maximum: u16,
    /// Identifiers that it has released although nothing was published with them.
    pub(crate) unknown_releases: Vec<u16>,
    pub(crate) pings_sent: u32,
    pub(crate) pings_answered: u32,
    /// Acknowledges nothing for now.
    pub(crate) withholds: bool,
    /// It cannot know which session the broker has, and begins a new one.
    pub(crate) begins_anew: bool,
}

impl Client {
    pub(crate) fn new(number: usize, placement: &Placement, random: &mut Random) -> Self {
        let client_id = format!("client-{number}");
        let habits = Habits::new(random);
        Self {
            home: placement.client(&client_id),
            client_id,
            habits,
            link: None,
            durability: None,
            is_online: false,
            session_number: 0,
            unfinished: VecDeque::new(),
            // Some come to the end of their packet identifiers soon.
            last_packet_id: if random.chance(30) { u16::MAX - random.below(20) as u16 } else { 0 },
            unreleased: BTreeMap::new(),
            requests: BTreeMap::new(),
            owed: VecDeque::new(),
            unacknowledged: BTreeSet::new(),
            group_work: BTreeSet::new(),
            last_heard: 0,
            aliases: BTreeMap::new(),
            server_receive_maximum: u16::MAX,
            own_aliases: BTreeMap::new(),
            server_alias_maximum: 0,
            unknown_releases: Vec::new(),
            pings_sent: 0,
            pings_answered: 0,
            withholds: false,
            begins_anew: false,
        }
    }

    /// A packet identifier that is not in use.
    // MQTT5-2.2.1-3 MQTT5-2.2.1-4
    pub(crate) fn next_packet_id(&mut self) -> PacketId {
        loop {
            let next = self.last_packet_id.checked_add(1).unwrap_or(1);
            self.last_packet_id = if next > self.habits.packet_ids_max { 1 } else { next };
            let wanted = self.last_packet_id;
            let used = self.unfinished.iter().any(|known| known.packet_id == wanted)
                || self.requests.contains_key(&wanted);
            if let Some(packet_id) = PacketId::new(wanted).filter(|_| !used) {
                return packet_id;
            }
        }
    }

    /// How many more QoS 1 and 2 publications the broker takes.
    pub(crate) fn quota(&self) -> usize {
        usize::from(self.server_receive_maximum.min(20)).saturating_sub(self.unfinished.len())
    }

    /// Forgets what a connection leaves behind.
    pub(crate) fn forget_connection(&mut self) {
        self.link = None;
        self.is_online = false;
        self.requests.clear();
        self.owed.clear();
        self.unacknowledged.clear();
        self.group_work.clear();
        self.aliases.clear();
        self.own_aliases.clear();
        self.server_alias_maximum = 0;
        self.unknown_releases.clear();
        (self.pings_sent, self.pings_answered) = (0, 0);
    }

    /// Forgets what a session leaves behind; the fate of what is not finished nobody knows.
    pub(crate) fn forget_session(&mut self) {
        self.unreleased.clear();
        self.unfinished.clear();
    }
}

impl Habits {
    fn new(random: &mut Random) -> Self {
        let version = random.pick(&[Version::V3_1_1, Version::V5_0, Version::V5_0]);
        let v5 = version.is_v5();
        // In 3.1.1 a session lasts for ever or as long as its connection.
        let session_expiry = if v5 {
            random.pick(&[0, 2, 5, 20, 3_600, NEVER])
        } else {
            random.pick(&[0, NEVER, NEVER])
        };
        Self {
            version,
            keep_alive: random.pick(&[0, 0, 3, 10]),
            receive_maximum: if v5 { random.pick(&[1, 2, 5, 20, 100]) } else { u16::MAX },
            topic_alias_maximum: if v5 { random.pick(&[0, 0, 3]) } else { 0 },
            maximum_packet_size: if v5 {
                random.pick(&[None, None, None, Some(200)])
            } else {
                None
            },
            session_expiry,
            retain_as_published: v5 && random.chance(15),
            group: random.index(crate::topics::GROUPS),
            acknowledges_within: random.pick(&[0, 0, 10, 80]),
            is_steady: random.chance(25),
            packet_ids_max: u16::MAX,
        }
    }
}
