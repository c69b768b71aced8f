//! One source address in the flow table, and when its next analysis pass is due.

use std::collections::VecDeque;

use tmap_common::Address;

use super::turn::Turn;
use crate::engine::types::Depth;

/// Looks at an address are this far apart at least, and further the more connections it has: a
/// look's cost grows with their number, so its share of time doesn't.
pub(super) const PASS_INTERVAL_NS: u64 = 1_000_000_000;
pub(super) const PASS_INTERVAL_PER_CONNECTION_NS: u64 = 2_000_000;

/// An address is first looked at when it was watched for this long, where looks are few.
pub(super) const FIRST_PASS_NS: u64 = 4_000_000_000;

/// Where looks are few, one is due when an address was watched for so many times as long as at the
/// last one: all looks on the way together cost less than the last one.
pub(super) const SPARSE_GROWTH: u64 = 8;

/// How often addresses are looked at before anybody asks for a snapshot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As soon as there may be news: somebody is waiting for them.
    #[default]
    Prompt,
    /// Seldom: the end is near anyway, as it is for files. No look is left out that counts
    /// connections which are about to be forgotten.
    Sparse,
}

/// The number of a source address: its place in the order of appearance.
pub type SourceId = u32;

/// What is held about a source address here.
#[derive(Debug)]
pub struct Source {
    pub(super) address: Address,
    /// Connections remembered, open and finished, the oldest first.
    pub(super) connections: VecDeque<Member>,
    pub(super) eviction: Turn,
    pub(super) connections_total: u64,
    pub(super) zero_tsvals: u64,
    /// Whether something changed since it was last frozen; it is in `changed` then.
    pub(super) dirty: bool,
    /// Whether it is in `changed`.
    pub(super) listed: bool,
    /// Whether a connection was forgotten since the last look: that look is void.
    pub(super) void: bool,
    /// Whether connections are about to be forgotten that no look has seen: one is due at once.
    pub(super) pressed: bool,
    /// When it appeared.
    pub(super) born_ns: u64,
    pub(super) next_pass_ns: u64,
    /// Connections ever seen when the source was last frozen.
    pub(super) frozen_at: u64,
    /// Offsets that only phase can sort, as of the last look.
    pub(super) random_offsets: u32,
    /// Connections ever seen when the source was last looked at by phase.
    pub(super) phased_at: Option<u64>,
}

/// A source's connection.
#[derive(Clone, Copy, Debug)]
pub struct Member {
    pub(super) place: u32,
    /// The how-manieth connection of its source: what names it in looks.
    pub(super) serial: u32,
}

impl Source {
    pub(super) fn new(address: Address, born_ns: u64, pace: Pace) -> Self {
        let next_pass_ns = if pace == Pace::Sparse { born_ns.saturating_add(FIRST_PASS_NS) } else { 0 };
        Self {
            address,
            connections: VecDeque::new(),
            eviction: Turn::default(),
            connections_total: 0,
            zero_tsvals: 0,
            dirty: false,
            listed: false,
            void: false,
            pressed: false,
            born_ns,
            next_pass_ns,
            frozen_at: 0,
            random_offsets: 0,
            phased_at: None,
        }
    }

    /// How deep a look is due at `now_ns`, if any, and what it costs in tracks to be sorted.
    ///
    /// A look by phase is due when the connections have grown by half since the last one: so the
    /// looks of a source's whole life together cost no more than three of the last one's size. Where
    /// looks are few and nothing was forgotten yet, they have to have grown [`SPARSE_GROWTH`] times.
    pub(super) fn due(&self, now_ns: u64, pace: Pace) -> Option<(Depth, usize)> {
        if !self.dirty || (now_ns < self.next_pass_ns && !self.pressed) {
            return None;
        }
        if self.random_offsets == 0 {
            return Some((Depth::Offsets, 0));
        }
        let remembers_all = self.connections.len() as u64 == self.connections_total;
        let has_grown = |before: u64| match pace {
            Pace::Sparse if remembers_all => self.connections_total >= SPARSE_GROWTH * before,
            _ => 2 * self.connections_total >= 3 * before,
        };
        self.phased_at.is_none_or(has_grown).then_some((Depth::Phases, self.random_offsets as usize))
    }
}
