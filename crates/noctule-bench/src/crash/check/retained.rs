//! The values of retained topics, which only ever rise.

use std::collections::BTreeMap;

use super::{Findings, Place};
use crate::crash::finding::Kind;
use crate::crash::journal::{Message, Stream};

#[derive(Debug, Default)]
struct Topic {
    /// The lowest number that a later look may see.
    floor: u32,
}

/// A client that asks for all retained messages.
#[derive(Debug)]
struct Look {
    number: u32,
    at: Place,
    /// What each topic must have at least.
    floors: BTreeMap<usize, u32>,
    seen: Vec<usize>,
}

impl Look {
    /// The streams of which something must be there and has not been seen.
    fn missing(&self) -> impl Iterator<Item = usize> {
        let is_due = |(stream, floor): &(&usize, &u32)| **floor > 0 && !self.seen.contains(stream);
        self.floors.iter().filter(is_due).map(|(stream, _)| *stream)
    }
}

#[derive(Debug, Default)]
pub(super) struct RetainedMessages {
    topics: BTreeMap<usize, Topic>,
    look: Option<Look>,
}

impl RetainedMessages {
    pub(super) fn new(streams: &[Stream]) -> Self {
        let retained = streams.iter().enumerate().filter(|(_, stream)| stream.retain);
        let topics = retained.map(|(index, _)| (index, Topic::default())).collect();
        Self { topics, look: None }
    }

    pub(super) fn on_completed(&mut self, message: Message) {
        self.raise(message);
    }

    fn raise(&mut self, message: Message) {
        if let Some(topic) = self.topics.get_mut(&message.stream) {
            topic.floor = topic.floor.max(message.number);
        }
    }

    pub(super) fn on_look(&mut self, number: u32, now: Place) {
        let floors = self.topics.iter().map(|(index, topic)| (*index, topic.floor)).collect();
        self.look = Some(Look { number, at: now, floors, seen: Vec::new() });
    }

    pub(super) fn on_retained(
        &mut self,
        number: u32,
        message: Message,
        is_known: bool,
        findings: &mut Findings<'_>,
    ) {
        let Some(look) = self.look.as_mut().filter(|look| look.number == number) else { return };
        let floor = look.floors.get(&message.stream);
        look.seen.push(message.stream);
        match floor {
            Some(floor) if message.number < *floor => {
                findings.add(Kind::RetainedOld, None, Some(message));
            }
            Some(_) if is_known => self.raise(message),
            _ => findings.add(Kind::Misbehaved, None, Some(message)),
        }
    }

    /// How many the look after the crash still has to see.
    pub(super) fn outstanding(&self, aftermath: Place) -> usize {
        let look = self.look.as_ref().filter(|look| look.at > aftermath);
        look.map_or(0, |look| look.missing().count())
    }

    /// The last look was after the crash, and all that it was to see has come.
    pub(super) fn settle(&mut self, aftermath: Place, findings: &mut Findings<'_>) {
        let Some(look) = self.look.take_if(|look| look.at > aftermath) else { return };
        let due = look.floors.values().filter(|floor| **floor > 0);
        findings.report.tally.retained += due.count() as u64;
        for stream in look.missing() {
            findings.add(Kind::RetainedLost, None, Some(Message { stream, number: 0 }));
        }
    }
}
