//! One analysis pass over an address: from connections to machines.
//!
//! Pure: the same connections give the same analysis, whatever earlier passes found. Machines keep
//! their numbers from one pass to the next by `history::numbering`.
//!
//! Read [`analyse`] first. It sorts connections by rate ([`sorted`]), judges those of each rate ([`class`]),
//! and collects what they show ([`builder`]).

mod builder;
mod class;
mod explained;
mod sorted;

use std::collections::BTreeSet;

use self::{
    builder::Builder,
    class::{Class, attach_unclear},
    sorted::{Sorted, sort_by_rate},
};
use crate::engine::{
    flows::connection::Connection,
    machines::{
        connections::credible::Credible,
        group::{Count, Group},
        offsets::by_offset::Item,
        source_ports::SourcePorts,
    },
    options::Options,
    types::{Depth, Doubt, Regime},
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
    circumstances: Circumstances,
) -> Analysis {
    let Circumstances { resolution_ns, began_ns, .. } = circumstances;
    let Credible { connections, count, positions, copies } = Credible::sort(connections, began_ns);
    let connections = &connections[..];
    let mut sorted = sort_by_rate(&connections[..count], options, resolution_ns);
    let mut builder = Builder::new(connections, count, options, circumstances);
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
    let beside = |(hz_bits, items)| {
        let class = build(hz_bits, items, sorted);
        Class { may_be_bent: class.may_be_bent_from(commonest.hz), ..class }
    };
    let mut classes: Vec<Class> = steady.into_iter().map(beside).collect();
    classes.push(commonest);
    classes.iter_mut().for_each(|class| class.leave_out_unlisted(connections, resolution_ns));
    classes.sort_by(|a, b| a.hz.total_cmp(&b.hz));
    classes
}

/// The probability of a machine's nominal rate: that of the connection which shows it best.
fn rate_probability(members: &[(usize, f64)], of: &[f64]) -> f64 {
    members.iter().filter_map(|&(index, _)| of.get(index).copied()).fold(0.0, f64::max)
}

impl Analysis {
    /// The analysis of no connections, at this resolution of the records' times in nanoseconds.
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
