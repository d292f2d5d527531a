//! Sessions: whether there is one when a client comes back, and who may end a connection.
//!
//! Stands for: a session lives on exactly as long as its client has asked for [MQTT5-3.1.2-4]
//! [MQTT5-3.1.2-5] [MQTT5-3.1.2-23] [MQTT311-3.1.2-4] [MQTT311-3.1.2-6]; CONNACK says whether it
//! does [MQTT5-3.2.2-2] [MQTT5-3.2.2-3] [MQTT311-3.2.2-1] [MQTT311-3.2.2-2]; a client that keeps to
//! the rules is not disconnected.

use std::collections::BTreeMap;

use noctule_broker_core::Ended;
use noctule_packet::{QoS, ReasonCode};

use super::Oracle;
use super::power::Standing;
use super::publication::PublicationId;
use super::subscription::Run;
use crate::client::NEVER;
use crate::link::{Link, LinkId};

/// How much later than due a timer may be, in milliseconds.
const LATE: u64 = 1_100;

/// What is known of one client.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientModel {
    /// The session that its client knows, as an index.
    pub(super) session: Option<usize>,
    pub(super) link: Option<LinkId>,
    pub(super) online_since: Option<u64>,
    /// How the broker's session was left.
    left: Left,
    /// A CONNECT was read and never answered: it may have ended the session or begun one.
    is_unclear: bool,
    /// How many sessions the broker has begun for it.
    pub(super) sessions: u32,
}

#[derive(Clone, Copy, Debug, Default)]
enum Left {
    /// There is none.
    #[default]
    Nothing,
    /// Its client is connected.
    Connected { expiry: u32 },
    /// It is gone for so long, and perhaps not for so long.
    Away { since: u64, latest: u64, expiry: u32 },
}

/// One session as its client knows it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SessionModel {
    pub(crate) client: usize,
    /// Which of its client's sessions this is, by the broker's count.
    pub(super) number: u32,
    pub(crate) runs: Vec<Run>,
    pub(super) is_over: bool,
    /// Whether it was served in memory mode at any time.
    pub(super) was_in_memory: bool,
    pub(super) got: BTreeMap<PublicationId, Got>,
    /// The last message of each sequence that must stay in order.
    pub(super) last: BTreeMap<(usize, usize, u8, u8), PublicationId>,
    /// The retained messages that it has got of each topic, in their order: when, and with which
    /// QoS.
    pub(super) retained: BTreeMap<usize, Vec<(u64, PublicationId, QoS)>>,
}

/// How often a session got a message.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Got {
    pub(super) live: u32,
    pub(super) exactly_once: u32,
    pub(super) replayed: u32,
    pub(super) any: bool,
}

impl Oracle {
    /// The session that a client knows.
    pub(crate) fn session_of(&self, client: usize) -> Option<usize> {
        self.clients[client].session
    }

    /// A client has been let in, says the broker.
    pub(crate) fn connected(&mut self, link: LinkId, known: &Link, present: bool) {
        let model = &self.clients[known.client];
        let expected = match model.left {
            _ if known.clean_start => Some(false),
            _ if model.is_unclear => None,
            Left::Nothing => Some(false),
            Left::Connected { expiry } => Some(expiry > 0),
            Left::Away { expiry: 0, .. } => Some(false),
            Left::Away { expiry: NEVER, .. } => Some(true),
            Left::Away { since, latest, expiry } => {
                let most = u64::from(expiry) * 1_000;
                if self.now.saturating_sub(since) + LATE < most {
                    Some(true)
                } else if self.now.saturating_sub(latest) > most + LATE {
                    Some(false)
                } else {
                    None
                }
            }
        };
        if expected.is_some_and(|expected| expected != present) {
            let what = format!(
                "client {} came back by link {link}: session present {present}, after {:?}",
                known.client, model.left
            );
            self.find("[MQTT5-3.2.2-2] [MQTT5-3.2.2-3] [MQTT311-3.2.2-1] [MQTT311-3.2.2-2]", what);
        }
        let model = &mut self.clients[known.client];
        let is_unclear = std::mem::take(&mut model.is_unclear);
        model.left = Left::Connected { expiry: known.session_expiry };
        model.sessions += u32::from(!present);
        self.will_of_next_connection(known.client, present, is_unclear);
        self.will_is_armed(known.will, known.session_expiry);
    }

    /// A CONNECT was read and never answered.
    pub(crate) fn connect_unanswered(&mut self, client: usize) {
        self.clients[client].is_unclear = true;
    }

    /// A client has a session from before the run, and is away.
    pub(crate) fn session_was_made(&mut self, client: usize, expiry: u32) {
        let model = &mut self.clients[client];
        model.left = Left::Away { since: self.now, latest: self.now, expiry };
        model.sessions += 1;
    }

    /// How many sessions the broker has begun for a client.
    pub(crate) fn sessions_begun(&self, client: usize) -> u32 {
        self.clients[client].sessions
    }

    /// The broker says that a session is over.
    pub(crate) fn session_ended(&mut self, client: usize) {
        self.clients[client].sessions += 1;
    }

    /// A connection has ended, says the broker.
    pub(crate) fn disconnected(&mut self, known: &Link, ended: &Ended) {
        let expiry = known.session_expiry;
        self.clients[known.client].left = self.away(expiry);
        let client = known.client;
        let cause = match ended {
            Ended::ByClient(_) => known.sent_disconnect,
            Ended::ConnectionLost => !known.client_is_open,
            Ended::ByServer(reason) => match reason.code {
                ReasonCode::SessionTakenOver => true,
                ReasonCode::AdministrativeAction => known.was_kicked,
                ReasonCode::KeepAliveTimeout => {
                    !known.client_is_open || known.was_stalled || known.is_ghost
                }
                _ => known.misbehaved,
            },
        };
        if !cause {
            let what = format!("client {client} was disconnected without a cause: {ended:?}");
            self.find("[MQTT5-4.13.1-1]", what);
        }
        let quietly = matches!(ended, Ended::ByClient(ReasonCode::Success));
        self.connection_of_will_ended(known, quietly);
    }

    fn away(&self, expiry: u32) -> Left {
        Left::Away { since: self.now, latest: self.now, expiry }
    }

    /// The broker has begun again: connections that it had are lost as of now.
    pub(super) fn sessions_behind_cut(&mut self, standings: &[Standing]) {
        let now = self.now;
        for (model, standing) in self.clients.iter_mut().zip(standings) {
            model.is_unclear |= standing.is_unclear;
            let ends = matches!(model.left, Left::Connected { expiry: 0 });
            model.sessions += u32::from(ends);
            model.left = match model.left {
                Left::Connected { expiry } => Left::Away { since: now, latest: now, expiry },
                Left::Away { since, expiry, .. } if standing.is_unsettled => {
                    // What was not kept has not been, if time has gone back.
                    Left::Away { since: since.min(now), latest: now, expiry }
                }
                left => left,
            };
        }
    }

    /// CONNACK has come.
    pub(crate) fn connack(&mut self, client: usize, present: bool, said: Option<bool>) {
        if said != Some(present) {
            let what = format!("client {client}: CONNACK says {present}, the broker {said:?}");
            self.find("[MQTT5-3.2.2-2]", what);
        }
    }

    /// The client knows that its session is a new one.
    pub(crate) fn session_begins(&mut self, client: usize) {
        if let Some(old) = self.clients[client].session {
            self.sessions[old].is_over = true;
        }
        self.clients[client].session = Some(self.sessions.len());
        let number = self.clients[client].sessions;
        self.sessions.push(SessionModel { client, number, ..SessionModel::default() });
    }

    pub(crate) fn online(&mut self, client: usize, link: LinkId) {
        let step = self.next_step();
        let model = &mut self.clients[client];
        (model.link, model.online_since) = (Some(link), Some(step));
        self.connect_is_read(client, link);
    }

    /// The session of a client is in memory from now on, if it comes in memory mode.
    pub(crate) fn connect_is_read(&mut self, client: usize, link: LinkId) {
        if let Some(session) = self.session_of(client) {
            self.sessions[session].was_in_memory |= self.in_memory.contains(&link);
        }
    }

    pub(crate) fn offline(&mut self, client: usize) {
        self.next_step();
        let model = &mut self.clients[client];
        (model.link, model.online_since) = (None, None);
    }
}
