//! Runs against a plain model of queues: what was spilled comes back in order, through restarts,
//! merges, power cuts and damage.

mod bounds;
mod damage;
mod fixture;
mod model;
mod power_cut;
mod random;
mod view;
