//! Connections that share a counter.

use crate::engine::clock::{envelope::Envelope, fit::Clock};

/// Connections that share a counter.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The callers' indices, best-known clock first.
    pub members: Vec<usize>,
    /// The hull over all members' points: one clock, so one envelope. Of a clock that was slewed, over
    /// those of its best known part.
    pub envelope: Envelope,
    /// The line through it.
    pub clock: Clock,
}
