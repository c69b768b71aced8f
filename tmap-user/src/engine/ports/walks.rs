//! Walks: which SYN went on from which other one of the same host.
//!
//! SYNs are taken in order of time. Each either goes on from a walk that is under way, or begins one. What is
//! likelier is told by the step of its port, against the chance that a port drawn at random lies as near; how
//! often SYNs go on at all is learnt from the address itself, so nothing is linked where a NAT draws ports.

use std::collections::HashMap;

use super::{
    opening::{Opening, Place},
    rule::{Rule, Steps},
};
use foldhash::fast::RandomState;

/// The most walks under way at one service; beyond them, the oldest ends. Bounds the work of a SYN.
const MOST_UNDER_WAY: usize = 64;

/// The most counters under way: there is one for all services, unless several hosts count.
const MOST_COUNTERS: usize = 8;

fn most_under_way(steps: Steps) -> usize {
    if steps.is_per_service() { MOST_UNDER_WAY } else { MOST_COUNTERS }
}

/// Rounds in which the share of SYNs that go on is learnt.
const ROUNDS: usize = 4;

/// A SYN goes on from a walk where that is likelier than all else.
const LIKELY: f64 = 0.5;

/// A smaller share of an address's SYNs seems to be of a hint by chance.
pub(super) const LEAST_HINTED: f64 = 0.05;

/// The link of a SYN to the one before it in its walk.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Link {
    /// The index of the SYN before it.
    pub from: usize,
    /// The probability that the same host sent both, 0 to 1.
    pub probability: f64,
}

/// Walks of one rule through an address's SYNs.
#[derive(Clone, Debug)]
pub struct Walks {
    /// The rule.
    pub rule: Rule,
    /// For each SYN, its link to an earlier one; `None` where it begins a walk.
    pub links: Vec<Option<Link>>,
    /// SYNs that could go on from an earlier one: a walk was under way.
    pub could: usize,
    /// The number of SYNs that would go on by chance if ports were drawn at random.
    pub by_chance: f64,
    /// For each SYN, its log evidence for this rule, in nats, against ports drawn at random.
    pub(super) nats_of: Vec<f64>,
    /// For each SYN, whether its walk is rather one of Linux's one hint, beside walks since 2022.
    pub(super) is_hint: Vec<bool>,
}

impl Walks {
    /// The walks of one rule through SYNs in order of time; `is_free` tells which of them take part.
    pub fn follow(rule: Rule, openings: &[Opening], is_free: impl Fn(usize) -> bool) -> Self {
        let strangers = Strangers::of(rule, openings);
        Self::in_rounds(Steps::of(rule), openings, &strangers, is_free)
    }

    /// The walks of one rule, with evidence against the same strangers as that of walks by the rule `beside`,
    /// so that the two can be compared.
    pub(super) fn follow_beside(
        rule: Rule,
        beside: Rule,
        openings: &[Opening],
        is_free: impl Fn(usize) -> bool,
    ) -> Self {
        let strangers = Strangers::of(beside, openings);
        Self::in_rounds(Steps::of(rule), openings, &strangers, is_free)
    }

    /// Counters that go by one, each through SYNs to one service. Evidence is against the same strangers as
    /// that of walks by `rule`, so that the two can be compared.
    pub(super) fn counters_beside(rule: Rule, openings: &[Opening], is_free: impl Fn(usize) -> bool) -> Self {
        let strangers = Strangers::of(rule, openings);
        Self::in_rounds(Steps::OF_COUNTERS, openings, &strangers, is_free)
    }

    fn in_rounds(
        mut steps: Steps,
        openings: &[Opening],
        strangers: &Strangers,
        is_free: impl Fn(usize) -> bool,
    ) -> Self {
        let mut walks = Self::once(steps, openings, strangers, &is_free, LIKELY);
        for _ in 1..ROUNDS {
            if walks.linked() == 0 {
                // Nothing is learnt, and where a smaller share of SYNs goes on, none does.
                break;
            }
            steps = steps.learnt(walks.steps(openings));
            walks = Self::once(steps, openings, strangers, &is_free, walks.share());
        }
        walks
    }

    /// The step of each link, and the SYNs that the address sent from then on.
    fn steps(&self, openings: &[Opening]) -> impl Iterator<Item = (u16, usize)> {
        let links = self.links.iter().enumerate().filter_map(|(at, link)| Some((at, (*link)?.from)));
        links.map(|(at, from)| (openings[at].port.wrapping_sub(openings[from].port), at - from))
    }

    /// The log evidence for this rule, in nats, against ports drawn at random.
    pub fn nats(&self) -> f64 {
        self.nats_of.iter().sum()
    }

    /// The share of SYNs that go on where they could, 0 to 1.
    pub fn share(&self) -> f64 {
        (self.expected() + 1.0) / (self.could as f64 + 2.0)
    }

    /// Whether these walks have a boundary of ten seconds, as far as one host sent these SYNs: whether hardly
    /// any of them is of a hint.
    pub fn have_boundary(&self, syns: impl Iterator<Item = usize>) -> bool {
        let (hinted, all) =
            syns.fold((0, 0), |(hinted, all), at| (hinted + usize::from(self.is_hint[at]), all + 1));
        self.rule == Rule::LinuxWalk && hinted as f64 <= LEAST_HINTED * f64::from(all)
    }

    /// The number of links.
    pub fn linked(&self) -> usize {
        self.links.iter().flatten().count()
    }

    /// The expected number of right links.
    fn expected(&self) -> f64 {
        self.links.iter().flatten().map(|link| link.probability).sum()
    }

    fn once(
        steps: Steps,
        openings: &[Opening],
        strangers: &Strangers,
        is_free: impl Fn(usize) -> bool,
        share: f64,
    ) -> Self {
        let (links, nats_of) = (vec![None; openings.len()], vec![0.0; openings.len()]);
        let is_hint = vec![false; openings.len()];
        let mut walks = Self { rule: steps.rule(), links, could: 0, by_chance: 0.0, nats_of, is_hint };
        let mut services: HashMap<Place, Vec<usize>, RandomState> = HashMap::default();
        for (at, opening) in openings.iter().enumerate().filter(|(at, _)| is_free(*at)) {
            let under_way = services.entry(steps.place_of(opening)).or_default();
            let pause_s = |from: &usize| openings[*from].pause_s(opening);
            under_way.retain(|from| pause_s(from) < steps.rule().longest_pause_s());
            let link = walks.weigh(at, steps, under_way, openings, (strangers.of_syn[at], share));
            match link {
                Some(link) => under_way.retain(|from| *from != link.from),
                None if under_way.len() == most_under_way(steps) => drop(under_way.remove(0)),
                None => {}
            }
            under_way.push(at);
            walks.links[at] = link;
        }
        walks
    }

    /// Weighs from which of the walks under way a SYN goes on. `any` is the probability that a stranger's SYN
    /// has its port, `share` that of SYNs that go on.
    fn weigh(
        &mut self,
        at: usize,
        steps: Steps,
        under_way: &[usize],
        openings: &[Opening],
        (any, share): (f64, f64),
    ) -> Option<Link> {
        let opening = &openings[at];
        if under_way.is_empty() {
            return None;
        }
        self.could += 1;
        let (mut best, mut sum, mut goes_on) = ((0, 0.0), 0.0, 0.0);
        for &from in under_way {
            let before = &openings[from];
            // The longer the pause, the likelier the walk has ended.
            let lasts = 1.0 - before.pause_s(opening) / self.rule.longest_pause_s();
            let prior = share * lasts / under_way.len() as f64;
            let step = steps.probability(opening.port.wrapping_sub(before.port), at - from);
            let weight = prior * step;
            (sum, goes_on) = (sum + weight, goes_on + prior);
            if weight > best.1 {
                best = (from, weight);
            }
            self.by_chance += any * STEPS_NEAR;
        }
        let begins = (1.0 - goes_on) * any;
        self.nats_of[at] = ((sum + begins) / any).ln();
        let probability = best.1 / (sum + begins);
        (probability > LIKELY).then_some(Link { from: best.0, probability })
    }
}

/// The probability that a stranger's SYN has the port of a given one.
struct Strangers {
    /// For each SYN.
    of_syn: Vec<f64>,
}

/// Within so many ports of a SYN's own, ports of the address are counted: a carrier's NAT gives each customer
/// a block of tens to thousands, and among so few, ports lie near each other by chance.
const NEARBY: [u16; 2] = [32, 512];

/// The most ports looked at on either side. Bounds the work of a SYN.
const MOST_NEARBY: usize = 128;

impl Strangers {
    /// Strangers have any port of the rule, and more likely one where the address has many.
    fn of(rule: Rule, openings: &[Opening]) -> Self {
        let mut by_port: Vec<usize> = (0..openings.len()).collect();
        by_port.sort_unstable_by_key(|&at| openings[at].port);
        let mut of_syn = vec![rule.any_probability(); openings.len()];
        for (place, &at) in by_port.iter().enumerate() {
            let first = place.saturating_sub(MOST_NEARBY);
            let last = (place + MOST_NEARBY).min(by_port.len() - 1);
            for within in NEARBY {
                let apart = |other: usize| openings[other].port.abs_diff(openings[at].port);
                let others = by_port[first..=last].iter().filter(|&&other| apart(other) <= within);
                let strangers =
                    others.filter(|&&other| !may_be_one_walk(rule, &openings[other], &openings[at]));
                // Where ports are even, each is twice as likely.
                let density = strangers.count() as f64 / openings.len() as f64 / f64::from(within);
                of_syn[at] = density.max(of_syn[at]);
            }
        }
        Self { of_syn }
    }
}

/// Whether two SYNs may be of one walk, so that it is no accident if their ports are near. One counter for
/// all services has all of them, so there everything counts.
fn may_be_one_walk(rule: Rule, a: &Opening, b: &Opening) -> bool {
    let pause_s = a.pause_s(b).abs();
    rule.is_per_service() && a.service() == b.service() && pause_s < rule.longest_pause_s()
}

/// The number of ports that are as near as a step.
const STEPS_NEAR: f64 = 8.0;

/// A walk: the SYNs of one host, one going on from the other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walk(
    /// The indices of its SYNs, in order of time; at least two.
    pub Vec<usize>,
);

impl Walks {
    /// The walks of at least two SYNs, in order of their first one.
    pub fn walks(&self) -> Vec<Walk> {
        let mut walk_of: Vec<Option<usize>> = vec![None; self.links.len()];
        let mut walks: Vec<Walk> = Vec::new();
        for (at, link) in self.links.iter().enumerate() {
            let Some(Link { from, .. }) = *link else { continue };
            let walk = walk_of[from].unwrap_or_else(|| {
                walks.push(Walk(vec![from]));
                walks.len() - 1
            });
            (walk_of[from], walk_of[at]) = (Some(walk), Some(walk));
            walks[walk].0.push(at);
        }
        walks
    }
}

/// The fewest SYNs of a walk that is certain: strangers make two steps by chance once in a million.
pub(super) const LEAST_CERTAIN: usize = 4;

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;
    use tmap_common::Address;

    use super::{super::at_once, *};

    /// Hosts that open a connection to one of two services every quarter of a second in turn, by Linux's
    /// rule; each begins its walks anew at a second of its own. Returns the host of each SYN, too.
    fn linux(hosts: usize, seconds: u64, kept: f64) -> (Vec<Opening>, Vec<usize>) {
        let mut random = Pcg64::seed_from_u64(hosts as u64);
        let mut last: HashMap<(usize, u16, u64), u16> = HashMap::new();
        let (mut openings, mut of) = (Vec::new(), Vec::new());
        for k in 0..4 * seconds {
            let host = random.random_range(0..hosts);
            let peer_port = if random.random::<bool>() { 443 } else { 80 };
            let time_ns = k * 250_000_000 + random.random_range(0..200_000_000);
            let period = (time_ns / 1_000_000 + 1_300 * host as u64) / 10_000;
            let begin =
                || 32_768 + 2 * Pcg64::seed_from_u64(period * 64 + host as u64).random_range(0..14_000);
            let port = last.entry((host, peer_port, period)).or_insert_with(begin);
            *port += 2 * random.random_range(1..=8);
            let seen =
                if random.random::<f64>() < kept { *port } else { random.random_range(1_024..=65_535) };
            let peer = Address::from_ip4([203, 0, 113, 1]);
            openings.push(Opening { time_ns, peer, peer_port, port: seen });
            of.push(host);
        }
        (openings, of)
    }

    #[test]
    fn links_are_right_and_most_are_found() {
        for hosts in [1, 4, 16] {
            let (openings, of) = linux(hosts, 240, 1.0);
            let walks = Walks::follow(Rule::LinuxWalk, &openings, |_| true);
            let links = walks.links.iter().enumerate().filter_map(|(at, link)| Some((at, (*link)?)));
            let right = links.filter(|(at, link)| of[*at] == of[link.from]).count();
            assert!(right as f64 >= 0.97 * walks.linked() as f64, "{right} of {}", walks.linked());
            let least = [0.0, 0.9, 0.0, 0.0, 0.7][hosts.min(4)];
            assert!(right as f64 > least * openings.len() as f64 * if hosts == 16 { 0.4 } else { 1.0 });
            assert!(walks.nats() > 1_000.0 && walks.by_chance < 0.1 * walks.linked() as f64);
            let at_once = at_once::hosts(&walks, &openings);
            assert!(at_once <= hosts && (hosts == 16 || at_once == hosts), "{at_once} of {hosts}");
        }
    }

    #[test]
    fn drawn_ports_are_no_walk() {
        let (openings, _) = linux(4, 240, 0.0);
        for rule in Rule::ALL {
            let walks = Walks::follow(rule, &openings, |_| true);
            assert!(
                walks.nats() < 3.0 && walks.linked() < 5,
                "{rule:?}: {} {}",
                walks.nats(),
                walks.linked()
            );
            assert_eq!(at_once::hosts(&walks, &openings), 0);
        }
    }
}
