//! On a runtime other than tokio, here smol's parts: `cargo run --example any_runtime [URL]`.

use std::env;
use std::error::Error;
use std::time::Duration;

use async_executor::Executor;
use async_io::Timer;
use async_net::TcpStream;
use noctule_client::transport::{BoxError, Url};
use noctule_client::{Client, QoS, Runtime};

/// What the client needs of it. The feature is `futures-io`; without the feature `tokio` there is
/// no tokio at all.
struct Smol;

impl Runtime for Smol {
    type Stream = TcpStream;

    // Only for `mqtt://`, unless `schemes` names others, too.
    async fn open(&self, url: &Url) -> Result<TcpStream, BoxError> {
        let host = url.host().ok_or("the URL has no host")?;
        let stream = TcpStream::connect((host, url.port().unwrap_or(1883))).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn sleep(&self, time: Duration) {
        Timer::after(time).await;
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    let executor = Executor::new();
    async_io::block_on(executor.run(async {
        let (client, driver) = Client::builder(url).drive(Smol)?;
        executor.spawn(driver).detach();
        let mut hello = client.subscribe("noctule/runtime").await?;
        let receipt = client.publish("noctule/runtime", "yours").qos(QoS::AtLeastOnce);
        println!("published: {}", receipt.send()?.await);
        if let Some(message) = hello.recv().await {
            println!("received: {}", message.text().unwrap_or("no text"));
        }
        let report = client.shutdown(Duration::from_secs(5)).await;
        println!("clean: {}", report.is_clean());
        Ok(())
    }))
}
