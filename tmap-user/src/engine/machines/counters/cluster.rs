//! A cluster: connections that share one counter.

use std::collections::BTreeSet;

use tmap_common::Address;

use super::{
    behaviours::{Behaviour, Moved},
    coincidence::Join,
    path_spread::PathSpread,
    sharing::{Contact, Sharing, draws_offsets},
};
use crate::engine::{
    clock::{envelope::Envelope, fit::Clock},
    flows::connection::Connection,
    machines::connections::{
        translated,
        tuples::{self, Certainty},
    },
    types::Estimate,
};

/// Connections that share a counter.
#[derive(Clone, Debug)]
pub(in crate::engine::machines) struct Cluster {
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
    /// The rate in Hz that all members show together, where that is no nominal one.
    pub unlisted_hz: Option<Estimate>,
}

impl Cluster {
    /// A cluster of connections that have one clock. Nothing tells yet how they came to it.
    pub(in crate::engine::machines) fn new(members: Vec<usize>, envelope: Envelope, clock: Clock) -> Self {
        Self {
            members,
            envelope,
            clock,
            paths: PathSpread::default(),
            behaviour: Behaviour::Steady,
            moved: None,
            joins: Vec::new(),
            unlisted_hz: None,
        }
    }

    /// Takes members in that came to it together, in a window of `width_ticks`.
    pub(in crate::engine::machines) fn join(
        &mut self,
        members: impl IntoIterator<Item = usize>,
        width_ticks: f64,
    ) {
        self.join_of_peer(members, width_ticks, 0.0);
    }

    /// Likewise, where it holds this share of their peer's connections.
    pub(in crate::engine::machines) fn join_of_peer(
        &mut self,
        members: impl IntoIterator<Item = usize>,
        width_ticks: f64,
        of_peer: f64,
    ) {
        self.joins.push(Join { members: self.members.len(), of_peer, width_ticks });
        self.members.extend(members);
    }

    /// How its connections share it, where `connections` are the caller's.
    pub(in crate::engine::machines) fn sharing(&self, connections: &[&Connection]) -> Sharing {
        let distinct =
            |certainty| tuples::distinct(self.members.iter().map(|&member| connections[member]), certainty);
        let contact =
            |connection: &Connection| Contact { peer: connection.peer(), begin_ns: connection.flow.first_ns };
        let contacts: Vec<Contact> = distinct(Certainty::Likely).into_iter().map(contact).collect();
        // What surely differs likely does.
        let is_sure =
            contacts.len() > 1 && (!draws_offsets(self.clock.hz) || distinct(Certainty::Sure).len() > 1);
        Sharing { contacts, is_sure }
    }

    /// The peers that see it, where `connections` are the caller's.
    pub(in crate::engine::machines) fn peers(&self, connections: &[&Connection]) -> BTreeSet<Address> {
        self.members.iter().map(|&member| connections[member].peer()).collect()
    }

    /// The peer that sees it, where no other does.
    pub(in crate::engine::machines) fn only_peer(&self, connections: &[&Connection]) -> Option<Address> {
        let mut peers = self.members.iter().map(|&member| connections[member].peer());
        let first = peers.next()?;
        peers.all(|peer| peer == first).then_some(first)
    }

    /// Whether its machine may know all these peers by one address.
    pub(in crate::engine::machines) fn may_have_one_peer(&self, connections: &[&Connection]) -> bool {
        let own = connections[self.members[0]].key.src;
        translated::may_be_one(own, self.members.iter().map(|&member| connections[member].peer()))
    }
}

/// The clusters, of which some join others, each within a window of so many seconds.
pub(in crate::engine::machines) fn merged(
    mut clusters: Vec<Cluster>,
    joins_to: &[Option<usize>],
    width_s: f64,
) -> Vec<Cluster> {
    for (place, to) in joins_to.iter().enumerate() {
        if let Some(to) = *to {
            let members = std::mem::take(&mut clusters[place].members);
            let to = &mut clusters[to];
            to.join(members, width_s * to.clock.hz);
        }
    }
    clusters.retain(|cluster| !cluster.members.is_empty());
    clusters
}
