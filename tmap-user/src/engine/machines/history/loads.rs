//! Loads: which share of an address's connections is whose, discarded ones included.

use std::collections::{BTreeMap, BTreeSet};

use super::discarded::Discarded;
use crate::engine::{flows::connection::Connection, machines::group::Group, snapshot::MachineReport};

/// Discarded connections of one counter, for one machine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::engine::machines) struct Kept {
    /// The probability that they are the machine's, as it is of those of the counter that are held.
    pub probability: f64,
    /// How many there are.
    pub connections: f64,
}

/// The discarded connections that each group's counters keep the number of; `analysed` are the connections
/// of the pass.
pub(in crate::engine::machines) fn kept(
    discarded: &Discarded,
    groups: &[Group],
    analysed: &[Connection],
) -> Vec<Vec<Kept>> {
    let mut held: BTreeMap<u32, f64> = BTreeMap::new();
    for Connection { counter, .. } in analysed {
        if discarded.of_counter(*counter) > 0 {
            *held.entry(*counter).or_default() += 1.0;
        }
    }
    let of_group = |group: &Group| {
        let mut sums: BTreeMap<u32, f64> = BTreeMap::new();
        for &(place, probability) in &group.members {
            let counter = analysed[place].counter;
            if held.contains_key(&counter) {
                let sum = sums.entry(counter).or_default();
                *sum += if group.is_weighed { probability } else { 1.0 };
            }
        }
        let of_counter = |(counter, sum)| Kept {
            probability: sum / held[&counter],
            connections: discarded.of_counter(counter) as f64,
        };
        sums.into_iter().map(of_counter).collect()
    };
    groups.iter().map(of_group).collect()
}

/// How many discarded connections are a machine's, of these groups with these numbers.
pub(in crate::engine::machines) fn told(
    discarded: &Discarded,
    (groups, numbers): (&[Group], &[u32]),
    analysed: &[Connection],
) -> u64 {
    let places = groups.iter().flat_map(|group| &group.members).map(|&(place, _)| place);
    let counters: BTreeSet<u32> = places.map(|place| analysed[place].counter).collect();
    let of_counters: u64 = counters.into_iter().map(|counter| discarded.of_counter(counter)).sum();
    of_counters + numbers.iter().map(|&number| discarded.of_machine(number)).sum::<u64>()
}

/// What is open of the connections behind an address.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::machines) struct Open {
    /// Discarded connections that may be any machine's.
    pub unowned: u64,
    /// At most so many connections are others that go on, which were discarded before: they count twice.
    pub begun_again: u64,
}

/// Tells each machine its load. Machines, groups and what is kept of them are in the same order.
pub(in crate::engine::machines) fn share_out(
    machines: &mut [MachineReport],
    groups: &[Group],
    kept: &[Vec<Kept>],
    open: Open,
) {
    let assigned: f64 = machines.iter().map(|machine| machine.connections).sum();
    let assigned = assigned.max(f64::MIN_POSITIVE);
    let [unowned, begun_again] = [open.unowned, open.begun_again].map(|number| number as f64);
    let all = assigned + unowned;
    let percent = |connections: f64, of: f64| 100.0 * connections / of;
    let may_be_others = |(machine, group): (&MachineReport, &Group)| {
        if group.surely_one < 1.0 { machine.connections } else { 0.0 }
    };
    let of_visits: f64 = machines.iter().zip(groups).map(may_be_others).sum();
    for ((machine, group), kept) in machines.iter_mut().zip(groups).zip(kept) {
        machine.load_percent = percent(machine.connections, assigned);
        let [mut fewer, mut more] = leeway(group, kept, machine.load_percent / 100.0);
        if group.surely_one < 1.0 {
            // Any visit of these machines may be any one's.
            fewer = fewer.max(machine.connections * (1.0 - group.surely_one));
            more = more.max(of_visits - machine.connections);
        }
        let (least, most) = (machine.connections - fewer, machine.connections + more + unowned);
        // Those that count twice may all be this machine's, or all be others'.
        let [of_its_own, of_others] = [least, all - most].map(|number| begun_again.min(number).max(0.0));
        machine.load_low_percent = percent(least - of_its_own, all - of_its_own).max(0.0);
        machine.load_high_percent = percent(most, all - of_others).min(100.0);
    }
}

/// How many connections fewer and more may be a machine's than the sum of their probabilities tells, where
/// `share` of all connections is taken to be its own.
///
/// A connection that shows nothing has that share as its probability. But the connections that show nothing,
/// as short ones, may well be all of one machine. So only what a connection clearly shows beyond the share
/// counts.
fn leeway(group: &Group, kept: &[Kept], share: f64) -> [f64; 2] {
    if !group.is_weighed {
        return [0.0; 2];
    }
    // With odds that are so many times as high.
    let with = |p: f64, factor: f64| p * factor / (p * factor + (1.0 - p));
    let least = |p: f64| match share {
        all if all >= 1.0 => p,
        _ => ((with(p, 1.0 / UNCLEAR_FACTOR) - share) / (1.0 - share)).clamp(0.0, p),
    };
    let most = |p: f64| (with(p, UNCLEAR_FACTOR) / share.max(f64::MIN_POSITIVE)).clamp(p, 1.0);
    let held = group.members.iter().map(|&(_, probability)| Kept { probability, connections: 1.0 });
    held.chain(kept.iter().copied()).fold([0.0; 2], |[fewer, more], Kept { probability: p, connections }| {
        [fewer + connections * (p - least(p)), more + connections * (most(p) - p)]
    })
}

/// A likelihood ratio up to this shows nothing of whose a connection is: the law of the delay is only
/// learned.
const UNCLEAR_FACTOR: f64 = 8.0;
