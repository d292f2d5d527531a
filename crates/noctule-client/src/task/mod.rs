//! A client's own task, on tokio.

mod alarm;
mod driver;

pub(crate) use driver::run;
