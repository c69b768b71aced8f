//! The connections of one tick rate: from clusters to a judgement.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Address;

use super::explained::{explain, regroup};
use crate::engine::{
    flows::connection::Connection,
    machines::{
        counters::{
            behaviours::Setting,
            cluster::Cluster,
            sharing::{Sharing, draws_offsets},
        },
        offsets::{
            anew,
            by_offset::{self, Attachable, Item},
            late_paths,
            misfits::Known,
            one_clock,
            together::{self, CLEARLY_NEAR_NATS},
        },
        rates::unlisted::{LeftOut, Placed},
        regime::{
            judgement::{self, Judgement, Random},
            near_in_pairs, port_pool,
        },
    },
    options::Options,
    types::{Estimate, Regime, Side},
};

/// The connections of one tick rate.
pub(super) struct Class {
    /// The nominal tick rate.
    pub hz: f64,
    /// The counters that its connections share.
    pub clusters: Vec<Cluster>,
    /// What each of these is.
    pub judgement: Judgement,
    /// The number of machines that certainly ran at once.
    pub proven: usize,
    /// Whether its connections may be those of the commonest rate, seen while a queue filled or drained.
    pub may_be_bent: bool,
    /// The most machines, where clusters were merged that may be several.
    pub most: Option<usize>,
    /// Connections that were taken for this rate, and contradict it.
    pub left_out: Vec<LeftOut>,
}

/// A queue that fills or drains changes the rate that a connection shows by less than this factor: one that
/// halves it grows by a second each second.
const MOST_BENT: f64 = 2.0;

impl Class {
    /// Judges connections of this rate; the records' times have this resolution, in nanoseconds.
    pub(super) fn build(
        hz: f64,
        items: Vec<Item<'_>>,
        connections: &[&Connection],
        options: &Options,
        resolution_ns: u64,
    ) -> Self {
        let (mut fewest, mut most) = (None, None);
        let serves = serves(items.iter().map(|item| connections[item.index]));
        let clusters = by_offset::cluster(items, options, resolution_ns);
        let clusters = late_paths::join(clusters, |cluster| cluster.peers(connections));
        let (mut clusters, begun_anew) = anew::part(clusters, connections);
        let mut sharing = sharing_of(hz, &clusters, serves, connections);
        let mut judgement = judge(hz, &clusters, &sharing, serves, connections);
        if near_in_pairs::join(&mut clusters, &judgement, connections) {
            sharing = sharing_of(hz, &clusters, serves, connections);
            judgement = judge(hz, &clusters, &sharing, serves, connections);
        }
        let proven = proven(&clusters, &sharing, &judgement, serves, connections);
        if clusters.len() > 1 {
            let members = clusters.iter().enumerate();
            let members = members.flat_map(|(c, cluster)| cluster.members.iter().map(move |&m| (m, c)));
            let setting = Setting {
                are_several: judgement.machines.len() > 1,
                serves,
                are_together: proven > 1 && together::are_near(&shared(&clusters, &sharing)),
            };
            let explained = explain(members, connections, hz, clusters.len(), setting);
            fewest = explained.fewest;
            let better = explained.better.map(|explanation| (regroup(&clusters, &explanation), explanation));
            if let Some((left, _)) =
                better.as_ref().filter(|(left, _)| together::are_clearly_near(left, connections))
            {
                // Machines that were switched on one after another show what one that slept would.
                judgement.fewest = judgement.fewest.min(left.len());
            } else if let Some((left, explanation)) = better {
                most = explanation.may_be_more.then_some(clusters.len());
                clusters = left;
                let sharing = sharing_of(hz, &clusters, serves, connections);
                judgement = judge(hz, &clusters, &sharing, serves, connections);
            }
        }
        let proven = proven.min(fewest.unwrap_or(usize::MAX));
        if !begun_anew.is_empty() {
            judgement.add_begun_anew(clusters.len(), begun_anew.len());
            clusters.extend(begun_anew);
        }
        Self { hz, clusters, judgement, proven, may_be_bent: false, most, left_out: Vec::new() }
    }

    /// Takes in connections of other rates, or of none, whose points all lie on one of these counters: they
    /// were open while a queue filled or their path changed.
    pub(super) fn take_bent(
        &mut self,
        steady: &mut BTreeMap<u64, Vec<Item<'_>>>,
        odd: &mut Vec<(usize, Estimate)>,
        connections: &[&Connection],
    ) {
        let Some(known) = Known::of(&self.clusters) else { return };
        let clusters = &mut self.clusters;
        let mut takes = |index: usize| {
            let place = known.nearest(connections[index].flow.envelope.points());
            place.map(|place| clusters[place].members.push(index)).is_some()
        };
        steady.retain(|_, items| {
            items.retain(|item| !takes(item.index));
            !items.is_empty()
        });
        odd.retain(|(index, _)| !takes(*index));
    }

    /// Leaves out connections that all together contradict this rate.
    pub(super) fn leave_out_unlisted(&mut self, connections: &[&Connection], resolution_ns: u64) {
        let (hz, clusters, judgement) = (self.hz, &mut self.clusters, &mut self.judgement);
        self.left_out = Placed { hz, clusters, judgement, connections, resolution_ns }.leave_out();
        if !self.left_out.is_empty() {
            self.proven = self.proven.min(self.judgement.machines.len());
        }
    }

    /// Whether its connections may be some of the rate `hz`, seen while a queue filled or drained: the rates
    /// are near each other, and no two of these connections share a counter.
    pub(super) fn may_be_bent_from(&self, hz: f64) -> bool {
        let is_alone = |cluster: &Cluster| cluster.members.len() == 1;
        self.hz.max(hz) < MOST_BENT * self.hz.min(hz) && self.clusters.iter().all(is_alone)
    }

    /// Whether counters of several peers may be those of pairs, so that there may be half as many machines:
    /// then no number is likelier than others.
    pub(super) fn may_be_of_pairs(&self, connections: &[&Connection]) -> bool {
        let Judgement { machines, fewest, open, .. } = &self.judgement;
        let peers: BTreeSet<Address> =
            open.iter().flat_map(|&index| self.clusters[index].peers(connections)).collect();
        2 * fewest <= machines.len() && peers.len() > 1
    }

    /// Whether a connection without a clock of its own may be assigned to `cluster` by its offset.
    fn may_hold(&self, cluster: usize, peer: Address, connections: &[&Connection]) -> bool {
        let Judgement { machines, of_machines, random, .. } = &self.judgement;
        if *of_machines == Regime::Global && machines.contains(&cluster) {
            return true;
        }
        let is_random =
            |random: &Random| random.regime == Regime::PerConnection && random.clusters.contains(&cluster);
        let of_peer = |&member: &usize| connections[member].peer() == peer;
        !random.iter().any(is_random) && self.clusters[cluster].members.iter().any(of_peer)
    }
}

/// Whether most connections go to a service of the address.
fn serves<'a>(connections: impl Iterator<Item = &'a Connection>) -> bool {
    let sides = connections.map(|connection| if connection.service().1 == Side::Server { 1 } else { -1 });
    sides.sum::<i64>() > 0
}

/// How connections share the counters of clusters.
fn sharing_of(hz: f64, clusters: &[Cluster], serves: bool, connections: &[&Connection]) -> Vec<Sharing> {
    let mut sharing: Vec<Sharing> = clusters.iter().map(|cluster| cluster.sharing(connections)).collect();
    if serves && draws_offsets(hz) {
        port_pool::leave_out_redrawn(&mut sharing);
    }
    sharing
}

/// Of a hundred clients of which each peer sees another counter, one is several machines with a peer each, in
/// nats.
const ONE_CLIENT_NATS: f64 = 4.6;

/// The regime of clusters.
fn judge(
    hz: f64,
    clusters: &[Cluster],
    sharing: &[Sharing],
    serves: bool,
    connections: &[&Connection],
) -> Judgement {
    // A client's counters may be near each other because it sleeps, but then they don't run at once; servers
    // don't sleep.
    let together_nats = if serves {
        together::nats(clusters, connections)
    } else if together::run_at_once(clusters) {
        together::nats(clusters, connections) - ONE_CLIENT_NATS
    } else {
        0.0
    };
    let mut judgement = judgement::judge(hz, sharing, serves, together_nats);
    judgement.fewest = judgement.fewest.min(together::fewest(clusters, &judgement.machines));
    if draws_offsets(hz) {
        let alike =
            one_clock::alike(clusters, &judgement.machines, may_be_of_pairs(clusters, serves, connections));
        judgement.leave_to_phases(|of| one_clock::is_one_in_pairs(clusters, of, connections), alike);
        judgement.leave_open(|index| clusters[index].may_have_one_peer(connections));
    }
    judgement
}

/// Whether counters may be those of pairs of addresses that aren't seen, as before a balancer with addresses
/// of its own: those of a service that aren't near each other, as machines switched on together are.
fn may_be_of_pairs(clusters: &[Cluster], serves: bool, connections: &[&Connection]) -> bool {
    serves && together::nats(clusters, connections) < CLEARLY_NEAR_NATS
}

/// The number of machines that certainly ran at once, at least 1. A machine has one offset for each pair of
/// addresses at most, unless offsets are random for each connection; it has one in all where several peers
/// see it.
fn proven(
    clusters: &[Cluster],
    sharing: &[Sharing],
    judgement: &Judgement,
    serves: bool,
    connections: &[&Connection],
) -> usize {
    if clusters.len() < 2 {
        return 1;
    }
    // Where phases decide, counters of one pair are no proof.
    let by_phase = judgement.random.iter().filter(|random| random.is_left_to_phases());
    let by_phase: BTreeSet<usize> = by_phase.flat_map(|random| &random.clusters).copied().collect();
    let proves = |c: &usize| sharing[*c].is_sure && !by_phase.contains(c);
    let shared: Vec<usize> = (0..clusters.len()).filter(proves).collect();
    let may_draw = draws_offsets(clusters[0].clock.hz);
    let distinct = if may_draw {
        one_clock::distinct(clusters, &shared, may_be_of_pairs(clusters, serves, connections))
    } else {
        shared.len()
    };
    let mut fixed: Vec<&Cluster> = Vec::new();
    let mut of_pair: BTreeMap<Address, Vec<&Cluster>> = BTreeMap::new();
    for index in shared {
        let cluster = &clusters[index];
        let peers = cluster.peers(connections);
        let is_among = |some: &[usize]| some.binary_search(&index).is_ok();
        let is_fixed = is_among(&judgement.machines) && !is_among(&judgement.open);
        if is_fixed && (judgement.random.is_empty() || peers.len() > 1) {
            fixed.push(cluster);
        }
        peers.into_iter().for_each(|peer| of_pair.entry(peer).or_default().push(cluster));
    }
    let at_once = |clusters: &Vec<&Cluster>| {
        let fewest = if may_draw { one_clock::surely_distinct(clusters) } else { usize::MAX };
        together::most_at_once(clusters).min(fewest)
    };
    let of_pair = of_pair.values().map(at_once).max();
    together::most_at_once(&fixed).max(of_pair.unwrap_or(0)).clamp(1, distinct.max(1))
}

/// Counters that connections share whose addresses and ports surely differ.
fn shared<'a>(clusters: &'a [Cluster], sharing: &[Sharing]) -> Vec<&'a Cluster> {
    clusters.iter().zip(sharing).filter(|(_, sharing)| sharing.is_sure).map(|(cluster, _)| cluster).collect()
}

/// Assigns connections that are too short for a clock of their own to the only cluster that explains them.
/// Returns how many are left.
pub(super) fn attach_unclear(
    classes: &mut [Class],
    unclear: &[usize],
    connections: &[&Connection],
    options: &Options,
    resolution_ns: u64,
) -> usize {
    let mut unplaced = 0;
    let attachable: Vec<Option<Attachable>> =
        classes.iter().map(|class| Attachable::of(&class.clusters)).collect();
    for &index in unclear {
        let envelope = &connections[index].flow.envelope;
        let peer = connections[index].peer();
        let mut found = classes.iter().enumerate().filter_map(|(class_index, class)| {
            let attachable = attachable[class_index].as_ref()?;
            let cluster =
                attachable.attach(envelope, &class.clusters, options, resolution_ns, |cluster| {
                    class.may_hold(cluster, peer, connections)
                })?;
            Some((class_index, cluster))
        });
        match (found.next(), found.next()) {
            (Some((class, cluster)), None) => {
                drop(found);
                classes[class].clusters[cluster].members.push(index);
            }
            _ => unplaced += 1,
        }
    }
    unplaced
}
