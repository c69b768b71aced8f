//! The best possible assignment of connections some of which share offsets.
//!
//! Like the [`oracle`](super::oracle), it is told every machine's clock. It sees equal offsets as equal, too:
//! an offset of all connections of a machine tells the machine; connections that share the offset of a pair
//! of addresses go to one machine together, and those with two offsets in one pair to two machines. It knows
//! the law of the delay from other runs of the kind, since it would memorise a single one's few points.

use std::collections::HashMap;

use tmap_common::Address;

use crate::{
    judge::{
        evaluate,
        oracle::{Law, lateness},
        score::{Pairing, agreement, hungarian},
        traces::{self, Trace},
    },
    simulate::{
        Offsets,
        web::{TrueOffset, Web},
    },
};

/// Connections to learn the law from, at least.
const LESSONS: usize = 1500;

/// Runs to learn from have seeds from this on, which nobody evaluates.
const FIRST_LESSON: u64 = 1 << 32;

/// Knows the law of the delay.
pub(super) struct Oracle {
    /// `None` where no machine needs it.
    pub(super) law: Option<Law>,
}

impl Oracle {
    /// Learns the law of traffic like `web`.
    pub(super) fn new(web: &Web) -> Self {
        if web.stacks.iter().all(|stack| stack.offsets == Offsets::Global) {
            return Self { law: None };
        }
        let runs = LESSONS.div_ceil(web.stacks.len() * web.connections) as u64;
        let mut residuals = Vec::new();
        for run in 0..runs {
            let seed = FIRST_LESSON + runs * web.seed + run;
            let lesson = Web { seed, ..web.clone() }.run().simulation;
            let shared = evaluate::shared();
            let mine = lesson.records.iter().filter(|record| record.segment.src == shared);
            for trace in traces::collect(mine) {
                let clock = &lesson.truth.clocks[lesson.truth.machine_of[&trace.key]];
                residuals.extend(lateness(&trace, |t| clock.ticks_at(t)));
            }
        }
        Self { law: Some(Law::new(residuals.into_iter())) }
    }

    /// Share of connections that it gives to their machine, under the best one-to-one naming. `clock(machine,
    /// time_s)` is a machine's counter with its fraction, and `by_ports(connection, machine)` the log
    /// likelihood of a connection's source port.
    pub(super) fn accuracy(
        &self,
        traces: &[Trace],
        machine_of: &[usize],
        offsets: &[TrueOffset],
        machines: usize,
        clock: impl Fn(usize, f64) -> f64,
        by_ports: impl Fn(usize, usize) -> f64,
    ) -> f64 {
        let Some(law) = &self.law else { return 1.0 };
        let mut told = Vec::new();
        let mut pairs: HashMap<Address, HashMap<usize, Group>> = HashMap::new();
        for (number, trace) in traces.iter().enumerate() {
            let score = |machine| {
                law.log_likelihood(&lateness(trace, |t| clock(machine, t))) + by_ports(number, machine)
            };
            let truth = machine_of[number];
            match offsets[number].1 {
                Offsets::Global => told.push((truth, Some(truth as u32))),
                Offsets::PerPair => {
                    let groups = pairs.entry(trace.key.1).or_default();
                    let group = groups.entry(truth).or_insert_with(|| Group::new(truth, machines));
                    group.connections += 1;
                    group.scores.iter_mut().enumerate().for_each(|(machine, sum)| *sum += score(machine));
                }
                Offsets::PerConnection => {
                    let best = (0..machines).max_by(|a, b| score(*a).total_cmp(&score(*b)));
                    told.push((truth, best.map(|best| best as u32)));
                }
            }
        }
        told.extend(pairs.into_values().flat_map(|groups| match_up(groups.into_values(), machines)));
        agreement(&told).accuracy
    }
}

/// Connections with one offset of a pair of addresses.
struct Group {
    truth: usize,
    connections: usize,
    /// For each machine, the log likelihood that it is its.
    scores: Vec<f64>,
}

impl Group {
    fn new(truth: usize, machines: usize) -> Self {
        Self { truth, connections: 0, scores: vec![0.0; machines] }
    }
}

/// Gives the groups of one pair of addresses to machines, each to another one.
fn match_up(groups: impl Iterator<Item = Group>, machines: usize) -> Vec<Pairing> {
    let mut groups: Vec<Group> = groups.collect();
    groups.sort_by_key(|group| group.truth);
    let cost = |row: usize, machine: usize| groups.get(row).map_or(0.0, |group| -group.scores[machine]);
    let matched = hungarian(machines, cost);
    let pairings = groups
        .iter()
        .zip(matched)
        .map(|(group, machine)| std::iter::repeat_n((group.truth, Some(machine as u32)), group.connections));
    pairings.flatten().collect()
}
