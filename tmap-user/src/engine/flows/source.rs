//! One source address in the flow table, and when its next analysis pass is due.

use std::collections::VecDeque;

use tmap_common::Address;

use super::turn::Turn;
use crate::engine::types::Depth;

/// The least time between two passes over an address, and the addition for each of its connections, in
/// nanoseconds: a pass costs more with more connections, so its share of the time stays the same.
pub(super) const PASS_INTERVAL_NS: u64 = 1_000_000_000;
pub(super) const PASS_INTERVAL_PER_CONNECTION_NS: u64 = 2_000_000;

/// With [`Pace::Sparse`], the time from an address's first segment to its first pass, in nanoseconds: most
/// captures end before, and the last pass finds everything.
pub(super) const FIRST_PASS_NS: u64 = 600_000_000_000;

/// With [`Pace::Sparse`], a pass is due when an address was watched for this many times as long as at the
/// last pass: all passes before the last one together then cost less than the last one.
pub(super) const SPARSE_GROWTH: u64 = 8;

/// How often addresses are analysed between snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// As soon as there may be news, because somebody waits for them.
    #[default]
    Prompt,
    /// Seldom, for files: the end is near, and the last pass finds everything. A pass that counts
    /// connections before they are evicted is always done.
    Sparse,
}

/// The number of a source address, in the order of appearance, from 0.
pub type SourceId = u32;

/// A source address in the flow table.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) address: Address,
    /// How many sources had its number before: their serials mean nothing to it, even if one had its address.
    pub(super) life: u32,
    /// Connections held, open and finished, the oldest first.
    pub(super) connections: VecDeque<Member>,
    pub(super) eviction: Turn,
    /// How many of the newest connections are on trial: nothing was looked for yet that makes them worth
    /// keeping.
    pub(super) trial: usize,
    /// Handshakes that it completed; saturates.
    pub(super) completed: u32,
    /// Connections ever seen.
    pub(super) connections_total: u64,
    pub(super) zero_tsvals: u64,
    /// Whether something changed since the source was last frozen; it is then in the list of
    /// changed ones.
    pub(super) dirty: bool,
    /// Whether the source is in the list of changed ones.
    pub(super) listed: bool,
    /// Whether a connection was evicted since the last pass: that pass's outcome is then void.
    pub(super) void: bool,
    /// Whether connections are about to be evicted that no pass has seen: a pass is then due at once.
    pub(super) pressed: bool,
    /// The value of `connections_total` when the source was last frozen for a pass that was done.
    pub(super) analysed_at: u64,
    /// Connections that were evicted before any pass, though they showed something.
    pub(super) unseen: u64,
    /// Connections that were evicted while they were open.
    pub(super) evicted_open: u64,
    /// Connections that began without a handshake, up to the number of those: some are evicted ones that go
    /// on.
    pub(super) begun_again: u64,
    /// Time of its first segment.
    pub(super) born_ns: u64,
    /// The earliest time of the next pass.
    pub(super) next_pass_ns: u64,
    /// The value of `connections_total` when the source was last frozen.
    pub(super) frozen_at: u64,
    /// Random offsets that the last pass found; only a pass by phase can assign them.
    pub(super) random_offsets: u32,
    /// The value of `connections_total` at the last pass by phase; `None` where there was none.
    pub(super) phased_at: Option<u64>,
}

/// A source's connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Its place in the flow table.
    pub(super) place: u32,
    /// Its number among the connections of its source, which identifies it in analysis.
    pub(super) serial: u32,
}

impl Source {
    pub(super) fn new(address: Address, born_ns: u64, pace: Pace) -> Self {
        let next_pass_ns = if pace == Pace::Sparse { born_ns.saturating_add(FIRST_PASS_NS) } else { 0 };
        Self {
            address,
            life: 0,
            connections: VecDeque::new(),
            eviction: Turn::default(),
            trial: 0,
            completed: 0,
            connections_total: 0,
            zero_tsvals: 0,
            dirty: false,
            listed: false,
            void: false,
            pressed: false,
            analysed_at: 0,
            unseen: 0,
            evicted_open: 0,
            begun_again: 0,
            born_ns,
            next_pass_ns,
            frozen_at: 0,
            random_offsets: 0,
            phased_at: None,
        }
    }

    /// The depth of the pass that is due at `now_ns`, and the number of tracks that it analyses by phase;
    /// `None` where no pass is due.
    ///
    /// A pass by phase is due when the connections have grown by half since the last one. So all passes
    /// over a source together cost no more than three of the last one's size. With [`Pace::Sparse`] and
    /// nothing evicted yet, the first such pass is due after [`FIRST_PASS_NS`], and later ones when the
    /// connections have grown [`SPARSE_GROWTH`] times.
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
        let is_early =
            pace == Pace::Sparse && remembers_all && now_ns.saturating_sub(self.born_ns) < FIRST_PASS_NS;
        let is_due = self.phased_at.map_or(!is_early, has_grown);
        is_due.then_some((Depth::Phases, self.random_offsets as usize))
    }
}
