//! Partial snapshots: those of engines with a share of the addresses each, and how they are joined.

use tmap_common::Address;

use super::{
    siblings::{
        alike::Candidate,
        search::{self, MAX_CANDIDATES},
    },
    without_timestamps,
};
use crate::engine::{
    flows::{BareSyns, Totals, losses::Losses, unstamped::Unstamped},
    snapshot::Snapshot,
};

/// A snapshot of one engine's addresses, without what needs those of all engines (siblings).
#[derive(Debug)]
pub struct PartialSnapshot {
    /// The reports on these addresses, in any order.
    pub(super) snapshot: Snapshot,
    /// Machines to be compared with other addresses' machines; empty where siblings aren't wanted.
    pub(super) candidates: Vec<Candidate>,
    siblings: bool,
    /// Addresses whose SYNs without time stamps may tell machines, with these SYNs.
    bare_syns: Vec<(Address, Unstamped, BareSyns)>,
}

impl PartialSnapshot {
    /// A partial snapshot without addresses.
    pub fn new(now_ns: u64, siblings: bool) -> Self {
        let snapshot = Snapshot { now_ns, ..Snapshot::default() };
        Self { snapshot, candidates: Vec::new(), siblings, bare_syns: Vec::new() }
    }

    /// Engine time of the snapshot.
    pub fn now_ns(&self) -> u64 {
        self.snapshot.now_ns
    }

    /// Adds the flow table's totals.
    pub fn complete(&mut self, totals: Totals) {
        let machines_uncompared = self.snapshot.losses.machines_uncompared;
        self.snapshot.losses = Losses { machines_uncompared, ..totals.losses };
        self.snapshot.unstamped = totals.unstamped;
        self.bare_syns = totals.bare_syns;
        self.snapshot.rtt = totals.rtt;
    }

    /// Joins all parts into one snapshot. Each address must be in one part only. Round trips are those of
    /// the first part, because an engine that measures them has all addresses.
    pub fn join(parts: impl IntoIterator<Item = Self>) -> Snapshot {
        let all = parts.into_iter().reduce(Self::plus).unwrap_or_else(|| Self::new(0, false));
        let Self { mut snapshot, mut candidates, siblings, bare_syns } = all;
        without_timestamps::add(&mut snapshot.addresses, bare_syns);
        snapshot.addresses.sort_by_key(|report| report.address);
        snapshot.connections.sort_by_key(|c| (c.src, c.dst, c.src_port, c.dst_port));
        if siblings {
            candidates.sort_by_key(|candidate| (candidate.address, candidate.machine));
            snapshot.losses.machines_uncompared = candidates.len().saturating_sub(MAX_CANDIDATES) as u64;
            snapshot.siblings = search::find(&candidates);
        }
        snapshot
    }

    fn plus(mut self, other: Self) -> Self {
        let (all, more) = (&mut self.snapshot, other.snapshot);
        all.addresses.extend(more.addresses);
        all.connections.extend(more.connections);
        all.losses = all.losses.plus(&more.losses);
        all.unstamped = all.unstamped.plus(&more.unstamped);
        self.candidates.extend(other.candidates);
        self.bare_syns.extend(other.bare_syns);
        self
    }
}
