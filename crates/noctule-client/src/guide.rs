//! A guide in short chapters, for whoever writes a program with this client.
//!
//! 1. [Connecting](connecting): URLs, options, versions.
//! 2. [Publishing](publishing): what a receipt says, and what that means.
//! 3. [Subscribing](subscribing): streams, acknowledgements, slow readers, routes.
//! 4. [Sessions](sessions): what outlives a connection, a program, and how long.
//! 5. [Errors and reconnecting](errors): what is tried again, and what is not.
//! 6. [TLS, WebSocket and proxies](transports).
//! 7. [Authentication](authentication): credentials, SCRAM, methods of your own.
//! 8. [Requests](requests): messages that are answered.
//! 9. [Observing](observing): figures, traces, packets, interceptors.
//! 10. [Moving](moving) from rumqttc or Paho.
//!
//! The chapters await. Where you block, the names are the same: leave out `.await`, add `.send()`
//! to what was awaited without it (`subscribe`, `route`, `request`), and call `wait()` on a
//! receipt or on what was started. For each goal there is also an example in the folder `examples`.

#[doc = include_str!("guide/authentication.md")]
pub mod authentication {}
#[doc = include_str!("guide/connecting.md")]
pub mod connecting {}
#[doc = include_str!("guide/errors.md")]
pub mod errors {}
#[doc = include_str!("guide/moving.md")]
pub mod moving {}
#[doc = include_str!("guide/observing.md")]
pub mod observing {}
#[doc = include_str!("guide/publishing.md")]
pub mod publishing {}
#[doc = include_str!("guide/requests.md")]
pub mod requests {}
#[doc = include_str!("guide/sessions.md")]
pub mod sessions {}
#[doc = include_str!("guide/subscribing.md")]
pub mod subscribing {}
#[doc = include_str!("guide/transports.md")]
pub mod transports {}
