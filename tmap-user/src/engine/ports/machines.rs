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

/// Ends of arcs are not exact, in seconds.
const ROUNDING_S: f64 = 1e-9;

/// The part of the circle of ten seconds where the boundary of a walk's machine may lie.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Arc {
    /// Where it begins, from 0 on and below 10 s.
    from_s: f64,
    length_s: f64,
}

impl Arc {
    /// How far `at_s` lies behind the beginning, in seconds.
    fn to(&self, at_s: f64) -> f64 {
        (at_s - self.from_s).rem_euclid(PERIOD_S)
    }

    fn holds(&self, at_s: f64) -> bool {
        self.to(at_s) <= self.length_s + ROUNDING_S
    }

    fn end_s(&self) -> f64 {
        (self.from_s + self.length_s).rem_euclid(PERIOD_S)
    }
}

/// The fewest machines that explain these walks; 0 where no walk is certain.
pub(super) fn fewest(walks: &Walks, openings: &[Opening]) -> usize {
    if walks.rule != Rule::LinuxWalk {
        return 0;
    }
    let certain = walks.walks().into_iter().filter(|walk| walk.0.len() >= LEAST_CERTAIN);
    let arcs: Vec<Arc> = certain.filter_map(|walk| arc(&walk, openings)).collect();
    fewest_points(&arcs)
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

/// The fewest points of the circle such that each arc holds one. Some fewest points are ends of arcs, and
/// once one is chosen, the next is the first end after it of an arc that holds none.
fn fewest_points(arcs: &[Arc]) -> usize {
    let from = |first: &Arc| {
        let origin_s = first.end_s();
        let mut left: Vec<Arc> = arcs.iter().filter(|arc| !arc.holds(origin_s)).copied().collect();
        let behind = |at_s: f64| (at_s - origin_s).rem_euclid(PERIOD_S);
        left.sort_by(|a, b| behind(a.end_s()).total_cmp(&behind(b.end_s())));
        let mut points = 1;
        let mut newest_s = origin_s;
        for arc in left {
            if !arc.holds(newest_s) {
                newest_s = arc.end_s();
                points += 1;
            }
        }
        points
    };
    arcs.iter().map(from).min().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn arcs(ends: &[(f64, f64)]) -> Vec<Arc> {
        ends.iter().map(|&(from_s, length_s)| Arc { from_s, length_s }).collect()
    }

    #[test]
    fn one_point_suffices_where_arcs_meet() {
        assert_eq!(fewest_points(&[]), 0);
        assert_eq!(fewest_points(&arcs(&[(9.0, 2.0)])), 1);
        assert_eq!(fewest_points(&arcs(&[(9.0, 2.0), (0.5, 3.0), (8.0, 2.8)])), 1);
        assert_eq!(fewest_points(&arcs(&[(9.0, 2.0), (2.0, 3.0), (6.0, 2.8)])), 3);
    }

    proptest! {
        /// Machines with boundaries of their own are never told to be more than they are.
        #[test]
        fn as_many_points_as_machines_suffice(
            boundaries in prop::collection::vec(0.0..10.0, 1..6),
            around in prop::collection::vec((0_usize..6, 0.0..5.0, 0.0..4.9), 1..80),
        ) {
            let arc = |&(of, before_s, after_s): &(usize, f64, f64)| {
                let at_s: f64 = boundaries[of % boundaries.len()];
                Arc { from_s: (at_s - before_s).rem_euclid(PERIOD_S), length_s: before_s + after_s }
            };
            let arcs: Vec<Arc> = around.iter().map(arc).collect();
            let used: std::collections::BTreeSet<usize> =
                around.iter().map(|(of, ..)| of % boundaries.len()).collect();
            prop_assert!(fewest_points(&arcs) <= used.len());
        }
    }
}
