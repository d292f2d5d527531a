//! How many files and sockets the process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors kept for what is not a connection: listeners, the runtime, files, the program that
/// embeds the broker.
const RESERVED: u64 = 64;

/// Descriptors that each further shard's runtime needs.
const SHARD: u64 = 4;

/// The process's limit of open descriptors; `None` if there is none.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the limit as far as the process may without privilege, and tells what it is then.
pub(crate) fn raise_limit() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Refused on systems whose hard limit is only nominal; the old limit stays then.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    limit()
}

/// How many connections fit into a limit of descriptors, beside so many shards.
pub(crate) fn connections_within(limit: u64, shards: u16) -> u32 {
    let reserved = RESERVED + SHARD * u64::from(shards.saturating_sub(1));
    let spare = if limit > 2 * reserved { limit - reserved } else { limit / 2 };
    u32::try_from(spare).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_descriptors_are_kept_for_other_uses() {
        assert_eq!(connections_within(1_024, 1), 960);
        assert_eq!(connections_within(1_024, 17), 896);
        assert_eq!(connections_within(20, 1), 10);
        assert_eq!(connections_within(1, 1), 1);
        assert_eq!(connections_within(u64::MAX, 1_024), u32::MAX);
    }

    #[test]
    fn raising_never_lowers() {
        let before = limit();
        let after = raise_limit();
        assert!(after.is_none() || after >= before);
    }
}
