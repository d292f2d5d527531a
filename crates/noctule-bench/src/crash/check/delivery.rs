//! What was published, what every subscriber is owed of it, and what came.

use std::collections::{BTreeMap, HashMap};

use noctule_packet::QoS;

use super::{Client, Findings, Place};
use crate::crash::finding::Kind;
use crate::crash::journal::{Arrival, ClientIndex, Group, Message, Stream};

/// What became of a message at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// PUBACK or PUBCOMP.
    Completed(Place),
    /// PUBREC, and then the publisher's session was gone: what was accepted is still owed.
    Stranded(Place),
    /// Nobody can know whether the broker has it.
    Unknown,
}

#[derive(Debug)]
struct Publication {
    sent: Place,
    /// How often it was sent.
    attempts: u32,
    /// PUBREC.
    is_received: bool,
    outcome: Option<Outcome>,
}

impl Publication {
    fn acknowledged(&self) -> Option<Place> {
        match self.outcome? {
            Outcome::Completed(place) | Outcome::Stranded(place) => Some(place),
            Outcome::Unknown => None,
        }
    }
}

/// How often a message came to a client.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    times: u32,
    without_dup: u32,
}

#[derive(Debug, Default)]
pub(super) struct Deliveries {
    publications: HashMap<Message, Publication>,
    /// First sent since the last time that everything was settled.
    recent: Vec<Message>,
    seen: HashMap<(ClientIndex, Message), Seen>,
    /// The highest number that came, per client and stream.
    highest: HashMap<(ClientIndex, usize), u32>,
}

/// A delivery that is owed.
struct Debt {
    client: ClientIndex,
    message: Message,
    group: Group,
    qos: QoS,
    sent: Place,
}

impl Deliveries {
    pub(super) fn on_publish(&mut self, message: Message, now: Place) {
        let publication = self.publications.entry(message).or_insert_with(|| {
            self.recent.push(message);
            Publication { sent: now, attempts: 0, is_received: false, outcome: None }
        });
        publication.attempts += 1;
    }

    pub(super) fn on_received(&mut self, message: Message) {
        if let Some(publication) = self.publications.get_mut(&message) {
            publication.is_received = true;
        }
    }

    pub(super) fn on_completed(&mut self, message: Message, now: Place) {
        self.conclude(message, Outcome::Completed(now));
    }

    pub(super) fn on_rejected(&mut self, message: Message) {
        self.conclude(message, Outcome::Unknown);
    }

    pub(super) fn on_given_up(&mut self, message: Message, now: Place) {
        let is_received =
            self.publications.get(&message).is_some_and(|publication| publication.is_received);
        let outcome = if is_received { Outcome::Stranded(now) } else { Outcome::Unknown };
        self.conclude(message, outcome);
    }

    fn conclude(&mut self, message: Message, outcome: Outcome) {
        if let Some(publication) = self.publications.get_mut(&message) {
            publication.outcome = Some(outcome);
        }
    }

    pub(super) fn knows(&self, message: Message) -> bool {
        self.publications.contains_key(&message)
    }

    pub(super) fn on_arrived(
        &mut self,
        (index, client): (ClientIndex, &Client),
        message: Message,
        stream: Stream,
        arrival: Arrival,
        now: Place,
        findings: &mut Findings<'_>,
    ) {
        let mut found = |kind| findings.add(kind, Some(index), Some(message));
        let Some(publication) = self.publications.get(&message) else {
            return found(Kind::Misbehaved);
        };
        if arrival.is_repetition {
            if !arrival.dup {
                found(Kind::RepeatedWithoutDup);
            }
            return;
        }
        let seen = self.seen.entry((index, message)).or_default();
        seen.times += 1;
        seen.without_dup += u32::from(!arrival.dup);
        if seen.times > 1 {
            // A publisher that repeats at QoS 1 may have published twice.
            let copies = if stream.qos == QoS::AtLeastOnce { publication.attempts } else { 1 };
            if arrival.qos == QoS::ExactlyOnce {
                found(Kind::DuplicatedQos2);
            } else if !arrival.dup && seen.without_dup > copies {
                found(Kind::RepeatedWithoutDup);
            } else {
                findings.report.tally.repeated += 1;
            }
            return;
        }
        let highest = self.highest.entry((index, message.stream)).or_default();
        // What was sent before the subscription was there may come when it is sent again.
        let has_place = client.subscriptions.owed(stream.group, publication.sent, now).is_some();
        if message.number < *highest && has_place {
            found(Kind::Disordered);
        }
        *highest = message.number.max(*highest);
        let taken = match publication.outcome {
            Some(Outcome::Completed(place)) => Some(place),
            _ => None,
        };
        let mut allowed =
            client.subscriptions.allowed(stream.group, publication.sent, taken).peekable();
        if allowed.peek().is_none() {
            let is_old = publication.sent < client.session.began() && now > publication.sent;
            found(if is_old { Kind::SessionResurrected } else { Kind::NotSubscribed });
        } else if allowed.all(|qos| stream.qos.min(qos) != arrival.qos) {
            found(Kind::QosChanged);
        }
    }

    /// How many deliveries are owed that have not come, and messages that are not acknowledged.
    pub(super) fn outstanding(&self, clients: &[Client], streams: &[Stream]) -> usize {
        let unanswered = self.unanswered().count();
        let debts = self.debts(clients, streams);
        unanswered + debts.iter().filter(|debt| !self.is_paid(debt)).count()
    }

    /// Judges everything that was sent since the last time. What was sent in the aftermath shows
    /// which subscriptions there are.
    pub(super) fn settle(
        &mut self,
        clients: &[Client],
        streams: &[Stream],
        aftermath: Place,
        findings: &mut Findings<'_>,
    ) {
        for message in self.unanswered() {
            findings.add(Kind::Misbehaved, None, Some(message));
        }
        let acknowledged = self
            .recent
            .iter()
            .filter(|message| self.publications[message].acknowledged().is_some());
        findings.report.tally.acknowledged += acknowledged.count() as u64;
        let debts = self.debts(clients, streams);
        findings.report.tally.owed += debts.len() as u64;
        let mut tried: BTreeMap<(ClientIndex, Group), bool> = BTreeMap::new();
        for debt in debts.iter().filter(|debt| debt.sent > aftermath) {
            *tried.entry((debt.client, debt.group)).or_default() |= self.is_paid(debt);
        }
        findings.report.tally.subscriptions += tried.len() as u64;
        for ((client, _), _) in tried.iter().filter(|(_, is_there)| !**is_there) {
            findings.add(Kind::SubscriptionLost, Some(*client), None);
        }
        for debt in debts.iter().filter(|debt| !self.is_paid(debt)) {
            let is_explained = debt.sent > aftermath && !tried[&(debt.client, debt.group)];
            if !is_explained {
                let is_exact = debt.qos == QoS::ExactlyOnce;
                let kind = if is_exact { Kind::LostQos2 } else { Kind::LostQos1 };
                findings.add(kind, Some(debt.client), Some(debt.message));
            }
        }
        self.recent.clear();
    }

    fn unanswered(&self) -> impl Iterator<Item = Message> {
        let is_open = |message: &Message| self.publications[message].outcome.is_none();
        self.recent.iter().copied().filter(is_open)
    }

    fn debts(&self, clients: &[Client], streams: &[Stream]) -> Vec<Debt> {
        let mut debts = Vec::new();
        for &message in &self.recent {
            let publication = &self.publications[&message];
            let Some(acknowledged) = publication.acknowledged() else { continue };
            let (sent, stream) = (publication.sent, streams[message.stream]);
            for (client, known) in clients.iter().enumerate() {
                let owed = known.subscriptions.owed(stream.group, sent, acknowledged);
                let Some(qos) = owed.map(|qos| qos.min(stream.qos)) else { continue };
                debts.push(Debt { client, message, group: stream.group, qos, sent });
            }
        }
        debts
    }

    fn is_paid(&self, debt: &Debt) -> bool {
        self.seen.contains_key(&(debt.client, debt.message))
    }
}
