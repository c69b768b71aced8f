//! What ends a search for lines early: its budget of work, and hurry.

use std::cell::Cell;

use super::room::Room;
use crate::engine::hurry::Hurry;

/// What ends a search for lines early.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The budget of one search, in look-ups of a piece on a line.
    pub look_ups: u64,
    /// The most memory of the tables of one search, in bytes. Where all tracks would take more, tables are
    /// coarser, and then of some of the tracks only.
    pub table_bytes: usize,
    /// The room that the tables of all searches share.
    pub room: Room,
    /// Somebody waits for the result.
    pub hurry: Hurry,
}

impl Limits {
    /// The usual budget, in look-ups of a piece on a line.
    pub const LOOK_UPS: u64 = 500_000_000;

    /// The usual bound on the memory of tables, in bytes.
    pub const TABLE_BYTES: usize = 256 << 20;

    /// The usual room for the tables of all searches, in bytes.
    pub const ROOM_BYTES: usize = 2 * Self::TABLE_BYTES;
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            look_ups: Self::LOOK_UPS,
            table_bytes: Self::TABLE_BYTES,
            room: Room::new(Self::ROOM_BYTES),
            hurry: Hurry::default(),
        }
    }
}

/// The work of one search, in look-ups of a piece on a line. A search ends by its work and not by the clock,
/// so that its result is the same on any machine. Only hurry ends it by the clock.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    look_ups: Cell<u64>,
    limits: Limits,
}

impl Work {
    /// No work so far, with these limits.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { look_ups: Cell::new(0), limits: limits.clone() }
    }

    /// Goes on from what other data took.
    pub(super) fn take_over(&self, other: &Self) {
        self.look_ups.set(other.look_ups.get());
    }

    /// Adds look-ups.
    pub(super) fn add(&self, look_ups: usize) {
        self.look_ups.set(self.look_ups.get() + look_ups as u64);
    }

    /// Whether the budget is spent.
    pub(super) fn is_spent(&self) -> bool {
        self.look_ups.get() >= self.limits.look_ups
    }

    /// Whether the search ends with what it has, because its budget is spent or somebody waits.
    pub(super) fn is_over(&self) -> bool {
        self.is_spent() || self.is_hurried()
    }

    /// Whether somebody waits. Unlike the budget, that may end any loop.
    #[inline(always)]
    pub(super) fn is_hurried(&self) -> bool {
        self.limits.hurry.ends_searches()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_ends_by_its_work_or_by_hurry() {
        let limits = Limits { look_ups: 100, ..Limits::default() };
        let work = Work::new(&limits);
        work.add(99);
        assert!(!work.is_over());
        let next = Work::new(&limits);
        next.take_over(&work);
        next.add(1);
        assert!(next.is_spent() && next.is_over() && !next.is_hurried());
        limits.hurry.end_searches();
        assert!(work.is_over() && work.is_hurried() && !work.is_spent());
    }
}
