//! One source address: which of its connections are one machine, and how many machines there are.
//!
//! [`analysis`] is pure: connections in, machines out. [`analyst`] keeps what must outlive one
//! analysis pass (the numbers given to machines) and builds snapshots.

mod alike;
pub(super) mod analysis;
pub(super) mod analyst;
mod anew;
mod assemble;
mod brief;
mod by_offset;
mod by_phase;
mod clock_moved;
mod cluster;
mod coincidence;
mod copies;
mod counter_values;
pub(super) mod counters;
mod credible;
mod crowds;
mod discarded;
pub(super) mod epochs;
mod group;
mod history;
mod hosts;
mod late_paths;
mod lines;
mod loads;
mod long_run;
mod misfits;
mod near_in_pairs;
mod numbering;
mod occupancy;
mod one_clock;
pub(super) mod partial;
mod path_spread;
mod port_pool;
mod presence;
mod rates;
mod reboot;
mod regime;
mod shared_counters;
mod sharing;
mod siblings;
mod slew;
pub(super) mod source_ports;
mod succession;
mod together;
mod translated;
mod tuples;
mod two_rates;
mod two_ways;
mod unlisted;
mod urns;
mod visits;
mod without_timestamps;
