//! Scenarios: conversations of scripted peers with one shard, under virtual time. One body runs for
//! every version of the protocol to which it applies.

mod alias_out;
mod broker;
mod delivery;
mod life_of_a_publish;
mod message_expiry;
mod order;
mod packet_size;
mod ping;
mod publish;
mod resend;
mod retained;
mod slow_reader;
mod window;
