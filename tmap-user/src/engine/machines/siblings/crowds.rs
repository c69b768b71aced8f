//! The search for pairs of machines that may be one: with a bounded list of pairs, also where thousands of
//! addresses share one clock.
//!
//! A crowd is a set of machines of which the first [`MOST_COMPARED`] may all be one, each with each. Where a
//! machine may be one with all of these, it follows them: later machines are not compared with it. So a crowd
//! costs in proportion to its machines, not to their pairs. Up to [`MOST_COMPARED`] machines of one clock are
//! compared each with each.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::alike::{Candidate, same};
use crate::engine::snapshot::Basis;

/// With so many machines of a crowd others are compared, and so many pairs are kept of a machine with
/// earlier ones.
pub(super) const MOST_COMPARED: usize = 16;

/// Two machines that may be one.
pub(super) struct Link {
    /// How many times likelier their clocks are of one machine than of two.
    pub factor: f64,
    /// The machines' places, the earlier one first.
    pub pair: (usize, usize),
    /// What tells it.
    pub basis: Basis,
}

/// What a search found.
pub(super) struct Links {
    /// The pairs that may be one machine, in order: at most [`MOST_COMPARED`] with each as the later machine.
    pub list: Vec<Link>,
    /// For each machine, how many links with others each of its links with earlier ones stands for: 1 where
    /// all are listed.
    pub stand_for: Vec<f64>,
}

/// Machines that may all be one.
struct Crowd {
    /// The first of them, at most [`MOST_COMPARED`].
    compared: Vec<usize>,
    /// Those that follow these.
    followers: usize,
}

/// A machine's links with earlier machines, before some are left out.
struct Earlier {
    links: Vec<Link>,
    /// The first crowd with all of whose compared machines this one may be one.
    crowd: Option<usize>,
}

/// Searches for pairs whose clocks are at least `least` times likelier of one machine than of two.
pub(super) fn search(candidates: &[Candidate], least: f64) -> Links {
    let (mut crowds, mut list): (Vec<Crowd>, Vec<Link>) = (Vec::new(), Vec::new());
    let mut stand_for = vec![1.0; candidates.len()];
    let mut followed = vec![None; candidates.len()];
    for place in 0..candidates.len() {
        let Earlier { mut links, crowd } = earlier(candidates, &crowds, place, least);
        match crowd {
            Some(crowd) if crowds[crowd].compared.len() < MOST_COMPARED => crowds[crowd].compared.push(place),
            Some(crowd) => {
                crowds[crowd].followers += 1;
                followed[place] = Some(crowd);
            }
            None => crowds.push(Crowd { compared: vec![place], followers: 0 }),
        }
        if links.len() > MOST_COMPARED {
            stand_for[place] = links.len() as f64 / MOST_COMPARED as f64;
            links.sort_by(|x, y| y.factor.total_cmp(&x.factor).then(x.pair.cmp(&y.pair)));
            links.truncate(MOST_COMPARED);
        }
        list.extend(links);
    }
    for (stand_for, crowd) in stand_for.iter_mut().zip(followed) {
        *stand_for += crowd.map_or(0.0, |crowd| (crowds[crowd].followers - 1) as f64 / MOST_COMPARED as f64);
    }
    list.sort_by_key(|link| link.pair);
    Links { list, stand_for }
}

/// Compares the machine at `place` with the compared machines of all crowds.
fn earlier(candidates: &[Candidate], crowds: &[Crowd], place: usize, least: f64) -> Earlier {
    let (b, mut links, mut crowd) = (&candidates[place], Vec::new(), None);
    for (number, other) in crowds.iter().enumerate() {
        let before = links.len();
        links.extend(other.compared.iter().filter_map(|&at| {
            let a = &candidates[at];
            if a.address == b.address || a.clock.hz != b.clock.hz {
                return None;
            }
            let (factor, basis) = same(a, b);
            (factor >= least).then_some(Link { factor, pair: (at, place), basis })
        }));
        if links.len() - before == other.compared.len() {
            crowd = crowd.or(Some(number));
        }
    }
    Earlier { links, crowd }
}

/// How many pairs of machines can be one: those of one nominal rate at two addresses.
pub(super) fn pairs(candidates: &[Candidate]) -> usize {
    let of = |machines: usize| machines * machines.saturating_sub(1) / 2;
    let mut by_rate: BTreeMap<u64, usize> = BTreeMap::new();
    let mut at_one_address: BTreeMap<(u64, Address), usize> = BTreeMap::new();
    for Candidate { address, clock, .. } in candidates {
        *by_rate.entry(clock.hz.to_bits()).or_default() += 1;
        *at_one_address.entry((clock.hz.to_bits(), *address)).or_default() += 1;
    }
    by_rate.into_values().map(of).sum::<usize>() - at_one_address.into_values().map(of).sum::<usize>()
}
