//! Machines by phase, where their offsets are random: the way into [`crate::engine::phase`] and back.
//!
//! Read [`by_phase`] first: it searches. [`findings`] makes machines of lines, and [`by_pages`] of counters.
//! The other files say how many machines these lines are.

pub(super) mod by_pages;
pub(super) mod by_phase;
mod findings;
mod hosts;
mod lines;
mod pages;
mod presence;
mod succession;
