//! One address, looked at as a whole: from connections to machines.
//!
//! Pure: the same connections give the same analysis, whatever was thought before. Numbering
//! machines so that they keep their numbers from one look to the next is `identity`'s job.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    clock::{Clock, Verdict, fit_nominal},
    connection::Connection,
    loose,
    offset::{self, Cluster, Item},
    options::Options,
    os::likeness::Switches,
    regime::{self, Judgement},
    snapshot::{Doubt, Estimate, Regime},
    unsteady,
};

/// What one look at an address found.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The regime, over all tick rates.
    pub regime: Regime,
    /// What decided it.
    pub evidence: String,
    /// The machines that are told apart.
    pub groups: Vec<Group>,
    /// Best count, interval and certain lower bound.
    pub count: Count,
    /// What limits the answer.
    pub doubt: Option<Doubt>,
    /// Offsets that only phase can sort: what a look by phase would cost, or did.
    pub loose: usize,
    /// Resolution of the time stamps that was allowed for, in nanoseconds.
    pub resolution_ns: u64,
}

/// How deep to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// By offset only; random offsets are found out, but not sorted.
    Offsets,
    /// By phase as well, which costs far more.
    Phases,
}

/// How many machines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// The best estimate; `None` where it can't be told.
    pub best: Option<u32>,
    /// Lower end of the 90 % interval.
    pub low: u32,
    /// Upper end; `None` where nothing bounds it.
    pub high: Option<u32>,
    /// Machines that are certain without statistics.
    pub proven: u32,
}

/// Connections of one machine.
#[derive(Clone, Debug)]
pub struct Group {
    /// Nominal tick rate in Hz.
    pub hz: f64,
    /// The regime in which this machine draws its offsets.
    pub regime: Regime,
    /// The machine's clock; for an unsteady one only its rate means anything.
    pub clock: Option<Clock>,
    /// Measured rate in Hz.
    pub rate_hz: Estimate,
    /// Relative skew in ppm, where the clock is steady.
    pub skew_ppm: Option<Estimate>,
    /// Sub-tick phase at the clock's reference time, where lines were matched by phase.
    pub phase_ticks: Option<Estimate>,
    /// Members: position in the connections analysed, and probability.
    pub members: Vec<(usize, f64)>,
}

/// Analyses the connections of one address.
pub fn analyse(connections: &[&Connection], options: &Options, resolution_ns: u64, depth: Depth) -> Analysis {
    let sorted = sort_by_rate(connections, resolution_ns);
    let mut builder = Builder {
        connections,
        resolution_ns,
        depth,
        switches: options.evidence,
        out: Analysis::empty(resolution_ns),
        regimes: Vec::new(),
    };
    let mut classes = Vec::new();
    for (hz_bits, items) in sorted.steady {
        classes.push(Class::build(f64::from_bits(hz_bits), items, connections, options, resolution_ns));
    }
    attach_unclear(&mut classes, &sorted.unclear, connections, options, resolution_ns);
    for class in &classes {
        builder.add_class(class);
    }
    builder.add_unsteady(&sorted.odd);
    builder.finish()
}

/// Connections by what their clocks turned out to be.
struct Sorted<'a> {
    /// By the bits of the nominal rate, which order like the rates themselves.
    steady: BTreeMap<u64, Vec<Item<'a>>>,
    odd: Vec<(usize, Estimate)>,
    unclear: Vec<usize>,
}

fn sort_by_rate<'a>(connections: &[&'a Connection], resolution_ns: u64) -> Sorted<'a> {
    let mut weak = Vec::new();
    let mut sorted = Sorted { steady: BTreeMap::new(), odd: Vec::new(), unclear: Vec::new() };
    for (index, connection) in connections.iter().enumerate() {
        match connection.clock(resolution_ns) {
            Verdict::Steady(clock) => sorted.steady.entry(clock.hz.to_bits()).or_default().push(Item {
                index,
                envelope: &connection.flow.envelope,
                clock,
            }),
            Verdict::Odd(rate_hz) => sorted.odd.push((index, rate_hz)),
            Verdict::Weak(rate_hz) => weak.push((index, rate_hz)),
            Verdict::Unclear => sorted.unclear.push(index),
        }
    }
    for (index, rate_hz) in weak {
        sorted.place_weak(index, rate_hz, connections[index], resolution_ns);
    }
    sorted.join_unsteady(connections);
    sorted
}

/// How many standard errors a weak rate may lie off a nominal one.
const WEAK_DEVIATION: f64 = 3.0;

impl<'a> Sorted<'a> {
    /// A rate too uncertain by itself joins the one class of the address that explains it.
    fn place_weak(
        &mut self,
        index: usize,
        rate_hz: Estimate,
        connection: &'a Connection,
        resolution_ns: u64,
    ) {
        let fits =
            |bits: &u64| (f64::from_bits(*bits) - rate_hz.value).abs() <= WEAK_DEVIATION * rate_hz.sigma;
        let mut classes = self.steady.iter_mut().filter(|(bits, _)| fits(bits));
        let (Some((bits, items)), None) = (classes.next(), classes.next()) else {
            self.unclear.push(index);
            return;
        };
        let envelope = &connection.flow.envelope;
        let clock = fit_nominal(envelope, f64::from_bits(*bits), Some(rate_hz), resolution_ns);
        items.push(Item { index, envelope, clock });
    }

    /// Where some connections show an unsteady clock and one counter explains all connections near
    /// its pace, the seemingly steady ones are that clock too, in its better moments.
    fn join_unsteady(&mut self, connections: &[&Connection]) {
        let Some(slowest) = self.odd.iter().map(|(_, rate)| rate.value).reduce(f64::min) else { return };
        let near = |hz: f64| hz * 0.8 <= slowest && slowest <= hz * 1.01;
        let Some(bits) = self.steady.keys().copied().find(|bits| near(f64::from_bits(*bits))) else { return };
        let mut all = self.odd.clone();
        all.extend(self.steady[&bits].iter().map(|item| (item.index, item.clock.rate_hz)));
        if unsteady::one_counter(all.iter().map(|&(index, rate)| (&connections[index].flow.envelope, rate))) {
            self.steady.remove(&bits);
            self.odd = all;
        }
    }
}

/// The connections of one tick rate.
struct Class {
    hz: f64,
    clusters: Vec<Cluster>,
    judgement: Judgement,
}

impl Class {
    fn build(
        hz: f64,
        items: Vec<Item<'_>>,
        connections: &[&Connection],
        options: &Options,
        resolution_ns: u64,
    ) -> Self {
        let clusters = offset::cluster(items, options, resolution_ns);
        let peers: Vec<Vec<Address>> =
            clusters.iter().map(|c| c.members.iter().map(|&m| connections[m].peer()).collect()).collect();
        let judgement = regime::judge(hz, &peers);
        Self { hz, clusters, judgement }
    }

    /// Whether a connection without a clock of its own may be given to `cluster` by its offset.
    fn may_hold(&self, cluster: usize, peer: Address, connections: &[&Connection]) -> bool {
        match self.judgement.regime {
            Regime::Global => true,
            Regime::Mixed => self.judgement.machines.contains(&cluster),
            Regime::PerPair | Regime::Undetermined => {
                self.clusters[cluster].members.iter().any(|&member| connections[member].peer() == peer)
            }
            Regime::PerConnection => false,
        }
    }
}

/// Gives connections too short for a clock of their own to the one cluster that explains them.
fn attach_unclear(
    classes: &mut [Class],
    unclear: &[usize],
    connections: &[&Connection],
    options: &Options,
    resolution_ns: u64,
) {
    for &index in unclear {
        let envelope = &connections[index].flow.envelope;
        let peer = connections[index].peer();
        let mut found = classes.iter().enumerate().filter_map(|(class_index, class)| {
            let cluster = offset::attach(envelope, &class.clusters, options, resolution_ns, |cluster| {
                class.may_hold(cluster, peer, connections)
            })?;
            Some((class_index, cluster))
        });
        let Some((class, cluster)) = found.next() else { continue };
        if found.next().is_none() {
            drop(found);
            classes[class].clusters[cluster].members.push(index);
        }
    }
}

/// Collects the classes' findings.
struct Builder<'a> {
    connections: &'a [&'a Connection],
    resolution_ns: u64,
    depth: Depth,
    switches: Switches,
    out: Analysis,
    regimes: Vec<(Regime, String)>,
}

impl Builder<'_> {
    fn add_class(&mut self, class: &Class) {
        let judgement = &class.judgement;
        self.regimes.push((judgement.regime, judgement.evidence.clone()));
        let regime = if judgement.regime == Regime::Mixed { Regime::Global } else { judgement.regime };
        for &index in &judgement.machines {
            self.out.groups.push(by_offset(class, &class.clusters[index], regime));
        }
        let counted = judgement.machines.len() as u32;
        self.out.count.add(Count {
            best: Some(counted),
            low: counted,
            high: Some(counted),
            proven: judgement.proven as u32,
        });
        match judgement.loose[..] {
            [] => {}
            [only] => {
                self.out.groups.push(by_offset(class, &class.clusters[only], judgement.regime));
                self.out.count.add(Count { best: Some(1), low: 1, high: Some(1), proven: 0 });
            }
            _ => self.add_loose(class),
        }
    }

    /// Machines that only phase and skew can tell apart.
    fn add_loose(&mut self, class: &Class) {
        self.out.loose += class.judgement.loose.len();
        if self.depth == Depth::Offsets {
            let most = Some(class.judgement.loose.len() as u32);
            self.out.doubt = Some(Doubt::OffsetsRandom);
            self.out.count.add(Count { best: None, low: 1, high: most, proven: 0 });
            return;
        }
        let findings = loose::find(
            class.hz,
            &class.clusters,
            &class.judgement,
            self.connections,
            self.resolution_ns,
            self.switches,
        );
        self.out.groups.extend(findings.groups);
        self.out.count.add(findings.count);
        self.out.doubt = findings.doubt.or(self.out.doubt);
    }

    /// Clocks of no steady rate: told apart only by whether one counter can have shown them all.
    fn add_unsteady(&mut self, odd: &[(usize, Estimate)]) {
        if odd.is_empty() {
            return;
        }
        let one = unsteady::one_counter(
            odd.iter().map(|&(index, rate)| (&self.connections[index].flow.envelope, rate)),
        );
        self.out.doubt = Some(Doubt::Unsteady);
        let many = Some(odd.len() as u32);
        self.out.count.add(Count {
            best: one.then_some(1),
            low: 1,
            high: if one { Some(1) } else { many },
            proven: 1,
        });
        self.regimes.push((
            if one { Regime::Global } else { Regime::Undetermined },
            format!("clocks without a constant rate in {} connections", odd.len()),
        ));
        if one {
            self.out.groups.push(Group {
                hz: 0.0,
                regime: Regime::Undetermined,
                clock: None,
                rate_hz: unsteady::rate_range(odd.iter().map(|&(_, rate)| rate)),
                skew_ppm: None,
                phase_ticks: None,
                members: odd.iter().map(|&(index, _)| (index, 1.0)).collect(),
            });
        }
    }

    fn finish(mut self) -> Analysis {
        let out = &mut self.out;
        let mut distinct: Vec<Regime> = self.regimes.iter().map(|(regime, _)| *regime).collect();
        distinct.dedup();
        out.regime = match distinct[..] {
            [] => Regime::Undetermined,
            [only] => only,
            _ => Regime::Mixed,
        };
        let evidence: Vec<&str> = self.regimes.iter().map(|(_, evidence)| evidence.as_str()).collect();
        out.evidence = evidence.join("; ");
        if self.regimes.is_empty() {
            out.doubt = Some(Doubt::TooFewSegments);
            out.count.best = None;
        }
        self.out
    }
}

/// A machine told by its offset.
fn by_offset(class: &Class, cluster: &Cluster, regime: Regime) -> Group {
    let clock = cluster.clock;
    let skew = Estimate {
        value: (clock.rate_hz.value / class.hz - 1.0) * 1e6,
        sigma: clock.rate_hz.sigma / class.hz * 1e6,
    };
    Group {
        hz: class.hz,
        regime,
        clock: Some(clock),
        rate_hz: clock.rate_hz,
        skew_ppm: (skew.sigma <= MAX_SKEW_SIGMA_PPM && skew.value.abs() <= MAX_SKEW_PPM).then_some(skew),
        phase_ticks: None,
        members: cluster.members.iter().map(|&member| (member, MATCH_PROBABILITY)).collect(),
    }
}

/// A skew is reported if it is known this well and if a crystal can have it; beyond, it is the
/// network's queues that were measured.
const MAX_SKEW_SIGMA_PPM: f64 = 100.0;
const MAX_SKEW_PPM: f64 = 1000.0;

/// How sure a match by offset is: two random readings meet within the errors (some tens of
/// milliseconds of 2^32 ticks) less than once in a million, but hosts booted within that time of
/// each other are possible.
const MATCH_PROBABILITY: f64 = 0.999;

impl Analysis {
    fn empty(resolution_ns: u64) -> Self {
        Self {
            regime: Regime::Undetermined,
            evidence: String::new(),
            groups: Vec::new(),
            count: Count { best: Some(0), low: 0, high: Some(0), proven: 0 },
            doubt: None,
            loose: 0,
            resolution_ns,
        }
    }
}

impl Count {
    /// Adds another class's machines: no machine ticks at two rates.
    pub fn add(&mut self, other: Self) {
        self.best = self.best.zip(other.best).map(|(a, b)| a + b);
        self.low += other.low;
        self.high = self.high.zip(other.high).map(|(a, b)| a + b);
        self.proven += other.proven;
    }
}
