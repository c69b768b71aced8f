//! Tick rates of connections that don't tell them alone, by what all connections of an address show.
//!
//! Read [`nominal`] first: it weighs the usual rates. [`unlisted`] then finds clocks of other ones, and
//! [`two_rates`] machines that have two clocks.

pub(super) mod brief;
mod long_run;
pub(super) mod nominal;
mod shared_counters;
pub(super) mod two_rates;
pub(super) mod unlisted;
