//! The log, the runs and the state on a disk that forgets, on one that fails, and on a real one.

mod book;
mod broker_changes;
mod broker_checkpoint;
mod broker_from_memory;
mod broker_gaps;
mod broker_groups;
mod broker_live;
mod broker_lost_runs;
mod broker_records;
mod broker_restart;
mod broker_shared;
mod broker_skipped;
mod broker_stories;
mod committer;
mod damage;
mod failing;
mod fixture;
mod interval;
mod ledger;
mod power_cut;
mod real;
#[cfg(target_os = "linux")]
mod real_limits;
mod recycled_damage;
mod recycling;
mod runs;
mod state;
#[cfg(unix)]
mod state_killed;
mod state_logged;
