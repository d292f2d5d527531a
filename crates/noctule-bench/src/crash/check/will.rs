//! The wills of connections, and whether they were published as often as they had to be.

use std::collections::BTreeMap;

use super::Findings;
use crate::crash::finding::Kind;
use crate::crash::journal::{ClientIndex, Event, Message, Will};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// DISCONNECT was sent; whether the broker got it is not known.
    Leaving,
    /// The broker has ended the connection, after so many events. But nothing answers DISCONNECT:
    /// whether that is on disk is not known.
    Gone(u64),
    /// Something that the broker did later tells that it is.
    Left,
    /// The crash came before any of this was known: the will may be published.
    Unclear,
    /// Without DISCONNECT.
    Cut,
}

#[derive(Debug)]
struct Promise {
    client: ClientIndex,
    will: Will,
    /// CONNACK came.
    is_accepted: bool,
    phase: Phase,
    /// The client has connected again since.
    has_returned: bool,
    arrivals: u32,
    is_settled: bool,
}

impl Promise {
    fn is_due(&self) -> bool {
        let is_due = match self.will {
            Will::AtOnce => true,
            Will::Soon => !self.has_returned,
            Will::Late => false,
        };
        is_due && self.is_accepted && self.phase == Phase::Cut
    }

    fn leave_before(&mut self, events: u64) {
        if matches!(self.phase, Phase::Gone(at) if at < events) {
            self.phase = Phase::Left;
        }
    }

    fn arrivals_max(&self) -> u32 {
        let is_forbidden = self.will == Will::Late
            || matches!(self.phase, Phase::Open | Phase::Gone(_) | Phase::Left);
        u32::from(!is_forbidden)
    }
}

#[derive(Debug, Default)]
pub(super) struct Wills {
    /// By connection.
    promises: BTreeMap<u32, Promise>,
    /// How many events there were.
    now: u64,
    /// After how many each message was published that has no PUBREC yet.
    published: BTreeMap<Message, u64>,
}

impl Wills {
    pub(super) fn on_event(&mut self, event: Event) {
        self.now += 1;
        match event {
            Event::Publish { message } => {
                self.published.entry(message).or_insert(self.now);
            }
            Event::Received { message } => {
                let published = self.published.remove(&message).unwrap_or_default();
                self.everybody_left_before(published);
            }
            Event::Completed { message } => {
                self.published.remove(&message);
            }
            Event::Connect { client, opening } => {
                self.of(client).for_each(|promise| promise.has_returned = true);
                if let Some(will) = opening.will {
                    let promise = Promise {
                        client,
                        will,
                        is_accepted: false,
                        phase: Phase::Open,
                        has_returned: false,
                        arrivals: 0,
                        is_settled: false,
                    };
                    self.promises.insert(opening.connection, promise);
                }
            }
            Event::Connack { client, .. } => {
                self.of(client).for_each(|promise| promise.leave_before(u64::MAX));
                self.open(client).for_each(|promise| promise.is_accepted = true);
            }
            Event::Disconnect { client } => self.advance(client, Phase::Open, Phase::Leaving),
            Event::Drop { client } | Event::Kicked { client } => {
                self.advance(client, Phase::Open, Phase::Cut);
            }
            Event::Ended { client } => {
                let gone = Phase::Gone(self.now);
                self.advance(client, Phase::Leaving, gone);
            }
            Event::Stopped => {
                for promise in self.promises.values_mut() {
                    promise.phase = match promise.phase {
                        Phase::Open => Phase::Cut,
                        // Whoever has published it knew nothing of DISCONNECT.
                        Phase::Gone(_) if promise.arrivals > 0 => Phase::Left,
                        Phase::Leaving | Phase::Gone(_) => Phase::Unclear,
                        phase @ (Phase::Left | Phase::Cut | Phase::Unclear) => phase,
                    };
                }
            }
            Event::WillArrived { connection, arrival }
                if !arrival.is_repetition && !arrival.dup =>
            {
                if let Some(promise) = self.promises.get_mut(&connection) {
                    promise.arrivals += 1;
                }
            }
            Event::WillArrived { connection, .. } => {
                // A repetition of something that never came is the first to come.
                if let Some(promise) = self.promises.get_mut(&connection) {
                    promise.arrivals = promise.arrivals.max(1);
                }
            }
            _ => {}
        }
    }

    pub(super) fn knows(&self, connection: u32) -> bool {
        self.promises.contains_key(&connection)
    }

    pub(super) fn outstanding(&self) -> usize {
        let is_missing =
            |promise: &&Promise| !promise.is_settled && promise.is_due() && promise.arrivals == 0;
        self.promises.values().filter(is_missing).count()
    }

    pub(super) fn settle(&mut self, findings: &mut Findings<'_>) {
        // The round's last publications were acknowledged behind it.
        self.everybody_left_before(u64::MAX);
        for promise in self.promises.values_mut() {
            let client = Some(promise.client);
            for _ in promise.arrivals_max()..promise.arrivals {
                findings.add(Kind::WillUnwanted, client, None);
            }
            // What has been told is not told again.
            promise.arrivals = promise.arrivals.min(promise.arrivals_max());
            if promise.is_due() && !promise.is_settled {
                promise.is_settled = true;
                findings.report.tally.wills += 1;
                if promise.arrivals == 0 {
                    findings.add(Kind::WillMissing, client, None);
                }
            }
        }
    }

    /// The broker has on disk what it was told up to then.
    fn everybody_left_before(&mut self, events: u64) {
        self.promises.values_mut().for_each(|promise| promise.leave_before(events));
    }

    fn advance(&mut self, client: ClientIndex, from: Phase, to: Phase) {
        let meant = self.of(client).filter(|promise| promise.phase == from);
        meant.for_each(|promise| promise.phase = to);
    }

    fn of(&mut self, client: ClientIndex) -> impl Iterator<Item = &mut Promise> {
        self.promises.values_mut().filter(move |promise| promise.client == client)
    }

    fn open(&mut self, client: ClientIndex) -> impl Iterator<Item = &mut Promise> {
        self.of(client).filter(|promise| promise.phase == Phase::Open)
    }
}
