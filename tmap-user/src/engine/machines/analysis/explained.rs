//! Counters that explain connections better than steady ones do, as analysis asks for them and takes them in.

use std::collections::BTreeMap;

use crate::engine::{
    flows::connection::Connection,
    machines::counters::{
        behaviours::{self, Behaviour, Explained, Explanation, Moved, OLD_APPLE_HZ, Setting, Shown},
        cluster::Cluster,
    },
    types::{Estimate, joint, wrap_difference},
};

/// The counters that lose ticks and explain these connections; none where nothing explains them.
pub(super) fn losing_counters(members: &[usize], connections: &[&Connection]) -> Vec<Vec<usize>> {
    let alone = members.iter().enumerate().map(|(at, &member)| (member, at));
    explain(alone, connections, OLD_APPLE_HZ, members.len(), Setting::default())
        .better
        .filter(|explanation| explanation.behaviour == Behaviour::Losing)
        .map_or_else(Vec::new, |explanation| explanation.counters)
}

/// Fewer counters, not all of them steady, that explain connections better than `simple` steady ones do.
/// `members` are the connections, each with its steady counter.
pub(super) fn explain(
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
pub(super) fn regroup(clusters: &[Cluster], explanation: &Explanation) -> Vec<Cluster> {
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
