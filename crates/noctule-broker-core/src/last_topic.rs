//! The topic of the last publication of any client, of this shard or another: publications to one
//! topic often come one after the other, and what was found out about it need not be found out
//! again.

use alloc::sync::Arc;

use noctule_packet::{Frame, KeptTopicName, Publish, QoS, TopicName, Version};

use crate::connection::Flow;
use crate::effect::Effects;
use crate::fault::Fault;
use crate::input::{ConnectionId, ShardId};
use crate::registry::SessionKey;
use crate::router::{Match, Matches, Target};
use crate::shard::Shard;

/// A topic, and who wants it.
#[derive(Debug, Default)]
pub(crate) struct LastTopic {
    pub(crate) name: KeptTopicName,
    /// Memory for the next name.
    spare: KeptTopicName,
    /// The name, as the messages that are kept share it; made for the first of them.
    pub(crate) shared: Option<Arc<str>>,
    routed: Option<Routed>,
}

/// Who wants a topic, and when that was found out.
#[derive(Debug)]
pub(crate) struct Routed {
    matches: Matches,
    only: Option<Only>,
    epoch: u64,
}

/// The only one who wants a topic.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Only {
    /// A session of this shard with a plain subscription, and how much it wants of it.
    Session(SessionKey, QoS),
    /// Another shard.
    Shard(ShardId),
}

impl LastTopic {
    /// The only one who wants the topic, if there is but one, and if that has not changed since.
    pub(crate) fn only(&self, epoch: u64) -> Option<Only> {
        self.routed.as_ref().filter(|routed| routed.epoch == epoch)?.only
    }

    /// Puts another topic in place of the last one.
    fn set(&mut self, name: TopicName<'_>, routed: Routed) {
        self.name.set(name);
        (self.shared, self.routed) = (None, Some(routed));
    }
}

impl Routed {
    fn new(matches: Matches, epoch: u64) -> Self {
        let only = match &*matches {
            [Match { target: Target::Session(session), options, identifier: None }]
                if !options.no_local =>
            {
                Some(Only::Session(*session, options.qos))
            }
            [Match { target: Target::Shard(shard), .. }] => Some(Only::Shard(*shard)),
            _ => None,
        };
        Self { matches, only, epoch }
    }
}

impl Shard {
    /// A PUBLISH packet. A topic that the last one had too is neither judged nor looked up again.
    pub(crate) fn on_publish_frame(
        &mut self,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        frame: &Frame<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let mut last = self.last_topic.take().unwrap_or_default();
        let flow = self.on_publish_after(&mut last, id, key, version, frame, effects);
        self.last_topic = Some(last);
        flow
    }

    fn on_publish_after(
        &mut self,
        last: &mut LastTopic,
        id: ConnectionId,
        key: SessionKey,
        version: Version,
        frame: &Frame<'_>,
        effects: &mut Effects,
    ) -> Result<Flow, Fault> {
        let LastTopic { name, spare, shared, routed } = last;
        let known = name.name();
        let publish = Publish::decode_knowing(frame, version, self.settings.text_rules, known)?;
        let is_known = known.is_some_and(|known| publish.topic.is_some_and(|it| it.is_same(known)));
        if !is_known {
            (*shared, *routed) = (None, None);
        }
        let flow = self.on_publish(id, key, &publish, routed, effects);
        if !is_known {
            match publish.topic.filter(|_| routed.is_some()) {
                Some(topic) => spare.set(topic),
                None => {
                    spare.clear();
                    *routed = None;
                }
            }
            core::mem::swap(name, spare);
        }
        flow
    }

    /// Everybody who wants the topic of what another shard has published. It is remembered if
    /// clients may publish to it, which not every topic is that a broker publishes to.
    pub(crate) fn route_forwarded(&mut self, topic: TopicName<'_>) -> Matches {
        let epoch = self.router.epoch();
        let mut last = self.last_topic.take().unwrap_or_default();
        let known = last.name.name().filter(|known| *known == topic);
        let routed = last.routed.as_ref().filter(|routed| known.is_some() && routed.epoch == epoch);
        let matches = match routed {
            Some(routed) => Arc::clone(&routed.matches),
            None => {
                let matches = self.route(topic);
                // The next client that names it is not judged any more.
                if self.check_topic(topic).is_ok() {
                    last.set(topic, Routed::new(Arc::clone(&matches), epoch));
                }
                matches
            }
        };
        self.last_topic = Some(last);
        matches
    }

    /// Everybody who wants the topic, unless that is known.
    pub(crate) fn route_once<'r>(
        &mut self,
        topic: TopicName<'_>,
        routed: &'r mut Option<Routed>,
    ) -> &'r Matches {
        let epoch = self.router.epoch();
        if routed.as_ref().is_some_and(|routed| routed.epoch != epoch) {
            *routed = None;
        }
        let routed = routed.get_or_insert_with(|| Routed::new(self.route(topic), epoch));
        &routed.matches
    }
}
