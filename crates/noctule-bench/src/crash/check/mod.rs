//! The checker: what a journal shows to be wrong. It asks nobody and knows no clock, so that a
//! planted journal proves that it finds what it is there to find.

mod delivery;
mod retained;
mod session;
mod subscription;
#[cfg(test)]
mod tests;
mod will;

use self::delivery::Deliveries;
use self::retained::RetainedMessages;
use self::session::Session;
use self::subscription::Subscriptions;
use self::will::Wills;
use super::finding::{Finding, Kind, Tally};
use super::journal::{ClientIndex, Event, Message, Stream};

/// The place of an event in the journal.
type Place = usize;

/// What is known of the clients of one data directory up to an event.
#[derive(Debug)]
pub(super) struct Checker {
    streams: Vec<Stream>,
    clients: Vec<Client>,
    deliveries: Deliveries,
    retained: RetainedMessages,
    wills: Wills,
    now: Place,
    /// Where the aftermath of the last crash began.
    aftermath: Place,
    report: Report,
}

#[derive(Debug, Default)]
struct Client {
    session: Session,
    subscriptions: Subscriptions,
}

/// What was found since it was last taken.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) tally: Tally,
    pub(super) findings: Vec<Finding>,
}

/// Where findings go while one event is looked at.
struct Findings<'a> {
    report: &'a mut Report,
    event: Event,
}

impl Findings<'_> {
    fn add(&mut self, kind: Kind, client: Option<ClientIndex>, message: Option<Message>) {
        self.report.tally.count(kind);
        self.report.findings.push(Finding { kind, client, message, event: self.event });
    }
}

impl Checker {
    pub(super) fn new(streams: Vec<Stream>, clients: usize) -> Self {
        Self {
            clients: (0..clients).map(|_| Client::default()).collect(),
            deliveries: Deliveries::default(),
            retained: RetainedMessages::new(&streams),
            wills: Wills::default(),
            now: 0,
            aftermath: 0,
            report: Report::default(),
            streams,
        }
    }

    /// Looks at the next event of the journal.
    pub(super) fn on_event(&mut self, event: Event) {
        self.now += 1;
        self.wills.on_event(event);
        let mut findings = Findings { report: &mut self.report, event };
        match event {
            Event::Aftermath => self.aftermath = self.now,
            Event::Settled => self.on_settled(),
            Event::Refused { client } | Event::Garbled { client } => {
                findings.add(Kind::Misbehaved, Some(client), None);
            }
            Event::Swallowed { client, message } => {
                findings.add(Kind::Misbehaved, Some(client), Some(message));
            }
            Event::Kicked { client } => {
                findings.add(Kind::Misbehaved, Some(client), None);
                self.on_connection_event(event);
            }
            Event::Stopped => {
                self.report.tally.kills += 1;
                for client in &mut self.clients {
                    client.on_ended(self.now);
                }
            }
            Event::Connect { .. }
            | Event::Connack { .. }
            | Event::Disconnect { .. }
            | Event::Drop { .. }
            | Event::Ended { .. } => self.on_connection_event(event),
            Event::Subscribe { .. }
            | Event::Suback { .. }
            | Event::Unsubscribe { .. }
            | Event::Unsuback { .. } => self.on_subscription_event(event),
            Event::Publish { message } => self.deliveries.on_publish(message, self.now),
            Event::Received { message } => self.deliveries.on_received(message),
            Event::Completed { message } => {
                self.deliveries.on_completed(message, self.now);
                self.retained.on_completed(message);
            }
            Event::Rejected { message } => self.deliveries.on_rejected(message),
            Event::GivenUp { message } => self.deliveries.on_given_up(message, self.now),
            Event::Arrived { client, message, arrival } => {
                let (stream, now) = (self.streams[message.stream], self.now);
                let to = (client, &self.clients[client]);
                self.deliveries.on_arrived(to, message, stream, arrival, now, &mut findings);
            }
            Event::Look { look } => self.retained.on_look(look, self.now),
            Event::Retained { look, message } => {
                let is_known = self.deliveries.knows(message);
                self.retained.on_retained(look, message, is_known, &mut findings);
            }
            Event::WillArrived { connection, .. } if !self.wills.knows(connection) => {
                findings.add(Kind::Misbehaved, None, None);
            }
            Event::WillArrived { .. } | Event::Released { .. } => {}
        }
    }

    /// How many deliveries, retained messages, wills and acknowledgements are still to come.
    pub(super) fn outstanding(&self) -> usize {
        self.deliveries.outstanding(&self.clients, &self.streams)
            + self.retained_outstanding()
            + self.wills.outstanding()
    }

    /// How many retained messages the look in the aftermath still has to see.
    pub(super) fn retained_outstanding(&self) -> usize {
        self.retained.outstanding(self.aftermath)
    }

    /// What has been found since this was last asked.
    pub(super) fn take_report(&mut self) -> Report {
        std::mem::take(&mut self.report)
    }

    fn on_connection_event(&mut self, event: Event) {
        match event {
            Event::Connect { client, opening } => {
                let client = &mut self.clients[client];
                client.session.on_connect(opening);
                if opening.clean_start {
                    client.subscriptions.on_clean(self.now);
                }
            }
            Event::Connack { client: index, session_present } => {
                let client = &mut self.clients[index];
                let was_promised = client.session.is_promised();
                self.report.tally.sessions += u64::from(was_promised);
                if let Some(kind) = client.session.on_connack(session_present, self.now) {
                    let mut findings = Findings { report: &mut self.report, event };
                    findings.add(kind, Some(index), None);
                }
                match (session_present, was_promised) {
                    (true, _) => {}
                    (false, true) => client.subscriptions.on_loss(self.now),
                    (false, false) => client.subscriptions.on_end(self.now),
                }
            }
            Event::Disconnect { client } | Event::Drop { client } => {
                self.clients[client].on_leaving(self.now);
            }
            Event::Ended { client } | Event::Kicked { client } => {
                self.clients[client].on_ended(self.now);
            }
            _ => {}
        }
    }

    fn on_subscription_event(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Subscribe { client, group, qos } => {
                self.clients[client].subscriptions.on_subscribe(group, qos, now);
            }
            Event::Suback { client, group, granted } => {
                self.clients[client].subscriptions.on_suback(group, granted, now);
                if granted.is_none() {
                    let mut findings = Findings { report: &mut self.report, event };
                    findings.add(Kind::Misbehaved, Some(client), None);
                }
            }
            Event::Unsubscribe { client, group } => {
                self.clients[client].subscriptions.on_unsubscribe(group, now);
            }
            Event::Unsuback { client, group } => {
                self.clients[client].subscriptions.on_unsuback(group, now);
            }
            _ => {}
        }
    }

    fn on_settled(&mut self) {
        let mut findings = Findings { report: &mut self.report, event: Event::Settled };
        self.deliveries.settle(&self.clients, &self.streams, self.aftermath, &mut findings);
        self.retained.settle(self.aftermath, &mut findings);
        self.wills.settle(&mut findings);
    }
}

impl Client {
    /// A session that is not stored ends with its connection, and with it all that it had.
    fn on_leaving(&mut self, now: Place) {
        if self.session.on_leaving() {
            self.subscriptions.on_clean(now);
        }
    }

    fn on_ended(&mut self, now: Place) {
        if self.session.on_ended() {
            self.subscriptions.on_end(now);
        }
    }
}
