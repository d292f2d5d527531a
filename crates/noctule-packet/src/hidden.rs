//! Secrets in `Debug` output: that they are there, but not what they are.

use core::fmt;

/// Shows only whether and how long a secret is.
pub(crate) struct Hidden<'a>(pub(crate) Option<&'a [u8]>);

impl fmt::Debug for Hidden<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(secret) => write!(f, "Some(<{} bytes>)", secret.len()),
            None => f.write_str("None"),
        }
    }
}
