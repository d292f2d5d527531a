//! What clients do, chosen by chance: the disturbances of a run.

use noctule_broker_core::{Command, Input};
use noctule_packet::{Ack, Packet, PacketId, QoS, ReasonCode};

use crate::link::Mark;
use crate::topics::OWN;
use crate::world::{Happening, World};

impl World {
    /// One action of some client, and when the next one comes.
    pub(crate) fn act(&mut self) {
        if self.is_quiet {
            return;
        }
        self.actions_done += 1;
        let client = self.random.index(self.clients.len());
        if self.clients[client].link.is_none() {
            // Who left stays away for a while, or takes its time.
            if self.random.chance(60) {
                let clean_start = self.random.chance(10);
                self.connect(client, clean_start);
            }
        } else if self.clients[client].is_online {
            self.act_online(client);
        } else if self.random.chance(10) {
            self.disturb(client);
        }
        let pause = match self.random.below(200) {
            0 => self.random.between(500, 6_000),
            _ => self.random.between(0, self.profile.pace),
        };
        self.schedule(pause, Happening::Act);
    }

    fn act_online(&mut self, client: usize) {
        match self.random.below(100) {
            0..52 => self.publish_some(client),
            52..67 => self.subscribe_some(client),
            67..74 => self.unsubscribe_some(client),
            74..78 => self.ping(client),
            78..82 => self.withhold(client),
            82..86 => self.stall(client),
            86..89 => self.leave(client),
            89..93 => {
                if self.clients[client].habits.is_steady {
                    self.publish_some(client);
                } else {
                    self.disturb(client);
                }
            }
            93..96 => self.take_over(client),
            96 => self.storm(client),
            97 => self.kick(client),
            98 => self.misbehave(client),
            _ => self.send_out_of_turn(client),
        }
    }

    /// Several messages to one topic that one client alone gets.
    fn publish_run(&mut self, client: usize) {
        let topic = self.topics.own_topic(self.random.index(OWN));
        for _ in 0..self.random.between(3, 10) {
            let is_kept = self.clients[client].quota() > 0 && self.random.chance(90);
            let qos = if is_kept { QoS::AtLeastOnce } else { QoS::AtMostOnce };
            self.publish(client, topic, qos, false);
        }
    }

    fn publish_some(&mut self, client: usize) {
        if self.random.chance(15) {
            return self.publish_run(client);
        }
        let count = self.random.pick(&[1, 1, 1, 2, 4]);
        // Some topics are everybody's.
        let topic = match self.random.below(4) {
            0 => self.random.index(3),
            _ => self.random.index(self.topics.len()),
        };
        for _ in 0..count {
            let mut qos = self.random.pick(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce]);
            if self.clients[client].quota() == 0 {
                qos = QoS::AtMostOnce;
            }
            let retain = self.topics.is_retained(topic) && self.random.chance(30);
            self.publish(client, topic, qos, retain);
        }
    }

    fn subscribe_some(&mut self, client: usize) {
        if self.clients[client].requests.len() >= 4 {
            return;
        }
        let mut filters = Vec::new();
        for _ in 0..self.random.pick(&[1, 1, 2]) {
            let own_group = self.topics.group_filter(self.clients[client].habits.group);
            let filter = match (self.random.below(10), self.topics.own_filter(client)) {
                (0..2, _) => own_group,
                (2..5, Some(own)) => own,
                _ => self.random.index(self.topics.everybodys_filters()),
            };
            if filters.iter().all(|(known, _)| *known != filter) {
                let asked = self.ask(client, filter);
                filters.push((filter, asked));
            }
        }
        // One packet has one identifier for all.
        let identifier = filters.first().and_then(|(_, asked)| asked.identifier);
        for (_, asked) in &mut filters {
            asked.identifier = identifier;
        }
        self.subscribe(client, &filters);
    }

    fn unsubscribe_some(&mut self, client: usize) {
        let known = self.oracle.filters_of(client);
        if known.is_empty() || self.clients[client].requests.len() >= 4 {
            return self.publish_some(client);
        }
        let filter = known[self.random.index(known.len())];
        if self.topics.is_shared(filter) && !self.clients[client].group_work.is_empty() {
            self.situations.member_leaves_with_work += 1;
        }
        self.unsubscribe(client, filter);
    }

    /// Acknowledges nothing for a while, or again.
    fn withhold(&mut self, client: usize) {
        let known = &mut self.clients[client];
        known.withholds = !known.withholds;
        if !known.withholds {
            self.schedule(0, Happening::Acknowledge(client));
        }
    }

    /// Reads nothing for a while, or again.
    fn stall(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        if self.links[link].is_stalled {
            self.unstall(link);
        } else {
            self.links[link].is_stalled = true;
            self.links[link].was_stalled = true;
        }
    }

    fn leave(&mut self, client: usize) {
        self.note_leaving(client);
        let with_will = self.random.chance(20);
        self.disconnect(client, with_will);
    }

    fn note_leaving(&mut self, client: usize) {
        let known = &self.clients[client];
        if !known.group_work.is_empty() && known.habits.session_expiry == 0 {
            self.situations.member_leaves_with_work += 1;
        }
    }

    /// The connection is lost, in one way or another.
    fn disturb(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        self.note_leaving(client);
        let half_open = self.random.chance(30);
        self.cut(link, half_open);
        self.clients[client].forget_connection();
        self.oracle.offline(client);
    }

    /// A second connection while the broker still believes in the first.
    fn take_over(&mut self, client: usize) {
        if let Some(link) = self.clients[client].link
            && self.random.chance(50)
        {
            self.cut(link, true);
        } else if let Some(link) = self.clients[client].link {
            // The client's program was started twice: the old one just stops looking.
            self.links[link].is_ghost = true;
        }
        let clean_start = self.random.chance(10);
        self.connect(client, clean_start);
    }

    /// Many connections with one identifier within a moment.
    fn storm(&mut self, client: usize) {
        self.situations.client_id_storm += 1;
        if let Some(link) = self.clients[client].link {
            self.links[link].is_ghost = true;
        }
        let count = self.random.between(3, 8);
        let own = self.random.below(count);
        for at in 0..count {
            if at == own {
                self.connect(client, false);
            } else {
                self.connect_ghost(client);
            }
        }
    }

    fn kick(&mut self, client: usize) {
        for link in self.links.iter_mut().filter(|link| link.client == client) {
            link.was_kicked = true;
        }
        let home = usize::from(self.clients[client].home.0);
        let client_id = self.clients[client].client_id.as_str().into();
        let reason = ReasonCode::AdministrativeAction;
        self.command(home, Input::Command(Command::Kick { client_id, reason }));
    }

    /// Sends what no client may send; the broker must end the connection.
    fn misbehave(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        if self.clients[client].habits.is_steady {
            return self.publish_some(client);
        }
        let packets: [&[u8]; 6] = [
            // A reserved packet type, a QoS of 3, packet identifier 0, SUBACK, reserved flags, and
            // a second CONNECT.
            b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
            &[0x00, 0x00],
            &[0x36, 0x05, 0x00, 0x01, b't', 0x00, 0x01],
            &[0x82, 0x06, 0x00, 0x00, 0x00, 0x01, b't', 0x00],
            &[0x90, 0x03, 0x00, 0x01, 0x00],
            &[0xC1, 0x00],
        ];
        let packet = self.random.pick(&packets);
        self.trace(|| format!("link {link} client {client} misbehaves: {packet:x?}"));
        self.links[link].misbehaved = true;
        self.links[link].must_end = true;
        self.send_upward(link, packet, Mark::Other);
    }

    /// Acknowledges what was never sent, or with a packet that is not its turn.
    fn send_out_of_turn(&mut self, client: usize) {
        let Some(link) = self.clients[client].link else { return };
        let known = &self.clients[client];
        // Far from every identifier that is in use on either side.
        let unused = known.last_heard.wrapping_add(20_000).max(1);
        let own = 30_000 + self.random.below(9) as u16;
        let unreleased = known.unreleased.keys().next().map(|packet_id| packet_id.value());
        let ack = |packet_id| {
            let packet_id = PacketId::new(packet_id).unwrap_or(PacketId::MIN);
            Ack::new(packet_id, ReasonCode::Success)
        };
        let packet = match self.random.below(4) {
            0 => Packet::Puback(ack(unused)),
            1 => Packet::Pubcomp(ack(unused)),
            // While its answer is held back, a repetition gets none of its own.
            2 if !known.unknown_releases.contains(&own) => {
                self.clients[client].unknown_releases.push(own);
                Packet::Pubrel(ack(own))
            }
            _ => match unreleased {
                // A QoS 2 message is not acknowledged like that.
                Some(packet_id) if !self.clients[client].habits.is_steady => {
                    self.links[link].misbehaved = true;
                    Packet::Puback(ack(packet_id))
                }
                _ => Packet::Puback(ack(unused)),
            },
        };
        self.send_ack(link, client, packet);
    }
}
