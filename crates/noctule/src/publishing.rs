//! Messages on their way: how many may be, and what became of each.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use noctule_client::{
    Client, Outcome, PublishError, PublishProperties, QoS, ReasonCode, Receipt, State,
};

use crate::client::failure::{Failure, Status};
use crate::client::progress::Progress;

/// Of how many messages we wait for the end: so many are under way at most, and it is more than may
/// be in flight.
const UNDER_WAY_MAX: usize = 4_096;

/// What all the messages have in common.
#[derive(Debug)]
pub(crate) struct Template<'a> {
    pub(crate) topic: &'a str,
    pub(crate) qos: QoS,
    pub(crate) retain: bool,
    pub(crate) properties: PublishProperties<'a>,
}

/// What became of the messages.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Messages that were to be published.
    pub(crate) offered: u64,
    pub(crate) delivered: u64,
    /// Those that the server did not accept.
    pub(crate) rejected: u64,
    /// What became of the first that was not delivered.
    first: Option<String>,
}

/// Messages on their way.
#[derive(Debug)]
pub(crate) struct Publishing<'a> {
    client: &'a Client,
    template: Template<'a>,
    under_way: VecDeque<Receipt>,
    tally: Tally,
    progress: Progress,
}

impl<'a> Publishing<'a> {
    pub(crate) fn new(
        client: &'a Client,
        template: Template<'a>,
        total: Option<u64>,
        is_quiet: bool,
    ) -> Self {
        let progress = Progress::new(total, is_quiet);
        Self { client, template, under_way: VecDeque::new(), tally: Tally::default(), progress }
    }

    /// Publishes a message as soon as there is room for it.
    pub(crate) async fn publish(&mut self, payload: &[u8]) -> Result<(), Failure> {
        // Counted before anything is waited for, so that an interrupted message counts.
        self.tally.offered += 1;
        self.settle_ready();
        while self.under_way.len() >= UNDER_WAY_MAX {
            self.settle_first().await;
        }
        let Template { topic, qos, retain, properties } = &self.template;
        let publish = self.client.publish(topic, payload);
        let publish = publish.qos(*qos).retain(*retain).properties(properties.clone());
        match publish.send_when_ready().await {
            Ok(receipt) => {
                self.under_way.push_back(receipt);
                Ok(())
            }
            Err(error) => Err(self.refused(&error).await),
        }
    }

    async fn refused(&mut self, error: &PublishError) -> Failure {
        if matches!(self.client.state(), State::Stopped(_)) {
            return Failure::of_closed(self.client).await;
        }
        let topic = self.template.topic;
        Failure::new(Status::Topic, format!("cannot publish to {topic:?}: {error}"))
    }

    /// Takes note of those at the front that have ended.
    fn settle_ready(&mut self) {
        // Nobody is woken: they are asked again.
        let mut context = Context::from_waker(Waker::noop());
        while let Some(first) = self.under_way.front_mut() {
            let Poll::Ready(outcome) = Pin::new(first).poll(&mut context) else { return };
            self.under_way.pop_front();
            self.note(outcome);
        }
    }

    async fn settle_first(&mut self) {
        let Some(first) = self.under_way.front_mut() else { return };
        let outcome = first.await;
        self.under_way.pop_front();
        self.note(outcome);
    }

    /// Waits until it is known what became of every message.
    pub(crate) async fn settle_all(&mut self) {
        while !self.under_way.is_empty() {
            self.settle_first().await;
        }
    }

    fn note(&mut self, outcome: Outcome) {
        match &outcome {
            Outcome::Delivered { .. } => self.tally.delivered += 1,
            Outcome::Rejected { reason, .. } => {
                self.tally.rejected += 1;
                let advice = match reason {
                    ReasonCode::NotAuthorized => "; check the topic, and what this user may do",
                    _ => "",
                };
                self.tally.first.get_or_insert_with(|| format!("{outcome}{advice}"));
            }
            Outcome::Indeterminate { .. } | Outcome::Dropped { .. } => {
                self.tally.first.get_or_insert_with(|| outcome.to_string());
            }
        }
        self.progress.at(self.tally.delivered);
    }

    /// Takes note of what has ended, for the last time.
    pub(crate) fn finish(&mut self) {
        self.settle_ready();
        self.progress.finish();
    }

    pub(crate) const fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Tally {
    /// What is missing, if anything is.
    pub(crate) fn missing(&self) -> Option<String> {
        let Self { offered, delivered, first, .. } = self;
        let missing = offered - delivered;
        if missing == 0 {
            return None;
        }
        let why = first.as_ref().map(|first| format!(": {first}")).unwrap_or_default();
        Some(match (offered, missing) {
            (1, _) => format!("the message was not delivered{why}"),
            (_, 1) => format!("1 of {offered} messages was not delivered{why}"),
            _ => format!("{missing} of {offered} messages were not delivered, the first{why}"),
        })
    }

    pub(crate) fn delivered_so_far(&self) -> String {
        match self.delivered {
            1 => "1 message was delivered until then".to_owned(),
            count => format!("{count} messages were delivered until then"),
        }
    }

    pub(crate) fn to_json(&self) -> String {
        let Self { offered, delivered, rejected, .. } = self;
        let lost = offered - delivered - rejected;
        format!(
            "{{\"messages\":{offered},\"delivered\":{delivered},\"rejected\":{rejected},\
             \"undelivered\":{lost}}}"
        )
    }
}
