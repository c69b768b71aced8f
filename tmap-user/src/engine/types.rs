//! The engine's words: small types that every room uses. Nothing here computes more than a line.

use tmap_common::{Address, Segment};

/// A value with its standard error, in the unit of the field that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The best value.
    pub value: f64,
    /// One standard error.
    pub sigma: f64,
}

/// The standard error of a sum or difference: `hypot` without its care for numbers near the ends of
/// what a float holds, which standard errors aren't.
#[inline(always)]
pub fn joint(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

/// A point of the hull: when a TSval first arrived, and its unwrapped value.
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

/// TSvals are 32 bits wide.
pub const WRAP_TICKS: f64 = 4_294_967_296.0;

/// A difference of readings, the short way round: the wraps of 32 bits left out.
pub fn short_way(ticks: f64) -> f64 {
    ticks - WRAP_TICKS * (ticks / WRAP_TICKS).round()
}

/// What names a connection side: the sender's clock, seen on the way to one peer.
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

    /// The same connection seen from the other end.
    pub fn reversed(&self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port }
    }
}

/// Which end of a connection has the service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The machine listens on the port.
    Server,
    /// The machine connects to the port.
    Client,
}

/// How the hosts behind an address choose the random part of their TSvals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Regime {
    /// One offset for all connections of a machine: offsets tell machines apart, and give boot time.
    Global,
    /// One random offset per pair of addresses (Linux 4.11 to early 2026).
    PerPair,
    /// A random offset per connection (Linux from 2026, macOS, FreeBSD, OpenBSD).
    PerConnection,
    /// Some hosts behind the address in one regime, some in another.
    Mixed,
    /// The connections seen don't tell.
    Undetermined,
}

/// Why `machines` is `None`, or wider than one would like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Doubt {
    /// No connection has enough points for a clock.
    TooFewSegments,
    /// Offsets are random and there are too few connections to draw lines through.
    TooFewConnections,
    /// The capture's time stamps are coarser than the phases to be told apart.
    CaptureTooCoarse,
    /// Network jitter is as large as a tick.
    JitterTooLarge,
    /// Clocks that fit no straight line (old Apple systems).
    Unsteady,
    /// Offsets are random and this build or these options don't count machines by phase.
    OffsetsRandom,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// By offset only; random offsets are found out, but not sorted.
    Offsets,
    /// By phase as well, which costs far more.
    Phases,
}

/// Listings that a snapshot may carry beside the addresses.
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
    /// What two engines hold together.
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
