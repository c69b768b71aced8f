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
    /// They never completed a handshake, unlike others of the address.
    Unanswered,
    /// Machines were counted, but not told apart.
    OnlyCounted,
    /// Their TSvals are all 0.
    ZeroTsvals,
    /// Offsets are random, and connections are too few, or say too little of their phases.
    OffsetsRandom,
    /// The analysis ended early: its budget was spent, or somebody waited.
    NotAnalysed,
    /// They made room for others, and nothing tells whose they were.
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
    /// Connection sides that made room for others: nothing tells their segments.
    pub forgotten: u64,
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
        if report.connections == 0 {
            // It sent no time stamps.
            return;
        }
        let none = |unassigned: &Unassigned| (unassigned.connections, unassigned.segments);
        let (connections, segments) = report.unassigned.as_ref().map_or((0, 0), none);
        self.addresses.all += 1;
        self.addresses.told += u64::from(report.machines.is_some());
        self.connections.all += report.connections;
        self.segments.all += report.segments;
        self.segments.told += report.segments.saturating_sub(segments);
        let machines: f64 = report.machine_list.iter().map(|machine| machine.connections).sum();
        let of_none = report.connections_forgotten.saturating_sub(report.connections_forgotten_told);
        // Of an address without machines, only what is held can be unassigned; the rest was forgotten.
        let told = if machines > 0.0 { report.connections.saturating_sub(connections + of_none) } else { 0 };
        self.forgotten += report.connections_forgotten;
        self.connections.told += told;
        self.leave_out(Reason::Forgotten, (report.connections - told).saturating_sub(connections));
        if let Some(unassigned) = &report.unassigned {
            let without_rate = unassigned.without_rate.min(connections);
            let rate =
                if report.doubt == Some(Doubt::ZeroTsvals) { Reason::ZeroTsvals } else { Reason::RateOpen };
            self.leave_out(rate, without_rate);
            let unanswered = unassigned.unanswered.min(connections - without_rate);
            self.leave_out(Reason::Unanswered, unanswered);
            self.leave_out(of_rest(report), connections - without_rate - unanswered);
        }
    }

    fn leave_out(&mut self, reason: Reason, connections: u64) {
        if connections > 0 {
            *self.left_out.entry(reason).or_default() += connections;
        }
    }
}

/// Why the connections are no machine's whose rate is known and that completed a handshake.
fn of_rest(report: &AddressReport) -> Reason {
    match report.doubt {
        Some(Doubt::BudgetSpent | Doubt::Interrupted | Doubt::OffsetsRandom) => Reason::NotAnalysed,
        Some(Doubt::CaptureTooCoarse | Doubt::TooFewSegments | Doubt::ZeroTsvals | Doubt::Unsteady) => {
            Reason::RateOpen
        }
        None if report.machines.is_some() => Reason::OnlyCounted,
        None
        | Some(
            Doubt::TooFewConnections
            | Doubt::InStep
            | Doubt::JitterTooLarge
            | Doubt::TooFarApart
            | Doubt::Unanswered
            | Doubt::Unrelated
            | Doubt::Contradicted
            | Doubt::ComeAndGo
            | Doubt::BusiestHours,
        ) => Reason::OffsetsRandom,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        os::OsReport,
        snapshot::{MachineReport, tests::machine},
    };
    use tmap_common::Address;

    /// An address with 10 connections and 100 segments, of which so many are no machine's.
    fn address(machines: Option<u32>, unassigned: u64, without_rate: u64) -> AddressReport {
        AddressReport {
            machines,
            machines_low: machines,
            machines_high: machines,
            machines_proven: machines,
            doubt: machines.is_none().then_some(Doubt::TooFewConnections),
            connections: 10,
            segments: 100,
            unassigned: (unassigned > 0).then(|| Unassigned {
                connections: unassigned,
                segments: 10 * unassigned,
                without_rate,
                unanswered: 0,
                longest_s: 0.1,
                most_tsvals: 2,
                os: OsReport::default(),
                ports: Vec::new(),
            }),
            ..AddressReport::nothing(Address::from_ip4([198, 51, 100, 1]))
        }
    }

    #[test]
    fn what_is_no_machine_s_is_left_out_for_a_reason() {
        let coverage = Coverage::of(&[address(None, 10, 3), address(Some(4), 10, 0)]);
        assert_eq!(coverage.addresses, Part { told: 1, all: 2 });
        assert_eq!(coverage.connections, Part { told: 0, all: 20 });
        assert_eq!(coverage.segments, Part { told: 0, all: 200 });
        let left_out = [(Reason::RateOpen, 3), (Reason::OnlyCounted, 10), (Reason::OffsetsRandom, 7)];
        assert_eq!(coverage.left_out, left_out.into());
    }

    #[test]
    fn what_was_forgotten_is_left_out_too() {
        // Two of ten connections are held, none of them a machine's.
        let coverage = Coverage::of(&[address(None, 2, 2)]);
        assert_eq!(coverage.left_out, [(Reason::RateOpen, 2), (Reason::Forgotten, 8)].into());
    }

    #[test]
    fn forgotten_ones_are_told_where_a_machine_keeps_their_number() {
        let mut report = address(Some(1), 1, 0);
        report.machine_list = vec![MachineReport { connections: 7.0, ..machine(1, 0.0, (0, 1)) }];
        (report.connections_forgotten, report.connections_forgotten_told) = (6, 4);
        let coverage = Coverage::of(&[report]);
        assert_eq!(coverage.connections, Part { told: 7, all: 10 });
        assert_eq!(coverage.left_out, [(Reason::OnlyCounted, 1), (Reason::Forgotten, 2)].into());
        assert_eq!(coverage.forgotten, 6);
    }
}
