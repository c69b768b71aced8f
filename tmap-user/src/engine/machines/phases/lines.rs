//! Which lines are one machine's: those of several paths to it, and those that follow one another.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Address;

use super::succession;
use crate::engine::{phase, types::log_mean_exp};

/// Parallel lines are told as paths of one machine where that is this much likelier than several machines, in
/// nats: a hundred times.
const CLEARLY_PATHS_NATS: f64 = 4.6;

/// The share of a path's connections that are assigned to another path's line.
const WRONG_LINE: f64 = 0.2;

/// How far the skews of one machine's lines may differ, in joint standard errors.
const MAX_SKEW_DEVIATION: f64 = 4.0;

/// The number of machines, from the first line of each line's machine.
pub(super) fn machines(machine_of_line: &[usize]) -> u32 {
    machine_of_line.iter().enumerate().filter(|(line, machine)| line == *machine).count() as u32
}

/// The line that a track most likely is on, by its probability of each line.
pub(super) fn line_of(posterior: &[f32]) -> Option<usize> {
    posterior.iter().position(|&probability| probability > 0.5)
}

/// For each line, the first line of the same machine.
///
/// A path to one peer is later than to another, so one machine makes a line per path where delays differ by
/// part of a tick. Such lines are parallel, and each has peers of its own; machines share peers.
pub(super) fn join_by_peers(lines: &phase::Lines, peers: &[Address]) -> Vec<usize> {
    let mut counts: Vec<BTreeMap<Address, usize>> = vec![BTreeMap::new(); lines.lines.len()];
    for (posterior, peer) in lines.posteriors.iter().zip(peers) {
        if let Some(line) = line_of(posterior) {
            *counts[line].entry(*peer).or_default() += 1;
        }
    }
    let is_one = |a: usize, b: usize| {
        let skew = |line: usize| lines.lines[line].skew_ppm;
        skew(a).may_equal(skew(b), 0.0, MAX_SKEW_DEVIATION)
            && evidence_for_paths(&counts[a], &counts[b]) > CLEARLY_PATHS_NATS
    };
    let mut first: Vec<usize> = (0..counts.len()).collect();
    for b in 0..counts.len() {
        if let Some(a) = (0..b).find(|&a| first[a] == a && is_one(a, b)) {
            first[b] = a;
        }
    }
    first
}

/// When the tracks on each machine's lines began, in ascending order, at the place of its first line.
/// `began_ns` tells when each track began.
pub(super) fn lives(machine_of_line: &[usize], lines: &phase::Lines, began_ns: &[u64]) -> Vec<Vec<u64>> {
    let mut lives: Vec<Vec<u64>> = vec![Vec::new(); lines.lines.len()];
    for (posterior, &start_ns) in lines.posteriors.iter().zip(began_ns) {
        if let Some(line) = line_of(posterior) {
            lives[machine_of_line[line]].push(start_ns);
        }
    }
    lives.iter_mut().for_each(|starts_ns| starts_ns.sort_unstable());
    lives
}

/// The fewest machines that the lines may be, where those that follow another one are its machine's.
pub(super) fn fewest(machine_of_line: &[usize], lives: &[Vec<u64>]) -> u32 {
    machines(machine_of_line).saturating_sub(succession::count(lives) as u32)
}

/// The log evidence, in nats, that two lines are two paths of one machine, not two machines. `a` and `b` are
/// the connections of each line by peer. Along paths, a peer's connections are all on one line, but for those
/// that are assigned to the wrong one; machines share their connections out alike among peers.
fn evidence_for_paths(a: &BTreeMap<Address, usize>, b: &BTreeMap<Address, usize>) -> f64 {
    let peers: BTreeSet<&Address> = a.keys().chain(b.keys()).collect();
    let of = |line: &BTreeMap<Address, usize>, peer: &Address| line.get(peer).copied().unwrap_or(0) as f64;
    let total: (f64, f64) = (a.values().sum::<usize>() as f64, b.values().sum::<usize>() as f64);
    let share = (total.0 + 0.5) / (total.0 + total.1 + 1.0);
    peers.into_iter().fold(0.0, |sum, peer| {
        let (on_a, on_b) = (of(a, peer), of(b, peer));
        let path = |own: f64, other: f64| own * (1.0 - WRONG_LINE).ln() + other * WRONG_LINE.ln();
        let by_path = log_mean_exp(&[path(on_a, on_b), path(on_b, on_a)]);
        sum + by_path - on_a * share.ln() - on_b * (1.0 - share).ln()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(counts: &[usize]) -> BTreeMap<Address, usize> {
        let peer = |at: usize| Address::from_ip4([203, 0, 113, at as u8]);
        counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(at, n)| (peer(at), *n)).collect()
    }

    #[test]
    fn lines_with_peers_of_their_own_are_paths() {
        let evidence = |a: &[usize], b: &[usize]| evidence_for_paths(&line(a), &line(b));
        assert!(evidence(&[18, 17, 3], &[1, 1, 15]) > CLEARLY_PATHS_NATS);
        assert!(evidence(&[5, 5, 0, 0], &[0, 0, 5, 5]) > CLEARLY_PATHS_NATS);
        assert!(evidence(&[4, 6, 5, 3], &[5, 3, 6, 4]) < 0.0, "machines share peers");
        assert!(evidence(&[4000, 3500, 0], &[0, 0, 3800]) > CLEARLY_PATHS_NATS, "however many they are");
        assert!(evidence(&[1, 1, 1, 0, 0, 0], &[0, 0, 0, 1, 1, 1]).abs() < 1.0, "single ones tell nothing");
    }
}
