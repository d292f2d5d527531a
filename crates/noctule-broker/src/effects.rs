//! What the driver does about each effect. Questions about clients are answered at once; what is to
//! be kept goes to the store, and what is for another shard to its inbox.

use std::mem;

use noctule_broker_core::{ConnectionId, Effect, Input, Timestamp};
use noctule_packet::ReasonCode;

use crate::inbox::Letter;
use crate::shard::{Connection, ShardDriver};

impl ShardDriver {
    /// Carries out all effects, and those of the answers, until there are none. `bytes` came with
    /// the input that has had them.
    pub(crate) fn carry_out_effects(&mut self, now: Timestamp, bytes: &[u8]) {
        while !self.effects.is_empty() {
            let spare = mem::take(&mut self.effects_spare);
            let mut batch = mem::replace(&mut self.effects, spare);
            // Records go first, and are dropped when all of them were written: to count the holders
            // of a message while it is being copied would wait for the copy.
            for effect in batch.iter() {
                match effect {
                    Effect::Persist { record, is_urgent } => self.keep(record, *is_urgent),
                    Effect::PersistRun { run } => self.keep_run(&run.read_in(bytes)),
                    _ => {}
                }
            }
            for effect in batch.drain() {
                self.carry_out(now, effect);
            }
            self.effects_spare = batch;
        }
    }

    fn carry_out(&mut self, now: Timestamp, effect: Effect) {
        match effect {
            Effect::Close { connection } => self.start_closing(connection),
            Effect::Resume { connection } => self.resume(connection),
            // There are no users yet: a listener that asks lets nobody in.
            Effect::Authenticate { token, listener: _, credentials: _ } => {
                let outcome = Err(ReasonCode::NotAuthorized);
                self.answer(now, Input::Authenticated { token, outcome });
            }
            Effect::Authorize { token, client_id: _, principal: _, question: _ } => {
                self.answer(now, Input::Authorized { token, allowed: true });
            }
            Effect::Persist { .. } | Effect::PersistRun { .. } => {}
            Effect::ReadQueue { session, from, bytes_max } => {
                self.read_queue(session, from, bytes_max);
            }
            Effect::EmptyLog => self.empty_log(),
            Effect::Restored => self.signals().restored.raise(),
            Effect::ToShard { to, message } => {
                self.send_letter(to, Letter::Message { from: self.mail.shard(), message });
            }
            Effect::Event(event) => self.log(&event),
        }
    }

    fn answer(&mut self, now: Timestamp, answer: Input<'_>) {
        let _ = self.shard.on_input(now, answer, &mut self.effects);
    }

    fn start_closing(&mut self, id: ConnectionId) {
        match self.connections.find(id) {
            Some(Connection::Socket(socket)) => socket.start_closing(),
            Some(Connection::Host(host)) => {
                host.start_closing();
                self.wake_host(id);
            }
            None => {}
        }
    }

    fn resume(&mut self, id: ConnectionId) {
        match self.connections.find(id) {
            Some(Connection::Socket(socket)) => socket.resume(),
            Some(Connection::Host(host)) => {
                host.resume();
                self.wake_host(id);
            }
            None => {}
        }
    }
}
