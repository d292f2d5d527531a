//! How a test broker lets clients in, and lets them go.

use noctule_packet::{Packet, ReasonCode};

use super::rule::Act;
use super::state::{Manner, State};
use crate::{OwnedConnack, OwnedConnect, OwnedDisconnect};

impl State {
    pub(super) fn on_connect(&mut self, number: u64, connect: &OwnedConnect, act: Option<&Act>) {
        if let Some(Act::Refuse(reason)) = act {
            self.answer(number, &Packet::Connack(OwnedConnack::new(*reason).to_packet()));
            self.end(number);
            return;
        }
        let mut connack = match act {
            Some(Act::Accept(connack)) => (**connack).clone(),
            _ => self.connack.clone(),
        };
        let mut client_id = connect.client_id.clone();
        if client_id.is_empty() {
            self.assigned += 1;
            client_id = format!("assigned-{}", self.assigned);
            if connect.version.is_v5() {
                connack.assigned_client_identifier = Some(client_id.clone());
            }
        }
        let older = self.sessions.get(&client_id).and_then(|session| session.connection);
        if let Some(older) = older {
            self.refuse(older, ReasonCode::SessionTakenOver);
        }
        if connect.clean_start {
            self.sessions.remove(&client_id);
        }
        let known = self.sessions.contains_key(&client_id);
        connack.session_present = known && !connack.reason_code.is_error();
        let session = self.sessions.entry(client_id.clone()).or_default();
        (session.connection, session.ends_at) = (Some(number), None);
        session.expiry = match (connect.version.is_v5(), connect.clean_start) {
            // [MQTT5-3.1.2-23]
            (true, _) => {
                let granted = connack.session_expiry_interval;
                granted.or(connect.session_expiry_interval).unwrap_or(0)
            }
            (false, false) => u32::MAX,
            (false, true) => 0,
        };
        session.receive_maximum = connect.receive_maximum.unwrap_or(u16::MAX).into();
        if let Some(connection) = self.connections.get_mut(&number) {
            connection.client_id.clone_from(&client_id);
            connection.is_accepted = true;
            connection.will.clone_from(&connect.will);
            // [MQTT5-3.2.2-22]
            let imposed = connack.server_keep_alive.filter(|_| connect.version.is_v5());
            connection.keep_alive(imposed.unwrap_or(connect.keep_alive));
        }
        self.answer(number, &Packet::Connack(connack.to_packet()));
        if connack.reason_code.is_error() {
            self.end(number);
        } else if self.manner != Manner::Never {
            self.resume(number, &client_id);
        }
    }

    pub(super) fn on_disconnect(&mut self, number: u64, disconnect: &OwnedDisconnect) {
        if let (Some(seconds), Some(session)) =
            (disconnect.session_expiry_interval, self.session_of(number))
        {
            session.expiry = seconds;
        }
        if disconnect.reason_code != ReasonCode::DisconnectWithWillMessage
            && let Some(connection) = self.connections.get_mut(&number)
        {
            // [MQTT5-3.14.4-3]
            connection.will = None;
        }
        self.end(number);
    }
}
