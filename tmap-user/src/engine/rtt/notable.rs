//! When a part of what was seen is no accident.

/// Fewer than this say nothing.
const LEAST: u64 = 10;

/// Whether `some` of `all` say something: there are ten at least, and they exceed one in `part`.
pub(super) fn are_notable(some: u64, all: u64, part: u64) -> bool {
    some >= LEAST && some.saturating_mul(part) > all
}
