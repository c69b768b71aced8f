//! The same machine behind several addresses: NAT pools, IPv4 and IPv6 siblings, multihomed hosts,
//! containers that share their host's kernel.
//!
//! One kernel has one counter. Where offsets are global, equal counter values show it at once. Where they are
//! random, only the fraction of a tick and the skew remain. Two clocks that agree in both are one with a
//! probability that depends on how many pairs there are, and on how many of these are siblings, as far as all
//! of them together tell. Where both show when their walks of source ports
//! begin anew, that tells them apart, too. (Beverly and Berger 2015 and Scheitle et al. 2017 matched siblings
//! by skew and by offset; random offsets end the second, and NTP nearly ends the first.)

use std::collections::BTreeSet;

use tmap_common::Address;

use super::{
    alike::{Candidate, MIN_OFFSET_SIGMA_TICKS, normal, same, spread},
    crowds::{self, Link, Links},
};
use crate::engine::{
    snapshot::{Basis, Sibling},
    types::{Estimate, WRAP_TICKS, wrap_difference},
};

/// The most machines compared with each other: where clocks differ, the time grows with their square.
pub(in crate::engine::machines) const MAX_CANDIDATES: usize = 4096;

/// The lowest probability of a link that is reported.
const MIN_PROBABILITY: f64 = 0.5;

/// The highest odds of a pair before its clocks are compared, however many siblings there are.
const HIGHEST_PRIOR: f64 = 0.1;

/// So many pairs are expected to be siblings where none clearly is.
const FEWEST_SIBLINGS: f64 = 0.5;

/// How often the number of siblings is estimated anew. It converges geometrically.
const ROUNDS: usize = 40;

/// Finds machines that stand behind several addresses. Machines beyond [`MAX_CANDIDATES`] are ignored; the
/// caller counts them.
pub(in crate::engine::machines) fn find(candidates: &[Candidate]) -> Vec<Sibling> {
    let candidates = &candidates[..candidates.len().min(MAX_CANDIDATES)];
    // Others can't become probable.
    let mut links = crowds::search(candidates, MIN_PROBABILITY / HIGHEST_PRIOR);
    for link in &mut links.list {
        link.factor *= crowding(candidates, link);
    }
    let of_links = probabilities(&links, crowds::pairs(candidates));
    let probable =
        of_links.into_iter().zip(links.list).filter(|(probability, _)| *probability >= MIN_PROBABILITY);
    join(candidates, probable.collect())
}

/// The most machines whose skews are looked at.
const MOST_OTHERS: usize = 256;

/// As many machines as the prior of skews is worth.
const PRIOR_WORTH: f64 = 5.0;

/// Other machines are told from a pair by their phases, or by their counters, where these are this many
/// standard errors apart.
const CLEARLY_APART: f64 = 4.0;

/// By how much an agreement of clocks is worth less than [`same`] tells, because machines that are clearly
/// others have such clocks, too: where one server disciplines all, their skews agree more closely than in
/// general, and where all were switched on together, their counters do.
///
/// Few connections blur phases. Counters then tell more machines apart: one kernel's are equal, where its
/// offset is fixed. Where it is random, they are anywhere, and make no crowd.
fn crowding(candidates: &[Candidate], link: &Link) -> f64 {
    let (a, b) = (&candidates[link.pair.0], &candidates[link.pair.1]);
    let sigma = a.clock.skew.sigma.hypot(b.clock.skew.sigma);
    let step = candidates.len().div_ceil(MOST_OTHERS);
    let others = (0..candidates.len()).step_by(step).filter(|&k| k != link.pair.0 && k != link.pair.1);
    let (mut density, mut by_phase, mut apart_ticks) = (0.0, 0_u32, Vec::new());
    for other in others.map(|k| &candidates[k]).filter(|other| other.clock.hz == a.clock.hz) {
        let Estimate { value: ticks, sigma: sigma_ticks } = a.clock.ahead_of(&other.clock);
        let is_apart_by_phase = (ticks - ticks.round()).abs() > CLEARLY_APART * sigma_ticks;
        if is_apart_by_phase {
            density += normal(a.clock.skew.value - other.clock.skew.value, sigma);
            by_phase += 1;
        }
        let ahead_ticks = wrap_difference(ticks).abs();
        let least_ticks = CLEARLY_APART * sigma_ticks.max(MIN_OFFSET_SIGMA_TICKS);
        if is_apart_by_phase || (a.global * other.global > 0.0 && ahead_ticks > least_ticks) {
            apart_ticks.push(ahead_ticks);
        }
    }
    let worth = f64::from(by_phase) + PRIOR_WORTH;
    let prior = spread(a.clock.skew.value, sigma);
    let by_skew = (prior * worth / (density + PRIOR_WORTH * prior)).min(1.0);
    if link.basis == Basis::Phase {
        return by_skew;
    }
    let worth = apart_ticks.len() as f64 + PRIOR_WORTH;
    let uniform = 1.0 / WRAP_TICKS;
    by_skew * (uniform * worth / (highest_density(apart_ticks) + PRIOR_WORTH * uniform)).min(1.0)
}

/// The fewest machines that make a crowd of counters.
const CROWD: usize = 3;

/// The highest density of counters that are this far from a place on either side, in machines a tick, within
/// any distance that holds some of them.
fn highest_density(mut apart_ticks: Vec<f64>) -> f64 {
    apart_ticks.sort_by(f64::total_cmp);
    let within = apart_ticks.iter().enumerate().skip(CROWD - 1);
    within.map(|(before, ticks)| (before + 1) as f64 / (2.0 * ticks.max(1.0))).fold(0.0, f64::max)
}

/// The probability of each link. The odds before clocks are compared are the share of siblings among the
/// other pairs, as far as these together tell (empirical Bayes): among many unrelated machines, some clocks
/// agree by chance.
fn probabilities(links: &Links, pairs: usize) -> Vec<f64> {
    let probability = |link: &Link, siblings: f64| {
        let prior = (siblings.max(FEWEST_SIBLINGS) / pairs.max(1) as f64).min(HIGHEST_PRIOR);
        let odds = link.factor * prior;
        if odds.is_finite() { odds / (1.0 + odds) } else { 1.0 }
    };
    let mut siblings = pairs as f64;
    let mut shares = Vec::new();
    for _ in 0..ROUNDS {
        shares = shares_of_groups(links, |link| probability(link, siblings));
        siblings = shares.iter().sum();
    }
    let others = |link: &Link| siblings - shares[link.pair.0] - shares[link.pair.1];
    links.list.iter().map(|link| probability(link, others(link))).collect()
}

/// Each machine's share of a group of siblings: a group counts once, however many there are in it. A host
/// with twenty addresses tells nothing of whether others have two.
fn shares_of_groups(links: &Links, probability: impl Fn(&Link) -> f64) -> Vec<f64> {
    let mut siblings = vec![0.0_f64; links.stand_for.len()];
    for link in &links.list {
        let (earlier, later) = link.pair;
        let probability = probability(link);
        siblings[earlier] += probability;
        siblings[later] += probability * links.stand_for[later];
    }
    siblings.into_iter().map(|own| own.min(1.0) / (1.0 + own.max(1.0))).collect()
}

/// Two machines whose clocks are less than this many times likelier of one than of two are in no group
/// together, whatever joins them to others.
const CONTRADICTED: f64 = 0.5;

/// For each group, the groups that contradict it. Groups only grow, so this stays; and so no two machines are
/// compared twice.
struct Contradictions(Vec<BTreeSet<usize>>);

impl Contradictions {
    fn are_known(&self, one: usize, other: usize) -> bool {
        self.0[one].contains(&other)
    }

    fn add(&mut self, one: usize, other: usize) {
        self.0[one].insert(other);
        self.0[other].insert(one);
    }

    /// The group `into` takes in the group `from`, which ends.
    fn inherit(&mut self, into: usize, from: usize) {
        for other in std::mem::take(&mut self.0[from]) {
            self.0[other].remove(&from);
            self.add(into, other);
        }
    }
}

/// Joins links into groups, the strongest first. Machines of one address are different machines, and so are
/// those whose fixed counters differ: a link that would put two of them into one group is dropped.
fn join(candidates: &[Candidate], mut links: Vec<(f64, Link)>) -> Vec<Sibling> {
    links.sort_by(|(_, x), (_, y)| y.factor.total_cmp(&x.factor).then(x.pair.cmp(&y.pair)));
    let mut group_of: Vec<usize> = (0..candidates.len()).collect();
    let mut groups: Vec<(Vec<usize>, f64, Basis)> =
        (0..candidates.len()).map(|i| (vec![i], 1.0, Basis::Offset)).collect();
    let mut contradictions = Contradictions(vec![BTreeSet::new(); candidates.len()]);
    for (probability, Link { pair: (i, j), basis, .. }) in links {
        let (gi, gj) = (group_of[i], group_of[j]);
        if gi == gj || contradictions.are_known(gi, gj) {
            continue;
        }
        let is_contradicted = |&(x, y): &(usize, usize)| {
            let (a, b) = (&candidates[x], &candidates[y]);
            a.address == b.address || same(a, b).0 < CONTRADICTED
        };
        let (left, right) = (&groups[gi].0, &groups[gj].0);
        if left.iter().flat_map(|&x| right.iter().map(move |&y| (x, y))).any(|pair| is_contradicted(&pair)) {
            contradictions.add(gi, gj);
            continue;
        }
        let (members, weakest, other) = std::mem::replace(&mut groups[gj], (Vec::new(), 1.0, basis));
        contradictions.inherit(gi, gj);
        for &member in &members {
            group_of[member] = gi;
        }
        let by_phase = basis == Basis::Phase || other == Basis::Phase || groups[gi].2 == Basis::Phase;
        groups[gi].0.extend(members);
        groups[gi].1 = groups[gi].1.min(weakest).min(probability);
        groups[gi].2 = if by_phase { Basis::Phase } else { Basis::Offset };
    }
    let mut siblings: Vec<Sibling> = groups
        .into_iter()
        .filter(|(members, ..)| members.len() >= 2)
        .map(|(members, probability, basis)| {
            let mut members: Vec<(Address, u32)> =
                members.into_iter().map(|m| (candidates[m].address, candidates[m].machine)).collect();
            members.sort_unstable();
            Sibling { members, probability, basis }
        })
        .collect();
    siblings.sort_by(|a, b| a.members.cmp(&b.members));
    siblings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{clock::fit::Clock, ports::boundary::Told};

    fn candidate(host: u8, ticks: f64, skew_ppm: f64, global: f64) -> Candidate {
        Candidate {
            address: Address::from_ip4([203, 0, 113, host]),
            machine: 1,
            clock: Clock {
                hz: 1000.0,
                rate_hz: Estimate { value: 1000.0, sigma: 0.001 },
                skew: Estimate { value: skew_ppm * 1e-6, sigma: 0.1e-6 },
                reference_ns: 1_000_000_000_000,
                offset_ticks: Estimate { value: ticks, sigma: 0.02 },
            },
            global,
            boundary: None,
        }
    }

    fn hosts(siblings: &[Sibling]) -> Vec<Vec<u8>> {
        let host = |(address, _): &(Address, u32)| address.octets()[15];
        siblings.iter().map(|sibling| sibling.members.iter().map(host).collect()).collect()
    }

    #[test]
    fn equal_readings_are_one_kernel_even_across_the_wrap() {
        let found = find(&[
            candidate(1, 5e8, 2.0, 1.0),
            candidate(2, 5e8 + WRAP_TICKS + 0.3, 2.0, 1.0),
            candidate(3, 7e8, 2.0, 1.0),
        ]);
        assert_eq!(hosts(&found), vec![vec![1, 2]]);
        assert_eq!(found[0].basis, Basis::Offset);
    }

    #[test]
    fn equal_readings_tell_even_where_the_regime_is_unknown() {
        let found = find(&[candidate(1, 5e8, 0.0, 0.3), candidate(2, 5e8 + 0.1, 0.1, 0.3)]);
        assert_eq!((hosts(&found), found[0].basis), (vec![vec![1, 2]], Basis::Offset));
    }

    #[test]
    fn random_offsets_leave_phase_and_skew() {
        let found = find(&[
            candidate(1, 100.25, 12.0, 0.0),
            candidate(2, 9_999.26, 12.05, 0.0),
            candidate(3, 77.25, -30.0, 0.0),
            candidate(4, 78.75, 12.0, 0.0),
        ]);
        assert_eq!(hosts(&found), vec![vec![1, 2]]);
        assert_eq!(found[0].basis, Basis::Phase);
    }

    #[test]
    fn disciplined_clocks_that_agree_in_phase_alone_stay_doubtful() {
        let found = find(&[candidate(1, 100.25, 0.0, 0.0), candidate(2, 900.30, 0.1, 0.0)]);
        assert!(found.iter().all(|sibling| sibling.probability < 0.9), "{found:?}");
    }

    /// Disciplined by NTP, IPv4 and IPv6 of one machine have nothing but their phase; ports decide.
    #[test]
    fn boundaries_tell_siblings() {
        let with = |host: u8, ticks: f64, at_s: f64| Candidate {
            boundary: Some(Told { at_s, within_s: 0.1 }),
            ..candidate(host, ticks, 0.0, 0.0)
        };
        let alike = |b_s: f64| {
            find(&[with(1, 100.25, 9.98), with(2, 900.27, b_s)]).first().map_or(0.0, |one| one.probability)
        };
        assert!(alike(0.02) > 0.95, "{}", alike(0.02));
        assert!(alike(4.0) < 0.5, "{}", alike(4.0));
    }

    /// A machine at an address of its own, of thousands.
    fn one_of_many(number: u16, ticks: f64, global: f64) -> Candidate {
        let [high, low] = number.to_be_bytes();
        let address = Address::from_ip4([10, 0, high, low]);
        Candidate { address, ..candidate(0, ticks, 2.0, global) }
    }

    #[test]
    fn thousands_of_addresses_with_one_clock_are_one_group_of_few_pairs() {
        const MACHINES: u16 = 3000;
        // Among so many, phases and skews alone tell no sibling.
        let of_regimes: [(f64, f64, &[usize]); 3] =
            [(1.0, 0.0, &[3000, 2]), (0.5, 0.0, &[3000, 2]), (0.0, 7919.0, &[])];
        for (global, apart_ticks, expected) in of_regimes {
            let of = |number: u16| one_of_many(number, 5e8 + apart_ticks * f64::from(number), global);
            let mut all: Vec<Candidate> = (0..MACHINES).map(of).collect();
            // Two others, of another clock, after all of these.
            let other = |number| one_of_many(number, 9e8 + 0.5, global);
            all.extend([other(MACHINES), other(MACHINES + 1)]);
            let links = crowds::search(&all, MIN_PROBABILITY / HIGHEST_PRIOR);
            assert!(links.list.len() <= all.len() * crowds::MOST_COMPARED, "{}", links.list.len());
            let found = find(&all);
            let sizes: Vec<usize> = found.iter().map(|sibling| sibling.members.len()).collect();
            assert_eq!(sizes, expected, "{global}");
        }
    }

    /// Up to as many machines as are compared, each link is listed; a group counts once where not all are.
    #[test]
    fn links_that_are_not_listed_count() {
        for machines in [2, 17, 18, 400] {
            let all: Vec<Candidate> = (0..machines).map(|number| one_of_many(number, 5e8, 1.0)).collect();
            let links = crowds::search(&all, MIN_PROBABILITY / HIGHEST_PRIOR);
            let is_whole = links.list.len() == crowds::pairs(&all);
            assert_eq!(is_whole, machines <= 17, "{machines}");
            let siblings: f64 = shares_of_groups(&links, |_| 1.0).iter().sum();
            assert!((siblings - 1.0).abs() < 0.01, "{machines}: {siblings}");
        }
    }

    /// A counter that a little is between each two: neighbours agree, and the ends don't.
    #[test]
    fn a_crowd_of_counters_side_by_side_is_several() {
        let all: Vec<Candidate> =
            (0..2000).map(|number| one_of_many(number, 5e8 + 0.02 * f64::from(number), 1.0)).collect();
        let place = |address: &Address| all.iter().position(|one| one.address == *address).expect("one");
        for sibling in find(&all) {
            let places: Vec<usize> = sibling.members.iter().map(|(address, _)| place(address)).collect();
            let (first, last) = (places.iter().min().expect("two"), places.iter().max().expect("two"));
            assert!(same(&all[*first], &all[*last]).0 >= CONTRADICTED, "{first} to {last}");
        }
    }

    /// A hundred devices that were switched on within five seconds, with three connections each: their phases
    /// are blurred, and nothing tells whether their offsets are fixed. Those of two addresses of one machine
    /// among other devices are told.
    #[test]
    fn devices_that_were_switched_on_together_are_no_siblings() {
        let device = |number: u16, ticks: f64| {
            let mut one = one_of_many(number, ticks, 0.5);
            one.clock.offset_ticks.sigma = 0.7;
            one.clock.skew.sigma = 5e-6;
            one
        };
        let (mut together, mut apart) = (0, 0);
        for round in 0..20 {
            // Low-discrepancy points would keep apart; squares modulo a prime don't.
            let within =
                |number: u16| f64::from((u32::from(number) + 1_000 * round).pow(2) % 49_999) / 49_999.0;
            let of = |ticks: f64| -> Vec<Candidate> {
                (0..100).map(|number| device(number, 5e8 + ticks * within(number))).collect()
            };
            together += find(&of(5_000.0)).len();
            let mut others = of(2e9);
            others.push(device(100, others[50].clock.offset_ticks.value + 0.3));
            apart += usize::from(find(&others).iter().any(|sibling| sibling.probability > 0.99));
        }
        assert_eq!((together, apart), (0, 20));
    }

    #[test]
    fn machines_whose_counters_differ_are_not_joined_by_a_third() {
        let found = find(&[
            candidate(1, 5e8 + 0.25, 12.0, 1.0),
            candidate(2, 7e8 + 0.25, 12.0, 1.0),
            candidate(3, 100.25, 12.0, 0.0),
        ]);
        assert!(found.iter().all(|sibling| sibling.members.len() == 2), "{found:?}");
    }

    #[test]
    fn two_machines_of_one_address_never_become_one() {
        let mut twin = candidate(1, 5e8 + 0.1, 2.0, 1.0);
        twin.machine = 2;
        let found = find(&[candidate(1, 5e8, 2.0, 1.0), twin, candidate(2, 5e8, 2.0, 1.0)]);
        assert!(found.iter().all(|sibling| sibling.members.len() == 2), "{found:?}");
    }
}
