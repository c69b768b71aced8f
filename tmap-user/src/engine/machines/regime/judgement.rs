//! The regime of offsets: one per machine, one per pair of addresses, or one per connection.
//!
//! The data itself shows the regime. With 2^32 possible counter values, two connections share an offset
//! only if their machine gave them the same one. In the global regime that happens across peers; in the
//! per-pair regime only within a pair of addresses; with an offset per connection never. Behind one address
//! there may be machines of each kind, so the regime is a property of a machine. What each counter is, is
//! decided by likelihood ratios.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Address;

use super::{
    two_ways::TwoWays,
    urns::{self, OfOnePeer},
    visits,
};
use crate::engine::{
    machines::{
        counters::{
            coincidence,
            sharing::{Contact, Sharing, draws_offsets},
        },
        offsets::{one_clock::Alike, together::CLEARLY_NEAR_NATS},
    },
    types::Regime,
};

/// The fewest connections of a slow clock that are taken for random because no two share an offset
/// (Linux 4.10, or an unknown stack): as many machines, each seen once, are less likely. Fewer leave it open.
const MIN_RANDOM_SLOW: usize = 8;

/// The fewest connections that can show that offsets are drawn at random.
const MIN_RANDOM: usize = 3;

/// A regime is told where the log of its likelihood ratio is at least this, in nats: one chance in twenty.
const CLEAR_NATS: f64 = 3.0;

/// Where more connections than this that are alone with their counter are expected to be of each machine with
/// offsets by pair, they would show it once more among random ones: then both kinds are told apart by phase.
/// Fewer make no line.
const SHOWN_TWICE: f64 = 3.0;

/// So many connections that share their offset with none, for each offset that is shared, may each have drawn
/// their own: machines with offsets by pair would be hundreds.
const MANY_SINGLES: usize = 10;

/// What a slow clock says for offsets that aren't random, in nats: of stacks with slow clocks, one in fifty
/// (Linux 4.10) draws them.
const SLOW_NATS: f64 = 3.9;

/// What each connection that shares an offset across peers speaks for fixed ones, in nats: another machine's
/// offset would be within some tens of milliseconds only once in ten million times.
const ACROSS_NATS: f64 = 16.0;

/// The judgement on the connections of one address and one tick rate.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine::machines) struct Judgement {
    /// The regime of all.
    pub regime: Regime,
    /// The counts that decided the regime, as a sentence.
    pub evidence: String,
    /// Clusters that are one machine each, by offset, in ascending order.
    pub machines: Vec<usize>,
    /// The fewest machines that these may be.
    pub fewest: usize,
    /// Their regime: open where all have the same peer.
    pub of_machines: Regime,
    /// Those of them that a machine with other offsets may have made, beside others that several peers see:
    /// one that draws them by pair shows each peer a counter, and one that draws them by connection shows
    /// each connection one. In ascending order.
    pub open: Vec<usize>,
    /// Clusters (often of one connection) whose offsets are random, for an analysis by phase.
    pub random: Vec<Random>,
}

/// Clusters whose offsets are drawn in the same way.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::engine::machines) struct Random {
    /// The way: by pair, by connection, or either.
    pub regime: Regime,
    /// Whether connections that share their offset with none may each have drawn their own.
    pub own: Own,
    /// The clusters.
    pub clusters: Vec<usize>,
    /// How many connections of each peer share each of their counters, or how many visits. Empty where pairs
    /// of addresses say nothing of the number of machines.
    pub sizes: Vec<Vec<usize>>,
    /// Whether these are visits.
    pub are_visits: bool,
}

impl Judgement {
    /// Leaves to their phases the clusters that show one clock, as `is_one` tells of those of pairs and
    /// `alike` of those that are machines.
    pub(in crate::engine::machines) fn leave_to_phases(
        &mut self,
        is_one: impl Fn(&[usize]) -> bool,
        Alike { clearly, fewest }: Alike,
    ) {
        for random in &mut self.random {
            if !random.is_left_to_phases() && is_one(&random.clusters) {
                random.sizes.clear();
            }
        }
        self.fewest = self.fewest.min(fewest);
        if !clearly.is_empty() {
            self.machines.retain(|cluster| clearly.binary_search(cluster).is_err());
            self.fewest = self.fewest.min(self.machines.len());
            let regime = Regime::Undetermined;
            self.random.push(Random::by_phase(regime, clearly));
            self.regime = if self.machines.is_empty() { regime } else { Regime::Mixed };
        }
    }

    /// Leaves open how those machines draw their offsets whose peers may all be one to them.
    pub(in crate::engine::machines) fn leave_open(&mut self, are_peers_one: impl Fn(usize) -> bool) {
        let open = |index: &usize| self.open.contains(index) || are_peers_one(*index);
        let open: Vec<usize> = self.machines.iter().copied().filter(open).collect();
        if open.len() > self.open.len() {
            self.evidence.push_str("; peers with private addresses may be one to it, behind a NAT");
        }
        if self.regime == Regime::Global && open.len() == self.machines.len() {
            self.regime = Regime::Undetermined;
        }
        self.open = open;
    }

    /// Whether it names no cluster.
    pub(in crate::engine::machines) fn is_empty(&self) -> bool {
        self.machines.is_empty() && self.random.is_empty()
    }

    /// Adds `count` clusters behind the `others`, whose counters begin with their connections.
    pub(in crate::engine::machines) fn add_begun_anew(&mut self, others: usize, count: usize) {
        let regime = Regime::PerConnection;
        self.random.push(Random::by_phase(regime, (others..others + count).collect()));
        let begun = format!("{count} counters begin with their connections");
        (self.regime, self.evidence) = match others {
            0 => (regime, begun),
            _ => (Regime::Mixed, format!("{}; {begun}", self.evidence)),
        };
    }
}

impl Random {
    /// Clusters of which pairs of addresses say nothing.
    fn by_phase(regime: Regime, clusters: Vec<usize>) -> Self {
        Self { regime, own: Own::Mostly, clusters, sizes: Vec::new(), are_visits: false }
    }

    /// Whether pairs of addresses say nothing of the number of machines.
    pub(in crate::engine::machines) fn is_left_to_phases(&self) -> bool {
        self.sizes.is_empty()
    }
}

/// Whether connections that share their offset with none may each have drawn their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine::machines) enum Own {
    /// They haven't.
    No,
    /// They may.
    Maybe,
    /// They may, and nearly all connections share their offset with none.
    Mostly,
}

/// Judges the clusters of one tick rate. `serves` tells that most connections go to a service of the address.
/// `together_nats` is what the nearness of their counters says for offsets that aren't random.
pub(in crate::engine::machines) fn judge(
    hz: f64,
    clusters: &[Sharing],
    serves: bool,
    together_nats: f64,
) -> Judgement {
    let all: Vec<usize> = (0..clusters.len()).collect();
    let tally = Tally::of(clusters).without_chance_meetings(hz);
    let has_shared = !tally.across.is_empty() || !tally.within.is_empty();
    let all_differ = !has_shared && tally.connections >= MIN_RANDOM_SLOW;
    // Linux 4.11 and 4.12 drew them by pair, at any rate; but a balancer may send each client to one machine.
    let are_of_pairs = || !serves && tally.across.is_empty() && tally.by_pair_nats() > CLEAR_NATS + SLOW_NATS;
    let may_be_random = draws_offsets(hz) || all_differ || are_of_pairs();
    let of_machines =
        if may_be_random && tally.across.is_empty() { Regime::Undetermined } else { Regime::Global };
    let judgement = |regime, machines: Vec<usize>, random: Vec<Random>, nats: f64| Judgement {
        regime,
        evidence: tally.describe(hz, regime, nats),
        fewest: machines.len(),
        machines,
        of_machines,
        open: Vec::new(),
        random,
    };
    if tally.connections < 2 {
        let alone = judgement(Regime::Undetermined, all, Vec::new(), 0.0);
        return Judgement { of_machines: Regime::Undetermined, ..alone };
    }
    let slow_nats = if may_be_random { 0.0 } else { SLOW_NATS };
    let are_near =
        together_nats > 0.0 && together_nats + slow_nats > CLEARLY_NEAR_NATS + tally.all_differ_nats();
    if tally.across.is_empty() && are_near {
        let shared = if has_shared { "no two peers" } else { "no two of them" };
        let evidence = format!(
            "the counters of {} connections are near each other, though {shared} share an offset{}",
            tally.connections,
            strength(together_nats)
        );
        let (regime, of_machines) = (Regime::Global, Regime::Global);
        return Judgement {
            regime,
            evidence,
            fewest: all.len(),
            machines: all,
            of_machines,
            open: Vec::new(),
            random: Vec::new(),
        };
    }
    if !has_shared {
        let is_random = may_be_random && tally.connections >= MIN_RANDOM && tally.repeated_pairs > 0;
        let regime = if is_random { Regime::PerConnection } else { Regime::Undetermined };
        return judgement(regime, Vec::new(), vec![tally.random(regime, Own::Mostly, all)], 0.0);
    }
    if !may_be_random {
        return judgement(Regime::Global, all, Vec::new(), 0.0);
    }
    tally.judge_shared(judgement)
}

/// The sizes of clusters, for each peer.
pub(super) fn sizes(clusters: &[Sharing]) -> Vec<Vec<usize>> {
    Tally::of(clusters).sizes(0..clusters.len())
}

/// Counts of clusters, connections and peers.
struct Tally<'a> {
    sharing: &'a [Sharing],
    connections: usize,
    /// How many connections each peer has.
    per_peer: BTreeMap<Address, usize>,
    /// For each cluster, its connections by peer.
    clusters: Vec<BTreeMap<Address, usize>>,
    /// Clusters that several peers see.
    across: Vec<usize>,
    /// Clusters of several connections that one peer sees.
    within: Vec<usize>,
    /// Whether any of these surely shows that a machine has one offset for several connections. A host that
    /// uses its ports again behind a NAT which draws others shows the same.
    is_sure_within: bool,
    /// Clusters of one.
    singles: Vec<usize>,
    /// Pairs of addresses with at least two connections.
    repeated_pairs: usize,
}

impl<'a> Tally<'a> {
    fn of(sharing: &'a [Sharing]) -> Self {
        let (mut across, mut within, mut singles) = (Vec::new(), Vec::new(), Vec::new());
        let mut per_peer: BTreeMap<Address, usize> = BTreeMap::new();
        let mut clusters = Vec::with_capacity(sharing.len());
        for (index, Sharing { contacts, .. }) in sharing.iter().enumerate() {
            let mut by_peer: BTreeMap<Address, usize> = BTreeMap::new();
            for Contact { peer, .. } in contacts {
                *by_peer.entry(*peer).or_default() += 1;
                *per_peer.entry(*peer).or_default() += 1;
            }
            match (by_peer.len(), contacts.len()) {
                (2.., _) => across.push(index),
                (_, 2..) => within.push(index),
                _ => singles.push(index),
            }
            clusters.push(by_peer);
        }
        Self {
            sharing,
            connections: per_peer.values().sum(),
            repeated_pairs: per_peer.values().filter(|&&count| count >= 2).count(),
            per_peer,
            clusters,
            across,
            is_sure_within: within.iter().any(|&index| sharing[index].is_sure),
            within,
            singles,
        }
    }

    /// Takes clusters that several peers see for counters of pairs that met by chance, where that explains
    /// them: those that fewest peers see, and as many as may be. A machine's own offset is seen by many.
    fn without_chance_meetings(mut self, hz: f64) -> Self {
        self.across.sort_by_key(|&index| self.clusters[index].len());
        let mut counters = self.within.len() + self.singles.len();
        let (mut meetings, mut by_chance) = (0, 0);
        for &index in &self.across {
            let peers = self.clusters[index].len();
            (counters, meetings) = (counters + peers, meetings + peers - 1);
            if !coincidence::may_meet(counters, meetings, hz) {
                break;
            }
            by_chance += 1;
        }
        for index in self.across.drain(..by_chance) {
            let is_repeated = self.clusters[index].values().any(|&count| count > 1);
            if is_repeated { &mut self.within } else { &mut self.singles }.push(index);
        }
        self.across.sort_unstable();
        self
    }

    /// Clusters whose offsets are drawn in the same way.
    fn random(&self, regime: Regime, own: Own, clusters: Vec<usize>) -> Random {
        let is_shared = |&index: &usize| self.clusters[index].values().any(|&count| count > 1);
        let do_pairs_tell = clusters.iter().any(is_shared);
        let of_pairs = do_pairs_tell.then(|| visits::sizes(self.sharing, &clusters));
        let (sizes, are_visits) = of_pairs.unwrap_or_default();
        Random { regime, own, clusters, sizes, are_visits }
    }

    /// Judges clusters of which some are shared.
    fn judge_shared(
        &self,
        judgement: impl Fn(Regime, Vec<usize>, Vec<Random>, f64) -> Judgement,
    ) -> Judgement {
        let by_pair_nats = self.by_pair_nats();
        // Without a counter that several peers see, nothing tells fixed offsets from those of pairs; then
        // each peer's counters are taken for themselves, unless there is only one peer.
        let is_by_pair = by_pair_nats > CLEAR_NATS || (self.across.is_empty() && self.per_peer.len() > 1);
        // Most addresses have too few counters seen once for the question, which is dear to answer.
        let may_be_random = self.singles.len() >= MIN_RANDOM;
        let urns = may_be_random.then(|| self.urns(is_by_pair));
        let two_ways = urns.as_ref().map(|urns| TwoWays::of(urns));
        let random_nats = urns.map_or(0.0, |urns| urns::random_nats(&urns, two_ways.as_ref()));
        let is_clear = random_nats > CLEAR_NATS;
        // Connections that are alone with a peer show nothing of how that pair's offsets are drawn.
        let is_open = !is_by_pair
            && random_nats > -CLEAR_NATS
            && self.singles.len() > 2 * (self.across.len() + self.within.len());
        let are_random = may_be_random && (is_clear || is_open);
        let shows_twice = |two_ways: &TwoWays| two_ways.alone_of_each > SHOWN_TWICE;
        let may_be_twice = is_by_pair && two_ways.as_ref().is_some_and(shows_twice);
        let are_together = self.is_sure_within && is_clear && may_be_twice;
        let (mut machines, mut pairs) = (self.across.clone(), Vec::new());
        if is_by_pair { &mut pairs } else { &mut machines }.extend(&self.within);
        let mut random = Vec::new();
        if are_together {
            pairs.extend(&self.singles);
            pairs.sort_unstable();
            random.push(self.random(Regime::Mixed, Own::Maybe, std::mem::take(&mut pairs)));
        } else if are_random {
            let regime = if is_clear { Regime::PerConnection } else { Regime::Undetermined };
            let mut clusters = self.singles.clone();
            if !self.is_sure_within {
                // The same addresses and ports again explain what pairs share.
                clusters.append(&mut pairs);
                clusters.sort_unstable();
            }
            random.push(self.random(regime, Own::Mostly, clusters));
        } else if is_by_pair {
            pairs.extend(&self.singles);
        } else {
            machines.extend(&self.singles);
        }
        if !pairs.is_empty() {
            pairs.sort_unstable();
            let own = if may_be_random { self.own(random_nats) } else { Own::No };
            let is_clear = by_pair_nats > CLEAR_NATS && own != Own::Mostly;
            let regime = if is_clear { Regime::PerPair } else { Regime::Undetermined };
            random.push(self.random(regime, own, pairs));
        }
        machines.sort_unstable();
        let decisive_nats = if are_random { random_nats } else { by_pair_nats };
        let (regime, nats) = match (&machines[..], &random[..]) {
            (_, []) if self.across.is_empty() => (Regime::Undetermined, 0.0),
            (_, []) => (Regime::Global, ACROSS_NATS * self.joins_across() as f64),
            ([], [only]) => (only.regime, decisive_nats),
            _ => (Regime::Mixed, decisive_nats),
        };
        let are_alone_open = random_nats > -CLEAR_NATS;
        let (open, fewest) = self.open(&machines, by_pair_nats, are_alone_open, !random.is_empty());
        Judgement { open, fewest, ..judgement(regime, machines, random, nats) }
    }

    /// Those of these machines whose counters others may have made, and the fewest machines that all are.
    /// `by_pair_nats` speak for counters of pairs; `are_alone_open` tells that connections which are alone
    /// with their counter may have drawn it, and `is_beside` that other clusters are judged for themselves.
    fn open(
        &self,
        machines: &[usize],
        by_pair_nats: f64,
        are_alone_open: bool,
        is_beside: bool,
    ) -> (Vec<usize>, usize) {
        let is_of_one = |index: &&usize| self.clusters[**index].len() == 1;
        let of_one: Vec<usize> = machines.iter().filter(is_of_one).copied().collect();
        let is_alone = |index: &&usize| self.clusters[**index].values().all(|&count| count == 1);
        let (alone, shared): (Vec<usize>, Vec<usize>) = of_one.iter().partition(is_alone);
        let of_alone = if are_alone_open { alone.len().min(1) } else { alone.len() };
        let may_be_of_pairs = by_pair_nats > 0.0 || self.peers_of(&of_one) > 1;
        let (mut fewest, open) = if may_be_of_pairs {
            let by_pair = self.most_of_a_peer(&of_one).min(self.most_of_a_peer(&shared) + of_alone);
            (by_pair, of_one.clone())
        } else {
            (shared.len() + of_alone, if of_alone < alone.len() { alone } else { Vec::new() })
        };
        if is_beside && by_pair_nats > 0.0 {
            // One that draws its offsets by pair may be among those.
            fewest = fewest.saturating_sub(1);
        }
        (open, machines.len() - of_one.len() + fewest)
    }

    /// How many peers these clusters have, of one peer each.
    fn peers_of(&self, clusters: &[usize]) -> usize {
        clusters.iter().flat_map(|&index| self.clusters[index].keys()).collect::<BTreeSet<_>>().len()
    }

    /// The most of these clusters that one peer sees: as many machines at least, if each draws its offsets by
    /// pair.
    fn most_of_a_peer(&self, clusters: &[usize]) -> usize {
        let mut of_peer: BTreeMap<Address, usize> = BTreeMap::new();
        let peers = clusters.iter().flat_map(|&index| self.clusters[index].keys());
        peers.for_each(|peer| *of_peer.entry(*peer).or_default() += 1);
        of_peer.into_values().max().unwrap_or(0)
    }

    /// Whether connections that share their offset with none may each have drawn their own, where the log of
    /// the likelihood ratio for that is `random_nats`.
    fn own(&self, random_nats: f64) -> Own {
        if !self.is_sure_within {
            Own::Mostly
        } else if random_nats <= -CLEAR_NATS {
            Own::No
        } else if self.singles.len() >= MANY_SINGLES * self.within.len() {
            Own::Mostly
        } else {
            Own::Maybe
        }
    }

    /// What speaks against a machine for each cluster where no two peers met the same one, in nats: there
    /// would have to be as many machines as there are pairs of clusters, and so many are as rare as they are
    /// many.
    fn all_differ_nats(&self) -> f64 {
        let clusters = self.clusters.len() as f64;
        (0.5 * clusters * (clusters - 1.0)).max(1.0).ln()
    }

    /// The log of the likelihood ratio that some counters are those of pairs.
    fn by_pair_nats(&self) -> f64 {
        let same_peer = self.same_peer();
        let of_one = self.within.iter().filter_map(|&index| {
            // Of counters that met by chance, the one that most connections share.
            let (peer, &connections) = self.clusters[index].iter().max_by_key(|(_, count)| **count)?;
            let popular = self.per_peer[peer] as f64 / self.connections as f64;
            Some(OfOnePeer { connections, same_peer: popular.max(same_peer) })
        });
        urns::by_pair_nats(&of_one.collect::<Vec<_>>(), self.across.len())
    }

    /// How often two connections of a machine whose offset is fixed have the same peer: some balancers send
    /// all connections of a client to one machine. 0 where no such machine is known.
    fn same_peer(&self) -> f64 {
        let pairs = |count: usize| (count * (count - 1)) as f64;
        let of = |index: &usize| {
            let counts = || self.clusters[*index].values();
            (counts().map(|&count| pairs(count)).sum::<f64>(), pairs(counts().sum()))
        };
        let (same, all) = self.across.iter().map(of).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        if all > 0.0 { same / all } else { 0.0 }
    }

    /// Connections that share an offset with one of another peer.
    fn joins_across(&self) -> usize {
        self.across.iter().map(|&index| self.clusters[index].len() - 1).sum()
    }

    /// The sizes of the clusters that may repeat together: of each pair, or of the whole address.
    fn urns(&self, by_pair: bool) -> Vec<Vec<usize>> {
        if !by_pair {
            return vec![self.clusters.iter().map(|by_peer| by_peer.values().sum()).collect()];
        }
        self.sizes(self.within.iter().chain(&self.singles).copied())
    }

    /// The sizes of these clusters, for each peer.
    fn sizes(&self, clusters: impl Iterator<Item = usize>) -> Vec<Vec<usize>> {
        let mut sizes: BTreeMap<Address, Vec<usize>> = BTreeMap::new();
        for index in clusters {
            for (peer, count) in &self.clusters[index] {
                sizes.entry(*peer).or_default().push(*count);
            }
        }
        sizes.into_values().collect()
    }

    fn describe(&self, hz: f64, regime: Regime, nats: f64) -> String {
        let Self { connections, repeated_pairs, .. } = self;
        let (peers, singles) = (self.per_peer.len(), self.singles.len());
        let shared = connections - singles;
        let strength = strength(nats);
        match regime {
            _ if *connections < 2 => "only one connection shows a clock".to_owned(),
            Regime::Global if !self.across.is_empty() => format!(
                "{shared} of {connections} connections share an offset (offsets seen by several peers: \
                 {}){strength}",
                self.across.len()
            ),
            Regime::Global => format!("{hz} Hz clocks predate random offsets"),
            Regime::PerPair => format!(
                "{shared} of {connections} connections share an offset, \
                 but never across peers ({peers} peers){strength}"
            ),
            Regime::Mixed | Regime::PerConnection if shared > 0 => format!(
                "{shared} of {connections} connections share an offset, {singles} have their own{strength}"
            ),
            Regime::Mixed | Regime::PerConnection => format!(
                "no two of {connections} connections share an offset \
                 (peers with several connections: {repeated_pairs})"
            ),
            Regime::Undetermined if peers == 1 && shared > 0 => {
                format!("{shared} of {connections} connections share an offset, but there is only one peer")
            }
            Regime::Undetermined if shared > 0 => format!(
                "{shared} of {connections} connections share an offset, which are too few to tell why"
            ),
            Regime::Undetermined if *repeated_pairs > 0 => {
                format!("no two of {connections} connections share an offset, which are too few to tell why")
            }
            Regime::Undetermined => {
                format!("no two of {connections} connections share an offset, but each has another peer")
            }
        }
    }
}

/// The likelihood ratio that decided, in words: `; odds of 10^9 to 1`. Nothing where none was needed.
fn strength(nats: f64) -> String {
    let tens = (nats / std::f64::consts::LN_10).floor();
    if tens >= 1.0 { format!("; odds of 10^{} to 1", tens.min(MOST_TENS)) } else { String::new() }
}

/// Odds beyond this power of ten say no more: something that nobody thought of is likelier.
const MOST_TENS: f64 = 12.0;

#[cfg(test)]
mod tests {
    use super::*;

    /// The clusters of all random sets.
    fn random(judgement: &Judgement) -> usize {
        judgement.random.iter().map(|random| random.clusters.len()).sum()
    }

    /// A cluster from its peers' last octets.
    fn sharing(hosts: &[u8]) -> Sharing {
        let contact = |(number, &host): (u64, &u8)| Contact {
            peer: Address::from_ip4([203, 0, 113, host]),
            begin_ns: 60_000_000_000 * number,
        };
        let contacts: Vec<Contact> = (0..).zip(hosts).map(contact).collect();
        Sharing { is_sure: contacts.len() > 1, contacts }
    }

    /// One machine with a fixed offset beside one that draws its own by pair: two, not one for each pair.
    #[test]
    fn counters_of_one_peer_each_beside_a_fixed_one_may_be_one_machine() {
        let beside = judge_at(1000.0, &[&[1, 1, 2, 2, 3, 3, 4, 4, 4], &[1, 1], &[2], &[3], &[4]]);
        assert_eq!((beside.machines.len(), beside.fewest), (5, 2));
        assert_eq!(beside.open, [1, 2, 3, 4]);
        let of_one_peer = judge_at(1000.0, &[&[1, 1, 2, 2, 3, 3], &[1, 1], &[1]]);
        assert_eq!((of_one_peer.machines.len(), of_one_peer.fewest), (3, 3));
        assert!(of_one_peer.open.is_empty());
    }

    /// Judges such clusters.
    fn judge_at(hz: f64, clusters: &[&[u8]]) -> Judgement {
        judge(hz, &clusters.iter().map(|hosts| sharing(hosts)).collect::<Vec<_>>(), false, 0.0)
    }

    #[test]
    fn offsets_shared_across_peers_are_global() {
        let judgement = judge_at(1000.0, &[&[1, 2, 3], &[2, 3], &[4]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Global, 3));
    }

    #[test]
    fn offsets_shared_within_pairs_only_are_per_pair() {
        let judgement = judge_at(1000.0, &[&[1, 1, 1], &[2, 2, 2], &[3, 3, 3], &[1], &[4]]);
        assert_eq!((judgement.regime, random(&judgement)), (Regime::PerPair, 5));
    }

    #[test]
    fn offsets_never_shared_are_random() {
        let judgement = judge_at(1000.0, &[&[1], &[1], &[2], &[2]]);
        assert_eq!((judgement.regime, random(&judgement)), (Regime::PerConnection, 4));
    }

    #[test]
    fn machines_without_and_with_random_offsets_are_mixed() {
        let judgement = judge_at(1000.0, &[&[1, 2, 3], &[1], &[1], &[2], &[4]]);
        assert_eq!(judgement.regime, Regime::Mixed);
        assert_eq!((judgement.machines.len(), random(&judgement)), (1, 4));
    }

    #[test]
    fn slow_clocks_predate_random_offsets() {
        let judgement = judge_at(100.0, &[&[1, 1, 1], &[1], &[1], &[1]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Global, 4));
    }

    #[test]
    fn slow_clocks_may_be_of_pairs() {
        let pairs: Vec<Vec<u8>> = (1..=6).map(|peer| vec![peer; 10]).collect();
        let clusters: Vec<Sharing> = pairs.iter().map(|hosts| sharing(hosts)).collect();
        assert_eq!(judge(250.0, &clusters, false, 0.0).regime, Regime::PerPair);
        let of_server = judge(250.0, &clusters, true, 0.0);
        assert_eq!(of_server.machines.len(), 6, "a balancer may send each client to one machine");
    }

    #[test]
    fn slow_clocks_that_never_agree_are_random_after_all() {
        let judgement = judge_at(100.0, &[&[1], &[1], &[2], &[2], &[3], &[3], &[4], &[4]]);
        assert_eq!((judgement.regime, random(&judgement)), (Regime::PerConnection, 8));
        let few = judge_at(100.0, &[&[1], &[1], &[2], &[2]]);
        assert_eq!((few.regime, random(&few)), (Regime::Undetermined, 4), "too few to tell");
    }

    #[test]
    fn one_peer_leaves_it_open_but_counts() {
        let judgement = judge_at(1000.0, &[&[1, 1, 1], &[1, 1], &[1]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Undetermined, 3));
    }

    #[test]
    fn a_single_connection_is_one_machine() {
        let judgement = judge_at(1000.0, &[&[1]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Undetermined, 1));
    }

    #[test]
    fn machines_of_each_kind_stand_side_by_side() {
        // One with a fixed offset, one whose offsets are those of pairs, and random ones.
        let fixed: Vec<u8> = (1..=8).cycle().take(24).collect();
        let pairs: Vec<Vec<u8>> = (1..=8).map(|peer| vec![peer; 3]).collect();
        let singles: Vec<[u8; 1]> = (0..24).map(|i| [1 + i % 8]).collect();
        let mut clusters: Vec<&[u8]> = vec![&fixed];
        clusters.extend(pairs.iter().map(Vec::as_slice));
        clusters.extend(singles.iter().map(|peer| &peer[..]));
        let judgement = judge_at(1000.0, &clusters);
        let kinds: Vec<(Regime, usize)> =
            judgement.random.iter().map(|random| (random.regime, random.clusters.len())).collect();
        assert_eq!((judgement.regime, &judgement.machines[..]), (Regime::Mixed, &[0][..]));
        assert_eq!(kinds, [(Regime::PerConnection, 24), (Regime::PerPair, 8)]);
    }

    #[test]
    fn offsets_that_repeat_beside_random_ones_of_one_peer_are_a_machine() {
        let mut clusters: Vec<&[u8]> = vec![&[1; 40]];
        clusters.extend([&[1_u8][..]; 40]);
        let judgement = judge_at(1000.0, &clusters);
        assert_eq!((judgement.machines.len(), judgement.of_machines), (1, Regime::Undetermined));
        assert_eq!(random(&judgement), 40);
    }
}
