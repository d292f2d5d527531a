//! Sees what a client does: figures, packets on standard error, and an interceptor that carries a
//! trace context from one program to the next: `cargo run --example observe [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use noctule_client::{
    Client, Counter, Draft, Figures, Interceptor, Latency, Message, Passage, QoS,
};

/// Carries a trace context in a user property. A program with a tracer would ask that for it.
struct TraceContext;

impl Interceptor for TraceContext {
    fn outgoing(&self, message: &mut Draft<'_>) -> Result<(), Box<dyn Error + Send + Sync>> {
        if message.version().is_v5() {
            message.add_user_property("traceparent", "00-5bd66ef5095369c7-53ce929d0e0e4736-01")?;
        }
        Ok(())
    }

    fn incoming(&self, message: &mut Message) -> Passage {
        for (name, value) in message.properties().user_properties.iter() {
            println!("{name}: {value}");
        }
        Passage::Passed
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let figures = Figures::new();
    let client = Client::builder(url)
        .metrics(figures.clone())
        .interceptor(TraceContext)
        .packet_log(|line| eprintln!("{line}"))
        .connect()
        .await?;

    let mut house = client.subscribe("house/#").await?;
    let receipt = client.publish("house/kitchen", "21.5").qos(QoS::AtLeastOnce).send()?;
    println!("published: {}", receipt.await);
    if let Some(message) = house.recv().await {
        println!("received: {}", message.text().unwrap_or("no text"));
    }
    client.shutdown(Duration::from_secs(5)).await;

    let figures = figures.snapshot();
    println!("delivered: {}", figures.count(Counter::PublicationsDelivered));
    println!("packets sent: {}", figures.count(Counter::PacketsSent));
    let publish = figures.latency(Latency::Publish(QoS::AtLeastOnce));
    println!("acknowledgements measured: {}", publish.count());
    eprintln!("the slowest of them: {:?}", publish.longest());
    eprintln!("{figures}");
    Ok(())
}
