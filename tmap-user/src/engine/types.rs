//! The engine's words: small types that every room uses. Nothing here computes more than a line or two.

use tmap_common::{Address, Segment};

/// A value with its standard error, in the unit of the field that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The best value.
    pub value: f64,
    /// One standard error.
    pub sigma: f64,
}

impl Estimate {
    /// Whether both may be estimates of one value that wanders by up to `apart`, as far as so many joint
    /// standard errors reach.
    pub fn may_equal(self, other: Self, apart: f64, deviations: f64) -> bool {
        (self.value - other.value).abs() <= apart + deviations * joint(self.sigma, other.sigma)
    }
}

/// The 90 % interval of a normal distribution is this many standard deviations long on either side.
pub const NINE_IN_TEN: f64 = 1.645;

/// The sum of the squares of the distances of values from their mean; 0 without any.
pub fn squares(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let mean = values.clone().sum::<f64>() / values.clone().count().max(1) as f64;
    values.map(|value| (value - mean).powi(2)).sum()
}

/// These values in ascending order.
pub fn in_order(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}

/// The standard error of a sum or difference of two independent values with errors `a` and `b`.
///
/// `hypot` would also guard against overflow and underflow, which standard errors don't cause.
#[inline(always)]
pub fn joint(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

/// The first arrival of a TSval: when it came, and its unwrapped value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Point {
    /// Arrival, engine time in nanoseconds.
    pub time_ns: u64,
    /// TSval, unwrapped: the first of a connection is its raw value, later ones may pass 2^32.
    pub ticks: i64,
}

/// Seconds from `from_ns` to `to_ns`, negative where `to_ns` is earlier.
pub fn seconds_between(from_ns: u64, to_ns: u64) -> f64 {
    // Wrapping subtraction read as signed is exact for any two times less than 292 years apart.
    to_ns.wrapping_sub(from_ns).cast_signed() as f64 * 1e-9
}

/// The number of ticks after which a TSval wraps: it is 32 bits wide (RFC 7323, section 3.2).
pub const WRAP_TICKS: f64 = 4_294_967_296.0;

/// A difference of counter values modulo 2^32 ticks, as the equivalent nearest to zero.
pub fn wrap_difference(ticks: f64) -> f64 {
    ticks - WRAP_TICKS * (ticks / WRAP_TICKS).round()
}

/// The logarithm of the mean of what these are the logarithms of: of likelihoods whose logarithms are far
/// below what `exp` can hold.
pub fn log_mean_exp(logs: &[f64]) -> f64 {
    let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + (logs.iter().map(|log| (log - top).exp()).sum::<f64>() / logs.len() as f64).ln()
}

/// The logarithm of the sum of what these are the logarithms of, as [`log_mean_exp`]; of nothing but what is
/// impossible, it is that of the impossible.
pub fn log_sum_exp(logs: &[f64]) -> f64 {
    let is_possible = logs.iter().any(|log| *log > f64::NEG_INFINITY);
    if is_possible { log_mean_exp(logs) + (logs.len() as f64).ln() } else { f64::NEG_INFINITY }
}

/// The key of a connection side: one sender's segments to one receiver, by addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    /// Sender.
    pub src: Address,
    /// Receiver.
    pub dst: Address,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver's port.
    pub dst_port: u16,
}

impl FlowKey {
    /// The side that `segment` belongs to.
    pub fn of(segment: &Segment) -> Self {
        Self { src: segment.src, dst: segment.dst, src_port: segment.src_port, dst_port: segment.dst_port }
    }

    /// The key of the opposite side of the same connection.
    pub fn reversed(&self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port }
    }
}

/// Which end of a connection has the service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The end that listens on the service port.
    Server,
    /// The end that connects to the service port.
    Client,
}

/// How the machines behind an address choose the offsets of their TSvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Regime {
    /// One offset for all connections of a machine: offsets tell machines apart, and give boot time.
    Global,
    /// One random offset per pair of addresses (Linux 4.11 to early 2026).
    PerPair,
    /// A random offset per connection (Linux from 2026, macOS, FreeBSD, OpenBSD).
    PerConnection,
    /// Some machines behind the address are in one regime, some in another.
    Mixed,
    /// The connections seen so far don't show the regime.
    Undetermined,
}

/// Why the number of machines isn't known, or why its interval is wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// No connection, or too few of them, have enough points for a clock.
    TooFewSegments,
    /// Offsets are random, and there are too few connections to fit lines through their phases.
    TooFewConnections,
    /// The capture's time stamps are too coarse to tell phases apart, or stand still.
    CaptureTooCoarse,
    /// Offsets are random, and segments arrive in step with the tick: phases are those of the network's grid.
    InStep,
    /// Network jitter is as large as a tick.
    JitterTooLarge,
    /// Some clocks have no constant rate (old Apple systems).
    Unsteady,
    /// Offsets are random, and connections are so far apart in time that clocks can't be followed from one
    /// to the next.
    TooFarApart,
    /// Every TSval is 0, which is no clock (Windows 2000 in its SYNs, and middleboxes).
    ZeroTsvals,
    /// Offsets are random, and this address was not yet analysed by phase.
    OffsetsRandom,
    /// The search for machines spent its budget of work or memory, so machines may be missing.
    BudgetSpent,
    /// Many connections never completed a handshake, unlike others of the address: scans, forged segments, or
    /// connections that are answered on another path. The machines are those of the others.
    Unanswered,
    /// Offsets are random, and machines explain the clocks no better than unrelated phases do: there are very
    /// many machines, or phases are forged.
    Unrelated,
    /// Many connections show two clocks each: segments are forged, or a middlebox changes them. Where the
    /// forger sees the connections, the count may be wrong.
    Contradicted,
    /// Offsets are random, and some lines have connections for a part of the time only: machines came or
    /// went, or clocks stood still or changed their rate. The count takes each machine to be there all along.
    ComeAndGo,
    /// Offsets are random, and the capture is longer than clocks can be followed: machines are those of its
    /// busiest hours.
    BusiestHours,
    /// The analysis was not let end, because somebody waited for an answer.
    Interrupted,
}

impl Doubt {
    /// Whether it is about when machines are there: a count comes with it, and any other doubt says more.
    pub fn is_of_time(self) -> bool {
        matches!(self, Self::ComeAndGo | Self::BusiestHours)
    }

    /// Whether it says at least as much of an address as another doubt: what is about time says least, and
    /// clocks without a constant rate are counted beside others, whatever is the matter with these.
    pub fn says_as_much_as(self, other: Self) -> bool {
        let weight = |doubt: Self| match doubt {
            Self::ComeAndGo | Self::BusiestHours => 0,
            Self::Unsteady => 1,
            _ => 2,
        };
        weight(self) >= weight(other)
    }
}

/// How deep an analysis pass goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// By offset only. The pass recognises random offsets but doesn't assign them to machines.
    Offsets,
    /// By phase as well, which costs far more.
    Phases,
}

/// The listings that the caller wants in a snapshot beside the addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Every connection side.
    pub connections: bool,
    /// Machines that appear behind several addresses.
    pub siblings: bool,
}

/// What the engine holds, for statistics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Holdings {
    /// Records observed since the start.
    pub records: u64,
    /// Open flows.
    pub flows: usize,
    /// Connections remembered, open and finished.
    pub connections: usize,
    /// Source addresses.
    pub addresses: usize,
    /// Heap memory in use, in bytes.
    pub memory_bytes: usize,
}

impl Holdings {
    /// The sum of what two engines hold.
    #[must_use]
    pub fn plus(self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            flows: self.flows + other.flows,
            connections: self.connections + other.connections,
            addresses: self.addresses + other.addresses,
            memory_bytes: self.memory_bytes + other.memory_bytes,
        }
    }
}
