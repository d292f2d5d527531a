//! What this process takes, which is the clients, the faults between them, and what they are
//! watched with.

use std::fs;
use std::time::Duration;

/// By how much the second half may take more than the first, in percent.
const GROWTH_MAX: u64 = 10;
/// What a run of seconds may take beside that: threads, buffers and the allocator's own rooms come
/// into being when they are needed first.
const WARM_UP_KILOBYTES: u64 = 8 * 1_024;
const WARM_UP: Duration = Duration::from_secs(60);

/// The kilobytes of the process, again and again.
#[derive(Default)]
pub(crate) struct Memory(Vec<u32>);

impl Memory {
    pub(crate) fn sample(&mut self) {
        let status = fs::read_to_string("/proc/self/status").expect("Linux says so");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        self.0.push(kilobytes.expect("a number of kilobytes"));
    }

    /// The most that each half has taken.
    fn halves(&self) -> [u64; 2] {
        let (first, second) = self.0.split_at(self.0.len() / 2);
        [first, second].map(|half| half.iter().copied().max().unwrap_or_default().into())
    }

    pub(crate) fn report(&self) -> String {
        let [first, second] = self.halves();
        let parts = self.0.chunks(self.0.len().div_ceil(10).max(1));
        let most: Vec<_> = parts.filter_map(|part| part.iter().copied().max()).collect();
        format!("at most {first} kB in the first half, and {second} kB in the second: {most:?}")
    }

    /// Fails if it has grown in a run of that length.
    pub(crate) fn check(&self, run: Duration) {
        let [first, second] = self.halves();
        let warm_up = if run < WARM_UP { WARM_UP_KILOBYTES } else { 0 };
        let most = first * (100 + GROWTH_MAX) / 100 + warm_up;
        assert!(second <= most, "{}", self.report());
    }
}
