//! What outlives an analysis pass over an address: the numbers of machines, and connections that were
//! discarded. The room also tells machines that rebooted, or whose clocks moved.
//!
//! Read [`source_history`] first: it holds what is kept of one address.

pub(super) mod clock_moved;
mod discarded;
pub(super) mod loads;
mod numbering;
pub(super) mod reboot;
pub(super) mod source_history;
