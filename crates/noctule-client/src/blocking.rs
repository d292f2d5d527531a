//! The same client for whoever blocks: the same names, and no runtime.
//!
//! ```no_run
//! use noctule_client::QoS;
//! use noctule_client::blocking::Client;
//!
//! # #[cfg(feature = "thread")]
//! # fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("mqtt://localhost").connect()?;
//! let hello = client.subscribe("hello/#").send()?;
//! let receipt = client.publish("hello/world", "it works").qos(QoS::AtLeastOnce).send()?;
//! println!("{}", receipt.wait());
//! for message in hello {
//!     println!("{}: {}", message.topic(), message.text().unwrap_or("?"));
//! }
//! # Ok(())
//! # }
//! ```

use crate::mode::Blocking;

/// A client whose user blocks.
pub type Client = crate::client::Client<Blocking>;
/// Settings of a client whose user blocks.
pub type ClientBuilder = crate::builder::ClientBuilder<Blocking>;
/// A message to publish; see [`Client::publish`](crate::generic::Client::publish).
pub type Publish<'a> = crate::publish::Publish<'a, Blocking>;
/// A subscription to ask for; see [`Client::subscribe`](crate::generic::Client::subscribe).
pub type Subscribe = crate::subscribe::Subscribe<Blocking>;
/// Subscriptions to end; see [`Client::unsubscribe`](crate::generic::Client::unsubscribe).
pub type Unsubscribe = crate::unsubscribe::Unsubscribe<Blocking>;
/// The messages of a subscription.
pub type Subscription = crate::subscription::Subscription<Blocking>;
/// A route to ask for; see [`Client::route`](crate::generic::Client::route).
pub type Route = crate::route::Route<Blocking>;
/// The messages of a route.
pub type Routed = crate::route::Routed<Blocking>;
/// Routes that begin alike.
pub type Group = crate::group::Group<Blocking>;
/// A request to send; see [`Client::request`](crate::generic::Client::request).
pub type Request<'a> = crate::request::Request<'a, Blocking>;
/// What happens to the connection.
pub type Events = crate::events::Events<Blocking>;
