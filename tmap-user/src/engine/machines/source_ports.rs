//! What the source ports of an address's connections tell: which of them one host opened.

use std::collections::BTreeMap;

use super::group::Group;
use crate::engine::{
    flows::connection::Connection,
    ports::{
        Opening, Ports,
        boundary::Boundary,
        walks::{Link, Walks},
    },
    snapshot::{self, MachinePorts, RuleSeen, Step},
    types::Side,
};

/// The fewest connections that an address opened of which ports are read.
const FEWEST_OPENED: usize = 4;

/// Links of at least this probability join connections.
const SURE: f64 = 0.9;

/// The source ports of connections, and what they tell.
#[derive(Clone, Debug, Default)]
pub(crate) struct SourcePorts {
    /// What SYNs tell, in order of time.
    pub ports: Ports,
    /// The connection of each SYN.
    pub connection_of: Vec<usize>,
}

impl SourcePorts {
    /// Reads the source ports of the connections that the address opened.
    pub(super) fn read(connections: &[&Connection]) -> Self {
        let opened = |index: &usize| connections[*index].flow.side == Some(Side::Client);
        let mut connection_of: Vec<usize> = (0..connections.len()).filter(opened).collect();
        if connection_of.len() < FEWEST_OPENED {
            return Self::default();
        }
        connection_of.sort_by_key(|&index| connections[index].flow.first_ns);
        let opening = |&index: &usize| {
            let Connection { key, flow, .. } = connections[index];
            let (peer, peer_port, port) = (key.dst, key.dst_port, key.src_port);
            Opening { time_ns: flow.first_ns, peer, peer_port, port }
        };
        let ports = Ports::read(connection_of.iter().map(opening).collect());
        Self { ports, connection_of }
    }

    /// Leaves out connections that were discarded; `new_place` tells where the others are now.
    pub(super) fn forget(&mut self, new_place: impl Fn(usize) -> Option<usize>) {
        let is_gone = |index: &usize| new_place(*index).is_none();
        if self.connection_of.iter().any(is_gone) {
            // Links would have to be made anew, which the next pass does.
            *self = Self::default();
        } else {
            self.connection_of.iter_mut().for_each(|index| *index = new_place(*index).unwrap_or(*index));
        }
    }

    /// The pairs of items that hold linked connections, each with the item of the earlier one first.
    /// `item_of` tells the item of a connection, if it is in one.
    pub(super) fn links(&self, item_of: &BTreeMap<usize, usize>) -> Vec<(usize, usize)> {
        let link = |(at, connection): (usize, &usize)| {
            let link = self.ports.link(at).filter(|link| link.probability >= SURE)?;
            let before = item_of.get(&self.connection_of[link.from])?;
            Some((*before, *item_of.get(connection)?))
        };
        self.connection_of.iter().enumerate().filter_map(link).collect()
    }
}

impl SourcePorts {
    /// For each connection whose SYN surely goes on from another one, that SYN.
    pub(super) fn steps(&self) -> BTreeMap<usize, Step> {
        let step = |at: usize| {
            let link = self.ports.link(at).filter(|link| link.probability >= SURE)?;
            let from = &self.ports.openings[link.from];
            Some((self.connection_of[at], Step { time_ns: from.time_ns, port: from.port }))
        };
        (0..self.connection_of.len()).filter_map(step).collect()
    }

    /// What the address's ports show; `None` where it opened few connections.
    pub(super) fn report(&self) -> Option<snapshot::SourcePorts> {
        (!self.connection_of.is_empty()).then(|| told(&self.ports))
    }

    /// What the ports of a machine's connections show, its boundary counted from `reference_ns`; `None` where
    /// they follow no rule.
    pub(super) fn of_machine(&self, group: &Group, reference_ns: u64) -> Option<MachinePorts> {
        let of_group: BTreeMap<usize, f64> = group.members.iter().copied().collect();
        let own: Vec<(usize, f64)> = (0..self.connection_of.len())
            .filter_map(|at| Some((at, *of_group.get(&self.connection_of[at]).filter(|p| **p > 0.5)?)))
            .collect();
        let is_own = |at: usize| own.binary_search_by_key(&at, |(own, _)| *own).is_ok();
        let linked = |walks: &&Walks| {
            let links = own.iter().filter_map(|(at, _)| walks.links[*at]);
            links.filter(|link| is_own(link.from)).count()
        };
        let (walks, count) =
            self.ports.walks.iter().map(|walks| (walks, linked(&walks))).max_by_key(|w| w.1)?;
        let skew = group.skew_ppm.map_or(0.0, |skew| skew.value * 1e-6);
        (count > 0).then(|| MachinePorts {
            rule: walks.rule,
            openings: own.len() as u64,
            linked: count as u64,
            boundary: walks
                .have_boundary(own.iter().map(|(at, _)| *at))
                .then(|| self.boundary(walks, &own, Boundary::new(reference_ns, skew)).told())
                .flatten(),
        })
    }

    /// Adds what a host's SYNs tell of its boundary: each with the one before it to the same service.
    fn boundary(&self, walks: &Walks, own: &[(usize, f64)], mut boundary: Boundary) -> Boundary {
        let mut before = BTreeMap::new();
        for &(at, probability) in own {
            let opening = &self.ports.openings[at];
            let Some((from, of_from)) = before.insert((opening.peer, opening.peer_port), (at, probability))
            else {
                continue;
            };
            let linked = match walks.links[at] {
                Some(Link { from: linked, probability }) if linked == from => Some(probability),
                // It goes on from another one, so nothing broke.
                Some(_) => continue,
                None => None,
            };
            let times_ns = (self.ports.openings[from].time_ns, opening.time_ns);
            boundary.add(times_ns, linked, walks.share(), of_from * probability);
        }
        boundary
    }
}

/// What ports show, for a report.
pub(super) fn told(ports: &Ports) -> snapshot::SourcePorts {
    let seen = |walks: &Walks| RuleSeen {
        rule: walks.rule,
        could: walks.could as u64,
        linked: walks.linked() as u64,
        by_chance: walks.by_chance,
        nats: walks.nats(),
    };
    snapshot::SourcePorts {
        openings: ports.openings.len() as u64,
        rules: ports.walks.iter().map(seen).collect(),
        hosts_at_once: ports.most_at_once() as u64,
    }
}
