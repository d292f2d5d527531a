//! The situations that a simulation must reach to be worth its time, and how often it did.

/// How often each named situation was reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Situations {
    /// A connection was taken over while QoS 2 messages were in flight.
    pub take_over_with_qos_2: u64,
    /// A retained message was published while a replay of its topic was under way on another shard.
    pub retained_race_replay: u64,
    /// A retained message was published while the route of a new subscription to its topic was not
    /// yet known on the publisher's shard.
    pub retained_race_route: u64,
    /// A member left a shared subscription with messages that it had not acknowledged.
    pub member_leaves_with_work: u64,
    /// A client had as many messages in flight as it takes.
    pub window_full_to_client: u64,
    /// The broker had as many messages of a client in flight as it takes.
    pub window_full_to_broker: u64,
    /// A publisher had to wait because another shard had no room.
    pub budget_pause: u64,
    /// The broker's packet identifiers for one session began anew behind 65,535.
    pub packet_ids_to_client_wrap: u64,
    /// A client's packet identifiers began anew behind 65,535.
    pub packet_ids_to_broker_wrap: u64,
    /// Many connections came with one client identifier.
    pub client_id_storm: u64,
    /// A session that was in memory only goes on as one that is stored.
    pub comes_to_store: u64,
    /// A session that was stored goes on in memory mode.
    pub leaves_store: u64,
    /// The power was cut while the broker ran.
    pub power_cuts: u64,
    /// The power was cut while a store was opened after another cut.
    pub power_cuts_in_opening: u64,
    /// A part of a queue was read back.
    pub queues_read: u64,
    /// A segment of the log was emptied.
    pub segments_emptied: u64,
}

impl Situations {
    /// What every simulation reaches, each with its name.
    pub fn counts(&self) -> [(&'static str, u64); 12] {
        [
            ("take-over with QoS 2 in flight", self.take_over_with_qos_2),
            ("retained race: publish during replay", self.retained_race_replay),
            ("retained race: publish before route", self.retained_race_route),
            ("member leaves with work", self.member_leaves_with_work),
            ("window to client full", self.window_full_to_client),
            ("window to broker full", self.window_full_to_broker),
            ("budget pause", self.budget_pause),
            ("packet identifiers to client wrap", self.packet_ids_to_client_wrap),
            ("packet identifiers to broker wrap", self.packet_ids_to_broker_wrap),
            ("client id storm", self.client_id_storm),
            ("session comes to the store", self.comes_to_store),
            ("session leaves the store", self.leaves_store),
        ]
    }

    /// What only a broker with a disk reaches.
    pub fn of_power(&self) -> [(&'static str, u64); 4] {
        [
            ("power cut", self.power_cuts),
            ("power cut while a store is opened", self.power_cuts_in_opening),
            ("segment of the log emptied", self.segments_emptied),
            ("part of a queue read back", self.queues_read),
        ]
    }

    /// Adds what another run has reached.
    pub fn add(&mut self, other: &Self) {
        self.take_over_with_qos_2 += other.take_over_with_qos_2;
        self.retained_race_replay += other.retained_race_replay;
        self.retained_race_route += other.retained_race_route;
        self.member_leaves_with_work += other.member_leaves_with_work;
        self.window_full_to_client += other.window_full_to_client;
        self.window_full_to_broker += other.window_full_to_broker;
        self.budget_pause += other.budget_pause;
        self.packet_ids_to_client_wrap += other.packet_ids_to_client_wrap;
        self.packet_ids_to_broker_wrap += other.packet_ids_to_broker_wrap;
        self.client_id_storm += other.client_id_storm;
        self.comes_to_store += other.comes_to_store;
        self.leaves_store += other.leaves_store;
        self.power_cuts += other.power_cuts;
        self.power_cuts_in_opening += other.power_cuts_in_opening;
        self.segments_emptied += other.segments_emptied;
        self.queues_read += other.queues_read;
    }
}
