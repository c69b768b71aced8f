//! Settings of round trips.

use crate::engine::tsval::IDLE_TIMEOUT_NS;

/// Settings of round-trip measurement: bounds, and choices of the user.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether echoes of bare acknowledgements are samples, too.
    pub quiet: bool,
    /// The longest round trip, in nanoseconds: a later echo is no sample.
    pub expire_ns: u64,
    /// A connection is finished after this time without a segment, in nanoseconds.
    pub idle_timeout_ns: u64,
    /// The most connections held.
    pub max_connections: usize,
    /// The most TSvals that wait for their echo, per direction.
    pub max_waiting: usize,
    /// The most histograms held for connections and prefixes; others keep a selection of values.
    pub max_histograms: usize,
    /// The most prefixes held.
    pub max_prefixes: usize,
    /// Length of an IPv4 prefix, in bits.
    pub prefix_ip4: u8,
    /// Length of an IPv6 prefix, in bits.
    pub prefix_ip6: u8,
    /// Whether single samples are handed out at reviews.
    pub stream: bool,
    /// The length of the intervals whose round trips are handed out, in nanoseconds; `None` for no
    /// intervals.
    pub interval_ns: Option<u64>,
    /// Whether machines are analysed and announced on the way, too. Otherwise only summaries analyse
    /// addresses.
    pub machines: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quiet: false,
            expire_ns: 10_000_000_000,
            idle_timeout_ns: IDLE_TIMEOUT_NS,
            max_connections: 1 << 16,
            max_waiting: 128,
            max_histograms: 4_096,
            max_prefixes: 1 << 14,
            prefix_ip4: 24,
            prefix_ip6: 48,
            stream: true,
            interval_ns: None,
            machines: false,
        }
    }
}

impl Options {
    /// These settings with other bounds: `share` tells how much of a bound is left.
    #[must_use]
    pub fn bounded(self, share: impl Fn(usize) -> usize) -> Self {
        Self {
            max_connections: share(self.max_connections).max(1),
            max_histograms: share(self.max_histograms),
            max_prefixes: share(self.max_prefixes).max(1),
            ..self
        }
    }

    /// These settings for round trips beside machines, of which distributions are shown and no single
    /// ones.
    #[must_use]
    pub fn for_pictures(self) -> Self {
        Self { stream: false, machines: true, ..self }
    }
}
