//! SCRAM: a password proved in both directions without ever being sent.

pub(crate) mod attribute;
pub(crate) mod client;
pub(crate) mod credentials;
pub(crate) mod decoy;
pub(crate) mod error;
pub(crate) mod key;
pub(crate) mod limits;
pub(crate) mod mechanism;
pub(crate) mod message;
pub(crate) mod nonce;
pub(crate) mod preparation;
pub(crate) mod server;
