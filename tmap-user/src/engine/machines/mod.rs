//! One source address: which of its connections are one machine, and how many machines there are.
//!
//! [`analysis`] is pure: connections in, machines out. [`analyst`] keeps what must outlive one
//! analysis pass (the numbers given to machines) and builds snapshots.
//!
//! Read `analysis` first: it calls the rooms one after the other.

mod analysis;
pub(super) mod analyst;
mod assemble;
mod connections;
mod counters;
mod group;
mod history;
mod offsets;
pub(super) mod partial;
mod phases;
mod rates;
mod regime;
mod siblings;
mod source_ports;
mod without_timestamps;
