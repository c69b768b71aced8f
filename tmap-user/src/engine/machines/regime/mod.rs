//! How machines draw their offsets, and how many machines that makes: one counter for a machine, one for each
//! peer, or one for each connection.
//!
//! Read [`judgement`] first: it decides. [`urns`] and [`two_ways`] are the laws of chance that it
//! weighs, and [`occupancy`] is the number of machines that pairs of addresses show.

pub(super) mod epochs;
pub(super) mod judgement;
pub(super) mod near_in_pairs;
pub(super) mod occupancy;
pub(super) mod port_pool;
mod two_ways;
mod urns;
mod visits;
