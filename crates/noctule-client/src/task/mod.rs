//! A client's own task, on tokio.

mod alarm;
mod driver;
mod method;

pub(crate) use driver::run;
