//! A cluster: connections that share one counter.

use super::{
    coincidence::Join,
    counters::{Behaviour, Moved},
    path_spread::PathSpread,
};
use crate::engine::clock::{envelope::Envelope, fit::Clock};

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
