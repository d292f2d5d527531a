//! What the clients of the command line have in common: how they are told what to do, how they
//! connect, and how they say what went wrong.

pub(crate) mod authentication;
pub(crate) mod connect_flags;
pub(crate) mod failure;
pub(crate) mod format;
pub(crate) mod format_json;
pub(crate) mod format_parse;
pub(crate) mod input;
pub(crate) mod link;
pub(crate) mod output;
pub(crate) mod output_flags;
pub(crate) mod payload_flags;
pub(crate) mod progress;
pub(crate) mod property;
pub(crate) mod server;
pub(crate) mod signals;
pub(crate) mod tls_flags;
pub(crate) mod value;
pub(crate) mod will_flags;
