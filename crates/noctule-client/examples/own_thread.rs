//! On any runtime or none, as the client has a thread: `cargo run --example own_thread [URL]`.

use std::env;
use std::error::Error;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

use noctule_client::{Client, QoS};

/// In place of smol, embassy or whatever you have.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).unwrap_or_else(|| "mqtt://localhost".to_owned());
    block_on(async {
        // The feature `thread`; without the feature `tokio` there is no tokio at all.
        let client = Client::builder(url).start_thread()?;
        let mut hello = client.subscribe("noctule/thread").await?;
        let receipt = client.publish("noctule/thread", "no runtime").qos(QoS::AtLeastOnce);
        println!("published: {}", receipt.send()?.await);
        if let Some(message) = hello.recv().await {
            println!("received: {}", message.text().unwrap_or("no text"));
        }
        client.shutdown(Duration::from_secs(5)).await;
        Ok(())
    })
}
