//! Coverage: how much of what was seen is given to a machine, and why the rest isn't.

use std::collections::BTreeMap;

use super::{
    snapshot::{AddressReport, Unassigned},
    types::Doubt,
};

/// Of a number of things, how many are given to a machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// Those given to a machine.
    pub told: u64,
    /// All of them.
    pub all: u64,
}

/// Why connections are no machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing tells the tick rate of their clocks.
    RateOpen,
    /// Machines were counted, but not told apart.
    OnlyCounted,
    /// Their TSvals are all 0.
    ZeroTsvals,
    /// Offsets are random, and connections are too few, or say too little of their phases.
    OffsetsRandom,
    /// They are older than those that the last look held.
    Forgotten,
}

/// What was given to machines, over all addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Addresses with timestamps; told where their machines were counted.
    pub addresses: Part,
    /// Connection sides with timestamps.
    pub connections: Part,
    /// Segments with timestamps of the connection sides held.
    pub segments: Part,
    /// Connections that are no machine's, by reason.
    pub left_out: BTreeMap<Reason, u64>,
}

impl Coverage {
    /// The coverage of these addresses.
    pub fn of(addresses: &[AddressReport]) -> Self {
        let mut coverage = Self::default();
        addresses.iter().for_each(|report| coverage.add(report));
        coverage
    }

    fn add(&mut self, report: &AddressReport) {
        let none = |unassigned: &Unassigned| (unassigned.connections, unassigned.segments);
        let (connections, segments) = report.unassigned.as_ref().map_or((0, 0), none);
        self.addresses.all += 1;
        self.addresses.told += u64::from(report.machines.is_some());
        self.connections.all += report.connections;
        self.segments.all += report.segments;
        self.segments.told += report.segments.saturating_sub(segments);
        let machines: f64 = report.machine_list.iter().map(|machine| machine.connections).sum();
        let held = report.connections.saturating_sub(connections);
        // Of an address without machines, only what is held can be unassigned; the rest was forgotten.
        let told = if machines > 0.0 { held } else { 0 };
        self.connections.told += told;
        self.leave_out(
            Reason::Forgotten,
            report.connections - told - connections.min(report.connections - told),
        );
        if let Some(unassigned) = &report.unassigned {
            let without_rate = unassigned.without_rate.min(connections);
            let rate =
                if report.doubt == Some(Doubt::ZeroTsvals) { Reason::ZeroTsvals } else { Reason::RateOpen };
            self.leave_out(rate, without_rate);
            let only_counted = report.machines.is_some() && report.doubt.is_none();
            let rest = if only_counted { Reason::OnlyCounted } else { Reason::OffsetsRandom };
            self.leave_out(rest, connections - without_rate);
        }
    }

    fn leave_out(&mut self, reason: Reason, connections: u64) {
        if connections > 0 {
            *self.left_out.entry(reason).or_default() += connections;
        }
    }
}
