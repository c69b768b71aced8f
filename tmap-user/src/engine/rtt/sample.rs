//! One round trip, and the counts of all segments and echoes.

use crate::engine::types::FlowKey;

/// One round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Engine time of the echo, in nanoseconds.
    pub time_ns: u64,
    /// The echo's direction: `src` is the host that answered.
    pub key: FlowKey,
    /// The TSval that was echoed.
    pub tsval: u32,
    /// Time from the sensor to the host and back, in nanoseconds.
    pub rtt_ns: u64,
    /// The round trip that the host itself computes, in its ticks; `None` where it isn't known.
    pub host_ticks: Option<u32>,
    /// The host's tick rate in Hz; `None` where it isn't known yet.
    pub tick_hz: Option<f64>,
}

/// What became of segments and echoes: every case that gives no sample has a counter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Time-stamped segments, suppressed ones included.
    pub segments: u64,
    /// Round trips.
    pub samples: u64,
    /// First echoes of values that only segments without a request for an answer had carried.
    pub unasked: u64,
    /// TSvals that an acknowledgement of a later one covered.
    pub passed_over: u64,
    /// First echoes that may be of more than one segment.
    pub ambiguous: u64,
    /// TSvals echoed too late or not at all.
    pub expired: u64,
    /// Echoes that came after a newer one.
    pub late_echoes: u64,
    /// Echoes of values that may have been sent but weren't seen.
    pub unseen: u64,
    /// TSvals that weren't tracked, because too many waited for their echo.
    pub untracked: u64,
    /// Segments that came after one with a newer TSval.
    pub reordered: u64,
    /// Echoes stamped earlier than what they echo: the capture is out of order, or two clocks stamped it.
    pub disordered: u64,
    /// TSvals that went back beyond reordering.
    pub back: u64,
    /// TSvals that jumped ahead.
    pub leaps: u64,
    /// SYNs on reused ports whose TSval lies before the earlier connection's.
    pub reused_back: u64,
    /// Echoes of values that can't have been sent.
    pub never_sent: u64,
    /// Connections whose two directions had different addresses, as across a NAT, and were joined.
    pub translated: u64,
    /// Connections evicted to stay within the bound.
    pub connections_forgotten: u64,
    /// Of these, connections without a round trip, or with that of a SYN-ACK alone, as of scans and floods.
    pub unproven_forgotten: u64,
    /// Of those forgotten, connections with round trips that were not closed and had a segment within 30 s:
    /// nothing else was left.
    pub active_forgotten: u64,
    /// Samples of prefixes beyond the bound.
    pub prefixes_unplaced: u64,
    /// Samples not handed out one by one, because there were too many.
    pub samples_unshown: u64,
    /// Anomalies that the list of a report leaves out. Those that were too many to be handed out at a review
    /// are among them.
    pub anomalies_unlisted: u64,
}
