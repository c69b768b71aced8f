//! One analysis pass over an address: from connections to machines.
//!
//! Pure: the same connections give the same analysis, whatever earlier passes found. Machines keep
//! their numbers from one pass to the next by `history::numbering`.

use std::collections::{BTreeMap, BTreeSet};

use tmap_common::Address;

use super::{
    connections::credible::Credible,
    counters::{
        behaviours::{self, Behaviour, Explained, Explanation, Moved, OLD_APPLE_HZ, Setting, Shown},
        cluster::Cluster,
        sharing::{Sharing, draws_offsets},
    },
    group::{Count, Group, MATCH_PROBABILITY, told_skew},
    offsets::{
        anew,
        by_offset::{self, Attachable, Item},
        late_paths,
        misfits::Known,
        one_clock,
        together::{self, CLEARLY_NEAR_NATS},
    },
    phases::by_phase,
    rates::{
        brief::Brief,
        nominal::{self, Seen},
        two_rates::Coarse,
        unlisted::{LeftOut, Placed},
    },
    regime::{
        judgement::{self, Judgement, Random},
        near_in_pairs, port_pool,
    },
    source_ports::SourcePorts,
};
use crate::engine::{
    clock::{
        fit::{self, Clock, Fitted, fit_nominal},
        rate::Deviations,
        unsteady,
    },
    flows::{connection::Connection, handshake::Handshake},
    options::Options,
    os::{self, Observations},
    types::{Depth, Doubt, Estimate, Regime, Side, joint, wrap_difference},
};

/// The result of one analysis pass over an address.
#[derive(Clone, Debug)]
pub(crate) struct Analysis {
    /// The regime, over all tick rates.
    pub regime: Regime,
    /// The evidence that decided the regime.
    pub evidence: String,
    /// The machines that could be told apart.
    pub groups: Vec<Group>,
    /// Best count, interval and certain lower bound.
    pub count: Count,
    /// What limits the count, if anything does.
    pub doubt: Option<Doubt>,
    /// The connections of each counter that offsets tell, by their places: those of machines, and those of
    /// pairs of addresses or of single connections.
    pub counters: Vec<Vec<usize>>,
    /// Random offsets, which only a pass by phase can assign to machines: the cost of such a pass.
    pub random_offsets: usize,
    /// Connections of which nothing tells the tick rate, and that are no machine's.
    pub without_rate: usize,
    /// Connections that completed no handshake, unlike others of the address, and that are no machine's.
    pub unanswered: usize,
    /// Connections that copy another one, and are left out: it was seen twice.
    pub copies: BTreeSet<usize>,
    /// Connections that are no evidence ([`Credible`]). Some are a machine's, and don't tell what it is like.
    pub doubtful: BTreeSet<usize>,
    /// What source ports tell of the connections.
    pub source_ports: SourcePorts,
    /// The time stamps' resolution that the fits allowed for, in nanoseconds.
    pub resolution_ns: u64,
}

/// The circumstances of a pass.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances {
    /// The resolution of the records' times, in nanoseconds.
    pub resolution_ns: u64,
    /// When the sensor's first record came, engine time in nanoseconds.
    pub began_ns: u64,
    /// How deep the pass goes.
    pub depth: Depth,
}

/// Analyses the connections of one address.
pub(crate) fn analyse(
    connections: &[&Connection],
    options: &Options,
    Circumstances { resolution_ns, began_ns, depth }: Circumstances,
) -> Analysis {
    let Credible { connections, count, positions, copies } = Credible::sort(connections, began_ns);
    let connections = &connections[..];
    let mut sorted = sort_by_rate(&connections[..count], options, resolution_ns);
    let mut builder = Builder {
        connections,
        credible: count,
        resolution_ns,
        depth,
        options,
        out: Analysis::empty(resolution_ns),
        regimes: Vec::new(),
        coarse: Coarse::default(),
    };
    if options.ports {
        builder.out.source_ports = SourcePorts::read(&connections[..count]);
    }
    let mut classes = classes(&mut sorted, connections, options, resolution_ns);
    let unplaced = attach_unclear(&mut classes, &sorted.unclear, connections, options, resolution_ns);
    let doubtful: Vec<usize> = (count..connections.len()).collect();
    let unanswered = attach_unclear(&mut classes, &doubtful, connections, options, resolution_ns);
    for class in &classes {
        builder.add_class(class);
        class.left_out.iter().for_each(|left_out| builder.add_unlisted(left_out));
    }
    builder.add_unsteady(&sorted.odd);
    let mut analysis = builder.finish(unplaced, unanswered);
    analysis.copies = copies.into_iter().collect();
    analysis.doubtful = positions[count..].iter().copied().collect();
    for group in &mut analysis.groups {
        if group.hz > 0.0 {
            group.hz_probability = rate_probability(&group.members, &sorted.rate_probability);
        }
        group.members.iter_mut().for_each(|(member, _)| *member = positions[*member]);
    }
    analysis.counters.iter_mut().flatten().for_each(|member| *member = positions[*member]);
    analysis.source_ports.connection_of.iter_mut().for_each(|index| *index = positions[*index]);
    analysis
}

/// The connections of each tick rate, in ascending order. Those of other rates that lie on counters of the
/// commonest one are placed there. Those that contradict their rate all together are left without one.
fn classes(
    sorted: &mut Sorted<'_>,
    connections: &[&Connection],
    options: &Options,
    resolution_ns: u64,
) -> Vec<Class> {
    let mut steady = std::mem::take(&mut sorted.steady);
    let most = steady.iter().max_by_key(|(_, items)| items.len()).map(|(hz_bits, _)| *hz_bits);
    let Some((hz_bits, items)) = most.and_then(|hz_bits| steady.remove_entry(&hz_bits)) else {
        return Vec::new();
    };
    let build = |hz_bits: u64, items: Vec<Item<'_>>, sorted: &Sorted<'_>| {
        // A connection that was open while a clock was set may seem to tick at another rate.
        let is_certain = connections.len() == 1
            || items.len() > 1 && items.iter().any(|item| sorted.rate_probability[item.index] >= 1.0);
        let class = Class::build(f64::from_bits(hz_bits), items, connections, options, resolution_ns);
        // A rate that is only likely is no proof of another machine.
        Class { proven: if is_certain { class.proven } else { 0 }, ..class }
    };
    let mut commonest = build(hz_bits, items, sorted);
    commonest.take_bent(&mut steady, &mut sorted.odd, connections);
    let mut classes: Vec<Class> =
        steady.into_iter().map(|(hz_bits, items)| build(hz_bits, items, sorted)).collect();
    classes.push(commonest);
    classes.iter_mut().for_each(|class| class.leave_out_unlisted(connections, resolution_ns));
    classes.sort_by(|a, b| a.hz.total_cmp(&b.hz));
    classes
}

/// The probability of a machine's nominal rate: that of the connection which shows it best.
fn rate_probability(members: &[(usize, f64)], of: &[f64]) -> f64 {
    members.iter().filter_map(|&(index, _)| of.get(index).copied()).fold(0.0, f64::max)
}

/// Connections, sorted by the results of their fits.
struct Sorted<'a> {
    /// The probability of each connection's nominal rate: below 1 where other connections had to tell it.
    rate_probability: Vec<f64>,
    /// Keyed by the bits of the nominal rate, whose order is that of the rates.
    steady: BTreeMap<u64, Vec<Item<'a>>>,
    odd: Vec<(usize, Estimate)>,
    unclear: Vec<usize>,
}

fn sort_by_rate<'a>(connections: &[&'a Connection], options: &Options, resolution_ns: u64) -> Sorted<'a> {
    let mut sorted = Sorted {
        rate_probability: vec![1.0; connections.len()],
        steady: BTreeMap::new(),
        odd: Vec::new(),
        unclear: Vec::new(),
    };
    let mut open = false;
    for (index, connection) in connections.iter().enumerate() {
        match connection.clock(resolution_ns) {
            Fitted::Steady(clock) => sorted.add(index, connection, clock),
            Fitted::Odd(rate_hz) => sorted.odd.push((index, rate_hz)),
            Fitted::Weak(_) | Fitted::Unclear => open = true,
        }
    }
    let reopened = sorted.reopen();
    if open || !reopened.is_empty() {
        sorted.place_open(connections, &reopened, options, resolution_ns);
    }
    sorted.join_unsteady(connections);
    sorted
}

/// The range of the slowest unsteady rate, as a share of the nominal one: old Apple systems show 880 to
/// 998 Hz of 1000, with a margin for load and for measurement.
const SLOWEST_UNSTEADY: f64 = 0.8;
const FASTEST_UNSTEADY: f64 = 1.01;

impl<'a> Sorted<'a> {
    fn add(&mut self, index: usize, connection: &'a Connection, clock: Clock) {
        let item = Item { index, peer: connection.peer(), envelope: &connection.flow.envelope, clock };
        self.steady.entry(clock.hz.to_bits()).or_default().push(item);
    }

    /// Takes out connections of a rate that all of them together contradict, though each of them may have it:
    /// 1000 Hz is far commoner than 1024. Returns them.
    fn reopen(&mut self) -> BTreeSet<usize> {
        let mut reopened = BTreeSet::new();
        for (bits, items) in &mut self.steady {
            let hz = f64::from_bits(*bits);
            let rate_hz = |item: &Item<'_>| fit::allow_for_wander(item.clock.rate_hz, item.envelope.span_s());
            if Deviations::of(items.iter().map(rate_hz), hz).contradict(0.0) {
                reopened.extend(items.iter().map(|item| item.index));
                items.clear();
            }
        }
        self.steady.retain(|_, items| !items.is_empty());
        reopened
    }

    /// Places connections that don't tell their rate alone, and `reopened` ones, by what all connections
    /// show.
    fn place_open(
        &mut self,
        connections: &[&'a Connection],
        reopened: &BTreeSet<usize>,
        options: &Options,
        resolution_ns: u64,
    ) {
        let fitted = |index: usize| match connections[index].clock(resolution_ns) {
            Fitted::Steady(clock) if reopened.contains(&index) => {
                let span_s = connections[index].flow.envelope.span_s();
                Fitted::Weak(fit::allow_for_wander(clock.rate_hz, span_s))
            }
            other => other,
        };
        let stamped = (0..connections.len())
            .filter(|&index| !connections[index].flow.envelope.points().is_empty())
            .filter(|&index| !matches!(fitted(index), Fitted::Odd(_)));
        let places: Vec<usize> = stamped.collect();
        let seen: Vec<Seen<'_>> = places
            .iter()
            .map(|&index| Seen {
                envelope: &connections[index].flow.envelope,
                brief: Brief::of(connections[index]),
                known_hz: match fitted(index) {
                    Fitted::Steady(clock) => Some(clock.hz),
                    _ => None,
                },
            })
            .collect();
        let by_system = likely_rates(connections, options);
        for (&index, told) in places.iter().zip(nominal::tell(&seen, &by_system)) {
            let rate_hz = match fitted(index) {
                Fitted::Weak(rate_hz) => Some(rate_hz),
                Fitted::Unclear => None,
                Fitted::Steady(_) | Fitted::Odd(_) => continue,
            };
            match told {
                Some((hz, probability)) => {
                    self.rate_probability[index] = probability;
                    let envelope = &connections[index].flow.envelope;
                    let clock = fit_nominal(envelope, hz, rate_hz, resolution_ns);
                    self.add(index, connections[index], clock);
                }
                None => self.unclear.push(index),
            }
        }
        let unstamped = |index: &usize| connections[*index].flow.envelope.points().is_empty();
        self.unclear.extend((0..connections.len()).filter(unstamped));
    }

    /// Joins steady connections to the unsteady ones, where one counter explains all connections near
    /// that rate: an unsteady clock may seem steady for the length of a connection.
    fn join_unsteady(&mut self, connections: &[&Connection]) {
        let Some(slowest) = self.odd.iter().map(|(_, rate)| rate.value).reduce(f64::min) else { return };
        let near = |hz: f64| hz * SLOWEST_UNSTEADY <= slowest && slowest <= hz * FASTEST_UNSTEADY;
        let Some(bits) = self.steady.keys().copied().find(|bits| near(f64::from_bits(*bits))) else { return };
        let mut all = self.odd.clone();
        all.extend(self.steady[&bits].iter().map(|item| (item.index, item.clock.rate_hz)));
        if unsteady::one_counter(all.iter().map(|&(index, rate)| (&connections[index].flow.envelope, rate))) {
            self.steady.remove(&bits);
            self.odd = all;
            return;
        }
        // Of several counters, those with an unsteady connection take their steady ones along.
        let members: Vec<usize> = all.iter().map(|&(index, _)| index).collect();
        let is_odd: BTreeSet<usize> = self.odd.iter().map(|&(index, _)| index).collect();
        let counters = losing_counters(&members, connections);
        let loses = |counter: &&Vec<usize>| counter.iter().any(|index| is_odd.contains(index));
        let losing: BTreeSet<usize> = counters.iter().filter(loses).flatten().copied().collect();
        all.retain(|(index, _)| is_odd.contains(index) || losing.contains(index));
        self.odd = all;
        self.steady.retain(|_, items| {
            items.retain(|item| !losing.contains(&item.index));
            !items.is_empty()
        });
    }
}

/// The tick rates that the connections' handshakes suggest.
fn likely_rates(connections: &[&Connection], options: &Options) -> Vec<(f64, f64)> {
    let mut seen = Observations::default();
    for connection in connections {
        seen.add(connection.flow.fingerprint, connection.flow.hop_limit, 1.0);
        seen.last_seen_ns = seen.last_seen_ns.max(connection.flow.last_ns);
    }
    os::likely_rates(&seen, options.signatures())
}

/// The counters that lose ticks and explain these connections; none where nothing explains them.
fn losing_counters(members: &[usize], connections: &[&Connection]) -> Vec<Vec<usize>> {
    let alone = members.iter().enumerate().map(|(at, &member)| (member, at));
    explain(alone, connections, OLD_APPLE_HZ, members.len(), Setting::default())
        .better
        .filter(|explanation| explanation.behaviour == Behaviour::Losing)
        .map_or_else(Vec::new, |explanation| explanation.counters)
}

/// The connections of one tick rate.
struct Class {
    hz: f64,
    clusters: Vec<Cluster>,
    judgement: Judgement,
    /// The number of machines that certainly ran at once.
    proven: usize,
    /// The most machines, where clusters were merged that may be several.
    most: Option<usize>,
    /// Connections that were taken for this rate, and contradict it.
    left_out: Vec<LeftOut>,
}

impl Class {
    fn build(
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
        let mut sharing = sharing(hz, &clusters, serves, connections);
        let mut judgement = judge(hz, &clusters, &sharing, serves, connections);
        if near_in_pairs::join(&mut clusters, &judgement, connections) {
            sharing = self::sharing(hz, &clusters, serves, connections);
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
            if let Some((left, _)) = better.as_ref().filter(|(left, _)| together::are_clearly_near(left)) {
                // Machines that were switched on one after another show what one that slept would.
                judgement.fewest = judgement.fewest.min(left.len());
            } else if let Some((left, explanation)) = better {
                most = explanation.may_be_more.then_some(clusters.len());
                clusters = left;
                let sharing = self::sharing(hz, &clusters, serves, connections);
                judgement = judge(hz, &clusters, &sharing, serves, connections);
            }
        }
        let proven = proven.min(fewest.unwrap_or(usize::MAX));
        if !begun_anew.is_empty() {
            judgement.add_begun_anew(clusters.len(), begun_anew.len());
            clusters.extend(begun_anew);
        }
        Self { hz, clusters, judgement, proven, most, left_out: Vec::new() }
    }

    /// Takes in connections of other rates, or of none, whose points all lie on one of these counters: they
    /// were open while a queue filled or their path changed.
    fn take_bent(
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
    fn leave_out_unlisted(&mut self, connections: &[&Connection], resolution_ns: u64) {
        let (hz, clusters, judgement) = (self.hz, &mut self.clusters, &mut self.judgement);
        self.left_out = Placed { hz, clusters, judgement, connections, resolution_ns }.leave_out();
        if !self.left_out.is_empty() {
            self.proven = self.proven.min(self.judgement.machines.len());
        }
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
fn sharing(hz: f64, clusters: &[Cluster], serves: bool, connections: &[&Connection]) -> Vec<Sharing> {
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
        together::nats(clusters)
    } else if together::run_at_once(clusters) {
        together::nats(clusters) - ONE_CLIENT_NATS
    } else {
        0.0
    };
    let mut judgement = judgement::judge(hz, sharing, serves, together_nats);
    judgement.fewest = judgement.fewest.min(together::fewest(clusters, &judgement.machines));
    if draws_offsets(hz) {
        let alike = one_clock::alike(clusters, &judgement.machines, may_be_of_pairs(clusters, serves));
        judgement.leave_to_phases(|of| one_clock::is_one_in_pairs(clusters, of, connections), alike);
        judgement.leave_open(|index| clusters[index].may_have_one_peer(connections));
    }
    judgement
}

/// Whether counters may be those of pairs of addresses that aren't seen, as before a balancer with addresses
/// of its own: those of a service that aren't near each other, as machines switched on together are.
fn may_be_of_pairs(clusters: &[Cluster], serves: bool) -> bool {
    serves && together::nats(clusters) < CLEARLY_NEAR_NATS
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
        one_clock::distinct(clusters, &shared, may_be_of_pairs(clusters, serves))
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

/// Fewer counters, not all of them steady, that explain connections better than `simple` steady ones do.
/// `members` are the connections, each with its steady counter.
fn explain(
    members: impl Iterator<Item = (usize, usize)>,
    connections: &[&Connection],
    hz: f64,
    simple: usize,
    setting: Setting,
) -> Explained {
    let points = |index: usize| connections[index].flow.envelope.points();
    let shown: Vec<Shown<'_>> =
        members.map(|(index, simple)| Shown { index, simple, points: points(index) }).collect();
    behaviours::explain(&shown, hz, simple, setting)
}

/// Clusters as an explanation has them. Each keeps the clock that it showed last.
fn regroup(clusters: &[Cluster], explanation: &Explanation) -> Vec<Cluster> {
    let mut of = BTreeMap::new();
    for cluster in clusters {
        of.extend(cluster.members.iter().map(|&member| (member, cluster)));
    }
    let counters = explanation.counters.iter().filter_map(|members| {
        let last = of.get(members.last()?)?;
        let behaviour =
            if members.len() > last.members.len() { explanation.behaviour } else { last.behaviour };
        let stood = matches!(behaviour, Behaviour::Sleeping | Behaviour::Set);
        let before = members.iter().rev().filter_map(|member| of.get(member));
        let moved = before.copied().find(|cluster| !std::ptr::eq(*cluster, *last));
        let moved = moved.filter(|_| stood).map(|before| moved_between(before, last));
        let members = members.clone();
        Some(Cluster { members, behaviour, moved, joins: Vec::new(), ..(*last).clone() })
    });
    counters.collect()
}

/// The move of a counter from one cluster to the next, at the beginning of that.
fn moved_between(before: &Cluster, after: &Cluster) -> Moved {
    let at_ns = after.envelope.points().first().map_or(after.clock.reference_ns, |point| point.time_ns);
    let (was, is) = (before.clock.at(at_ns), after.clock.at(at_ns));
    let by = wrap_difference(is.value - was.value) / after.clock.hz;
    Moved { at_ns, by_s: Estimate { value: by, sigma: joint(was.sigma, is.sigma) / after.clock.hz } }
}

/// Assigns connections that are too short for a clock of their own to the only cluster that explains them.
/// Returns how many are left.
fn attach_unclear(
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

/// Collects the classes' findings.
struct Builder<'a> {
    connections: &'a [&'a Connection],
    /// How many of them, the first ones, may open a machine.
    credible: usize,
    resolution_ns: u64,
    depth: Depth,
    options: &'a Options,
    out: Analysis,
    regimes: Vec<(Regime, String)>,
    /// The machines of 1 kHz, some of which may tick at 1 MHz, too.
    coarse: Coarse,
}

impl Builder<'_> {
    /// Tells this doubt, unless another one says more.
    fn doubt(&mut self, doubt: Doubt) {
        if self.out.doubt.is_none_or(|told| doubt.says_as_much_as(told)) {
            self.out.doubt = Some(doubt);
        }
    }

    fn add_class(&mut self, class: &Class) {
        let (others, first) = (std::mem::replace(&mut self.out.count, Count::NONE), self.out.groups.len());
        self.add_machines(class);
        let count = std::mem::replace(&mut self.out.count, others);
        self.out.count.add(self.coarse.beside(class.hz, count, &self.out.groups[first..]));
    }

    fn add_machines(&mut self, class: &Class) {
        let judgement = &class.judgement;
        if judgement.is_empty() {
            return;
        }
        self.regimes.push((judgement.regime, judgement.evidence.clone()));
        let told =
            judgement.machines.iter().chain(judgement.random.iter().flat_map(|random| &random.clusters));
        self.out.counters.extend(told.map(|&index| class.clusters[index].members.clone()));
        for &index in &judgement.machines {
            let cluster = &class.clusters[index];
            let is_open = judgement.open.binary_search(&index).is_ok();
            let regime = if is_open { Regime::Undetermined } else { judgement.of_machines };
            if let Some(rate_hz) = cluster.unlisted_hz {
                self.doubt(Doubt::Unsteady);
                self.out.groups.push(unlisted(&cluster.members, rate_hz, regime));
            } else if cluster.behaviour == Behaviour::Losing {
                self.doubt(Doubt::Unsteady);
                self.out.groups.push(self.unsteady(&cluster.members));
            } else {
                self.out.groups.push(by_offset(class, cluster, regime));
            }
        }
        let counted = judgement.machines.len() as u32;
        self.out.count.add(Count {
            best: Some(counted),
            low: judgement.fewest as u32,
            high: Some(class.most.map_or(counted, |most| counted.max(most as u32))),
            proven: class.proven as u32,
        });
        for random in &judgement.random {
            match random.clusters[..] {
                [] => {}
                [only] => {
                    self.out.groups.push(by_offset(class, &class.clusters[only], random.regime));
                    self.out.count.add(Count { best: Some(1), low: 1, high: Some(1), proven: 0 });
                }
                _ => self.add_random(class, random),
            }
        }
    }

    /// Adds machines whose offsets are random: only phase and skew can tell them apart.
    fn add_random(&mut self, class: &Class, random: &Random) {
        self.out.random_offsets += random.clusters.len();
        if self.depth == Depth::Offsets {
            let most = Some(random.clusters.len() as u32);
            self.doubt(Doubt::OffsetsRandom);
            self.out.count.add(Count { best: None, low: 1, high: most, proven: 0 });
            return;
        }
        let view = by_phase::View {
            hz: class.hz,
            clusters: &class.clusters,
            connections: self.connections,
            source_ports: &self.out.source_ports,
            resolution_ns: self.resolution_ns,
            options: self.options,
        };
        let findings = by_phase::find(view, random);
        self.out.groups.extend(findings.groups);
        self.out.count.add(findings.count);
        if findings.of_several_addresses {
            self.out.count.proven = self.out.count.proven.min(self.out.count.low);
        }
        findings.doubt.into_iter().for_each(|doubt| self.doubt(doubt));
    }

    /// Clocks of a rate that is no nominal one: what they are counted by elsewhere rests on the rate.
    fn add_unlisted(&mut self, left_out: &LeftOut) {
        let LeftOut { members, rate_hz, regime, counters, are_one } = left_out;
        let fewest = u32::from(self.out.groups.is_empty() && self.out.random_offsets == 0);
        let best = are_one.then_some(1);
        let most = Some(*counters as u32);
        self.doubt(Doubt::Unsteady);
        self.out.count.add(Count { best, low: fewest, high: most, proven: fewest });
        self.regimes.push((*regime, format!("clocks of no usual rate in {} connections", members.len())));
        if *are_one {
            self.out.groups.push(unlisted(members, *rate_hz, *regime));
        }
    }

    /// Clocks of no steady rate: told apart only by whether one counter can have shown them all.
    fn add_unsteady(&mut self, odd: &[(usize, Estimate)]) {
        if odd.is_empty() {
            return;
        }
        let beside_others = !self.out.groups.is_empty() || self.out.random_offsets > 0;
        if odd.len() == 1 && beside_others {
            // A counter that stood still for a moment: hardly a machine of its own.
            self.out.count.add(Count { best: Some(0), low: 0, high: Some(1), proven: 0 });
            return;
        }
        let members: Vec<usize> = odd.iter().map(|&(index, _)| index).collect();
        let one = unsteady::one_counter(
            odd.iter().map(|&(index, rate)| (&self.connections[index].flow.envelope, rate)),
        );
        let counters = if one { vec![members] } else { losing_counters(&members, self.connections) };
        self.doubt(Doubt::Unsteady);
        let counted = Some(counters.len() as u32).filter(|counted| *counted > 0);
        // Beside others they may be one of these, whose clock was slewed while they were open.
        let fewest = u32::from(!beside_others);
        self.out.count.add(Count {
            best: counted,
            low: fewest,
            high: counted.or(Some(odd.len() as u32)),
            proven: fewest,
        });
        self.regimes.push((
            if counted.is_some() { Regime::Global } else { Regime::Undetermined },
            format!("clocks without a constant rate in {} connections", odd.len()),
        ));
        for members in counters {
            self.out.groups.push(self.unsteady(&members));
        }
    }

    /// A machine whose clock has no constant rate.
    fn unsteady(&self, members: &[usize]) -> Group {
        let rates = members.iter().filter_map(|&index| self.connections[index].measured_rate());
        Group {
            hz: 0.0,
            hz_probability: 1.0,
            regime: Regime::Undetermined,
            clock: None,
            behaviour: Behaviour::Losing,
            moved: None,
            rate_hz: unsteady::rate_range(rates),
            skew_ppm: None,
            phase_ticks: None,
            members: members.iter().map(|&index| (index, 1.0)).collect(),
        }
    }

    /// `unplaced` connections show no clock and are no known machine's; `unanswered` ones completed no
    /// handshake.
    fn finish(mut self, unplaced: usize, unanswered: usize) -> Analysis {
        let placed: usize = self.out.groups.iter().map(|group| group.members.len()).sum();
        (self.out.without_rate, self.out.unanswered) = (unplaced, unanswered);
        self.out.count.add_unplaced(unplaced, placed);
        self.tell_regime();
        // What comes later says more, whatever was told before.
        self.doubt_few_clocks(unplaced, placed);
        self.count_only_connection();
        self.doubt_two_clocks();
        self.doubt_unanswered(unanswered, placed);
        self.doubt_coarse_times();
        self.prove();
        self.out
    }

    fn tell_regime(&mut self) {
        let mut distinct: Vec<Regime> = self.regimes.iter().map(|(regime, _)| *regime).collect();
        distinct.dedup();
        self.out.regime = match distinct[..] {
            [] => Regime::Undetermined,
            [only] => only,
            _ => Regime::Mixed,
        };
        let evidence: Vec<&str> = self.regimes.iter().map(|(_, evidence)| evidence.as_str()).collect();
        self.out.evidence = evidence.join("; ");
    }

    /// Gives the count up where few connections show a clock, or none.
    fn doubt_few_clocks(&mut self, unplaced: usize, placed: usize) {
        if unplaced > MOST_UNPLACED * placed {
            // Those few say nothing of how many machines the others are.
            (self.out.count.best, self.out.count.high) = (None, None);
            self.out.doubt = Some(Doubt::TooFewSegments);
        }
        if self.regimes.is_empty() {
            self.out.count.best = None;
            self.out.doubt = Some(Doubt::TooFewSegments);
        }
    }

    /// One connection is one machine's, and says nothing of how many others there are.
    fn count_only_connection(&mut self) {
        if let [only] = self.connections
            && only.flow.segments > only.flow.zero_tsvals
        {
            self.out.count = Count { best: Some(1), low: 1, high: None, proven: self.out.count.proven };
        }
    }

    /// Connections that show two clocks each name whatever else is odd here.
    fn doubt_two_clocks(&mut self) {
        let credible = &self.connections[..self.credible];
        let two_clocks = credible.iter().filter(|connection| connection.flow.jumps > 0).count();
        if two_clocks > credible.len() / NOTABLE {
            self.out.doubt = Some(Doubt::Contradicted);
        }
    }

    fn doubt_unanswered(&mut self, unanswered: usize, placed: usize) {
        let is_slight = self.out.doubt.is_none_or(|doubt| {
            doubt.is_of_time() || matches!(doubt, Doubt::TooFewConnections | Doubt::TooFewSegments)
        });
        if !is_slight || unanswered <= placed / NOTABLE {
            return;
        }
        self.out.doubt = Some(Doubt::Unanswered);
        let doubtful = &self.connections[self.credible..];
        let half_open = doubtful.iter().filter(|c| c.handshake == Handshake::HalfOpen).count();
        if self.credible < FEW_COMPLETE && unanswered.saturating_sub(half_open) > self.credible {
            // The few may be all that the sensor sees of both directions, and the others as real.
            self.out.count.high = None;
        }
    }

    fn doubt_coarse_times(&mut self) {
        if self.resolution_ns >= COARSEST_NS || times_stand_still(self.connections) {
            self.out.groups.clear();
            self.out.doubt = Some(Doubt::CaptureTooCoarse);
            self.out.count = Count { best: None, low: 1, high: None, proven: 1 };
        }
    }

    /// Brings the count in order, and adds what source ports prove.
    fn prove(&mut self) {
        let Analysis { groups, count, source_ports, .. } = &mut self.out;
        let any = !groups.is_empty() || count.low > 0;
        count.proven = count.proven.max(u32::from(any));
        *count = count.in_order();
        // A port may be chosen on purpose, and clocks alone are statistics.
        if count.proven < count.low {
            let by_ports = source_ports.ports.fewest_machines() as u32;
            count.proven = count.proven.max(by_ports.min(count.low));
        }
    }
}

/// A count is given up where this many times more connections show no clock than do.
const MOST_UNPLACED: usize = 4;

/// Capture times of this resolution or a coarser one tell no clock, in nanoseconds.
const COARSEST_NS: u64 = 500_000_000;

/// Fewer connections than this with a handshake set no upper bound where more have none.
const FEW_COMPLETE: usize = 20;

/// Connections without a handshake, or with two clocks, are told of where there are more than one for so many
/// others.
const NOTABLE: usize = 20;

/// Whether clocks went on while the capture's time stood still: then it says nothing of them.
fn times_stand_still(connections: &[&Connection]) -> bool {
    let first_ns = connections.iter().map(|connection| connection.flow.first_ns).min();
    let last_ns = connections.iter().map(|connection| connection.flow.last_ns).max();
    first_ns == last_ns && connections.iter().any(|connection| connection.tsvals() > 1)
}

/// A machine that was found by its offset.
fn by_offset(class: &Class, cluster: &Cluster, regime: Regime) -> Group {
    let clock = cluster.clock;
    Group {
        hz: class.hz,
        hz_probability: 1.0,
        regime,
        clock: Some(clock),
        behaviour: cluster.behaviour,
        moved: cluster.moved,
        rate_hz: clock.rate_hz,
        skew_ppm: told_skew(clock.rate_hz, class.hz),
        phase_ticks: None,
        members: cluster.members.iter().map(|&member| (member, MATCH_PROBABILITY)).collect(),
    }
}

/// A machine whose clock has a constant rate that is no nominal one: its offset tells no boot time.
fn unlisted(members: &[usize], rate_hz: Estimate, regime: Regime) -> Group {
    Group {
        hz: 0.0,
        hz_probability: 1.0,
        regime,
        clock: None,
        behaviour: Behaviour::Steady,
        moved: None,
        rate_hz,
        skew_ppm: None,
        phase_ticks: None,
        members: members.iter().map(|&index| (index, MATCH_PROBABILITY)).collect(),
    }
}

impl Analysis {
    fn empty(resolution_ns: u64) -> Self {
        Self {
            regime: Regime::Undetermined,
            evidence: String::new(),
            groups: Vec::new(),
            count: Count::NONE,
            doubt: None,
            counters: Vec::new(),
            random_offsets: 0,
            without_rate: 0,
            unanswered: 0,
            copies: BTreeSet::new(),
            doubtful: BTreeSet::new(),
            source_ports: SourcePorts::default(),
            resolution_ns,
        }
    }
}
