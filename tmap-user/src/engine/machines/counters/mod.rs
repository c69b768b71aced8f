//! Counters that connections share: what one is, how it may go on, and how unlikely it is that two meet by
//! chance.
//!
//! Read [`cluster`] first: it holds the connections of one counter. [`sharing`] is what a cluster tells of
//! how offsets are drawn, and [`behaviours`] explains counters that no line fits.

pub(super) mod behaviours;
pub(super) mod cluster;
pub(super) mod coincidence;
pub(super) mod counter_values;
pub(super) mod path_spread;
pub(super) mod sharing;
