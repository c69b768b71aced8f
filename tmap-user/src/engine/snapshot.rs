//! What the engine found, as plain data: the only thing that reports read.
//!
//! Times are engine time (nanoseconds as in [`tmap_common::Record::time_ns`]); reports turn them
//! into wall-clock time with [`WallClock`]. Every estimate carries its standard error, and what
//! the data can't support is `None`.

use tmap_common::{Address, Tunnel};

use super::rtt;

pub use super::{
    place::Place,
    sibling::{Basis, Sibling},
};

/// A value with its standard error, in the unit of the field that holds it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The best value.
    pub value: f64,
    /// One standard error.
    pub sigma: f64,
}

/// How engine time maps to wall-clock time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Unix time minus engine time, in nanoseconds: 0 for files.
    pub unix_minus_engine_ns: i64,
}

/// Everything known at one moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Engine time of the snapshot.
    pub now_ns: u64,
    /// One entry per source address with time-stamped segments, in the order of the address.
    pub addresses: Vec<AddressReport>,
    /// Connection sides, where the caller asked for them.
    pub connections: Vec<ConnectionReport>,
    /// Machines that appear behind several addresses, where the caller asked for them.
    pub siblings: Vec<Sibling>,
    /// What bounded memory cost: nothing here is silent.
    pub losses: Losses,
    /// Connections opened without time stamps, over all addresses.
    pub unstamped: UnstampedTotals,
    /// Round trips, where the engine takes them.
    pub rtt: Option<rtt::Report>,
}

/// What the engine had to let go of to stay within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Flows evicted while still open.
    pub flows_evicted: u64,
    /// Finished connections dropped from an address's history.
    pub connections_forgotten: u64,
    /// Machines beyond the bound up to which addresses are compared with each other.
    pub machines_uncompared: u64,
    /// Times that a flow gave up every second of its points, for want of memory.
    pub flows_thinned: u64,
    /// Records of addresses beyond the address table's bound.
    pub records_unplaced: u64,
    /// Records of connections for which there was no room beside busy ones.
    pub records_refused: u64,
}

impl Losses {
    /// The losses of two engines together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            flows_evicted: self.flows_evicted + other.flows_evicted,
            connections_forgotten: self.connections_forgotten + other.connections_forgotten,
            machines_uncompared: self.machines_uncompared + other.machines_uncompared,
            flows_thinned: self.flows_thinned + other.flows_thinned,
            records_unplaced: self.records_unplaced + other.records_unplaced,
            records_refused: self.records_refused + other.records_refused,
        }
    }
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
    /// Offsets are random and the connections were not yet analysed by phase.
    OffsetsRandom,
}

/// One source address.
#[derive(Clone, Debug)]
pub struct AddressReport {
    /// The address.
    pub address: Address,
    /// How offsets behave here.
    pub regime: Regime,
    /// In one sentence, the evidence that decided the regime: counts, not adjectives.
    pub evidence: String,
    /// Best count of machines; `None` where it can't be told.
    pub machines: Option<u32>,
    /// The 90 % interval of that count; low is also what is certain at least.
    pub machines_low: Option<u32>,
    /// Upper end; `None` where the data sets no upper bound.
    pub machines_high: Option<u32>,
    /// A lower bound that needs no statistics: clocks seen at once within one address pair.
    pub machines_proven: Option<u32>,
    /// What limits the answer, if anything.
    pub doubt: Option<Doubt>,
    /// Connections (sides) seen from this address.
    pub connections: u64,
    /// Segments with TSval 0: a host that has timestamps but no clock to show.
    pub zero_tsvals: u64,
    /// The tunnels that its segments came in, at most [`MAX_TUNNELS`].
    pub tunnels: Vec<Tunnel>,
    /// What was opened without time stamps, if anything: by machines that can't be told apart.
    pub unstamped: Option<Unstamped>,
    /// The machines, by number.
    pub machine_list: Vec<MachineReport>,
}

/// Connections that an address opened without time stamps. A host sends them on every connection or
/// on none, so it was none of the machines known; whether one did it or many can't be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unstamped {
    /// How many; repeated SYNs count once as far as they are remembered.
    pub connections: u64,
    /// The latest one's handshake, in p0f's notation.
    pub signature: Option<String>,
}

/// [`Unstamped`] over all addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnstampedTotals {
    /// Records that were SYNs without Timestamps.
    pub records: u64,
    /// Connections opened so.
    pub connections: u64,
    /// Addresses that never sent a time stamp.
    pub addresses_only: u64,
    /// Connections of addresses beyond the address table's bound.
    pub unplaced: u64,
}

impl UnstampedTotals {
    /// The totals of two engines together.
    pub(super) fn plus(&self, other: &Self) -> Self {
        Self {
            records: self.records + other.records,
            connections: self.connections + other.connections,
            addresses_only: self.addresses_only + other.addresses_only,
            unplaced: self.unplaced + other.unplaced,
        }
    }
}

/// The most tunnels listed per address.
pub const MAX_TUNNELS: usize = 8;

impl AddressReport {
    /// The average uptime of its machines in seconds at `now_ns`, and over how many machines it is: the
    /// mean of `now - boot` over those whose boot time is known, each counted once whatever its load.
    pub fn average_uptime_s(&self, now_ns: u64) -> Option<(f64, u64)> {
        let now_s = now_ns as f64 / 1e9;
        let machines = self.machine_list.iter();
        let uptimes: Vec<f64> =
            machines.filter_map(|machine| Some(now_s - machine.boot?.engine_s.value)).collect();
        let mean_s = uptimes.iter().sum::<f64>() / uptimes.len() as f64;
        (!uptimes.is_empty()).then_some((mean_s, uptimes.len() as u64))
    }
}

/// One machine behind an address.
#[derive(Clone, Debug)]
pub struct MachineReport {
    /// Number within the address, from 1; stable from one snapshot to the next.
    pub id: u32,
    /// Nominal tick rate in Hz (one of the usual rates).
    pub tick_hz: f64,
    /// Measured tick rate, the original's `a`, in Hz.
    pub rate_hz: Estimate,
    /// Deviation of the rate from nominal, against the sensor's clock, in ppm.
    pub skew_ppm: Option<Estimate>,
    /// The clock at `reference_ns`, the original's `b`: ticks modulo 2^32. Global regime only.
    pub offset_ticks: Option<Estimate>,
    /// Sub-tick phase at `reference_ns`, in ticks, 0 to 1.
    pub phase_ticks: Option<Estimate>,
    /// The engine time to which offset and phase refer.
    pub reference_ns: u64,
    /// When the counter was zero; only where the offset means something.
    pub boot: Option<Boot>,
    /// Connections assigned; posterior-weighted where assignment is uncertain.
    pub connections: f64,
    /// Share of the address's assigned connections, in percent.
    pub load_percent: f64,
    /// Service ports with their shares, the largest first, at most [`MAX_PORTS`].
    pub ports: Vec<PortShare>,
    /// First and last segment, engine time.
    pub first_seen_ns: u64,
    /// See `first_seen_ns`.
    pub last_seen_ns: u64,
    /// What it runs, by clock, handshake and TTL.
    pub os: OsReport,
}

/// A guess at an operating system.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OsReport {
    /// The name; [`UNKNOWN`](super::os::UNKNOWN) where nothing is probable enough.
    pub name: String,
    /// How probable that is, 0 to 1; 0 where it is unknown.
    pub confidence: f64,
    /// Other names, the most probable first, each with its probability. Where `name` is that of a
    /// whole family, its members are among them.
    pub alternatives: Vec<(String, f64)>,
    /// The handshake that most of its connections showed, in p0f's notation.
    pub signature: Option<String>,
    /// Routers between it and the sensor, where the TTL tells.
    pub hops: Option<u8>,
}

/// The most ports listed per machine.
pub const MAX_PORTS: usize = 16;

/// When a machine's counter was zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boot {
    /// Engine time, in seconds (may be negative: before the sensor's own time zero).
    pub engine_s: Estimate,
    /// The counter wraps: the true time may be earlier by any multiple of this, in seconds.
    pub modulus_s: f64,
}

/// A service port and its share of a machine's connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PortShare {
    /// The port number.
    pub port: u16,
    /// Whose port: the machine's own (it serves) or its peers' (it is the client).
    pub side: Side,
    /// In percent.
    pub share_percent: f64,
}

/// Which end of a connection has the service port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// The machine listens on the port.
    Server,
    /// The machine connects to the port.
    Client,
}

/// One connection side that carries timestamps.
#[derive(Clone, Debug)]
pub struct ConnectionReport {
    /// Sender.
    pub src: Address,
    /// Sender's port.
    pub src_port: u16,
    /// Receiver.
    pub dst: Address,
    /// Receiver's port.
    pub dst_port: u16,
    /// The machine's number within `src`; `None` where it can't be told.
    pub machine: Option<u32>,
    /// Probability that this is the right machine, where one is named.
    pub probability: Option<f64>,
    /// The tunnel that its latest segment came in; the addresses are those inside.
    pub tunnel: Option<Tunnel>,
    /// Time-stamped segments seen.
    pub segments: u64,
    /// Measured tick rate, where the data supports one.
    pub rate_hz: Option<Estimate>,
    /// Where it lies on the cylinder of time and phase, by its machine's rate, or else by its own.
    pub place: Option<Place>,
}

/// What happened, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A machine was told apart for the first time.
    NewMachine {
        /// Behind which address.
        address: Address,
        /// How many are known there now.
        known: u32,
        /// The machine.
        machine: Box<MachineReport>,
    },
    /// A new counter started while a known machine fell silent: most likely that machine rebooted.
    Reboot {
        /// Behind which address.
        address: Address,
        /// The machine's number before.
        before: u32,
        /// Its number since.
        after: u32,
        /// When the new counter was zero, engine time in seconds.
        at_s: Estimate,
    },
    /// A known machine fell silent, and a counter like its own but for an offset is seen since: most likely
    /// that machine's clock was set, or stood still while it slept.
    ClockMoved {
        /// Behind which address.
        address: Address,
        /// The machine's number before.
        before: u32,
        /// Its number since.
        after: u32,
        /// By how much, in seconds; negative where the clock fell behind.
        by_s: Estimate,
    },
    /// Round trips, where the engine takes them.
    Rtt(Box<rtt::News>),
    /// Offsets turned out to be random behind this address, so offsets don't count machines.
    OffsetsRandom {
        /// The address.
        address: Address,
        /// Connections seen so far.
        connections: u64,
    },
}

impl Event {
    /// The address that it is about; round trips are about two.
    pub fn address(&self) -> Option<Address> {
        match self {
            Self::NewMachine { address, .. }
            | Self::Reboot { address, .. }
            | Self::ClockMoved { address, .. }
            | Self::OffsetsRandom { address, .. } => Some(*address),
            Self::Rtt(_) => None,
        }
    }
}
