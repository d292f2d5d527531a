//! The types behind the names: each is one for whoever awaits
//! ([`Async`](crate::Async)) and for whoever blocks ([`Blocking`](crate::Blocking)). The front page
//! and [`blocking`](crate::blocking) name them without saying so.

pub use crate::builder::ClientBuilder;
pub use crate::client::Client;
pub use crate::events::Events;
pub use crate::group::Group;
pub use crate::publish::Publish;
pub use crate::request::Request;
pub use crate::route::{Route, Routed};
pub use crate::subscribe::Subscribe;
pub use crate::subscription::Subscription;
pub use crate::unsubscribe::Unsubscribe;
