//! Whose counters are whose, where offsets are drawn by pair and phases don't tell it: by pages.
//!
//! Pairs of addresses tell how many machines there are, because each makes one counter before each peer.
//! Where delays hide phases, nothing in the clocks tells which counters of different peers are one machine's.
//! Pages do: who opens one connects to several peers at once. So counters whose connections come in the same
//! pages are most likely one machine's, and two counters before one peer never are.
//!
//! Machines are colours of counters. Colourings are sampled, each as often as it is likely: counters of two
//! colours are frozen together by links and by peers that see both, and each piece that is frozen swaps the
//! two colours or doesn't (Swendsen and Wang 1987; Wang, Swendsen and Kotecký 1989).

use std::collections::BTreeMap;

use libm::lgamma;
use tmap_common::Address;

use crate::engine::{
    machines::{
        counters::{behaviours::Behaviour, cluster::Cluster},
        group::{Group, MIN_PROBABILITY, SURE, told_skew},
    },
    types::Regime,
    union_find::UnionFind,
};

/// Steps of the sample for each machine; the first half of them is forgotten.
const STEPS_PER_MACHINE: usize = 400;

/// How often the share of right links is learnt in the first half.
const TIMES_LEARNT: usize = 8;

/// The most links and counters that all steps look at. Bounds the work.
const MOST_LOOK_UPS: usize = 1 << 25;

/// Links are right with a probability that is learnt, from what links by chance would show to this.
const MOST_RIGHT: f64 = 0.95;

/// Where a smaller share of links is right, machines connect at the same moments, and links tell nothing.
const LEAST_RIGHT: f64 = 0.7;

/// Where links by chance aren't less likely by this, in nats, they tell nothing: a few of them fit some
/// colouring whatever they are.
const LEAST_NATS: f64 = 3.0;

/// Whose counters are whose, as far as pages tell.
pub(super) struct Owners {
    /// How many machines there are.
    pub machines: usize,
    /// For each counter, the probability that each machine has it.
    of: Vec<Vec<f64>>,
    /// For each machine, the counter that is its own for sure.
    anchors: Vec<Option<usize>>,
    /// How many links agree.
    pub agreement: Agreement,
}

/// How many links of counters are right, as far as the likeliest owners tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::machines) struct Agreement {
    /// Links of counters of one machine.
    pub right: u64,
    /// All links of different counters.
    pub all: u64,
}

impl Owners {
    /// The owners of the counters of these peers, where so many machines have them; `None` where pages don't
    /// tell. `links` are pairs of counters that have connections in one page, as often as they have.
    pub(super) fn of(peers: &[Address], links: &[(usize, usize)], machines: usize) -> Option<Self> {
        let mut sample = Sample::new(peers, links, machines)?;
        let steps = STEPS_PER_MACHINE * machines;
        if steps * (sample.links.len() + peers.len()) > MOST_LOOK_UPS {
            return None;
        }
        for step in 0..steps / 2 {
            if step % (steps / 2 / TIMES_LEARNT).max(1) == 0 {
                sample.learn();
            }
            sample.step();
        }
        sample.learn();
        if sample.right < LEAST_RIGHT || sample.evidence_nats() < LEAST_NATS {
            return None;
        }
        let (anchors, agreement) = (sample.anchors(), sample.agreement());
        let of = sample.shares(&anchors, steps / 2);
        Some(Self { machines, of, anchors, agreement })
    }

    /// The share of connections that is given to the right machine, as expected. `connections` has the number
    /// of them of each counter.
    pub(super) fn told(&self, connections: impl Iterator<Item = usize>) -> f64 {
        let likeliest = |of: &[f64]| of.iter().copied().fold(0.0, f64::max);
        let (told, all) = connections.zip(&self.of).fold((0.0, 0.0), |(told, all), (connections, of)| {
            (told + connections as f64 * likeliest(of), all + connections as f64)
        });
        told / f64::max(all, 1.0)
    }

    /// The machines that have these counters.
    pub(super) fn groups(&self, hz: f64, counters: &[&Cluster]) -> Vec<Group> {
        let owns = |machine: usize| self.of.iter().map(move |of| of[machine]);
        (0..self.machines).filter_map(|machine| group(hz, counters, owns(machine))).collect()
    }

    /// Pairs of counters that surely are one machine's: one that is its own for sure, and each other one.
    pub(super) fn pairs(&self) -> Vec<(usize, usize)> {
        let of_machine = |(machine, anchor): (usize, &Option<usize>)| {
            let anchor = (*anchor)?;
            let owned = (0..self.of.len()).filter(move |&c| c != anchor && self.of[c][machine] >= SURE);
            Some(owned.map(move |counter| (anchor, counter)))
        };
        self.anchors.iter().enumerate().filter_map(of_machine).flatten().collect()
    }
}

/// The machine that has each counter with these probabilities.
fn group(hz: f64, counters: &[&Cluster], owns: impl Iterator<Item = f64> + Clone) -> Option<Group> {
    let own = || counters.iter().zip(owns.clone()).filter(|(_, owns)| *owns >= MIN_PROBABILITY);
    let surest = own().map(|(_, owns)| owns).fold(0.0, f64::max);
    let best = own()
        .filter(|(_, owns)| *owns >= surest)
        .map(|(counter, _)| counter.clock)
        .min_by(|a, b| a.rate_hz.sigma.total_cmp(&b.rate_hz.sigma))?;
    let members = own().flat_map(|(counter, owns)| counter.members.iter().map(move |&member| (member, owns)));
    Some(Group {
        hz,
        hz_probability: 1.0,
        regime: Regime::PerPair,
        clock: Some(best),
        behaviour: Behaviour::Steady,
        moved: None,
        rate_hz: best.rate_hz,
        skew_ppm: told_skew(best.rate_hz, hz),
        phase_ticks: None,
        is_weighed: true,
        surely_one: 1.0,
        members: members.collect(),
    })
}

/// A colouring, which changes from step to step.
struct Sample {
    machines: usize,
    /// The colour of each counter.
    colours: Vec<usize>,
    /// The counters that each peer sees.
    of_peers: Vec<Vec<usize>>,
    /// Pairs of counters, each with the number of its links.
    links: Vec<(usize, usize, f64)>,
    /// Links of two counters of one peer, which surely are wrong.
    wrong: u64,
    /// The probability that a link is right; otherwise it joins counters of any two machines.
    right: f64,
    random: fastrand::Rng,
}

impl Sample {
    /// A colouring with so many colours; `None` where there is none.
    fn new(peers: &[Address], links: &[(usize, usize)], machines: usize) -> Option<Self> {
        let mut numbers: BTreeMap<(usize, usize), f64> = BTreeMap::new();
        let mut wrong = 0;
        for &(a, b) in links.iter().filter(|(a, b)| a != b) {
            if peers[a] == peers[b] {
                wrong += 1;
            } else {
                *numbers.entry((a.min(b), a.max(b))).or_default() += 1.0;
            }
        }
        let mut of_peer: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
        for (counter, peer) in peers.iter().enumerate() {
            of_peer.entry(*peer).or_default().push(counter);
        }
        let of_peers: Vec<Vec<usize>> = of_peer.into_values().collect();
        if machines < 2 || numbers.is_empty() || of_peers.iter().any(|counters| counters.len() > machines) {
            return None;
        }
        let colours = first_colours(&of_peers, &numbers, peers.len(), machines);
        let links = numbers.into_iter().map(|((a, b), number)| (a, b, number)).collect();
        let random = fastrand::Rng::with_seed(1);
        Some(Self { machines, colours, of_peers, links, wrong, right: MOST_RIGHT, random })
    }

    /// How many links join counters of one colour.
    fn agreement(&self) -> Agreement {
        let is_right = |(a, b, _): &&(usize, usize, f64)| self.colours[*a] == self.colours[*b];
        let right: f64 = self.links.iter().filter(is_right).map(|link| link.2).sum();
        let all: f64 = self.links.iter().map(|link| link.2).sum();
        Agreement { right: right as u64, all: all as u64 + self.wrong }
    }

    /// Learns how many links are right.
    fn learn(&mut self) {
        let Agreement { right, all } = self.agreement();
        let by_chance = 1.0 / self.machines as f64;
        let share = right as f64 / all as f64;
        self.right = ((share - by_chance) / (1.0 - by_chance)).clamp(by_chance, MOST_RIGHT);
    }

    /// The log evidence that links are those of pages, against links of any two machines, in nats: what this
    /// colouring gains, without the number of all colourings of which it was chosen.
    fn evidence_nats(&self) -> f64 {
        let machines = self.machines as f64;
        let [same, different] = [self.right * machines + 1.0 - self.right, 1.0 - self.right].map(f64::ln);
        let gain = |&(a, b, number): &(usize, usize, f64)| {
            number * if self.colours[a] == self.colours[b] { same } else { different }
        };
        // The colours of a peer's counters all differ. Which machine has which colour doesn't matter.
        let ways = |counters: usize| lgamma(machines + 1.0) - lgamma(machines - counters as f64 + 1.0);
        let colourings: f64 = self.of_peers.iter().map(|counters| ways(counters.len())).sum();
        let gained = self.links.iter().map(gain).sum::<f64>() + self.wrong as f64 * different;
        gained - (colourings - ways(self.machines)).max(0.0)
    }

    /// Has two colours swapped in some of the pieces that are frozen.
    fn step(&mut self) {
        let a = self.random.usize(..self.machines);
        let b = (a + self.random.usize(1..self.machines)) % self.machines;
        let Self { colours, of_peers, links, right, random, machines, .. } = self;
        let is_of = |counter: usize| colours[counter] == a || colours[counter] == b;
        let mut pieces = UnionFind::new(colours.len());
        // A link makes one colour of both so many times as likely as two.
        let odds = 1.0 + *right * *machines as f64 / (1.0 - *right);
        for &(one, other, number) in links.iter() {
            let is_same = colours[one] == colours[other] && is_of(one);
            if is_same && random.f64() >= odds.powf(-number) {
                pieces.join(one, other);
            }
        }
        for counters in of_peers.iter() {
            let mut both = counters.iter().copied().filter(|&counter| is_of(counter));
            if let (Some(one), Some(other)) = (both.next(), both.next()) {
                pieces.join(one, other);
            }
        }
        let do_swap: Vec<bool> = (0..colours.len()).map(|_| random.bool()).collect();
        for counter in 0..colours.len() {
            let colour = colours[counter];
            if (colour == a || colour == b) && do_swap[pieces.first(counter)] {
                colours[counter] = a + b - colour;
            }
        }
    }

    /// How often each counter has the colour of each of the `anchors`, in so many steps.
    fn shares(&mut self, anchors: &[Option<usize>], steps: usize) -> Vec<Vec<f64>> {
        let mut shares = vec![vec![0.0; self.machines]; self.colours.len()];
        let mut looks = 0.0;
        for step in 0..steps {
            self.step();
            if step % self.machines != 0 {
                continue;
            }
            looks += 1.0;
            for (of, colour) in shares.iter_mut().zip(&self.colours) {
                let is_of = |anchor: &Option<usize>| anchor.is_some_and(|at| self.colours[at] == *colour);
                of.iter_mut().zip(anchors).filter(|(_, at)| is_of(at)).for_each(|(of, _)| *of += 1.0);
            }
        }
        for of in &mut shares {
            // Two anchors may share a colour now and then.
            let all = of.iter().sum::<f64>().max(looks);
            // As if each machine had had it once.
            of.iter_mut().for_each(|times| *times = (*times + 1.0) / (all + self.machines as f64));
        }
        shares
    }

    /// For each colour, the counter that most links hold there; `None` where it has none.
    fn anchors(&self) -> Vec<Option<usize>> {
        let mut held = vec![0.0; self.colours.len()];
        for &(a, b, number) in self.links.iter().filter(|(a, b, _)| self.colours[*a] == self.colours[*b]) {
            held[a] += number;
            held[b] += number;
        }
        let of = |colour: usize| {
            let counters = (0..held.len()).filter(move |&counter| self.colours[counter] == colour);
            counters.max_by(|a, b| held[*a].total_cmp(&held[*b]))
        };
        (0..self.machines).map(of).collect()
    }
}

/// Colours by which a sample begins: each counter has one that no other of its peer has, and with most links.
fn first_colours(
    of_peers: &[Vec<usize>],
    numbers: &BTreeMap<(usize, usize), f64>,
    counters: usize,
    machines: usize,
) -> Vec<usize> {
    let mut near: Vec<Vec<(usize, f64)>> = vec![Vec::new(); counters];
    for (&(a, b), &number) in numbers {
        near[a].push((b, number));
        near[b].push((a, number));
    }
    let mut colours: Vec<Option<usize>> = vec![None; counters];
    let mut fullest: Vec<&Vec<usize>> = of_peers.iter().collect();
    fullest.sort_by_key(|counters| std::cmp::Reverse(counters.len()));
    for of_peer in fullest {
        let mut free = vec![true; machines];
        for &counter in of_peer {
            let mut held = vec![0.0; machines];
            for &(other, number) in &near[counter] {
                colours[other].into_iter().for_each(|colour| held[colour] += number);
            }
            let best = (0..machines).filter(|&c| free[c]).max_by(|a, b| held[*a].total_cmp(&held[*b]));
            let best = best.expect("as many colours as counters of a peer");
            free[best] = false;
            colours[counter] = Some(best);
        }
    }
    colours.into_iter().map(Option::unwrap_or_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counters of so many machines before each peer, and links of counters: of one machine, or, with the
    /// probability of `wrong`, of any two. Counter `c` is that of machine `c % machines`.
    fn linked(
        (machines, peers): (usize, u8),
        links: usize,
        wrong: f64,
        seed: u64,
    ) -> (Vec<Address>, Vec<(usize, usize)>) {
        let mut random = fastrand::Rng::with_seed(seed);
        let addresses = (0..peers).flat_map(|peer| vec![Address::from_ip4([203, 0, 113, peer]); machines]);
        let mut counter_of = |machine: usize| machine + machines * random.usize(..usize::from(peers));
        let mut chance = fastrand::Rng::with_seed(seed + 1);
        let links = (0..links).map(|_| {
            let one = chance.usize(..machines);
            let other = if chance.f64() < wrong { chance.usize(..machines) } else { one };
            (counter_of(one), counter_of(other))
        });
        let links = links.collect();
        (addresses.collect(), links)
    }

    /// The share of counters that are given to the right machine, and the share that is expected to be.
    fn shares(machines: usize, peers: u8, links: usize, wrong: f64, seed: u64) -> Option<(f64, f64)> {
        let (addresses, links) = linked((machines, peers), links, wrong, seed);
        let owners = Owners::of(&addresses, &links, machines)?;
        // Each machine is the one that the counters of the first of its anchors are.
        let true_of: Vec<usize> = owners.anchors.iter().flatten().map(|anchor| anchor % machines).collect();
        let likeliest = |of: &[f64]| (0..machines).max_by(|a, b| of[*a].total_cmp(&of[*b])).expect("some");
        let is_right = |(counter, of): (usize, &Vec<f64>)| true_of[likeliest(of)] == counter % machines;
        let right = owners.of.iter().enumerate().filter(|of| is_right(*of)).count();
        let all = addresses.len();
        Some((right as f64 / all as f64, owners.told(std::iter::repeat_n(1, all))))
    }

    #[test]
    fn counters_of_one_page_are_one_machine_s() {
        for (machines, links) in [(2, 60), (4, 150), (8, 300), (16, 800)] {
            for seed in 0..5 {
                let (right, told) = shares(machines, 8, links, 0.1, seed).expect("owners");
                assert!(right > 0.9 && (right - told).abs() < 0.1, "{machines}: {right}, {told}");
            }
        }
    }

    #[test]
    fn no_more_is_told_than_links_tell() {
        let mut sums = (0.0, 0.0, 0);
        for links in [10, 20, 30, 40, 60, 90] {
            for (right, told) in (0..8).filter_map(|seed| shares(4, 8, links, 0.1, seed)) {
                sums = (sums.0 + right, sums.1 + told, sums.2 + 1);
            }
        }
        let (right, told) = (sums.0 / f64::from(sums.2), sums.1 / f64::from(sums.2));
        assert!(told < right + 0.05 && sums.2 > 30, "{right}, {told}");
    }

    #[test]
    fn links_of_any_machines_tell_no_owner() {
        for machines in [2, 3, 4, 8] {
            for links in [10, 20, 40, 80, 160, 320, 1_000] {
                for seed in 0..4 {
                    let told = shares(machines, 8, links, 1.0, seed).map_or(0.0, |(_, told)| told);
                    assert!(told < 0.6, "{machines} machines, {links} links: {told}");
                }
            }
        }
    }

    #[test]
    fn more_counters_of_a_peer_than_machines_tell_no_owner() {
        let (addresses, links) = linked((4, 8), 200, 0.0, 0);
        assert!(Owners::of(&addresses, &links, 3).is_none());
        assert!(Owners::of(&addresses, &[], 4).is_none());
    }
}
