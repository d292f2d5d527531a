//! `noctule sub`: subscribes, and writes the messages that arrive.

use std::future::IntoFuture;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use noctule_client::{
    Client, ClientEvent, Ended, Events, QoS, Remarks, State, SubscribeError, UnsubscribeError,
};
use noctule_packet::TopicFilter;
use tokio::time::{Instant, sleep_until};

use crate::client::connect_flags::ConnectFlags;
use crate::client::failure::{EXIT_STATUSES, Failure, Status, say};
use crate::client::format_parse::FORMAT_HELP;
use crate::client::link;
use crate::client::output_flags::OutputFlags;
use crate::client::property::Properties;
use crate::client::signals::{Interrupt, Signals};
use crate::client::value;
use crate::receiving::{Receiving, Wanted};

/// The subcommand's name.
pub(crate) const NAME: &str = "sub";
/// Who speaks on standard error.
pub(crate) const PROGRAM: &str = "noctule sub";

/// How often a server may end the connection instead of granting anything.
const CLOSED_MAX: u32 = 3;

/// The flags of `noctule sub`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// A topic filter to subscribe to; may be given several times
    #[arg(
        short = 't',
        long,
        value_name = "FILTER",
        required_unless_present_any = ["url", "unsubscribe"]
    )]
    topic: Vec<String>,
    /// A topic filter to end the subscription to; may be given several times
    #[arg(short = 'U', long, value_name = "FILTER")]
    unsubscribe: Vec<String>,
    /// A topic filter whose messages are not written; may be given several times
    #[arg(short = 'T', long, value_name = "FILTER")]
    filter_out: Vec<String>,
    /// The highest quality of service: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", value_parser = value::qos, default_value = "0")]
    qos: QoS,
    /// End after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// End after so many seconds. With -C that is a failure, without it is all that was asked for
    #[arg(short = 'W', value_name = "SECONDS", value_parser = value::time_limit)]
    time_limit: Option<Duration>,
    /// End as soon as the server has granted everything
    #[arg(short = 'E', conflicts_with_all = ["count", "retained_only"])]
    exit_when_granted: bool,
    /// Write no retained messages
    #[arg(short = 'R', conflicts_with = "retained_only")]
    no_retained: bool,
    /// Write only retained messages, and end at the first other one
    #[arg(long)]
    retained_only: bool,
    /// Remove the retained messages that arrive from the server, but those of -T
    #[arg(long)]
    remove_retained: bool,
    /// Keep the retain flag as it was published (MQTT 5)
    #[arg(long)]
    retain_as_published: bool,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    pub(crate) connect: ConnectFlags,
}

pub(crate) fn command() -> Command {
    Flags::augment_args(Command::new(NAME))
        .about("Subscribe, and write the messages that arrive")
        .after_help(format!("{FORMAT_HELP}\n\n{EXIT_STATUSES}"))
        .disable_help_flag(true)
        .arg(crate::command_line::help_flag())
}

pub(crate) fn flags(matches: &ArgMatches) -> Result<Flags, Failure> {
    Flags::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

/// Why it ends although nothing has failed.
enum Cut {
    Interrupt(Interrupt),
    TimeOut(Duration),
}

pub(crate) async fn run(flags: &Flags) -> Result<(), Failure> {
    let start = Instant::now();
    let properties = flags.connect.properties()?;
    let server = flags.connect.server()?;
    let mut filters = flags.topic.clone();
    filters.extend(server.topic.clone());
    for filter in filters.iter().chain(&flags.unsubscribe).chain(&flags.filter_out) {
        check_filter(filter)?;
    }
    let needs_v5 = flags.retain_as_published.then_some("--retain-as-published");
    let builder = flags.connect.builder(&server, &properties, needs_v5)?;
    let wanted = Wanted {
        count: flags.count,
        no_retained: flags.no_retained,
        retained_only: flags.retained_only,
        remove_retained: flags.remove_retained,
        filter_out: flags.filter_out.clone(),
    };
    let mut signals = Signals::new()?;
    let mut receiving = Receiving::new(wanted, flags.output.writer(), PROGRAM)?;
    let client = link::start(builder, &flags.connect, PROGRAM)?;
    let limit = async {
        match flags.time_limit {
            Some(limit) => {
                sleep_until(start + limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    let mut is_granted = false;
    let result = {
        let all = all(&client, flags, &filters, &properties, &mut is_granted, &mut receiving);
        let mut all = pin!(all);
        let result = tokio::select! {
            biased;
            signal = signals.next() => Err(Cut::Interrupt(signal)),
            limit = limit => Err(Cut::TimeOut(limit)),
            result = &mut all => Ok(result),
        };
        // What was not written must be neither acknowledged nor refused, so everything that holds
        // messages stays until the connection has ended.
        let _ =
            signals.or(link::end(&client, PROGRAM, &properties.disconnect, Duration::ZERO)).await;
        result
    };
    judge(flags, result, is_granted, receiving.written())
}

fn check_filter(filter: &str) -> Result<(), Failure> {
    match TopicFilter::new(filter) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("topic filter {filter:?}: {error}"))),
    }
}

/// Subscribes and receives until everything that was asked for is there.
async fn all(
    client: &Client,
    flags: &Flags,
    filters: &[String],
    properties: &Properties,
    is_granted: &mut bool,
    receiving: &mut Receiving,
) -> Result<(), Failure> {
    subscribe(client, flags, filters, properties, receiving).await?;
    unsubscribe(client, flags, properties).await?;
    *is_granted = true;
    if flags.exit_when_granted {
        return Ok(());
    }
    receiving.receive(client).await
}

async fn subscribe(
    client: &Client,
    flags: &Flags,
    filters: &[String],
    properties: &Properties,
    receiving: &mut Receiving,
) -> Result<(), Failure> {
    let Some((first, others)) = filters.split_first() else {
        // Only unsubscribing: what the session still gets is written.
        receiving.subscription = Some(client.unclaimed());
        return client.connected().await.map(drop).map_err(|it| Failure::of_connect(&it));
    };
    // Asked for before there is a connection, so that nothing of an earlier session comes before
    // somebody takes it.
    let mut subscribe = client
        .subscribe(first)
        .qos(flags.qos)
        .manual_acknowledgement(true)
        .with_unclaimed(true)
        .retain_as_published(flags.retain_as_published);
    if let Some(identifier) = properties.subscription_identifier {
        subscribe = subscribe.identifier(identifier);
    }
    if !properties.subscribe.is_empty() {
        subscribe = subscribe.user_properties(properties.subscribe.clone());
    }
    let subscribe = others.iter().fold(subscribe, |subscribe, filter| subscribe.and(filter));
    let mut events = client.events();
    let result = tokio::select! {
        biased;
        result = subscribe.into_future() => result,
        ended = closed_again(&mut events) => {
            let message = format!("the server grants nothing: {ended}, each time that it is asked");
            return Err(Failure::new(Status::Topic, format!("{message}; check -t")));
        }
    };
    match result {
        Ok(subscription) => {
            if flags.connect.debug {
                for (filter, qos) in subscription.filters().iter().zip(subscription.granted()) {
                    say(PROGRAM, link::granted(filter, *qos));
                }
            }
            receiving.subscription = Some(subscription);
            Ok(())
        }
        Err(error) => Err(refused(client, &error).await),
    }
}

/// Waits until the server has ended the connection so often that it must be for what is asked of
/// it: a server before 5.0 has no other way to refuse.
async fn closed_again(events: &mut Events) -> Arc<Ended> {
    let mut count = 0;
    while let Some(event) = events.recv().await {
        if let ClientEvent::Disconnected { was_connected: true, ended } = event {
            count += 1;
            if count == CLOSED_MAX {
                return ended;
            }
        }
    }
    std::future::pending().await
}

pub(crate) async fn refused(client: &Client, error: &SubscribeError) -> Failure {
    if matches!(client.state(), State::Stopped(_)) {
        return Failure::of_closed(client).await;
    }
    let text = match error {
        SubscribeError::Rejected { remarks: Some(remarks), .. } => in_brackets(remarks),
        _ => String::new(),
    };
    let advice = match error {
        SubscribeError::Rejected { .. } => "; check -t, and what this user may do",
        _ => "",
    };
    let status = match error {
        SubscribeError::Filter { .. } => Status::Usage,
        _ => Status::Topic,
    };
    Failure::new(status, format!("{error}{text}{advice}"))
}

/// What a server says in words.
fn in_brackets(remarks: &Remarks) -> String {
    let text = remarks.reason_string.as_deref();
    text.map(|text| format!(" ({text})")).unwrap_or_default()
}

async fn unsubscribe(
    client: &Client,
    flags: &Flags,
    properties: &Properties,
) -> Result<(), Failure> {
    if flags.unsubscribe.is_empty() {
        return Ok(());
    }
    let filters: Vec<&str> = flags.unsubscribe.iter().map(String::as_str).collect();
    let mut unsubscribe = client.unsubscribe(&filters);
    if !properties.unsubscribe.is_empty() {
        unsubscribe = unsubscribe.user_properties(properties.unsubscribe.clone());
    }
    match unsubscribe.await {
        Ok(_) => Ok(()),
        Err(_) if matches!(client.state(), State::Stopped(_)) => {
            Err(Failure::of_closed(client).await)
        }
        Err(UnsubscribeError::Rejected { code, remarks }) => {
            let text = remarks.as_deref().map(in_brackets).unwrap_or_default();
            let reason = code.name();
            let message = format!("the server refused to unsubscribe: {reason}{text}; check -U");
            Err(Failure::new(Status::Topic, message))
        }
        Err(error) => Err(Failure::new(Status::Topic, error.to_string())),
    }
}

/// What the whole comes to.
fn judge(
    flags: &Flags,
    result: Result<Result<(), Failure>, Cut>,
    is_granted: bool,
    written: u64,
) -> Result<(), Failure> {
    let cut = match result {
        Ok(result) => return result,
        Err(cut) => cut,
    };
    let (status, what) = match cut {
        Cut::Interrupt(signal) => (signal.status(), "interrupted".to_owned()),
        Cut::TimeOut(limit) => (Status::TimeOut, format!("the time of {limit:?} is over")),
    };
    match flags.count {
        _ if !is_granted => {
            Err(Failure::new(status, format!("{what}, and the server had not granted everything")))
        }
        Some(count) => {
            Err(Failure::new(status, format!("{what} after {written} of {count} messages")))
        }
        None => Ok(()),
    }
}
