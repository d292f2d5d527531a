//! A client's own task, on tokio or on a runtime that the program brings.

mod alarm;
mod driver;
mod ground;
mod method;
#[cfg(feature = "futures-io")]
mod on_own;
#[cfg(feature = "tokio")]
mod on_tokio;

pub(crate) use driver::run;
#[cfg(feature = "futures-io")]
pub(crate) use on_own::Own;
#[cfg(feature = "tokio")]
pub(crate) use on_tokio::Tokio;
