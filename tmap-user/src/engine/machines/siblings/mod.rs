//! The same machine behind several addresses.
//!
//! Read [`search`] first: it finds siblings. [`alike`] compares two machines, and [`crowds`] chooses which
//! machines are compared.

pub(super) mod alike;
mod crowds;
pub(super) mod search;
