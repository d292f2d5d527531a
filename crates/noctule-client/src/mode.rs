//! How the user of a client waits: the same names stand for futures or for calls that return when
//! it is done.

use std::marker::PhantomData;

/// Whoever waits, awaits: on any runtime, wherever the client's own task or thread runs.
#[derive(Clone, Copy, Debug)]
pub enum Async {}

/// Whoever waits, blocks.
#[derive(Clone, Copy, Debug)]
pub enum Blocking {}

/// Says how somebody waits who does not wait yet.
pub(crate) type Mode<D> = PhantomData<fn() -> D>;
