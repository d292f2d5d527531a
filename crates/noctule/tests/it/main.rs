//! The binary as a user meets it: flags, files, signals, log lines.

mod broker;
mod errors;
mod log;
mod mosquitto;
mod process;
mod publish;
mod relay;
mod rpc;
mod serving;
mod statuses;
mod subscribe;
