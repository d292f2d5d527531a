//! `noctule rpc`: sends one request, and writes the response to it.

use std::collections::hash_map::RandomState;
use std::fmt::Write;
use std::hash::BuildHasher;
use std::time::Duration;

use clap::{ArgMatches, Args, Command, FromArgMatches};
use noctule_client::{
    Client, Message, Negotiated, Outcome, QoS, ReasonCode, Subscription, TopicName, Version,
};
use tokio::time::{Instant, sleep_until};

use crate::client::connect_flags::ConnectFlags;
use crate::client::failure::{EXIT_STATUSES, Failure, Status};
use crate::client::format_parse::FORMAT_HELP;
use crate::client::link;
use crate::client::output::{Output, OutputError};
use crate::client::output_flags::OutputFlags;
use crate::client::payload_flags::PayloadFlags;
use crate::client::property::Properties;
use crate::client::signals::Signals;
use crate::client::value;
use crate::publish::check_topic;
use crate::subscribe::refused;

/// The subcommand's name.
pub(crate) const NAME: &str = "rpc";
/// Who speaks on standard error.
pub(crate) const PROGRAM: &str = "noctule rpc";

/// Where responses go, if the server does not say where they should.
const RESPONSES: &str = "noctule/rpc/";

/// The flags of `noctule rpc`.
#[derive(Args, Clone, Debug)]
pub(crate) struct Flags {
    /// The topic of the request
    #[arg(value_name = "TOPIC", required_unless_present_any = ["topic", "url"])]
    place: Option<String>,
    /// The same as a flag
    #[arg(short = 't', long, value_name = "TOPIC", conflicts_with = "place")]
    topic: Option<String>,
    /// The topic of the response; without it one that nobody else uses
    #[arg(short = 'e', long, value_name = "TOPIC")]
    response_topic: Option<String>,
    /// The quality of service: 0, 1 or 2
    #[arg(short = 'q', long, value_name = "QOS", value_parser = value::qos, default_value = "1")]
    qos: QoS,
    /// How many seconds to wait for the response
    #[arg(
        short = 'W',
        value_name = "SECONDS",
        value_parser = value::time_limit,
        default_value = "30"
    )]
    time_limit: Duration,
    #[command(flatten)]
    payload: PayloadFlags,
    #[command(flatten)]
    output: OutputFlags,
    #[command(flatten)]
    pub(crate) connect: ConnectFlags,
}

pub(crate) fn command() -> Command {
    Flags::augment_args(Command::new(NAME))
        .about("Send a request, and write the response (MQTT 5)")
        .after_help(format!("{FORMAT_HELP}\n\n{EXIT_STATUSES}"))
        .disable_help_flag(true)
        .arg(crate::command_line::help_flag())
}

pub(crate) fn flags(matches: &ArgMatches) -> Result<Flags, Failure> {
    Flags::from_arg_matches(matches).map_err(|error| Failure::usage(error.to_string()))
}

pub(crate) async fn run(flags: &Flags) -> Result<(), Failure> {
    let deadline = Instant::now() + flags.time_limit;
    let properties = flags.connect.properties()?;
    let server = flags.connect.server()?;
    let topic = flags.place.as_ref().or(flags.topic.as_ref()).or(server.topic.as_ref());
    let topic = topic.ok_or_else(|| Failure::usage("there is no topic: give one with -t"))?;
    check_topic(topic)?;
    if let Some(response_topic) = &flags.response_topic {
        check_topic(response_topic)?;
    }
    let builder = flags.connect.builder(&server, &properties, Some("request and response"))?;
    let wants_information = flags.response_topic.is_none();
    let builder = builder.settings(|settings| {
        settings.connect.request_response_information |= wants_information;
        settings.queue.bytes_max = usize::MAX;
    });
    let none = || Failure::usage("there is no message: give one with -m, -f, -s or -n");
    let payload = flags.payload.read()?.ok_or_else(none)?;
    let mut signals = Signals::new()?;
    let client = link::start(builder, &flags.connect, PROGRAM)?;
    let result = tokio::select! {
        biased;
        signal = signals.next() => {
            Err(Failure::new(signal.status(), "interrupted before the response"))
        }
        () = sleep_until(deadline) => {
            let message = format!("no response within {:?}", flags.time_limit);
            Err(Failure::new(Status::TimeOut, format!("{message}; check that somebody answers")))
        }
        result = request(&client, flags, topic, &payload, &properties) => result,
    };
    let _ = signals.or(link::end(&client, PROGRAM, &properties.disconnect, Duration::ZERO)).await;
    result
}

/// Sends the request, and writes the response.
async fn request(
    client: &Client,
    flags: &Flags,
    topic: &str,
    payload: &[u8],
    properties: &Properties,
) -> Result<(), Failure> {
    let negotiated = client.connected().await.map_err(|error| Failure::of_connect(&error))?;
    if negotiated.version != Version::V5_0 {
        return Err(Failure::usage("request and response need a server that speaks MQTT 5"));
    }
    let response_topic = response_topic(flags, &negotiated);
    let response_topic = TopicName::new(&response_topic)
        .map_err(|error| Failure::usage(format!("response topic: {error}")))?;
    let mut responses = match client.subscribe(response_topic.as_str()).qos(flags.qos).await {
        Ok(responses) => responses,
        Err(error) => return Err(refused(client, &error).await),
    };
    let own_data = random().into_bytes();
    let data = properties.publish.correlation_data.as_deref().unwrap_or(&own_data);
    let receipt = client
        .publish(topic, payload)
        .qos(flags.qos.min(negotiated.maximum_qos))
        .properties(properties.publish.of_publish())
        .response_topic(response_topic)
        .correlation_data(data)
        .send()
        .map_err(|error| Failure::new(Status::Topic, format!("cannot send: {error}")))?;
    let response = response(client, &mut responses, data);
    tokio::pin!(response);
    let outcome = tokio::select! {
        biased;
        // The response may overtake the acknowledgement.
        result = &mut response => return write(flags, result?).await,
        outcome = receipt => outcome,
    };
    match outcome {
        Outcome::Delivered { reason: ReasonCode::NoMatchingSubscribers, .. } => {
            let message = format!("nobody subscribes to {topic:?}, so nobody answers");
            Err(Failure::new(Status::Undelivered, message))
        }
        Outcome::Delivered { .. } => write(flags, response.await?).await,
        Outcome::Rejected { .. } => {
            let message = format!("the request was {outcome}; check the topic {topic:?}");
            Err(Failure::new(Status::Topic, message))
        }
        _ => Err(Failure::new(Status::Undelivered, format!("the request: {outcome}"))),
    }
}

/// The message that answers the request.
async fn response(
    client: &Client,
    responses: &mut Subscription,
    data: &[u8],
) -> Result<Message, Failure> {
    while let Some(incoming) = responses.recv().await {
        // Others may use the same topic.
        if incoming.properties().correlation_data == Some(data) {
            return Ok(incoming.into_parts().0);
        }
    }
    Err(Failure::of_closed(client).await)
}

async fn write(flags: &Flags, message: Message) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    flags.output.writer().write(&message, &mut bytes).map_err(|problem| {
        Failure::new(Status::Undelivered, format!("the payload of the response {problem}"))
    })?;
    match Output::start()?.write(bytes).await {
        Ok(()) | Err(OutputError::Closed) => Ok(()),
        Err(OutputError::Failed(error)) => Err(Failure::local("cannot write the output", &error)),
    }
}

/// A topic for the response that nobody else uses.
fn response_topic(flags: &Flags, negotiated: &Negotiated) -> String {
    if let Some(topic) = &flags.response_topic {
        return topic.clone();
    }
    let prefix = negotiated.response_information.as_deref().unwrap_or(RESPONSES);
    let slash = if prefix.ends_with('/') { "" } else { "/" };
    format!("{prefix}{slash}{}", random())
}

/// Sixteen random bytes, in letters.
fn random() -> String {
    let mut text = String::new();
    for _ in 0..2 {
        // Each of these has keys of its own.
        let _ = write!(text, "{:016x}", RandomState::new().hash_one(0));
    }
    text
}
