//! The best possible count: whether all machines could be counted by somebody who is told nearly everything.
//!
//! *Phases.* A machine can be counted where the likelihood of all connections falls without its line by
//! more than a line costs: a line of free phase and drift finds some connections by chance. Without its line,
//! other lines take its connections, or one line between it and another takes those of both. This oracle is
//! told all lines, which others have to find first, and the law of the delay.
//!
//! *Counters.* Where offsets are drawn by pair, each pair of addresses shows how many machines it met. This
//! oracle is told that all machines have equal loads. Then the number of connections and of counters of each
//! pair say all that can be known.

use std::collections::HashMap;

use tmap_common::Address;

use super::oracle::{Law, lateness};
use crate::{
    judge::traces::Trace,
    simulate::{Offsets, web::TrueOffset},
};

/// What a line has to gain, in nats: about what its phase, drift and share cost.
const COST: f64 = 9.0;

/// Rounds of expectation and maximisation, which only learn shares.
const ROUNDS: usize = 60;

/// Where a line between two lines lies at the first connection and at the last: 0 on the one, 1 on the other.
const BETWEEN: [(f64, f64); 7] =
    [(0.5, 0.5), (0.25, 0.25), (0.75, 0.75), (0.0, 1.0), (1.0, 0.0), (0.25, 0.75), (0.75, 0.25)];

/// What the oracle is told of a run.
pub(super) struct Told<'a, C> {
    /// The law of the delay.
    pub law: &'a Law,
    /// The connections.
    pub traces: &'a [Trace],
    /// The machine of each.
    pub machine_of: &'a [usize],
    /// The offset of each.
    pub offsets: &'a [TrueOffset],
    /// The number of machines.
    pub machines: usize,
    /// `clock(machine, time_s)` is a machine's counter with its fraction.
    pub clock: C,
}

impl<C: Fn(usize, f64) -> f64> Told<'_, C> {
    /// Whether phases or counters tell all machines apart; `None` where machines differ in regime, of which
    /// this oracle knows nothing.
    pub(super) fn are_counted(&self) -> Option<bool> {
        let is = |regime: Offsets| self.offsets.iter().all(|(_, of)| *of == regime);
        if is(Offsets::Global) {
            Some(true)
        } else if is(Offsets::PerConnection) {
            Some(self.phases_tell(&self.traces.iter().map(|trace| vec![trace]).collect::<Vec<_>>()))
        } else if is(Offsets::PerPair) {
            Some(self.counters_tell() || self.phases_tell(&self.of_one_counter()))
        } else {
            None
        }
    }

    /// Whether phases tell all machines apart where connections have random offsets, and it is known besides
    /// which of them are of one machine's `walks`, by their numbers.
    pub(super) fn are_counted_by_walks(&self, walks: &[Vec<usize>]) -> Option<bool> {
        let are_random = self.offsets.iter().all(|(_, of)| *of == Offsets::PerConnection);
        let of_walk = |walk: &Vec<usize>| walk.iter().map(|&number| &self.traces[number]).collect();
        are_random.then(|| self.phases_tell(&walks.iter().map(of_walk).collect::<Vec<_>>()))
    }

    /// Connections that share a counter, and so a machine.
    fn of_one_counter(&self) -> Vec<Vec<&Trace>> {
        let mut groups: HashMap<(Address, usize), Vec<&Trace>> = HashMap::new();
        for (trace, machine) in self.traces.iter().zip(self.machine_of) {
            groups.entry((trace.key.1, *machine)).or_default().push(trace);
        }
        groups.into_values().collect()
    }

    /// Whether every machine's line is needed to explain `groups`, each of one machine.
    fn phases_tell(&self, groups: &[Vec<&Trace>]) -> bool {
        let (machines, clock) = (self.machines, &self.clock);
        let on = |counter: &dyn Fn(f64) -> f64| -> Vec<f64> {
            let of_trace = |trace: &&Trace| self.law.log_likelihood(&lateness(trace, counter));
            groups.iter().map(|group| group.iter().map(of_trace).sum()).collect()
        };
        let own: Vec<Vec<f64>> = (0..machines).map(|machine| on(&|t| clock(machine, t))).collect();
        let lines: Vec<&[f64]> = own.iter().map(Vec::as_slice).collect();
        let whole = likelihood(&lines);
        let is_worse = |lines: &[&[f64]]| whole - likelihood(lines) > COST;
        let (from_s, to_s) = self.span_s();
        let is_needed = |machine: usize| {
            let others = || (0..machines).filter(|other| *other != machine);
            let without: Vec<&[f64]> = others().map(|other| lines[other]).collect();
            let no_line_between = |(place, other): (usize, usize)| {
                let apart = |t: f64| clock(other, t) - clock(machine, t);
                let whole_ticks = apart((from_s + to_s) / 2.0).round();
                BETWEEN.iter().all(|(first, last)| {
                    let share = |t: f64| first + (last - first) * (t - from_s) / (to_s - from_s).max(1.0);
                    let between = on(&|t| clock(machine, t) + share(t) * (apart(t) - whole_ticks));
                    let mut lines = without.clone();
                    lines[place] = &between;
                    is_worse(&lines)
                })
            };
            is_worse(&without) && others().enumerate().all(no_line_between)
        };
        machines < 2 || (0..machines).all(is_needed)
    }

    /// When the first connection began, and the last.
    fn span_s(&self) -> (f64, f64) {
        let begins = || self.traces.iter().map(|trace| trace.points[0].time_ns as f64 * 1e-9);
        (begins().fold(f64::INFINITY, f64::min), begins().fold(0.0, f64::max))
    }

    /// Whether the likeliest number of machines by counters is the true one.
    fn counters_tell(&self) -> bool {
        let mut pairs: HashMap<Address, HashMap<usize, usize>> = HashMap::new();
        for (trace, machine) in self.traces.iter().zip(self.machine_of) {
            *pairs.entry(trace.key.1).or_default().entry(*machine).or_default() += 1;
        }
        let met: Vec<(usize, usize)> =
            pairs.values().map(|counters| (counters.len(), counters.values().sum())).collect();
        let truth = pairs.values().flat_map(HashMap::keys).collect::<std::collections::HashSet<_>>().len();
        likeliest_number(&met) == truth
    }
}

/// The likeliest number of machines of equal load, where pairs of addresses have so many counters over so
/// many connections. As likely between 1 and 10 as between 10 and 100 before anything is seen.
fn likeliest_number(met: &[(usize, usize)]) -> usize {
    let fewest = met.iter().map(|(counters, _)| *counters).max().unwrap_or(1);
    let log_likelihood = |machines: usize| {
        let of_pair = |(counters, connections): &(usize, usize)| {
            let ways: f64 = (0..*counters).map(|met| ((machines - met) as f64).ln()).sum();
            ways - *connections as f64 * (machines as f64).ln()
        };
        met.iter().map(of_pair).sum::<f64>() - (machines as f64).ln()
    };
    let numbers = fewest..=10 * fewest + 10;
    numbers.max_by(|a, b| log_likelihood(*a).total_cmp(&log_likelihood(*b))).unwrap_or(fewest)
}

/// The log-likelihood of all groups under the likeliest shares of lines. Each line has the log-likelihood of
/// every group on it.
fn likelihood(lines: &[&[f64]]) -> f64 {
    let mut shares = vec![1.0 / lines.len() as f64; lines.len()];
    let mut total = 0.0;
    for _ in 0..ROUNDS {
        let mut counts = vec![0.0; lines.len()];
        total = 0.0;
        for group in 0..lines[0].len() {
            let top = lines.iter().map(|line| line[group]).fold(f64::NEG_INFINITY, f64::max);
            let term = |(line, share): (&&[f64], &f64)| share * (line[group] - top).exp();
            let terms: Vec<f64> = lines.iter().zip(&shares).map(term).collect();
            let sum = terms.iter().sum::<f64>().max(f64::MIN_POSITIVE);
            total += top + sum.ln();
            counts.iter_mut().zip(&terms).for_each(|(count, term)| *count += term / sum);
        }
        let all: f64 = counts.iter().sum();
        shares.iter_mut().zip(&counts).for_each(|(share, count)| *share = count / all);
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_counters_tell_the_number_and_single_ones_do_not() {
        // Three pairs that met five machines in twenty connections each.
        assert_eq!(likeliest_number(&[(5, 20); 3]), 5);
        // Five of five connections each met another machine: there are many.
        assert!(likeliest_number(&[(5, 5); 3]) > 10);
    }

    #[test]
    fn shares_follow_the_groups() {
        // Three groups on the first line, one on the second.
        let lines: [&[f64]; 2] = [&[0.0, 0.0, 0.0, -50.0], &[-50.0, -50.0, -50.0, 0.0]];
        let by_hand = 3.0 * 0.75_f64.ln() + 0.25_f64.ln();
        assert!((likelihood(&lines) - by_hand).abs() < 1e-9);
        assert!(likelihood(&lines[..1]) < by_hand - COST);
    }
}
