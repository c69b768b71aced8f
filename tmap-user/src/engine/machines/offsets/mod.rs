//! From connections to counters: which of them show one counter, by where it stands at a common time.
//!
//! Read [`by_offset`] first: it makes clusters of connections. The other files say where clusters are one
//! counter, and where they are several.

pub(super) mod anew;
pub(super) mod by_offset;
pub(super) mod late_paths;
pub(super) mod misfits;
pub(super) mod one_clock;
mod slew;
pub(super) mod together;
