//! The binary as a user meets it: flags, files, signals, log lines.

mod broker;
mod errors;
mod log;
mod serving;
