//! `noctule store dump`: what is stored, a line for each thing.

use std::io::Write;

use anyhow::Result;
use clap::{Arg, ArgAction, ArgMatches, Command};
use noctule_packet::{TopicFilter, TopicName};

use super::contents::Wanted;
use super::line::Form;
use super::reading::Reading;

const CLIENT_ID: &str = "client-id";
const TOPIC: &str = "topic";
const PAYLOADS: &str = "payloads";

pub(super) fn arguments(command: Command) -> Command {
    command
        .arg(
            Arg::new(CLIENT_ID)
                .long(CLIENT_ID)
                .value_name("ID")
                .help("Only what belongs to the session of this client"),
        )
        .arg(
            Arg::new(TOPIC)
                .long(TOPIC)
                .value_name("FILTER")
                .value_parser(filter)
                .help("Only messages and wills with a topic that matches this filter"),
        )
        .arg(
            Arg::new(PAYLOADS)
                .long(PAYLOADS)
                .action(ArgAction::SetTrue)
                .help("Payloads, too: as text, or in base64 if they are none"),
        )
}

fn filter(text: &str) -> Result<String, String> {
    TopicFilter::new(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

pub(super) fn write(
    reading: Reading,
    form: Form,
    matches: &ArgMatches,
    out: &mut impl Write,
) -> Result<()> {
    let filter = matches.get_one::<String>(TOPIC).and_then(|text| TopicFilter::new(text).ok());
    let is_wanted = |topic: &str| {
        let topic = TopicName::new(topic);
        filter.as_ref().is_none_or(|filter| topic.is_ok_and(|topic| filter.matches(topic)))
    };
    let wanted = Wanted {
        queues: &reading.queues,
        now: reading.now,
        payloads: matches.get_flag(PAYLOADS),
        client_id: matches.get_one::<String>(CLIENT_ID).map(String::as_str),
        topic: filter.as_ref().map(|_| &is_wanted as &dyn Fn(&str) -> bool),
    };
    for restored in &reading.contents {
        wanted.lines(restored, |line| Ok(line.write(form, out)?))?;
    }
    Ok(())
}
