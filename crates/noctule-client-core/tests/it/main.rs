//! Scenarios of the client session: a server that is scripted by bytes, and virtual time.

mod alias;
mod auth;
mod bad_server;
mod connect;
mod cuts;
mod hostile;
mod interruptions;
mod publish;
mod queue;
mod receive;
mod remarks;
mod resume;
mod server;
mod stall;
mod subscribe;
mod time;
mod unclaimed;
mod undelivered;
mod validation;
mod world;
