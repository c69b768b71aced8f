//! Settings of round trips.

/// Settings, all of them bounds or choices that the user may make.
#[derive(Clone, Debug)]
pub struct Options {
    /// Take echoes of bare acknowledgements as samples, too.
    pub quiet: bool,
    /// An echo later than this after its TSval is no round trip, in nanoseconds.
    pub expire_ns: u64,
    /// A connection silent for this long is finished, in nanoseconds.
    pub idle_timeout_ns: u64,
    /// The most connections held.
    pub max_connections: usize,
    /// The most TSvals waiting for their echo, per direction.
    pub max_waiting: usize,
    /// The most histograms held for connections; others keep a selection of values.
    pub max_histograms: usize,
    /// The most prefixes held.
    pub max_prefixes: usize,
    /// Length of an IPv4 prefix.
    pub prefix_ip4: u8,
    /// Length of an IPv6 prefix.
    pub prefix_ip6: u8,
    /// Whether single samples are handed out at reviews.
    pub stream: bool,
    /// How often the round trips of an interval are handed out, in nanoseconds; `None`: never.
    pub interval_ns: Option<u64>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quiet: false,
            expire_ns: 10_000_000_000,
            idle_timeout_ns: 300_000_000_000,
            max_connections: 1 << 16,
            max_waiting: 128,
            max_histograms: 4_096,
            max_prefixes: 1 << 14,
            prefix_ip4: 24,
            prefix_ip6: 48,
            stream: true,
            interval_ns: None,
        }
    }
}
