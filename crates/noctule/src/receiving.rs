//! Messages that arrive: which of them are written, and when they are acknowledged.

use noctule_client::{Ack, Client, Incoming, QoS, Subscription};
use noctule_packet::{TopicFilter, TopicName};

use crate::client::failure::{Failure, Status, say};
use crate::client::output::{Output, OutputError};
use crate::client::output_flags::Writer;

/// How much is written at once, if so much is there.
const BATCH_BYTES: usize = 64 * 1_024;

/// Which messages are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wanted {
    pub(crate) count: Option<u64>,
    pub(crate) no_retained: bool,
    pub(crate) retained_only: bool,
    pub(crate) remove_retained: bool,
    pub(crate) filter_out: Vec<String>,
}

/// Messages that arrive.
#[derive(Debug)]
pub(crate) struct Receiving {
    wanted: Wanted,
    writer: Writer,
    output: Output,
    program: &'static str,
    /// Where they come from, once the server has granted it.
    pub(crate) subscription: Option<Subscription>,
    /// How many were written, and how many are about to be.
    written: u64,
    batched: u64,
    batch: Vec<u8>,
    /// What acknowledges the messages of the batch, once they are written. Dropping one refuses its
    /// message, so these stay until the connection has ended.
    unacknowledged: Vec<Ack>,
    /// Topics whose retained message is to be removed.
    to_remove: Vec<String>,
    /// Nothing more is to be written.
    is_done: bool,
}

impl Receiving {
    pub(crate) fn new(
        wanted: Wanted,
        writer: Writer,
        program: &'static str,
    ) -> Result<Self, Failure> {
        Ok(Self {
            wanted,
            writer,
            output: Output::start()?,
            program,
            subscription: None,
            written: 0,
            batched: 0,
            batch: Vec::new(),
            unacknowledged: Vec::new(),
            to_remove: Vec::new(),
            is_done: false,
        })
    }

    /// How many messages were written.
    pub(crate) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes what arrives until nothing more is wanted.
    pub(crate) async fn receive(&mut self, client: &Client) -> Result<(), Failure> {
        while !self.is_done {
            let Some(subscription) = &mut self.subscription else { return Ok(()) };
            let Some(first) = subscription.recv().await else {
                return Err(Failure::of_closed(client).await);
            };
            self.add(first);
            while !self.is_done && self.batch.len() < BATCH_BYTES {
                let next = self.subscription.as_mut().and_then(Subscription::try_recv);
                let Some(next) = next else { break };
                self.add(next);
            }
            match self.output.write(std::mem::take(&mut self.batch)).await {
                Ok(()) => self.written += std::mem::take(&mut self.batched),
                Err(OutputError::Closed) => return self.nobody_reads(),
                Err(OutputError::Failed(error)) => {
                    return Err(Failure::local("cannot write the output", &error));
                }
            }
            self.remove_retained(client).await?;
            for ack in self.unacknowledged.drain(..) {
                ack.acknowledge();
            }
        }
        Ok(())
    }

    /// Puts a message among those that are written next, if it is wanted.
    fn add(&mut self, incoming: Incoming) {
        let (message, ack) = incoming.into_parts();
        self.unacknowledged.extend(ack);
        let wanted = &self.wanted;
        if wanted.retained_only && !message.retain() {
            self.is_done = true;
            return;
        }
        if is_matched(message.topic(), &wanted.filter_out) {
            return;
        }
        if wanted.remove_retained && message.retain() && !message.payload().is_empty() {
            self.to_remove.push(message.topic().to_string());
        }
        if wanted.no_retained && message.retain() {
            return;
        }
        if let Err(problem) = self.writer.write(&message, &mut self.batch) {
            let topic = message.topic();
            say(self.program, format!("the payload of a message on {topic:?} {problem}"));
            return;
        }
        self.batched += 1;
        self.is_done = wanted.count.is_some_and(|count| self.written + self.batched >= count);
    }

    async fn remove_retained(&mut self, client: &Client) -> Result<(), Failure> {
        for topic in std::mem::take(&mut self.to_remove) {
            let maximum = client.negotiated().map_or(QoS::AtLeastOnce, |it| it.maximum_qos);
            let publish = client.publish(&topic, "").retain(true);
            let receipt = publish.qos(maximum.min(QoS::AtLeastOnce)).send_when_ready().await;
            let outcome = match receipt {
                Ok(receipt) => receipt.await,
                Err(error) => {
                    let message = format!("cannot remove what is retained at {topic:?}: {error}");
                    return Err(Failure::new(Status::Topic, message));
                }
            };
            if !outcome.is_delivered() {
                let message = format!("what is retained at {topic:?} was not removed: {outcome}");
                return Err(Failure::new(Status::Topic, message));
            }
        }
        Ok(())
    }

    /// Whoever reads has read enough: a reason to end, and none to complain.
    fn nobody_reads(&self) -> Result<(), Failure> {
        match self.wanted.count {
            Some(_) => Err(Failure::new(Status::Undelivered, "")),
            None => Ok(()),
        }
    }
}

fn is_matched(topic: &str, filters: &[String]) -> bool {
    let Ok(topic) = TopicName::new(topic) else { return false };
    filters.iter().filter_map(|filter| TopicFilter::new(filter).ok()).any(|it| it.matches(topic))
}
