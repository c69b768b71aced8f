//! What the engine found, as plain data: the only thing that reports read.
//!
//! Times are engine time (nanoseconds as in [`tmap_common::Record::time_ns`]); reports turn them
//! into wall-clock time with [`WallClock`]. Every estimate carries its standard error, and what
//! the data can't support is `None`.

use tmap_common::{Address, Tunnel};

use super::rtt;

pub use super::{
    clock::{boot::Boot, phase_point::PhasePoint},
    flows::{
        losses::Losses,
        unstamped::{Unstamped, UnstampedTotals},
    },
    os::OsReport,
    types::{Doubt, Estimate, Regime, Side},
};

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

/// Machines behind several addresses that are one.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// Address and machine number there, in order.
    pub members: Vec<(Address, u32)>,
    /// Probability of the weakest link that holds them together.
    pub probability: f64,
    /// What they were matched by.
    pub basis: Basis,
}

/// What two clocks were matched by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Equal readings: offset, and hence boot time.
    Offset,
    /// Equal phase and skew only.
    Phase,
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
    /// Times that a connection's counter was set to another value, and went on from there: a virtual
    /// machine was restored, another machine took the connection over, or a middlebox stepped in.
    pub tsval_jumps: u64,
    /// The tunnels that its segments came in, at most [`MAX_TUNNELS`].
    pub tunnels: Vec<Tunnel>,
    /// What was opened without time stamps, if anything: by machines that can't be told apart.
    pub unstamped: Option<Unstamped>,
    /// The machines, by number.
    pub machine_list: Vec<MachineReport>,
}

/// The most tunnels listed per address.
pub const MAX_TUNNELS: usize = 8;

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

/// The most ports listed per machine.
pub const MAX_PORTS: usize = 16;

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
    pub place: Option<PhasePoint>,
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
