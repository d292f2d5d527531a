//! How messages reach a test broker's subscribers.

use std::collections::BTreeMap;
use std::time::Duration;

use noctule_packet::{Ack, Packet, PacketId, QoS, ReasonCode, RetainHandling, TopicFilter};

use super::record::matches;
use super::session::{InFlight, Session, Stored, Subscribed};
use super::state::State;
use crate::{OwnedPublish, OwnedWill};

impl State {
    /// The session of a connection that was accepted.
    pub(crate) fn session_of(&mut self, number: u64) -> Option<&mut Session> {
        let client_id = &self.connections.get(&number)?.client_id;
        self.sessions.get_mut(client_id).filter(|session| session.connection == Some(number))
    }

    /// Sends a message to everybody who subscribes to its topic. How many that are.
    pub(crate) fn route(&mut self, publish: &OwnedPublish, from: Option<&str>) -> usize {
        let mut copies: Vec<(String, OwnedPublish)> = Vec::new();
        let mut groups: BTreeMap<String, (String, Subscribed)> = BTreeMap::new();
        for (client_id, session) in &self.sessions {
            let is_own = from == Some(client_id);
            if let Some(copy) = session.wants(publish, is_own) {
                copies.push((client_id.clone(), copy));
            }
            for (filter, subscribed) in &session.subscriptions {
                let is_for_it = TopicFilter::new(filter).is_ok_and(|it| it.share_name().is_some())
                    && matches(filter, &publish.topic);
                // One member gets it; one that is there before one that is not.
                if is_for_it && (session.connection.is_some() || !groups.contains_key(filter)) {
                    groups.insert(filter.clone(), (client_id.clone(), *subscribed));
                }
            }
        }
        for (client_id, subscribed) in groups.into_values() {
            copies.push((client_id, Session::shared_copy(publish, subscribed)));
        }
        let count = copies.len();
        for (client_id, copy) in copies {
            self.deliver(&client_id, copy);
        }
        count
    }

    /// Sends a message to a client, now or when it is back.
    pub(crate) fn deliver(&mut self, client_id: &str, copy: OwnedPublish) {
        let now = self.now;
        let Some(session) = self.sessions.get_mut(client_id) else { return };
        let connection = session.connection;
        if connection.is_none() && (copy.qos == QoS::AtMostOnce || session.expiry == 0) {
            return;
        }
        session.waiting.push_back(Stored::new(copy, now));
        if let Some(number) = connection {
            self.flush(number);
        }
    }

    /// Sends what waits for a client, as far as it may be sent.
    pub(crate) fn flush(&mut self, number: u64) {
        let now = self.now;
        let mut ready = Vec::new();
        let Some(session) = self.session_of(number) else { return };
        while let Some(next) = session.waiting.pop_front() {
            let Some(mut publish) = next.alive(now) else { continue };
            if publish.qos != QoS::AtMostOnce {
                if session.in_flight.len() >= session.receive_maximum {
                    session.waiting.push_front(next);
                    break;
                }
                publish.packet_id = Some(session.next_packet_id());
                let publish = publish.clone();
                session.in_flight.push_back(InFlight { publish, is_released: false });
            }
            ready.push(publish);
        }
        for publish in ready {
            self.send(number, &Packet::Publish(publish.to_packet()));
        }
    }

    /// Goes on where an earlier connection ended.
    pub(crate) fn resume(&mut self, number: u64, client_id: &str) {
        let Some(session) = self.sessions.get(client_id) else { return };
        let again: Vec<(OwnedPublish, bool)> = session
            .in_flight
            .iter()
            .map(|message| (message.publish.clone().dup(true), message.is_released))
            .collect();
        for (publish, is_released) in again {
            match publish.packet_id.and_then(PacketId::new) {
                Some(packet_id) if is_released => {
                    let pubrel = Packet::Pubrel(Ack::new(packet_id, ReasonCode::Success));
                    self.send(number, &pubrel);
                }
                _ => self.send(number, &Packet::Publish(publish.to_packet())),
            }
        }
        self.flush(number);
    }

    /// Sends the retained messages that a new subscription gets.
    pub(crate) fn replay(
        &mut self,
        number: u64,
        filter: &str,
        subscribed: Subscribed,
        is_new: bool,
        now: Duration,
    ) {
        let is_wanted = match subscribed.options.retain_handling {
            RetainHandling::SendAtSubscribe => true,
            RetainHandling::SendIfNew => is_new,
            RetainHandling::DoNotSend => false,
        };
        if !is_wanted || filter.starts_with("$share/") {
            return;
        }
        let found: Vec<OwnedPublish> = self
            .retained
            .iter()
            .filter(|(topic, _)| matches(filter, topic))
            .filter_map(|(_, stored)| stored.alive(now))
            .collect();
        let Some(connection) = self.connections.get(&number) else { return };
        let client_id = connection.client_id.clone();
        for publish in found {
            let mut copy = Session::shared_copy(&publish, subscribed);
            copy.retain = true;
            self.deliver(&client_id, copy);
        }
    }

    /// Forgets the sessions whose time is up.
    pub(crate) fn expire_sessions(&mut self) {
        let now = self.now;
        self.sessions.retain(|_, session| session.ends_at.is_none_or(|at| at > now));
    }

    /// A client is gone: publishes its will if that is due, and forgets what does not last.
    pub(crate) fn depart(&mut self, number: u64, client_id: &str, will: Option<OwnedWill>) {
        if let Some(session) = self.sessions.get_mut(client_id)
            && session.connection == Some(number)
            && session.leave(self.now)
        {
            self.sessions.remove(client_id);
        }
        if let Some(will) = will {
            let mut publish = OwnedPublish::new(&will.topic, &will.payload, will.qos);
            publish.message_expiry_interval = will.message_expiry_interval;
            publish.content_type = will.content_type;
            publish.user_properties = will.user_properties;
            if will.retain {
                let stored = Stored::new(publish.clone(), self.now);
                self.retained.insert(publish.topic.clone(), stored);
            }
            self.route(&publish, None);
        }
    }
}
