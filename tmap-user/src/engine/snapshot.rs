//! What the engine found, as plain data: the only thing that reports read.
//!
//! Times are engine time (nanoseconds as in [`tmap_common::Record::time_ns`]); reports turn them
//! into wall-clock time. Every estimate carries its standard error, and what the data can't support is
//! `None`.

use std::collections::BTreeSet;

use tmap_common::{Address, Tunnel};

use super::rtt;

pub use super::{
    clock::{boot::Boot, phase_point::PhasePoint},
    flows::{
        losses::Losses,
        unstamped::{Unstamped, UnstampedTotals},
    },
    os::OsReport,
    ports::{boundary::Told as Boundary, rule::Rule},
    types::{Doubt, Estimate, Point, Regime, Side},
};

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
    /// What the engine evicted, refused or thinned to stay within its memory bounds.
    pub losses: Losses,
    /// Connections opened without time stamps, over all addresses.
    pub unstamped: UnstampedTotals,
    /// Round trips; `None` where the engine doesn't measure them.
    pub rtt: Option<rtt::Report>,
}

impl Snapshot {
    /// How many addresses were not analysed to the end, because somebody waits.
    pub fn interrupted(&self) -> usize {
        self.addresses.iter().filter(|report| report.doubt == Some(Doubt::Interrupted)).count()
    }
}

/// One machine that stands behind several addresses.
#[derive(Clone, Debug, PartialEq)]
pub struct Sibling {
    /// Each address with the machine's number there, in order.
    pub members: Vec<(Address, u32)>,
    /// Probability of the weakest link between the members, 0 to 1.
    pub probability: f64,
    /// The evidence that links the members.
    pub basis: Basis,
}

/// The evidence that two clocks are one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// Equal counter values: equal offset, and hence equal boot time.
    Offset,
    /// Equal phase and skew only.
    Phase,
}

/// One source address.
#[derive(Clone, Debug)]
pub struct AddressReport {
    /// The address.
    pub address: Address,
    /// How the machines here choose offsets.
    pub regime: Regime,
    /// The evidence that decided the regime, as one sentence of counts.
    pub evidence: String,
    /// Best count of machines; `None` where it isn't known.
    pub machines: Option<u32>,
    /// Lower end of the count's 90 % interval; `None` where no clock was seen.
    pub machines_low: Option<u32>,
    /// Upper end of the count's 90 % interval; `None` where the data sets no upper bound.
    pub machines_high: Option<u32>,
    /// A lower bound that needs no statistics: clocks seen at once within one pair of addresses; or
    /// machines whose source ports break at different times modulo ten seconds, as many as
    /// [`AddressReport::machines_low`] allows.
    pub machines_proven: Option<u32>,
    /// What limits the count, if anything does.
    pub doubt: Option<Doubt>,
    /// Connection sides seen from this address.
    pub connections: u64,
    /// Those of them that made room for others, so that they are held no more.
    pub connections_forgotten: u64,
    /// Those of the forgotten ones of which is known whose they were: machines keep their number, and nothing
    /// else of them.
    pub connections_forgotten_told: u64,
    /// Those that were seen once more, inside a tunnel or before and after their addresses were rewritten:
    /// they count as a machine's once.
    pub connections_seen_twice: u64,
    /// Segments with timestamps of the connection sides held.
    pub segments: u64,
    /// Segments with TSval 0: the option is there, but shows no clock.
    pub zero_tsvals: u64,
    /// Times that a connection's counter was set to another value, and went on from there: a virtual
    /// machine was restored, another machine took the connection over, or a middlebox stepped in.
    pub tsval_jumps: u64,
    /// The tunnels that its segments came in, at most [`MAX_TUNNELS`].
    pub tunnels: Vec<Tunnel>,
    /// Connections opened without time stamps; `None` where there are none.
    pub unstamped: Option<Unstamped>,
    /// The machines that opened them, as far as source ports tell; `None` where these tell nothing.
    pub unstamped_machines: Option<PortCount>,
    /// What the source ports of the connections that it opened show; `None` where it opened few.
    pub source_ports: Option<SourcePorts>,
    /// Connections that are no machine's; `None` where there are none.
    pub unassigned: Option<Unassigned>,
    /// Engine time of the first segment of a connection held, in nanoseconds.
    pub first_seen_ns: u64,
    /// Engine time of the latest segment, in nanoseconds.
    pub last_seen_ns: u64,
    /// The machines, by number.
    pub machine_list: Vec<MachineReport>,
}

/// What is known of connections that are no machine's, because they show no clock or because clocks can't be
/// told apart.
#[derive(Clone, Debug)]
pub struct Unassigned {
    /// Their number.
    pub connections: u64,
    /// Their segments with timestamps.
    pub segments: u64,
    /// Those of which nothing tells the tick rate.
    pub without_rate: u64,
    /// Those that never completed a handshake, unlike others of the address.
    pub unanswered: u64,
    /// How long the longest of them lasted, in seconds.
    pub longest_s: f64,
    /// The most different TSvals of any of them.
    pub most_tsvals: u64,
    /// Their operating system, by handshake and TTL alone.
    pub os: OsReport,
    /// Their service ports with shares, the largest first, at most [`MAX_PORTS`].
    pub ports: Vec<PortShare>,
}

/// What the source ports of an address show: which of its connections one host opened.
#[derive(Clone, Debug, PartialEq)]
pub struct SourcePorts {
    /// Connections that it opened, as far as they are held: those with timestamps, or those without.
    pub openings: u64,
    /// The rules by which hosts here choose ports, the one with most evidence first; empty where ports show
    /// none, because there are few SYNs, or because a NAT draws ports.
    pub rules: Vec<RuleSeen>,
    /// The most hosts that certainly sent SYNs at once, each with an address of its own behind this one; 0
    /// where ports show none.
    pub hosts_at_once: u64,
}

/// How many machines without timestamps there are, by source ports alone.
#[derive(Clone, Debug, PartialEq)]
pub struct PortCount {
    /// The fewest machines that explain their walks: fewer have too few boundaries.
    pub low: u32,
    /// The most: each walk, or SYN that is in none, may be another machine's. `None` where SYNs were dropped
    /// for lack of room.
    pub high: Option<u32>,
    /// What their ports show.
    pub ports: SourcePorts,
}

/// A rule, with the evidence that hosts follow it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RuleSeen {
    /// The rule.
    pub rule: Rule,
    /// SYNs that could go on from an earlier one.
    pub could: u64,
    /// Those that do.
    pub linked: u64,
    /// Those that would if ports were drawn at random.
    pub by_chance: f64,
    /// Log evidence against ports drawn at random, in nats.
    pub nats: f64,
}

/// What the source ports of a machine's own connections show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MachinePorts {
    /// The rule that most of them follow.
    pub rule: Rule,
    /// Connections that the machine opened.
    pub openings: u64,
    /// Those that go on from an earlier one of the same machine.
    pub linked: u64,
    /// When its walks begin anew, counted from [`MachineReport::reference_ns`]; `None` where that is unknown.
    pub boundary: Option<Boundary>,
}

/// The most tunnels listed per address.
pub const MAX_TUNNELS: usize = 8;

impl AddressReport {
    /// A report that tells nothing of this address.
    pub fn nothing(address: Address) -> Self {
        Self {
            address,
            regime: Regime::Undetermined,
            evidence: String::new(),
            machines: None,
            machines_low: None,
            machines_high: None,
            machines_proven: None,
            doubt: None,
            connections: 0,
            connections_forgotten: 0,
            connections_forgotten_told: 0,
            connections_seen_twice: 0,
            segments: 0,
            zero_tsvals: 0,
            tsval_jumps: 0,
            tunnels: Vec::new(),
            unstamped: None,
            unstamped_machines: None,
            source_ports: None,
            unassigned: None,
            first_seen_ns: 0,
            last_seen_ns: 0,
            machine_list: Vec::new(),
        }
    }

    /// The average uptime of its machines in seconds at `now_ns`, and over how many machines it is: the
    /// mean of `now - boot` over those whose boot time is known, each counted once whatever its load. A
    /// machine that most likely rebooted counts as what it is since.
    pub fn average_uptime_s(&self, now_ns: u64) -> Option<(f64, u64)> {
        average_uptime_s(&self.machine_list, now_ns)
    }
}

fn average_uptime_s(machines: &[MachineReport], now_ns: u64) -> Option<(f64, u64)> {
    let now_s = now_ns as f64 / 1e9;
    let former = former_lives(machines);
    let current = machines.iter().filter(|machine| !former.contains(&machine.id));
    let uptimes: Vec<f64> =
        current.filter_map(|machine| Some(now_s - machine.boot?.engine_s.value)).collect();
    let mean_s = uptimes.iter().sum::<f64>() / uptimes.len() as f64;
    (!uptimes.is_empty()).then_some((mean_s, uptimes.len() as u64))
}

/// The numbers of machines that are known under another number since a reboot: each is the only one that had
/// fallen silent when another counter of its rate was zero.
fn former_lives(machines: &[MachineReport]) -> BTreeSet<u32> {
    let mut booted: Vec<_> =
        machines.iter().filter_map(|new| Some((new, new.boot?.engine_s.value))).collect();
    booted.sort_by(|(_, a_s), (_, b_s)| a_s.total_cmp(b_s));
    let mut former = BTreeSet::new();
    for (new, _) in booted {
        let mut silent = machines.iter().filter(|old| !former.contains(&old.id) && old.may_have_become(new));
        if let (Some(old), None) = (silent.next(), silent.next()) {
            former.insert(old.id);
        }
    }
    former
}

/// How long before a machine's last segment its next boot may seem to be, in seconds: a boot time is only
/// known within its error, and machines send while they shut down.
const OVERLAP_S: f64 = 2.0;

/// The largest standard error of a boot time that shows a reboot, in seconds.
const MAX_BOOT_SIGMA_S: f64 = 60.0;

/// How far a restart may change a skew, in ppm: the kernel calibrates its clock anew.
const CALIBRATION_PPM: f64 = 100.0;

/// How far two skews may differ beyond the expected change, in joint standard errors.
const SKEW_DEVIATION: f64 = 4.0;

impl MachineReport {
    /// Whether the machine may have rebooted and be `new` since: it was seen before the counter of `new` was
    /// zero, and not since.
    pub(super) fn may_have_become(&self, new: &Self) -> bool {
        let Some(Boot { engine_s, .. }) = new.boot.filter(|boot| boot.engine_s.sigma <= MAX_BOOT_SIGMA_S)
        else {
            return false;
        };
        self.id != new.id
            && self.tick_hz == new.tick_hz
            && self.boot.is_some()
            && self.first_seen_ns as f64 * 1e-9 < engine_s.value
            && self.last_seen_ns as f64 * 1e-9 <= engine_s.value + OVERLAP_S + engine_s.sigma
            && self.skews_within(new, CALIBRATION_PPM)
    }

    /// Whether two machines' skews differ by at most `most_ppm` plus their errors; true where one isn't
    /// known.
    pub(super) fn skews_within(&self, other: &Self, most_ppm: f64) -> bool {
        let skews_ppm = self.skew_ppm.zip(other.skew_ppm);
        skews_ppm.is_none_or(|(a, b)| a.may_equal(b, most_ppm, SKEW_DEVIATION))
    }
}

/// One machine behind an address.
#[derive(Clone, Debug)]
pub struct MachineReport {
    /// Number within the address, from 1; stable from one snapshot to the next.
    pub id: u32,
    /// Nominal tick rate in Hz, one of the usual rates; 0 for an unsteady clock.
    pub tick_hz: f64,
    /// The probability that this is its nominal rate.
    pub tick_probability: f64,
    /// Measured tick rate, the original's `a`, in Hz.
    pub rate_hz: Estimate,
    /// Deviation of the rate from nominal, against the sensor's clock, in ppm; `None` where it is too
    /// uncertain.
    pub skew_ppm: Option<Estimate>,
    /// The counter value at `reference_ns`, the original's `b`: ticks modulo 2^32. `None` outside the
    /// global regime.
    pub offset_ticks: Option<Estimate>,
    /// The fraction of a tick at `reference_ns`, 0 to 1; `None` where machines are told by offset. See
    /// [`Self::known_phase_ticks`].
    pub phase_ticks: Option<Estimate>,
    /// Whether connections are its own with probabilities only, because no offset tells whose they are.
    pub is_weighed: bool,
    /// The engine time to which offset and phase refer, in nanoseconds.
    pub reference_ns: u64,
    /// When the counter was zero; `None` outside the global regime.
    pub boot: Option<Boot>,
    /// When the counter was zero if the offset is the machine's own, with the probability of that; `None`
    /// where the regime is known.
    pub boot_if_fixed: Option<(Boot, f64)>,
    /// Connections assigned; posterior-weighted where assignment is uncertain.
    pub connections: f64,
    /// Share of the address's assigned connections, in percent.
    pub load_percent: f64,
    /// The ends of that share, in percent: how few and how many of the connections that any machine may have
    /// would be this one's if such connections were not shared out among machines as the others are.
    /// Forgotten ones may be any machine's, too, unless machines keep their number.
    pub load_low_percent: f64,
    /// The upper end.
    pub load_high_percent: f64,
    /// Service ports with their shares, the largest first, at most [`MAX_PORTS`]. Those are left out of which
    /// no connection is surely the machine's.
    pub ports: Vec<PortShare>,
    /// What its source ports show; `None` where they show nothing.
    pub source_ports: Option<MachinePorts>,
    /// Peers with the most connections, at most [`MAX_PEERS`]. Those are left out of which no connection is
    /// surely the machine's.
    pub peers: Vec<PeerShare>,
    /// The number of all such peers.
    pub peers_total: u64,
    /// Engine time of the first segment, in nanoseconds.
    pub first_seen_ns: u64,
    /// Engine time of the latest segment, in nanoseconds.
    pub last_seen_ns: u64,
    /// The operating system, by clock, handshake and TTL.
    pub os: OsReport,
}

/// The standard deviation of a phase that may be anything, in ticks: that of a uniform law over one tick.
const ANY_PHASE_TICKS: f64 = 0.288_675;

impl MachineReport {
    /// The phase at `reference_ns`, in ticks, where anything is known of it: a line whose drift isn't known
    /// may have any phase far from its connections.
    pub fn known_phase_ticks(&self) -> Option<Estimate> {
        self.phase_ticks.filter(|phase| phase.sigma < ANY_PHASE_TICKS)
    }
}

/// The most ports listed per machine.
pub const MAX_PORTS: usize = 16;

/// The most peers listed per machine.
pub const MAX_PEERS: usize = 16;

/// A peer and the connections that a machine has with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PeerShare {
    /// The peer's address.
    pub address: Address,
    /// Connections; a sum of probabilities where assignment is uncertain.
    pub connections: f64,
}

/// A service port and its share of a machine's connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PortShare {
    /// The port number.
    pub port: u16,
    /// The machine's role: server where the port is its own, client where it is its peers'.
    pub side: Side,
    /// Share of the machine's connections, in percent.
    pub share_percent: f64,
    /// Connections; a sum of probabilities where assignment is uncertain.
    pub connections: f64,
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
    /// The machine's number within `src`; `None` where the connection isn't assigned.
    pub machine: Option<u32>,
    /// Probability that this is the right machine, 0 to 1; `None` where none is named.
    pub probability: Option<f64>,
    /// The tunnel that its latest segment came in; the addresses are those inside.
    pub tunnel: Option<Tunnel>,
    /// Time-stamped segments seen.
    pub segments: u64,
    /// Data in them, in bytes; less where IP headers leave the length open.
    pub payload_bytes: u64,
    /// Which end the sender is: known from the handshake, or else from the ports.
    pub side: Side,
    /// Engine time of the first segment, in nanoseconds.
    pub first_seen_ns: u64,
    /// Engine time of the latest segment, in nanoseconds.
    pub last_seen_ns: u64,
    /// Measured tick rate in Hz; `None` where the data supports none.
    pub rate_hz: Option<Estimate>,
    /// Its phase point, by its machine's rate or else by its own; `None` where it has too few points.
    pub place: Option<PhasePoint>,
    /// Its counter at both ends; `None` where it shows no value, or nothing tells the tick rate.
    pub counter: Option<CounterSpan>,
    /// The SYN before its own in a walk of source ports; `None` where it goes on from none.
    pub goes_on_from: Option<Step>,
}

/// A SYN from which another one goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// When it came, engine time in nanoseconds.
    pub time_ns: u64,
    /// Its source port.
    pub port: u16,
}

/// A connection's counter, from the first segment held to the last that tells most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CounterSpan {
    /// Its beginning: engine time, and the TSval then.
    pub first: Point,
    /// Its end. Where the TSval wrapped in between, this one is above 2^32.
    pub last: Point,
    /// Nominal tick rate in Hz: the machine's, or else the connection's own; measured for an odd clock.
    pub tick_hz: f64,
}

/// What happened, as it happens.
#[derive(Clone, Debug)]
pub enum Event {
    /// A machine was recognised for the first time.
    NewMachine {
        /// The address that it stands behind.
        address: Address,
        /// How many machines are known there now.
        known: u32,
        /// The machine.
        machine: Box<MachineReport>,
    },
    /// A new counter started while a known machine fell silent: most likely that machine rebooted.
    Reboot {
        /// The address that it stands behind.
        address: Address,
        /// The machine's number before.
        before: u32,
        /// Its number since.
        after: u32,
        /// When the new counter was zero, engine time in seconds.
        at_s: Estimate,
    },
    /// A known machine fell silent, and since then a counter like its own is seen with another offset. Most
    /// likely that machine's clock was set, or stood still while the machine slept.
    ClockMoved {
        /// The address that it stands behind.
        address: Address,
        /// The machine's number before.
        before: u32,
        /// Its number since.
        after: u32,
        /// By how much, in seconds; negative where the clock fell behind.
        by_s: Estimate,
    },
    /// New round trips.
    Rtt(Box<rtt::News>),
    /// Offsets turned out to be random behind this address, so machines can't be counted by offset.
    OffsetsRandom {
        /// The address.
        address: Address,
        /// Connections seen so far.
        connections: u64,
    },
}

impl Event {
    /// The address that the event is about; `None` for round trips, which are about two.
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

#[cfg(test)]
/// The tests here, and a fixture for those of `machines`.
pub(super) mod tests {
    use super::*;

    /// A machine of 1 kHz that booted at `boot_s` and was seen from one time to the other.
    pub(crate) fn machine(id: u32, boot_s: f64, (first_s, last_s): (u64, u64)) -> MachineReport {
        MachineReport {
            id,
            tick_hz: 1000.0,
            tick_probability: 1.0,
            rate_hz: Estimate { value: 1000.0, sigma: 0.001 },
            skew_ppm: None,
            offset_ticks: None,
            phase_ticks: None,
            is_weighed: false,
            reference_ns: 0,
            boot: Some(Boot {
                engine_s: Estimate { value: boot_s, sigma: 0.01 },
                modulus_s: 4_294_967.296,
                or_earlier_s: 0.0,
            }),
            boot_if_fixed: None,
            connections: 3.0,
            load_percent: 50.0,
            load_low_percent: 50.0,
            load_high_percent: 50.0,
            ports: Vec::new(),
            source_ports: None,
            peers: Vec::new(),
            peers_total: 0,
            first_seen_ns: first_s * 1_000_000_000,
            last_seen_ns: last_s * 1_000_000_000,
            os: OsReport::default(),
        }
    }

    /// The average uptime at 1,000 s, in seconds, and over how many machines.
    fn average(machines: Vec<MachineReport>) -> Option<(f64, u64)> {
        average_uptime_s(&machines, 1_000_000_000_000)
    }

    #[test]
    fn a_rebooted_machine_counts_once_in_the_average_uptime() {
        let old = machine(1, -5_000.0, (0, 300));
        let new = machine(2, 400.0, (410, 990));
        let other = machine(3, 0.0, (0, 990));
        assert_eq!(average(vec![old.clone(), new.clone()]), Some((600.0, 1)));
        assert_eq!(average(vec![old.clone(), new.clone(), other]), Some((800.0, 2)));
        // It rebooted again.
        let again = machine(5, 995.0, (996, 1_000));
        assert_eq!(average(vec![again, new.clone(), old.clone()]), Some((5.0, 1)));
        // Two machines fell silent: either may be the one that booted.
        let third = machine(4, -3_000.0, (0, 200));
        assert_eq!(average(vec![old.clone(), new, third]), Some((3_533.0 + 1.0 / 3.0, 3)));
        // Silence alone is no reboot.
        assert_eq!(average(vec![old, machine(2, -2_000.0, (410, 990))]), Some((4_500.0, 2)));
        assert_eq!(average(Vec::new()), None);
    }
}
