//! The fewest machines that explain Linux's walks.
//!
//! No walk of a machine goes on over its boundary, which comes once in ten seconds of its clock. So a
//! machine's boundary lies outside the spans of all its walks, modulo ten seconds, and walks whose spans
//! leave no common place are of several machines. A machine with several addresses, as one with containers,
//! has several walks at once but one boundary: it counts once.

use super::{
    boundary::PERIOD_S,
    opening::Opening,
    rule::Rule,
    walks::{LEAST_CERTAIN, Walk, Walks},
};
use crate::engine::types::seconds_between;

/// The largest skew of a machine's clock against the sensor's that is thought of, as a share. It moves the
/// boundary.
const MOST_SKEW: f64 = 100e-6;

/// The most that a SYN's time may be wrong: delays in networks, in seconds.
const DELAY_S: f64 = 0.05;

/// The part of the circle of ten seconds where the boundary of a walk's machine may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arc {
    /// Where it begins, from 0 on and below 10 s.
    from_s: f64,
    length_s: f64,
}

impl Arc {
    /// Whether no place is in both.
    fn is_apart_from(&self, other: &Self) -> bool {
        let behind_s = |a: &Self, b: &Self| (b.from_s - a.from_s).rem_euclid(PERIOD_S);
        behind_s(self, other) > self.length_s && behind_s(other, self) > other.length_s
    }

    fn end_s(&self) -> f64 {
        (self.from_s + self.length_s).rem_euclid(PERIOD_S)
    }
}

/// The fewest machines that explain these walks; 0 where no walk is certain.
pub(super) fn fewest(walks: &Walks, openings: &[Opening]) -> usize {
    // Where some walks are of a hint, others may be that only seem to have a boundary.
    if walks.rule != Rule::LinuxWalk || walks.is_hint.contains(&true) {
        return 0;
    }
    let certain = walks.walks().into_iter().filter(|walk| walk.0.len() >= LEAST_CERTAIN);
    let mut told: Vec<Told> = certain
        .filter_map(|walk| {
            let begins_ns = openings[*walk.0.first()?].time_ns;
            Some(Told { begins_ns, arc: arc(&walk, openings)?, wrong: 1.0 - all_right(&walk, walks) })
        })
        .collect();
    // Long walks tell most.
    told.sort_by(|a, b| a.arc.length_s.total_cmp(&b.arc.length_s));
    told.truncate(MOST_WALKS);
    told.sort_by_key(|told| told.begins_ns);
    fewest_beside_moves(&told, MOST_MOVES)
}

/// A walk that is certain.
struct Told {
    begins_ns: u64,
    arc: Arc,
    /// The probability that a link of it is wrong.
    wrong: f64,
}

/// How often a machine's boundary may have moved in a capture.
const MOST_MOVES: usize = 2;

/// The fewest machines that explain these walks, which are in order of time, where boundaries may have moved
/// at so many moments.
fn fewest_beside_moves(told: &[Told], moves: usize) -> usize {
    let most = most_apart_in(told).max(usize::from(!told.is_empty()));
    let explain = |machines: &usize| {
        let mut left = told;
        for _ in 0..=moves {
            // As many walks as so many machines explain, before the next moment.
            let explained = partition_point(left.len(), |count| most_apart_in(&left[..count]) <= *machines);
            left = &left[explained..];
        }
        left.is_empty()
    };
    (1..most).find(explain).unwrap_or(most)
}

/// The most of `count` for which something holds, where it holds for all that are fewer.
fn partition_point(count: usize, holds: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0, count);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle) { low = middle } else { high = middle - 1 }
    }
    low
}

/// The most machines that these walks prove by themselves.
fn most_apart_in(told: &[Told]) -> usize {
    let arcs: Vec<Arc> = told.iter().map(|told| told.arc).collect();
    most_apart(&arcs, MORE_WRONG * told.iter().map(|told| told.wrong).sum::<f64>() + MOST_CHANCE)
}

/// The most walks that are compared: the cost grows with their square, at least.
const MOST_WALKS: usize = 64;

/// Walks may be wrong this many times more often than their links say, and so many more.
const MORE_WRONG: f64 = 3.0;
const MOST_CHANCE: f64 = 2.0;

/// The probability that all links of a walk are right.
fn all_right(Walk(members): &Walk, walks: &Walks) -> f64 {
    members.iter().filter_map(|&at| walks.links[at]).map(|link| link.probability).product()
}

/// Where the boundary of a walk's machine may lie.
fn arc(Walk(members): &Walk, openings: &[Opening]) -> Option<Arc> {
    let [first, .., last] = members[..] else { return None };
    let middle_ns = openings[0].time_ns.midpoint(openings[openings.len() - 1].time_ns);
    let at_s = |at: usize| seconds_between(middle_ns, openings[at].time_ns);
    let (first_s, last_s) = (at_s(first), at_s(last));
    let unsure_s = DELAY_S + MOST_SKEW * first_s.abs().max(last_s.abs());
    let length_s = PERIOD_S - (last_s - first_s) + 2.0 * unsure_s;
    (length_s < PERIOD_S).then(|| Arc { from_s: (last_s - unsure_s).rem_euclid(PERIOD_S), length_s })
}

/// The most arcs no two of which meet, where there are more than `wrong` such sets without a common arc: a
/// wrong walk spoils one of them. 0 where even single arcs are fewer.
fn most_apart(arcs: &[Arc], wrong: f64) -> usize {
    let most = apart(arcs).len();
    let sets = |size: usize| {
        let (mut left, mut count) = (arcs.to_vec(), 0.0);
        while count <= wrong {
            let set = apart(&left);
            if set.len() < size {
                return false;
            }
            for arc in &set[..size] {
                let at = left.iter().position(|other| other == arc);
                at.map(|at| left.swap_remove(at));
            }
            count += 1.0;
        }
        true
    };
    (1..=most).rev().find(|&size| sets(size)).unwrap_or(0)
}

/// A largest set of arcs no two of which meet. From a first one on, the next is the one that ends first.
fn apart(arcs: &[Arc]) -> Vec<Arc> {
    let from = |first: &Arc| {
        let mut others: Vec<&Arc> = arcs.iter().filter(|arc| arc.is_apart_from(first)).collect();
        others.sort_by(|a, b| {
            let behind_s = |arc: &Arc| (arc.end_s() - first.end_s()).rem_euclid(PERIOD_S);
            behind_s(a).total_cmp(&behind_s(b))
        });
        let mut set = vec![*first];
        for arc in others {
            if set[set.len() - 1].is_apart_from(arc) {
                set.push(*arc);
            }
        }
        set
    };
    arcs.iter().map(from).max_by_key(Vec::len).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arcs(ends: &[(f64, f64)]) -> Vec<Arc> {
        ends.iter().map(|&(from_s, length_s)| Arc { from_s, length_s }).collect()
    }

    #[test]
    fn arcs_that_meet_may_be_of_one_machine() {
        assert_eq!(most_apart(&[], 0.0), 0);
        assert_eq!(most_apart(&arcs(&[(9.0, 2.0)]), 0.0), 1);
        assert_eq!(most_apart(&arcs(&[(9.0, 2.0), (0.5, 3.0), (8.0, 2.8)]), 0.0), 1);
        assert_eq!(most_apart(&arcs(&[(9.0, 2.0), (2.0, 3.0), (6.0, 2.8)]), 0.0), 3);
    }

    /// Walks in order of time whose machine's boundary lies at these seconds.
    fn told(at_s: impl Iterator<Item = f64>) -> Vec<Told> {
        let told = |(number, at_s): (usize, f64)| Told {
            begins_ns: number as u64,
            arc: Arc { from_s: (at_s - 1.0).rem_euclid(PERIOD_S), length_s: 2.0 },
            wrong: 0.01,
        };
        at_s.enumerate().map(told).collect()
    }

    #[test]
    fn a_machine_that_sleeps_is_one() {
        let slept = told((0..60).map(|walk| [1.0, 5.0, 8.0][walk / 20]));
        assert_eq!((fewest_beside_moves(&slept, 0), fewest_beside_moves(&slept, MOST_MOVES)), (3, 1));
        let in_turn = told((0..60).map(|walk| [1.0, 5.0, 8.0][walk % 3]));
        assert_eq!(fewest_beside_moves(&in_turn, MOST_MOVES), 3);
        assert_eq!(fewest_beside_moves(&[], MOST_MOVES), 0);
    }

    #[test]
    fn a_wrong_walk_makes_no_machine() {
        let two = [(9.0, 2.0), (4.0, 2.0)].repeat(5);
        let with_wrong = [two, vec![(7.0, 0.5)]].concat();
        assert_eq!((most_apart(&arcs(&with_wrong), 0.0), most_apart(&arcs(&with_wrong), 2.0)), (3, 2));
    }

    proptest! {
        /// Machines with boundaries of their own are never told to be more than they are, if few walks are
        /// wrong.
        #[test]
        fn no_more_than_there_are(
            boundaries in prop::collection::vec(0.0..10.0, 1..6),
            around in prop::collection::vec((0_usize..6, 0.0..5.0, 0.0..4.9), 1..80),
            wrong in prop::collection::vec((0.0..10.0, 0.0..10.0), 0..3),
        ) {
            let arc = |&(of, before_s, after_s): &(usize, f64, f64)| {
                let at_s: f64 = boundaries[of % boundaries.len()];
                Arc { from_s: (at_s - before_s).rem_euclid(PERIOD_S), length_s: before_s + after_s }
            };
            let mut all: Vec<Arc> = around.iter().map(arc).collect();
            all.extend(arcs(&wrong));
            prop_assert!(most_apart(&all, wrong.len() as f64) <= boundaries.len());
        }
    }
}
