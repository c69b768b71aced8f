//! Sources of records.

pub mod file;
pub mod xdp;
