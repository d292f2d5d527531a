//! `noctule store stats`: how much there is of what.

use std::io::{self, Write};

use noctule_broker_core::{Message, Restored};

use super::line::{Form, Line};
use super::reading::Reading;

#[derive(Debug, Default)]
struct Stats {
    sessions: u64,
    connected: u64,
    subscriptions: u64,
    wills: u64,
    messages: u64,
    message_bytes: u64,
    /// Of these, those that wait for any member of a shared subscription.
    shared_messages: u64,
    unreleased: u64,
    retained: u64,
    retained_bytes: u64,
}

impl Stats {
    fn count(&mut self, restored: &Restored) {
        match restored {
            Restored::Session(session) => {
                self.sessions += 1;
                self.connected += u64::from(session.was_connected);
                self.subscriptions += session.subscriptions.len() as u64;
                self.wills += u64::from(session.terms.will.is_some());
                for waiting in session.messages.iter().chain(&session.behind) {
                    self.messages += 1;
                    self.message_bytes += bytes(&waiting.message);
                }
                if let Some(away) = session.away {
                    self.messages += away.messages;
                    self.message_bytes += away.bytes;
                }
                self.unreleased += session.received.len() as u64;
            }
            Restored::SharedQueue(queue) => {
                self.messages += queue.messages.len() as u64;
                self.shared_messages += queue.messages.len() as u64;
                let waiting = queue.messages.iter();
                self.message_bytes += waiting.map(|(_, message)| bytes(message)).sum::<u64>();
            }
            Restored::Retained(message) => {
                self.retained += 1;
                self.retained_bytes += bytes(message);
            }
            _ => {}
        }
    }
}

/// What of it are the user's.
fn bytes(message: &Message) -> u64 {
    (message.topic.len() + message.payload.len()) as u64
}

pub(super) fn write(reading: Reading, form: Form, out: &mut impl Write) -> io::Result<()> {
    let mut stats = Stats::default();
    reading.contents.iter().for_each(|restored| stats.count(restored));
    let (findings, sizes) = (&reading.findings, reading.sizes);
    let all: [(&'static str, u64); 17] = [
        ("sessions", stats.sessions),
        ("connected_at_the_end", stats.connected),
        ("subscriptions", stats.subscriptions),
        ("wills", stats.wills),
        ("messages", stats.messages),
        ("message_bytes", stats.message_bytes),
        ("shared_messages", stats.shared_messages),
        ("unreleased", stats.unreleased),
        ("retained", stats.retained),
        ("retained_bytes", stats.retained_bytes),
        ("log_bytes", sizes.log),
        ("log_records", findings.log.records),
        ("runs_bytes", sizes.runs),
        ("state_bytes", sizes.state),
        ("aside_bytes", sizes.aside),
        ("damaged_records", findings.log.quarantined.len() as u64),
        ("missing_batches", findings.log.missing_batches),
    ];
    if form == Form::Json {
        let line = Line::of("stats").with("intact", findings.is_intact());
        return all
            .into_iter()
            .fold(line, |line, (name, value)| line.with(name, value))
            .write(form, out);
    }
    for (name, value) in all {
        writeln!(out, "{:20} {value:>15}", name.replace('_', " "))?;
    }
    Ok(())
}
