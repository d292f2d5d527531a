//! How much a peer may ask for.

/// Bounds on what the other side can make this one do.
///
/// ```
/// use noctule_auth::ScramLimits;
///
/// // A small device that would compute for minutes, and knows its own server.
/// let limits = ScramLimits { max_iterations: 16_384, ..ScramLimits::default() };
/// assert_eq!(limits.min_iterations, 4096);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScramLimits {
    /// The fewest iterations that a client accepts: with fewer, whoever reads the exchange guesses
    /// passwords faster. 4096, which RFC 7677 calls the minimum.
    pub min_iterations: u32,
    /// The most iterations that a client computes, which takes time in proportion. 1,000,000.
    pub max_iterations: u32,
    /// The most bytes that a received message may have. 4096.
    pub max_message: usize,
}

impl Default for ScramLimits {
    fn default() -> Self {
        Self { min_iterations: 4096, max_iterations: 1_000_000, max_message: 4096 }
    }
}
