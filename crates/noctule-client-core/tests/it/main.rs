//! Scenarios of the client session: a server that is scripted by bytes, and virtual time.

mod bad_server;
mod publish;
mod receive;
mod subscribe;
mod time;
mod world;
