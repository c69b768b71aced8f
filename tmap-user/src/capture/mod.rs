//! Sources of records.

pub mod file;
