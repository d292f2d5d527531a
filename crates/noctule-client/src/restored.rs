//! What an earlier process has published, and how that ends in this one.

use noctule_packet::QoS;

use crate::client::Client;
use crate::receipt::Receipt;

/// A publication that the store had when the client was built.
#[derive(Debug)]
#[non_exhaustive]
pub struct Restored {
    /// Where to.
    pub topic: Box<str>,
    /// The quality of service.
    pub qos: QoS,
    /// How it ends, or has ended since.
    pub receipt: Receipt,
}

impl<D> Client<D> {
    /// What earlier processes have published and the store still had when this client was built, in
    /// the order in which that was accepted, each with a receipt. It is delivered whether this is
    /// asked or not, and what has ended meanwhile says how; but each is handed out only once, so
    /// the next call has none. Without a store there are none.
    ///
    /// ```no_run
    /// use noctule_client::Client;
    ///
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::builder("mqtt://broker.example")
    ///     .client_id("thermometer-7")
    ///     .store("/var/lib/thermometer")
    ///     .connect()
    ///     .await?;
    /// for restored in client.restored() {
    ///     println!("{}: {}", restored.topic, restored.receipt.await);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Those that nobody has taken, or whose receipts were dropped, are told if they fail:
    /// [`ClientEvent::Undelivered`](crate::ClientEvent::Undelivered).
    pub fn restored(&self) -> Vec<Restored> {
        let restored = self.shared().with(|inner| inner.hub.take_restored());
        let with_receipt = |publication: noctule_client_core::Restored| Restored {
            topic: publication.topic,
            qos: publication.qos,
            receipt: Receipt::of_restored(self.shared(), publication.operation),
        };
        restored.into_iter().map(with_receipt).collect()
    }
}
