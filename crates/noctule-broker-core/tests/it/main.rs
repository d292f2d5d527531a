//! Scenarios: conversations of scripted peers with one shard, under virtual time. One body runs for
//! every version of the protocol to which it applies.

mod alias_in;
mod alias_out;
mod authorize;
mod broker;
mod connack;
mod connect;
mod delivery;
mod disconnect;
mod exactly_once;
mod faults;
mod life_of_a_publish;
mod limits;
mod message_expiry;
mod order;
mod packet_size;
mod ping;
mod properties;
mod publish;
mod quota;
mod replay;
mod resend;
mod retained;
mod retained_expiry;
mod session;
mod slow_reader;
mod stored;
mod statistics;
mod system;
mod take_over;
mod turns;
mod will;
mod will_authorized;
mod window;
