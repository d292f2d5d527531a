//! A client's own thread, without a runtime.

mod driver;

pub(crate) use driver::start;
