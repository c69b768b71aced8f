//! Single connections, before their counters are compared: which of them are evidence for a machine, and
//! which of them devices on the way may have rewritten.
//!
//! Read [`credible`] first: it decides which connections may open a machine.

mod copies;
pub(super) mod credible;
pub(super) mod translated;
pub(super) mod tuples;
