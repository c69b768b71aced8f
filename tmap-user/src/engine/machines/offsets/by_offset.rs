//! Machines by offset: connections whose offsets agree at a common time share one counter.
//!
//! Two lines are compared where both are best known, never at the time when the counters were zero. For
//! a machine that has been up for years, an error of a millionth in the rate moves that time by minutes
//! (which is how the tool of 2006 split machines in two). With 2^32 possible counter values, an agreement
//! within milliseconds is seldom an accident; `counters::coincidence` tells when it may be.

use std::collections::{BTreeMap, HashMap};

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{misfits, slew};
use crate::engine::{
    clock::{
        envelope::Envelope,
        fit::{self, Clock, FAR_OFF_SIGMA, SKEW_PRIOR_SIGMA, fit_nominal, fit_within},
        roundness,
    },
    machines::counters::{
        cluster::Cluster,
        coincidence::Evidence,
        counter_values::{CounterValues, reach},
        path_spread::{LATE_PATH_S, PathSpread},
    },
    options::Options,
    types::{Estimate, WRAP_TICKS, joint, seconds_between, wrap_difference},
};

/// The largest difference of two clocks that are one, in joint standard errors. Errors have heavier tails
/// than a normal law's (as delays do), and a missed match makes a false machine.
const MAX_DEVIATION: f64 = 5.0;

/// One connection to be matched.
#[derive(Clone, Copy, Debug)]
pub(in crate::engine::machines) struct Item<'a> {
    /// The caller's index.
    pub index: usize,
    /// The other side.
    pub peer: Address,
    /// First arrivals.
    pub envelope: &'a Envelope,
    /// The line through them.
    pub clock: Clock,
}

impl Item<'_> {
    /// A cluster of this connection.
    fn alone(&self) -> Cluster {
        Cluster::new(vec![self.index], self.envelope.clone(), self.clock)
    }
}

/// The log odds of a clock that is far off against a usual one, in nats.
const FAR_OFF_NATS: f64 = -3.0;

/// Clocks that are far off must explain a grouping better by this, in nats.
const LEAST_GAIN_NATS: f64 = 3.0;

/// Groups `items`, all of one nominal rate, by offset.
///
/// Clocks are taken to be as true as crystals are; where clocks that are far off explain the connections
/// better, by fewer counters, they are taken instead.
///
/// O(n log n) for n items: clusters are looked up by their counter value at a common time, in a window
/// as wide as the errors.
pub(in crate::engine::machines) fn cluster(
    mut items: Vec<Item<'_>>,
    options: &Options,
    resolution_ns: u64,
) -> Vec<Cluster> {
    let usual = cluster_within(&mut items, options, resolution_ns, SKEW_PRIOR_SIGMA);
    if usual.len() < 2 {
        return usual;
    }
    for item in &mut items {
        let Clock { hz, rate_hz, .. } = item.clock;
        item.clock = fit_within(item.envelope, hz, Some(rate_hz), resolution_ns, FAR_OFF_SIGMA);
    }
    let far_off = cluster_within(&mut items, options, resolution_ns, FAR_OFF_SIGMA);
    let is_better = || evidence(&far_off).nats() + FAR_OFF_NATS > evidence(&usual).nats() + LEAST_GAIN_NATS;
    if far_off.len() < usual.len() && is_better() { far_off } else { usual }
}

/// Groups clocks whose skews spread by `skew_sigma`.
///
/// The best-known clocks come first, so that a cluster's line is sharp before doubtful clocks are compared
/// with it. Then the stretches of slewed clocks are joined.
fn cluster_within(
    items: &mut [Item<'_>],
    options: &Options,
    resolution_ns: u64,
    skew_sigma: f64,
) -> Vec<Cluster> {
    items.sort_by_cached_key(|Item { index, clock, .. }| {
        // Standard errors aren't negative, so the order of their bits is that of their values.
        ((clock.skew.sigma + clock.offset_ticks.sigma / clock.hz).to_bits(), *index)
    });
    let reference_ns = items.first().map_or(0, |item| item.clock.reference_ns);
    let mut index = Index::new(reference_ns, skew_sigma, items);
    for item in &*items {
        match index.nearest(&item.clock, options) {
            Some((found, agreement)) => index.grow(found, item, &agreement, resolution_ns),
            None => index.insert(item),
        }
    }
    index.share_paths(resolution_ns);
    let mut clusters = slew::join(misfits::join(dissolve(index.clusters, items)));
    for cluster in clusters.iter_mut().filter(|cluster| !misfits::is_bent(&cluster.clock)) {
        cluster.clock = roundness::widened(&cluster.envelope, cluster.clock, resolution_ns, skew_sigma);
    }
    clusters
}

/// The log evidence of clusters.
fn evidence(clusters: &[Cluster]) -> Evidence {
    Evidence::of(clusters.iter().map(|cluster| &cluster.joins[..]))
}

/// Takes coincidences apart.
fn dissolve(clusters: Vec<Cluster>, items: &[Item<'_>]) -> Vec<Cluster> {
    let evidence = evidence(&clusters);
    let (chance, mut kept): (Vec<Cluster>, Vec<Cluster>) =
        clusters.into_iter().partition(|cluster| evidence.is_chance(&cluster.joins));
    let mut freed: Vec<Vec<Cluster>> = vec![Vec::new(); chance.len()];
    let members = chance.iter().enumerate().flat_map(|(of, c)| c.members.iter().map(move |&m| (m, of)));
    let of: BTreeMap<usize, usize> = members.collect();
    for item in items {
        if let Some(&of) = of.get(&item.index) {
            freed[of].push(item.alone());
        }
    }
    kept.extend(freed.into_iter().flatten());
    kept
}

/// Clusters of one nominal rate, to find that of a connection with too few points for a clock of its own.
pub(in crate::engine::machines) struct Attachable {
    hz: f64,
    reference_ns: u64,
    by_value: CounterValues,
    /// The largest distance of any cluster's time from the reference, in seconds.
    farthest_s: f64,
    /// The largest standard errors of any cluster.
    offset_sigma: f64,
    skew_sigma: f64,
}

impl Attachable {
    /// The index of `clusters`; `None` where there are none.
    pub(in crate::engine::machines) fn of(clusters: &[Cluster]) -> Option<Self> {
        // All clusters of a class tick at one rate.
        let Clock { hz, reference_ns, .. } = clusters.first()?.clock;
        let by_value = CounterValues::default();
        let mut all =
            Self { hz, reference_ns, by_value, farthest_s: 0.0, offset_sigma: 0.0, skew_sigma: 0.0 };
        for (index, Cluster { clock, .. }) in clusters.iter().enumerate() {
            all.by_value.insert(clock.counter_at(reference_ns) as u32, index);
            all.farthest_s = all.farthest_s.max(seconds_between(reference_ns, clock.reference_ns).abs());
            all.offset_sigma = all.offset_sigma.max(clock.offset_ticks.sigma);
            all.skew_sigma = all.skew_sigma.max(clock.skew.sigma);
        }
        Some(all)
    }

    /// How far from a clock's value at the reference time that of a cluster that agrees can be, in ticks.
    fn reach(&self, clock: &Clock, options: &Options) -> u32 {
        let apart_s = self.farthest_s + seconds_between(self.reference_ns, clock.reference_ns).abs();
        let sigma_at =
            |offset_sigma: f64, skew_sigma: f64| joint(offset_sigma, self.hz * skew_sigma * apart_s);
        let error = sigma_at(clock.offset_ticks.sigma, clock.skew.sigma)
            + sigma_at(self.offset_sigma, self.skew_sigma);
        let rate_error =
            options.rate_delta_ppm * 1e-6 + MAX_DEVIATION * joint(clock.skew.sigma, self.skew_sigma);
        reach(options.offset_delta_s * self.hz + MAX_DEVIATION * error + self.hz * rate_error * apart_s)
    }

    /// The only one of the indexed `clusters` that explains a connection's TSvals, `None` where none or
    /// several do. `allowed` says which of them may be considered.
    pub(in crate::engine::machines) fn attach(
        &self,
        envelope: &Envelope,
        clusters: &[Cluster],
        options: &Options,
        resolution_ns: u64,
        allowed: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        envelope.points().first()?;
        let clock = fit_nominal(envelope, self.hz, None, resolution_ns);
        let near =
            self.by_value.near(clock.counter_at(self.reference_ns) as u32, self.reach(&clock, options));
        let mut matches = near.filter(|&index| {
            agreement(&clock, &clusters[index].clock, options).is_some_and(|a| a.deviation <= 1.0)
                && allowed(index)
        });
        let first = matches.next()?;
        matches.next().is_none().then_some(first)
    }
}

/// Clusters, indexed by their counter value at one reference time.
struct Index {
    reference_ns: u64,
    /// How far skews spread, relative.
    skew_sigma: f64,
    clusters: Vec<Cluster>,
    by_value: CounterValues,
    /// The largest distance of any cluster's time from the reference, in seconds.
    farthest_s: f64,
    /// The connections with each peer: all of them, and those in each cluster.
    of_peers: HashMap<Address, usize, RandomState>,
    in_cluster: HashMap<(usize, Address), usize, RandomState>,
}

impl Index {
    fn new(reference_ns: u64, skew_sigma: f64, items: &[Item<'_>]) -> Self {
        let mut of_peers = HashMap::<_, _, RandomState>::default();
        items.iter().for_each(|item| *of_peers.entry(item.peer).or_default() += 1);
        Self {
            reference_ns,
            skew_sigma,
            clusters: Vec::new(),
            by_value: CounterValues::default(),
            farthest_s: 0.0,
            of_peers,
            in_cluster: HashMap::default(),
        }
    }

    /// How far a clock's time is from the reference, in seconds.
    fn distance_s(&self, clock: &Clock) -> f64 {
        seconds_between(self.reference_ns, clock.reference_ns).abs()
    }

    fn value(&self, clock: &Clock) -> u32 {
        clock.counter_at(self.reference_ns) as u32
    }

    /// The cluster that agrees best with `clock`, and how well; `None` where none does. Where none agrees
    /// within the errors, one whose path is later or earlier does.
    fn nearest(&self, clock: &Clock, options: &Options) -> Option<(usize, Agreement)> {
        // The drift of every cluster, and that of this clock, is bounded by the prior.
        let apart_s = self.distance_s(clock) + self.farthest_s;
        let reach_s = options.offset_delta_s
            + LATE_PATH_S
            + MAX_DEVIATION * 2.0 * self.skew_sigma * apart_s
            + MAX_DEVIATION * 2.0 * clock.offset_ticks.sigma / clock.hz
            + 1.0;
        let reach = (reach_s * clock.hz).min(WRAP_TICKS / 4.0) as u32;
        let centre = self.value(clock);
        self.by_value
            .near(centre, reach)
            .filter_map(|index| {
                let agreement = agreement(clock, &self.clusters[index].clock, options)?;
                agreement.may_be_one().then_some((index, agreement))
            })
            .min_by(|a, b| a.1.deviation.total_cmp(&b.1.deviation))
    }

    fn insert(&mut self, item: &Item<'_>) {
        self.by_value.insert(self.value(&item.clock), self.clusters.len());
        self.in_cluster.insert((self.clusters.len(), item.peer), 1);
        self.clusters.push(item.alone());
        self.farthest_s = self.farthest_s.max(self.distance_s(&item.clock));
    }

    /// Adds a member to a cluster and fits its line anew.
    fn grow(&mut self, found: usize, item: &Item<'_>, agreement: &Agreement, resolution_ns: u64) {
        let before = self.value(&self.clusters[found].clock);
        let cluster = &mut self.clusters[found];
        let shift = wraps_between(&item.clock, &cluster.clock);
        let is_late = agreement.deviation > 1.0;
        cluster.paths.observe(agreement.difference_s, agreement.error_s);
        let allowed_s = agreement.allowed_s + if is_late { LATE_PATH_S } else { 0.0 };
        let of_peer = self.in_cluster.entry((found, item.peer)).or_default();
        let share = *of_peer as f64 / self.of_peers[&item.peer] as f64;
        *of_peer += 1;
        cluster.join_of_peer([item.index], 2.0 * allowed_s * item.clock.hz, share);
        cluster.envelope.absorb(item.envelope, shift);
        cluster.fit(resolution_ns, self.skew_sigma);
        let after = &self.clusters[found].clock;
        self.farthest_s = self.farthest_s.max(self.distance_s(after));
        self.by_value.replace(before, self.value(after), found);
    }

    /// Fits all lines anew with the spread of paths that all clusters show: they have the same network.
    fn share_paths(&mut self, resolution_ns: u64) {
        let mut all = PathSpread::default();
        self.clusters.iter().for_each(|cluster| all.absorb(&cluster.paths));
        for cluster in self.clusters.iter_mut().filter(|cluster| cluster.members.len() > 1) {
            cluster.paths = all;
            cluster.fit(resolution_ns, self.skew_sigma);
        }
    }
}

impl Cluster {
    /// Fits the line through its envelope.
    fn fit(&mut self, resolution_ns: u64, skew_sigma: f64) {
        let hz = self.clock.hz;
        let by_path_hz = hz * path_error_s(self) / self.envelope.span_s().max(1.0);
        let rate_hz = fit::measure(&self.envelope, resolution_ns)
            .map(|rate| Estimate { sigma: joint(rate.sigma, by_path_hz), ..rate });
        self.clock = fit_within(&self.envelope, hz, rate_hz, resolution_ns, skew_sigma);
    }
}

/// How far different paths move one end of a cluster's line against the other, in seconds. The line rests on
/// the earliest points, and more connections have more of them on the shortest path; but only those near an
/// end hold it. The fourth root fits single devices as found in the field.
fn path_error_s(cluster: &Cluster) -> f64 {
    cluster.paths.sigma_s() / (cluster.members.len().max(2) as f64 - 1.0).sqrt().sqrt()
}

impl Agreement {
    /// Whether one clock can be both, along paths of different length.
    fn may_be_one(&self) -> bool {
        self.deviation <= 1.0
            || (self.rate_deviation <= 1.0 && self.difference_s.abs() <= self.allowed_s + LATE_PATH_S)
    }
}

/// How well two clocks agree.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Agreement {
    /// Difference of the counter values at the time where it is best known, in seconds, modulo the wrap.
    pub difference_s: f64,
    /// The largest difference that agrees, in seconds.
    pub allowed_s: f64,
    /// The joint standard error of the difference, in seconds.
    pub error_s: f64,
    /// The rate's difference, as a share of what is allowed.
    pub rate_deviation: f64,
    /// The larger of the offset's and the rate's difference, each as a share of what is allowed: the
    /// clocks agree up to 1.
    pub deviation: f64,
}

/// Compares two clocks; `None` where their nominal rates differ.
pub(super) fn agreement(a: &Clock, b: &Clock, options: &Options) -> Option<Agreement> {
    if a.hz != b.hz {
        return None;
    }
    let at_ns = best_meeting(a, b);
    let (left, right) = (a.at(at_ns), b.at(at_ns));
    let difference = wrap_difference(left.value - right.value);
    let error = joint(left.sigma, right.sigma);
    let allowed = options.offset_delta_s * a.hz + MAX_DEVIATION * error;
    let rate_difference_ppm = (a.skew.value - b.skew.value).abs() * 1e6;
    let rate_allowed_ppm = options.rate_delta_ppm + MAX_DEVIATION * joint(a.skew.sigma, b.skew.sigma) * 1e6;
    Some(Agreement {
        difference_s: difference / a.hz,
        allowed_s: allowed / a.hz,
        error_s: error / a.hz,
        rate_deviation: rate_difference_ppm / rate_allowed_ppm,
        deviation: (difference.abs() / allowed).max(rate_difference_ppm / rate_allowed_ppm),
    })
}

/// Ticks from `a`'s unwrapped scale to `b`'s: a multiple of 2^32.
pub(in crate::engine::machines) fn wraps_between(a: &Clock, b: &Clock) -> i64 {
    let at_ns = best_meeting(a, b);
    let difference = b.at(at_ns).value - a.at(at_ns).value;
    (difference / WRAP_TICKS).round() as i64 * (1 << 32)
}

/// The time at which the difference of two clocks is best known: between their reference times, nearer to
/// that of the clock whose rate is less certain.
fn best_meeting(a: &Clock, b: &Clock) -> u64 {
    let (wa, wb) = (a.skew.sigma.powi(2), b.skew.sigma.powi(2));
    let share = if wa + wb > 0.0 { wb / (wa + wb) } else { 0.5 };
    let step_s = seconds_between(a.reference_ns, b.reference_ns) * share;
    a.reference_ns.wrapping_add_signed((step_s * 1e9) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{
        clock::fit::{Fitted, fit},
        types::Point,
    };

    /// A connection of `span_s` seconds from `start_s`, of a counter with this value at time 0.
    fn connection(start_s: f64, span_s: f64, value: f64, hz: f64, skew: f64) -> Envelope {
        let mut envelope = Envelope::default();
        let mut newest = i64::MIN;
        for i in 0..=200 {
            let t = start_s + span_s * f64::from(i) / 200.0;
            let absolute = (value + hz * (1.0 + skew) * t).floor();
            let ticks = absolute.rem_euclid(WRAP_TICKS) as i64;
            let late_s = 1e-4 * f64::from(i * 7919 % 13) / 13.0;
            // Unwrap as a flow does: a connection starts at its raw value.
            let ticks = if newest != i64::MIN && ticks < newest { ticks + (1 << 32) } else { ticks };
            if ticks > newest {
                newest = ticks;
                envelope.add(Point { time_ns: ((t + late_s) * 1e9) as u64 + 1_000_000_000, ticks });
            }
        }
        envelope
    }

    fn clusters_of(envelopes: &[Envelope]) -> Vec<Vec<usize>> {
        let items = envelopes
            .iter()
            .enumerate()
            .map(|(index, envelope)| match fit(envelope, 1) {
                Fitted::Steady(clock) => Item { index, peer: Address::default(), envelope, clock },
                other => panic!("no clock: {other:?}"),
            })
            .collect();
        let mut found: Vec<Vec<usize>> = cluster(items, &Options::default(), 1)
            .into_iter()
            .map(|mut c| {
                c.members.sort_unstable();
                c.members
            })
            .collect();
        found.sort();
        found
    }

    #[test]
    fn one_machine_stays_whole_for_a_day_and_across_the_wrap() {
        // The counter passes 2^32 in the middle of the day.
        let value = WRAP_TICKS - 43_200_000.0;
        let all: Vec<Envelope> =
            (0..20).map(|i| connection(f64::from(i) * 4300.0, 12.0, value, 1000.0, 37e-6)).collect();
        assert_eq!(clusters_of(&all), vec![(0..20).collect::<Vec<_>>()]);
    }

    #[test]
    fn machines_booted_a_second_apart_are_told_apart() {
        let all: Vec<Envelope> = (0..12)
            .map(|i| {
                let value = 5e8 + f64::from(i % 3) * 1000.0;
                connection(f64::from(i) * 50.0, 20.0, value, 1000.0, f64::from(i % 3) * 10e-6)
            })
            .collect();
        let thirds: Vec<Vec<usize>> = (0..3).map(|k| (0..4).map(|j| 3 * j + k).collect()).collect();
        assert_eq!(clusters_of(&all), thirds);
    }

    #[test]
    fn slow_clocks_match_too() {
        let all: Vec<Envelope> = (0..6)
            .map(|i| connection(f64::from(i) * 100.0, 30.0, 4_848_000.0 + f64::from(i % 2) * 46.0, 10.0, 0.0))
            .collect();
        assert_eq!(clusters_of(&all), vec![vec![0, 2, 4], vec![1, 3, 5]]);
    }

    #[test]
    fn a_lone_segment_finds_its_machine() {
        let known = [connection(0.0, 100.0, 1e6, 100.0, 1e-5), connection(0.0, 100.0, 9e6, 100.0, 1e-5)];
        let items = known
            .iter()
            .enumerate()
            .filter_map(|(index, envelope)| match fit(envelope, 1) {
                Fitted::Steady(clock) => Some(Item { index, peer: Address::default(), envelope, clock }),
                _ => None,
            })
            .collect();
        let options = Options::default();
        let clusters = cluster(items, &options, 1);
        let attachable = Attachable::of(&clusters).expect("clusters");
        let lone = |value: f64| {
            let mut envelope = Envelope::default();
            envelope.add(Point { time_ns: 201_000_000_000, ticks: (value + 20_000.0) as i64 });
            let found = attachable.attach(&envelope, &clusters, &options, 1, |_| true);
            found.map(|found| clusters[found].members[0])
        };
        assert_eq!(lone(1e6), Some(0));
        assert_eq!(lone(9e6), Some(1));
        assert_eq!(lone(5e6), None);
    }
}
