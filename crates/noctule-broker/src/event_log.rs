//! One log line for each event of the shard; what one client drops again and again is summed up.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use noctule_broker_core::{DropCause, Ended, Event, Limit, Peer, Reason};
use noctule_packet::ReasonCode;
use tracing::{debug, info, warn};

use crate::shard::{ShardDriver, SharedDriver};
use crate::task::spawn;

/// Drops of one client for one cause make at most one line in this time.
const DROPS_INTERVAL: Duration = Duration::from_secs(10);

/// Clients whose drops are counted apart; more than that share one count for each cause.
const DROPS_CLIENTS_MAX: usize = 10_000;

/// What the log remembers from line to line.
#[derive(Debug, Default)]
pub(crate) struct EventLog {
    drops: HashMap<(Arc<str>, DropCause), Drops>,
}

/// Drops of one client for one cause since the last line about them.
#[derive(Debug)]
struct Drops {
    count: u64,
    last_topic: Box<str>,
    limit: Option<Limit>,
}

impl ShardDriver {
    /// Writes the line for an event.
    pub(crate) fn log(&mut self, event: &Event) {
        match event {
            Event::Connected {
                connection,
                client_id,
                peer,
                version,
                session_present,
                keep_alive,
                durability,
                listener: _,
            } => {
                info!(target: "noctule", client_id = &**client_id, %peer, %version,
                    session_present, keep_alive, connection = connection.slot,
                    shard = self.shard_number(), "client connected");
                debug!(target: "noctule", client_id = &**client_id, durability = durability.name(),
                    "what an acknowledgement means to the client");
            }
            Event::Refused { client_id, peer, reason, .. } => {
                log_refused(client_id.as_deref(), peer, reason);
            }
            Event::Disconnected { connection, client_id, ended } => {
                let peer = self.peer(*connection);
                let place = (connection.slot, self.shard_number());
                log_disconnected(place, client_id, peer, ended);
            }
            Event::PacketRefused { client_id, topic, reason } => {
                let (code, limit) = (reason.code, LimitFields::new(reason.limit));
                warn!(target: "noctule", client_id = &**client_id, topic = &**topic,
                    reason = code.name(), code = %Code(code), text = &*reason.text,
                    setting = limit.setting, limit = limit.maximum, wanted = limit.wanted,
                    "packet refused");
            }
            Event::Dropped { client_id, topic, cause, limit } => {
                self.log_dropped(client_id, topic, *cause, *limit);
            }
            Event::Subscribed { client_id, filter, qos } => {
                debug!(target: "noctule", client_id = &**client_id, filter = &**filter,
                    qos = qos.level(), "subscribed");
            }
            Event::Unsubscribed { client_id, filter } => {
                debug!(target: "noctule", client_id = &**client_id, filter = &**filter,
                    "unsubscribed");
            }
            Event::SessionEnded { client_id } => {
                debug!(target: "noctule", client_id = &**client_id, "session ended");
            }
            Event::WillPublished { client_id, topic } => {
                debug!(target: "noctule", client_id = &**client_id, topic = &**topic,
                    "will published");
            }
            event => info!(target: "noctule", ?event, "event"),
        }
    }

    /// What a connection's number has to go with, where there is more than one shard.
    fn shard_number(&self) -> Option<u16> {
        (self.mail.shards() > 1).then_some(self.mail.shard().0)
    }

    /// Writes the first drop at once, counts the next ones, and starts the task that reports them.
    fn log_dropped(
        &mut self,
        client_id: &Arc<str>,
        topic: &str,
        cause: DropCause,
        limit: Option<Limit>,
    ) {
        let drops = &mut self.event_log.drops;
        let client_id =
            if drops.len() < DROPS_CLIENTS_MAX { Arc::clone(client_id) } else { Arc::from("*") };
        if drops.is_empty()
            && let Some(driver) = self.this.upgrade()
        {
            spawn(&Rc::clone(self.failure()), summary_loop(driver));
        }
        let drops = &mut self.event_log.drops;
        match drops.entry((client_id, cause)) {
            std::collections::hash_map::Entry::Occupied(mut entry) => {
                let drops = entry.get_mut();
                drops.count += 1;
                drops.limit = limit;
                drops.last_topic = topic.into();
            }
            std::collections::hash_map::Entry::Vacant(entry) => {
                log_drops(&entry.key().0, cause, 1, topic, limit);
                entry.insert(Drops { count: 0, last_topic: topic.into(), limit });
            }
        }
    }
}

impl EventLog {
    /// Writes what was counted since the last time and forgets who has dropped nothing since.
    /// Tells whether anybody is left.
    fn summarise(&mut self) -> bool {
        self.drops.retain(|(client_id, cause), drops| {
            let count = std::mem::take(&mut drops.count);
            if count > 0 {
                log_drops(client_id, *cause, count, &drops.last_topic, drops.limit);
            }
            count > 0
        });
        !self.drops.is_empty()
    }
}

/// Sums up while there is something to sum up.
async fn summary_loop(driver: SharedDriver) {
    loop {
        tokio::time::sleep(DROPS_INTERVAL).await;
        if !driver.borrow_mut().event_log.summarise() {
            return;
        }
    }
}

fn log_drops(client_id: &str, cause: DropCause, count: u64, topic: &str, limit: Option<Limit>) {
    let limit = LimitFields::new(limit);
    warn!(target: "noctule", client_id, cause = cause.name(), count, topic,
        setting = limit.setting, limit = limit.maximum, wanted = limit.wanted,
        "messages dropped");
}

fn log_refused(client_id: Option<&str>, peer: &Peer, reason: &Reason) {
    let limit = LimitFields::new(reason.limit);
    warn!(target: "noctule", client_id, %peer, reason = reason.code.name(),
        code = %Code(reason.code), text = &*reason.text, setting = limit.setting,
        limit = limit.maximum, wanted = limit.wanted, "connection refused");
}

fn log_disconnected(
    (connection, shard): (u32, Option<u16>),
    client_id: &str,
    peer: Option<Peer>,
    ended: &Ended,
) {
    let peer = peer.map(tracing::field::display);
    match ended {
        Ended::ByClient(code) => {
            info!(target: "noctule", client_id, peer, reason = code.name(), code = %Code(*code),
                connection, shard, "client disconnected");
        }
        Ended::ConnectionLost => {
            info!(target: "noctule", client_id, peer, connection, shard, "connection lost");
        }
        Ended::ByServer(reason) if is_routine(reason.code) => {
            info!(target: "noctule", client_id, peer, reason = reason.code.name(),
                code = %Code(reason.code), text = &*reason.text, connection, shard,
                "client was disconnected");
        }
        Ended::ByServer(reason) => {
            let limit = LimitFields::new(reason.limit);
            warn!(target: "noctule", client_id, peer, reason = reason.code.name(),
                code = %Code(reason.code), text = &*reason.text, setting = limit.setting,
                limit = limit.maximum, wanted = limit.wanted, connection, shard,
                "client was disconnected");
        }
    }
}

/// Whether the broker disconnects for this reason in the course of normal use.
fn is_routine(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::SessionTakenOver
            | ReasonCode::ServerShuttingDown
            | ReasonCode::AdministrativeAction
            | ReasonCode::KeepAliveTimeout
    )
}

/// A reason code as the specification writes it.
struct Code(ReasonCode);

impl std::fmt::Display for Code {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "0x{:02X}", self.0.value())
    }
}

/// A limit as fields of a line, each of which is left out where it says nothing.
struct LimitFields {
    setting: Option<&'static str>,
    maximum: Option<u64>,
    wanted: Option<u64>,
}

impl LimitFields {
    fn new(limit: Option<Limit>) -> Self {
        Self {
            setting: limit.map(|limit| limit.setting),
            maximum: limit.map(|limit| limit.maximum),
            wanted: limit.map(|limit| limit.wanted).filter(|wanted| *wanted > 0),
        }
    }
}
