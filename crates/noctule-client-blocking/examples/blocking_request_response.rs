//! Requests and answers, one or several: `cargo run --example blocking_request_response [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client_blocking::{Client, RequestError, RoutedMessage};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());

    // The side that answers: `reply` knows where to, and to which request.
    let server = Client::builder(&*url).connect()?;
    let answering = server.clone();
    server.route("noctule/count/{to}").handle(move |request: RoutedMessage| {
        let to = request.capture("to").parse().unwrap_or(0);
        for number in 1..=to {
            if let Some(reply) = answering.reply(&request, &number.to_string()) {
                drop(reply.send());
            }
        }
    })?;

    // The side that asks.
    let client = Client::builder(&*url).connect()?;
    let answer = client.request("noctule/count/1", "").send()?;
    println!("one answer: {}", answer.text().unwrap_or("no text"));

    let answers = client.request("noctule/count/3", "").stream()?;
    for answer in answers.take(3) {
        println!("one of several: {}", answer.text().unwrap_or("no text"));
    }

    let patience = Duration::from_millis(200);
    match client.request("noctule/count/0", "").timeout(patience).send() {
        Err(RequestError::TimedOut(after)) => println!("no answer within {after:?}"),
        other => println!("unexpected: {other:?}"),
    }
    client.shutdown(Duration::from_secs(5));
    server.shutdown(Duration::from_secs(5));
    Ok(())
}
