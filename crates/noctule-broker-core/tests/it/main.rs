//! Scenarios: conversations of scripted peers with one shard, under virtual time. One body runs for
//! every version of the protocol to which it applies.

mod broker;
mod delivery;
mod life_of_a_publish;
mod ping;
mod resend;
mod retained;
