//! A cluster: connections that share one counter.

use std::collections::BTreeSet;

use tmap_common::Address;

use super::{
    coincidence::Join,
    counters::{Behaviour, Moved},
    path_spread::PathSpread,
    sharing::{Sharing, draws_offsets},
    tuples::{self, Certainty},
};
use crate::engine::{
    clock::{envelope::Envelope, fit::Clock},
    flows::connection::Connection,
};

/// Connections that share a counter.
#[derive(Clone, Debug)]
pub(super) struct Cluster {
    /// The members, as indices of the caller's connections, best-known clock first.
    pub members: Vec<usize>,
    /// The hull over all members' points. For a slewed clock, only the points of its best-known stretch.
    pub envelope: Envelope,
    /// The line through it.
    pub clock: Clock,
    /// How much its connections' least delays differ.
    pub paths: PathSpread,
    /// What the counter does.
    pub behaviour: Behaviour,
    /// Its last move; `None` where it just went on.
    pub moved: Option<Moved>,
    /// How its members but the first came to it.
    pub joins: Vec<Join>,
}

impl Cluster {
    /// A cluster of connections that have one clock. Nothing tells yet how they came to it.
    pub(super) fn new(members: Vec<usize>, envelope: Envelope, clock: Clock) -> Self {
        Self {
            members,
            envelope,
            clock,
            paths: PathSpread::default(),
            behaviour: Behaviour::Steady,
            moved: None,
            joins: Vec::new(),
        }
    }

    /// Takes members in that came to it together, in a window of `width_ticks`.
    pub(super) fn join(&mut self, members: impl IntoIterator<Item = usize>, width_ticks: f64) {
        self.joins.push((self.members.len(), width_ticks));
        self.members.extend(members);
    }

    /// How its connections share it, where `connections` are the caller's.
    pub(super) fn sharing(&self, connections: &[&Connection]) -> Sharing {
        let members = self.members.iter().map(|&member| connections[member]);
        let likely = tuples::distinct(members, Certainty::Likely);
        let peers: Vec<Address> = likely.into_iter().map(Connection::peer).collect();
        Sharing { is_sure: peers.len() > 1 && self.is_shared(connections), peers }
    }

    /// Whether connections share it whose addresses and ports surely differ: only these prove that a machine
    /// has one counter for several connections.
    pub(super) fn is_shared(&self, connections: &[&Connection]) -> bool {
        let members = self.members.iter().map(|&member| connections[member]);
        let certainty = if draws_offsets(self.clock.hz) { Certainty::Sure } else { Certainty::Likely };
        tuples::distinct(members, certainty).len() > 1
    }

    /// The peers that see it, where `connections` are the caller's.
    pub(super) fn peers(&self, connections: &[&Connection]) -> BTreeSet<Address> {
        self.members.iter().map(|&member| connections[member].peer()).collect()
    }
}
