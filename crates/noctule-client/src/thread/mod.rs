//! A client's own thread, without a runtime.

mod clerk;
mod driver;

pub(crate) use driver::start;
