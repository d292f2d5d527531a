//! What RETAIN in a publication changes: its topic's retained message, here or on the shard that
//! owns the topic.

use noctule_packet::ReasonCode;

use crate::effect::Effects;
use crate::fault::Refused;
use crate::input::ShardId;
use crate::origin::Origin;
use crate::publication::Publication;
use crate::retained::Kept;
use crate::shard::Shard;
use crate::stored::Record;
use crate::timers::Timer;

impl Shard {
    /// The shard that keeps the retained message of this topic, if another one does and it is to be
    /// changed.
    pub(crate) fn retained_elsewhere(&self, publication: &Publication<'_>) -> Option<ShardId> {
        // [MQTT5-3.3.1-8] [MQTT311-3.3.1-12]
        if !publication.retain {
            return None;
        }
        let owner = self.settings.placement.retained(publication.topic.as_str());
        (owner != self.settings.shard).then_some(owner)
    }

    /// Gives a retained publication its number, by which all shards know it.
    pub(crate) fn number(&mut self, publication: &mut Publication<'_>) {
        if !publication.retain {
            return;
        }
        let owner = self.settings.placement.retained(publication.topic.as_str());
        if let Some(position) = self.published.get_mut(usize::from(owner.0)) {
            *position += 1;
            publication.origin = Origin { shard: self.settings.shard, position: *position };
            self.seen.note(owner, publication.origin);
        }
    }

    /// Notes that a retained publication, of whatever shard, was seen.
    pub(crate) fn note_seen(&mut self, publication: &Publication<'_>) {
        if publication.retain {
            let owner = self.settings.placement.retained(publication.topic.as_str());
            self.seen.note(owner, publication.origin);
        }
    }

    /// Keeps or forgets the topic's retained message, if there is room for it.
    pub(crate) fn keep_retained(
        &mut self,
        publication: &mut Publication<'_>,
        effects: &mut Effects,
    ) -> Result<(), Refused> {
        self.check_retained(publication)?;
        self.change_retained(publication, effects);
        Ok(())
    }

    pub(crate) fn change_retained(
        &mut self,
        publication: &mut Publication<'_>,
        effects: &mut Effects,
    ) {
        // [MQTT5-3.3.1-8] [MQTT311-3.3.1-12]
        if !publication.retain || self.has_changed_retained(publication.name) {
            return;
        }
        #[cfg(feature = "planted-faults")]
        if self.is_planted(crate::planted::PlantedFault::KeepOldRetained) {
            return;
        }
        let topic = publication.topic.as_str();
        // What the broker says of itself is said again.
        let keeps = self.keeps() && !topic.starts_with("$SYS/");
        let is_stored = keeps && !publication.is_in_memory;
        let was_stored = keeps && self.retained.find(topic).is_some_and(|kept| kept.is_stored);
        // [MQTT5-3.3.1-7] [MQTT311-3.3.1-11]
        let (before, until) = if publication.payload.is_empty() {
            // [MQTT5-3.3.1-6] [MQTT311-3.3.1-10] [MQTT31-3.3-3]
            (self.retained.remove(topic), None)
        } else {
            let (message, origin) = (publication.message(), publication.origin);
            // [MQTT5-3.3.1-5] [MQTT311-3.3.1-5] [MQTT311-3.3.1-7]
            (self.retained.put(Kept { message, origin, is_stored }), publication.expires_at)
        };
        if is_stored || was_stored {
            let name = publication.name;
            let record = match publication.payload {
                [_, ..] if is_stored => {
                    Record::Retained { publication: name, message: publication.message() }
                }
                // Even if the new one is in memory only: the old one must not come back.
                _ => Record::RetainedRemoved { publication: name, topic: topic.into() },
            };
            self.record(record, effects);
        }
        if let Some(at) = before.and_then(|before| before.expires_at) {
            self.timers.cancel(at, Timer::Retained(topic.into()));
        }
        if let Some(at) = until {
            self.timers.set(at, Timer::Retained(topic.into()));
        }
    }

    /// A retained message has expired, unless there is another one since. The store would keep it
    /// for ever.
    pub(crate) fn on_retained_due(&mut self, topic: &str, effects: &mut Effects) {
        let known = self.retained.find(topic);
        let Some(expired) = known.filter(|kept| kept.message.is_expired(self.now)) else { return };
        let is_stored = expired.is_stored;
        self.retained.remove(topic);
        if is_stored {
            let record = Record::RetainedRemoved { publication: 0, topic: topic.into() };
            self.record_leisurely(record, effects);
        }
    }

    pub(crate) fn check_retained(&self, publication: &Publication<'_>) -> Result<(), Refused> {
        if !publication.retain || self.has_changed_retained(publication.name) {
            return Ok(());
        }
        let limits = &self.settings.limits;
        let topic = publication.topic.as_str();
        let unbounded = topic.starts_with("$SYS/") || publication.payload.is_empty();
        if unbounded || self.retained_elsewhere(publication).is_some() {
            return Ok(());
        }
        let (totals, before) = (&self.settings.totals, self.retained.find(topic));
        let count = totals.retained_messages.count() + u64::from(before.is_none());
        let code = ReasonCode::QuotaExceeded;
        if count > limits.retained_messages_max {
            let (setting, maximum) = ("limits.retained_messages_max", limits.retained_messages_max);
            let text = "too many retained messages";
            return Err(Refused::limit(code, text, setting, maximum, count));
        }
        let bytes = totals.retained_bytes.count() - self.retained.bytes()
            + self.retained.bytes_with(topic, publication.bytes() as u64);
        if bytes > limits.retained_bytes_max {
            let (setting, maximum) = ("limits.retained_bytes_max", limits.retained_bytes_max);
            let text = "too many bytes of retained messages";
            return Err(Refused::limit(code, text, setting, maximum, bytes));
        }
        Ok(())
    }
}
