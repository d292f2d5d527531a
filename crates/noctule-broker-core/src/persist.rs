//! What of a publication must be durable, and for whom.

use alloc::sync::Arc;
use alloc::vec::Vec;

use noctule_packet::QoS;

use crate::effect::{Effect, Effects, Token, Waiting};
use crate::publication::Publication;
use crate::publish::Acknowledge;
use crate::registry::SessionKey;
use crate::router::{Matches, Target};
use crate::settings::Durability;
use crate::shard::Shard;
use crate::stored::Record;

impl Shard {
    /// Step 6: hands out what must be durable. How many answers the acknowledgement waits for.
    pub(crate) fn persist(
        &mut self,
        key: SessionKey,
        publication: &mut Publication<'_>,
        matches: &Matches,
        acknowledgement: Option<&Acknowledge>,
        effects: &mut Effects,
    ) -> u32 {
        if self.settings.durability == Durability::Memory {
            return 0;
        }
        let sessions = self.stored_sessions(publication, matches);
        let received = acknowledgement
            .filter(|_| publication.qos == QoS::ExactlyOnce && self.is_stored(key))
            .and_then(|owed| {
                let session = self.registry.session(key)?;
                Some((Arc::clone(&session.client_id), owed.packet_id))
            });
        if sessions.is_empty() && !publication.retain && received.is_none() {
            return 0;
        }
        let token = match acknowledgement {
            Some(owed) => {
                Token(Waiting::Acknowledgement { session: key, answer: owed.answer.value() })
            }
            None => Token::nobody(),
        };
        let message = publication.message();
        let record = Record::Published { received, message, sessions };
        effects.push(Effect::Persist { token, record });
        u32::from(acknowledgement.is_some())
    }

    /// The client identifiers of the stored sessions that the message will wait for, each once.
    fn stored_sessions(&self, publication: &Publication<'_>, matches: &Matches) -> Vec<Arc<str>> {
        let mut keys = Vec::new();
        // What is delivered at most once waits for nobody.
        for found in matches.iter().filter(|_| publication.qos > QoS::AtMostOnce) {
            match found.target {
                Target::Session(session) => {
                    let publisher = publication.publisher.session();
                    let own = found.options.no_local && publisher == Some(session);
                    if found.options.qos > QoS::AtMostOnce && !own {
                        keys.push(session);
                    }
                }
                Target::Group(group) => {
                    let own = self.settings.shard;
                    let members = self.groups.members(group).iter();
                    let own_members = members.filter(|member| member.shard == own);
                    keys.extend(own_members.map(|member| member.session));
                }
                Target::Shard(_) => {}
            }
        }
        keys.retain(|key| self.is_stored(*key));
        keys.sort_unstable();
        keys.dedup();
        let names = keys.into_iter().filter_map(|key| self.registry.session(key));
        names.map(|session| Arc::clone(&session.client_id)).collect()
    }
}
