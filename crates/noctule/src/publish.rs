//! `noctule pub`: publishes messages, and ends when it is known what became of each.

use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use noctule_client::{AliasPolicy, Client, QoS, TopicName};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::connect_flags::ConnectFlags;
use crate::client::failure::{EXIT_STATUSES, Failure, Status};
use crate::client::input::Lines;
use crate::client::link::{self, DRAIN};
use crate::client::output::{Output, OutputError};
use crate::client::payload_flags::PayloadFlags;
use crate::client::property::MessageProperties;
use crate::client::signals::{Interrupt, Signals};
use crate::client::value;
use crate::publishing::{Publishing, Template};

/// The subcommand's name.
pub(crate) const NAME: &str = "pub";
/// Who speaks on standard error.
pub(crate) const PROGRAM: &str = "noctule pub";

/// The flags of `noctule pub`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// The topic to publish to
    #[arg(short = 't', long, value_name = "TOPIC", required_unless_present = "url")]
    topic: Option<String>,
    /// The quality of service: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", value_parser = value::qos, default_value = "0")]
    qos: QoS,
    /// Let the server keep the message for later subscribers
    #[arg(short = 'r', long)]
    retain: bool,
    /// Give up after so many seconds
    #[arg(short = 'W', value_name = "SECONDS", value_parser = value::time_limit)]
    time_limit: Option<Duration>,
    /// Write a line of JSON about what became of the messages
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    payload: PayloadFlags,
    /// Each line of standard input as a message of its own, as soon as it is there
    #[arg(
        short = 'l',
        long = "stdin-line",
        conflicts_with_all = ["payload", "repeat", "repeat_delay"],
        help_heading = "Message"
    )]
    lines: bool,
    /// Publish the message so many times
    #[arg(
        long,
        value_name = "TIMES",
        value_parser = clap::value_parser!(u64).range(1..),
        help_heading = "Message"
    )]
    repeat: Option<u64>,
    /// The seconds between two of these
    #[arg(
        long,
        value_name = "SECONDS",
        value_parser = value::seconds,
        requires = "repeat",
        help_heading = "Message"
    )]
    repeat_delay: Option<Duration>,
    #[command(flatten)]
    pub(crate) connect: ConnectFlags,
}

pub(crate) fn command() -> Command {
    Flags::augment_args(Command::new(NAME))
        .about("Publish messages")
        .after_help(EXIT_STATUSES)
        .disable_help_flag(true)
        .arg(crate::command_line::help_flag())
}

/// What is published.
enum Source {
    Repeated { payload: Vec<u8>, times: u64, delay: Duration },
    Lines(Lines),
}

/// Why it ended before everything was published.
enum Cut {
    Interrupt(Interrupt),
    TimeOut(Duration),
}

pub(crate) fn flags(matches: &ArgMatches) -> Result<Flags, Failure> {
    Flags::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

pub(crate) async fn run(flags: &Flags) -> Result<(), Failure> {
    let deadline = flags.time_limit.map(|limit| (Instant::now() + limit, limit));
    let properties = flags.connect.properties()?;
    let server = flags.connect.server()?;
    let topic = flags.topic.as_deref().or(server.topic.as_deref());
    let topic = topic.ok_or_else(|| Failure::usage("there is no topic: give one with -t"))?;
    check_topic(topic)?;
    let builder = flags.connect.builder(&server, &properties, None)?;
    let (source, payload_bytes) = source(flags)?;
    let builder = builder.settings(|settings| {
        let queue = &mut settings.queue;
        // A message that waits alone must have room, whatever its size.
        queue.bytes_max = queue.bytes_max.max(2 * payload_bytes);
    });
    // An alias that the server does not take is left out, and the message goes all the same.
    let builder = match properties.publish.topic_alias {
        Some(_) => builder.aliases(AliasPolicy::Suggested),
        None => builder,
    };
    let mut signals = Signals::new()?;
    let client = link::start(builder, &flags.connect, PROGRAM)?;
    let total = match &source {
        Source::Repeated { times, .. } => Some(*times),
        Source::Lines(_) => None,
    };
    let template = template(flags, topic, &properties.publish);
    let mut publishing = Publishing::new(&client, template, total, flags.connect.quiet);
    let limit = async {
        match deadline {
            Some((at, limit)) => {
                sleep_until(at).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    let result = tokio::select! {
        biased;
        signal = signals.next() => Err(Cut::Interrupt(signal)),
        limit = limit => Err(Cut::TimeOut(limit)),
        result = all(&client, &mut publishing, source) => Ok(result),
    };
    if result.is_err() {
        // What is under way gets its chance, unless somebody is impatient.
        let drained = timeout_at(Instant::now() + DRAIN, publishing.settle_all());
        let _ = signals.or(drained).await;
    }
    // Whatever had its chance to end has ended. Without DISCONNECT a slow server would publish the
    // will of a client that has done everything.
    let patience = if matches!(result, Ok(Ok(()))) { DRAIN } else { Duration::ZERO };
    let _ = signals.or(link::end(&client, PROGRAM, &properties.disconnect, patience)).await;
    let result = judge(&mut publishing, result);
    if flags.json {
        let line = format!("{}\n", publishing.tally().to_json());
        if let Err(OutputError::Failed(error)) = Output::start()?.write(line.into_bytes()).await {
            return result.and(Err(Failure::local("cannot write the output", &error)));
        }
    }
    result
}

fn source(flags: &Flags) -> Result<(Source, usize), Failure> {
    if flags.lines {
        return Ok((Source::Lines(Lines::of_stdin()?), 0));
    }
    let none = || Failure::usage("there is no message: give one with -m, -f, -s, -l or -n");
    let payload = flags.payload.read()?.ok_or_else(none)?;
    let bytes = payload.len();
    let (times, delay) = (flags.repeat.unwrap_or(1), flags.repeat_delay.unwrap_or_default());
    Ok((Source::Repeated { payload, times, delay }, bytes))
}

fn template<'a>(flags: &Flags, topic: &'a str, properties: &'a MessageProperties) -> Template<'a> {
    Template { topic, qos: flags.qos, retain: flags.retain, properties: properties.of_publish() }
}

pub(crate) fn check_topic(topic: &str) -> Result<(), Failure> {
    match TopicName::new(topic) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("-t {topic:?}: {error}"))),
    }
}

/// Publishes everything, and waits until it is known what became of it.
async fn all(
    client: &Client,
    publishing: &mut Publishing<'_>,
    source: Source,
) -> Result<(), Failure> {
    client.connected().await.map_err(|error| Failure::of_connect(&error))?;
    let fed = tokio::select! {
        biased;
        fed = feed(publishing, source) => fed,
        // Whoever waits for the next line must not wait for ever.
        () = has_ended(client) => Err(Failure::of_closed(client).await),
    };
    publishing.settle_all().await;
    fed
}

/// Waits until a client makes no connection any more.
async fn has_ended(client: &Client) {
    let mut events = client.events();
    while events.recv().await.is_some() {}
}

async fn feed(publishing: &mut Publishing<'_>, source: Source) -> Result<(), Failure> {
    match source {
        Source::Repeated { payload, times, delay } => {
            for number in 0..times {
                if number > 0 && !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                publishing.publish(&payload).await?;
            }
        }
        Source::Lines(mut lines) => {
            while let Some(line) = lines.next().await? {
                publishing.publish(&line).await?;
            }
        }
    }
    Ok(())
}

/// What the whole comes to.
fn judge(
    publishing: &mut Publishing<'_>,
    result: Result<Result<(), Failure>, Cut>,
) -> Result<(), Failure> {
    publishing.finish();
    let tally = publishing.tally();
    let missing = tally.missing();
    match result {
        Ok(Ok(())) => match missing {
            None => Ok(()),
            Some(missing) => {
                let status = if tally.rejected > 0 { Status::Topic } else { Status::Undelivered };
                Err(Failure::new(status, missing))
            }
        },
        Ok(Err(failure)) => match missing {
            // It has stopped in the middle.
            Some(missing) if failure.status == Status::Connection => {
                let message = format!("{}; {missing}", failure.message);
                Err(Failure::new(Status::Undelivered, message))
            }
            Some(missing) => {
                Err(Failure { message: format!("{}; {missing}", failure.message), ..failure })
            }
            None => Err(failure),
        },
        Err(cut) => {
            let (status, what) = match cut {
                Cut::Interrupt(signal) => (signal.status(), "interrupted".to_owned()),
                Cut::TimeOut(limit) => (Status::TimeOut, format!("not done within {limit:?}")),
            };
            let rest = missing.unwrap_or_else(|| tally.delivered_so_far());
            Err(Failure::new(status, format!("{what}; {rest}")))
        }
    }
}
