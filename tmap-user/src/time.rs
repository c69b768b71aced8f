//! The clocks: the time of live records, and how it maps to wall-clock time.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// How engine time maps to wall-clock time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WallClock {
    /// Unix time minus engine time, in nanoseconds: 0 for files.
    pub unix_minus_engine_ns: i64,
}

impl WallClock {
    /// The mapping for live records, as of now: `CLOCK_REALTIME` may be set while `CLOCK_MONOTONIC`, the
    /// records' clock, runs on.
    pub fn of_live() -> Self {
        let read = |clock| nanoseconds(clock_gettime(clock));
        // Between two readings of the one clock lies one of the other: take the middle.
        let before = read(ClockId::Monotonic);
        let unix = read(ClockId::Realtime);
        let after = read(ClockId::Monotonic);
        Self { unix_minus_engine_ns: unix - before.midpoint(after) }
    }
}

/// The sensor's clock, `CLOCK_MONOTONIC`: the time of live records.
pub fn now_ns() -> u64 {
    // It begins at boot and is never negative.
    nanoseconds(clock_gettime(ClockId::Monotonic)).unsigned_abs()
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
