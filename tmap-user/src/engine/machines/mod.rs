//! One source address: which of its connections are one machine, and how many machines there are.
//!
//! [`analysis`] is pure: connections in, machines out. [`analyst`] keeps what must outlive one
//! analysis pass (the numbers given to machines) and builds snapshots.

pub mod analysis;
pub mod analyst;
mod assemble;
mod by_offset;
mod by_phase;
mod clock_moved;
mod cluster;
mod counter_values;
pub mod group;
mod history;
mod numbering;
pub mod partial;
mod reboot;
mod regime;
mod siblings;
mod slew;
