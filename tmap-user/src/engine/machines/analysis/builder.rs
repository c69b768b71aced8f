//! From the judgement of each tick rate to the machines of an address, and their count.

use super::{Analysis, Circumstances, class::Class, explained::losing_counters};
use crate::engine::{
    clock::unsteady,
    flows::{connection::Connection, handshake::Handshake},
    machines::{
        counters::{behaviours::Behaviour, cluster::Cluster},
        group::{Count, Group, MATCH_PROBABILITY, told_skew},
        phases::{by_pages::Agreement, by_phase},
        rates::{two_rates::Coarse, unlisted::LeftOut},
        regime::judgement::Random,
        source_ports::SourcePorts,
    },
    options::Options,
    types::{Depth, Doubt, Estimate, Regime},
};

/// Collects the classes' findings.
pub(super) struct Builder<'a> {
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

impl<'a> Builder<'a> {
    /// A builder that has collected what source ports tell. Of the connections, the first `credible` ones may
    /// open a machine.
    pub(super) fn new(
        connections: &'a [&'a Connection],
        credible: usize,
        options: &'a Options,
        Circumstances { resolution_ns, depth, .. }: Circumstances,
    ) -> Self {
        let mut out = Analysis::empty(resolution_ns);
        if options.ports {
            out.source_ports = SourcePorts::read(&connections[..credible]);
        }
        let (regimes, coarse) = (Vec::new(), Coarse::default());
        Self { connections, credible, resolution_ns, depth, options, out, regimes, coarse }
    }

    /// Tells this doubt, unless another one says more.
    fn doubt(&mut self, doubt: Doubt) {
        if self.out.doubt.is_none_or(|told| doubt.says_as_much_as(told)) {
            self.out.doubt = Some(doubt);
        }
    }

    /// Adds what the connections of one rate show.
    pub(super) fn add_class(&mut self, class: &Class) {
        let (others, first) = (std::mem::replace(&mut self.out.count, Count::NONE), self.out.groups.len());
        self.add_machines(class);
        let mut count = std::mem::replace(&mut self.out.count, others);
        if class.may_be_bent {
            (count.low, count.proven) = (0, 0);
        }
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
                self.out.groups.push(group_of_unlisted(&cluster.members, rate_hz, regime));
            } else if cluster.behaviour == Behaviour::Losing {
                self.doubt(Doubt::Unsteady);
                self.out.groups.push(self.unsteady(&cluster.members));
            } else {
                self.out.groups.push(group_by_offset(class, cluster, regime));
            }
        }
        let counted = judgement.machines.len() as u32;
        let is_known = !class.may_be_of_pairs(self.connections);
        if !is_known {
            self.doubt(Doubt::TooFewConnections);
        }
        self.out.count.add(Count {
            best: is_known.then_some(counted),
            low: judgement.fewest as u32,
            high: Some(class.most.map_or(counted, |most| counted.max(most as u32))),
            proven: class.proven as u32,
        });
        for random in &judgement.random {
            match random.clusters[..] {
                [] => {}
                [only] => {
                    self.out.groups.push(group_by_offset(class, &class.clusters[only], random.regime));
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
        if let (Some(Agreement { right, all }), Some((_, evidence))) =
            (findings.by_pages, self.regimes.last_mut())
        {
            let text = format!(", and {right} of {all} pairs of them that begin together are of one machine");
            evidence.push_str(&text);
        }
        findings.doubt.into_iter().for_each(|doubt| self.doubt(doubt));
    }

    /// Clocks of a rate that is no nominal one: what they are counted by elsewhere rests on the rate.
    pub(super) fn add_unlisted(&mut self, left_out: &LeftOut) {
        let LeftOut { members, rate_hz, regime, counters, are_one } = left_out;
        let fewest = u32::from(self.out.groups.is_empty() && self.out.random_offsets == 0);
        let best = are_one.then_some(1);
        let most = Some(*counters as u32);
        self.doubt(Doubt::Unsteady);
        self.out.count.add(Count { best, low: fewest, high: most, proven: fewest });
        self.regimes.push((*regime, format!("clocks of no usual rate in {} connections", members.len())));
        if *are_one {
            self.out.groups.push(group_of_unlisted(members, *rate_hz, *regime));
        }
    }

    /// Clocks of no steady rate: told apart only by whether one counter can have shown them all.
    pub(super) fn add_unsteady(&mut self, odd: &[(usize, Estimate)]) {
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
            is_weighed: false,
            surely_one: 1.0,
            members: members.iter().map(|&index| (index, 1.0)).collect(),
        }
    }

    /// The analysis of all that was collected. `unplaced` connections show no clock and are no known
    /// machine's; `unanswered` ones completed no handshake.
    pub(super) fn finish(mut self, unplaced: usize, unanswered: usize) -> Analysis {
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
fn group_by_offset(class: &Class, cluster: &Cluster, regime: Regime) -> Group {
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
        is_weighed: false,
        surely_one: 1.0,
        members: cluster.members.iter().map(|&member| (member, MATCH_PROBABILITY)).collect(),
    }
}

/// A machine whose clock has a constant rate that is no nominal one: its offset tells no boot time.
fn group_of_unlisted(members: &[usize], rate_hz: Estimate, regime: Regime) -> Group {
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
        is_weighed: false,
        surely_one: 1.0,
        members: members.iter().map(|&index| (index, MATCH_PROBABILITY)).collect(),
    }
}
