//! Requests and their answers, one or several: `cargo run --example request_response [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::{Client, RequestError, RoutedMessage};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());

    // The side that answers: `reply` knows where to, and to which request.
    let server = Client::builder(&*url).connect().await?;
    let answering = server.clone();
    let service = server.route("noctule/count/{to}").handle(move |request: RoutedMessage| {
        let answering = answering.clone();
        async move {
            let to = request.capture("to").parse().unwrap_or(0);
            for number in 1..=to {
                if let Some(reply) = answering.reply(&request, &number.to_string()) {
                    drop(reply.send());
                }
            }
        }
    });
    service.await?;

    // The side that asks.
    let client = Client::builder(&*url).connect().await?;
    let answer = client.request("noctule/count/1", "").await?;
    println!("one answer: {}", answer.text().unwrap_or("no text"));

    let mut answers = client.request("noctule/count/3", "").stream().await?;
    for _ in 0..3 {
        let Some(answer) = answers.recv().await else { break };
        println!("one of several: {}", answer.text().unwrap_or("no text"));
    }

    let patience = Duration::from_millis(200);
    match client.request("noctule/count/0", "").timeout(patience).await {
        Err(RequestError::TimedOut(after)) => println!("no answer within {after:?}"),
        other => println!("unexpected: {other:?}"),
    }
    client.shutdown(Duration::from_secs(5)).await;
    server.shutdown(Duration::from_secs(5)).await;
    Ok(())
}
