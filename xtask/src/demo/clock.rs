//! The clocks of the demonstration's machines: the TSval that the stack writes when a segment leaves.

use std::cell::RefCell;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The largest number of simultaneous connections of a machine.
pub(super) const SLOTS: usize = 12;

/// A machine's clock.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Clock {
    /// Nominal ticks per second.
    pub tick_hz: f64,
    /// How much faster than nominal it runs, in parts per million, relative to the sensor's clock.
    pub skew_ppm: f64,
    /// When it was zero, in nanoseconds of CLOCK_MONOTONIC. This is usually negative.
    pub zero_ns: i64,
}

impl Clock {
    /// Whole ticks at `now_ns` on CLOCK_MONOTONIC.
    pub(super) fn ticks(&self, now_ns: i64) -> u64 {
        let rate = self.tick_hz * (1.0 + self.skew_ppm * 1e-6);
        // 100 days are 1e16 ns, where an f64 has a rounding error of 1 ns.
        ((now_ns - self.zero_ns) as f64 * 1e-9 * rate).floor() as u64
    }
}

/// CLOCK_MONOTONIC in nanoseconds, which is the sensor's clock (the kernel's `ktime_get_ns`).
pub(super) fn monotonic_ns() -> i64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC always exists");
    Duration::from(now).as_nanos() as i64
}

thread_local! {
    /// The clock of the machine that runs in this thread, and the offset of each of its connections.
    static MACHINE: RefCell<Option<(Clock, [u32; SLOTS])>> = const { RefCell::new(None) };
}

/// Sets the clock of the machine that runs in the calling thread.
pub(super) fn install(clock: Clock) {
    MACHINE.set(Some((clock, [0; SLOTS])));
}

/// Sets the offset that the connection in `slot` adds to the machine's clock.
pub(super) fn set_offset(slot: usize, offset: u32) {
    MACHINE.with_borrow_mut(|machine| {
        if let Some((_, offsets)) = machine {
            offsets[slot] = offset;
        }
    });
}

/// The present TSval of the connection in slot `N`. The stack needs a plain function for each socket, so
/// the slot is part of the function's type.
fn tsval<const N: usize>() -> u32 {
    MACHINE.with_borrow(|machine| match machine {
        // TSval is the clock modulo 2^32 (RFC 7323, section 4), so the cast may wrap.
        Some((clock, offsets)) => (clock.ticks(monotonic_ns()) as u32).wrapping_add(offsets[N]),
        None => 0,
    })
}

/// The TSval function of each slot.
pub(super) const GENERATORS: [fn() -> u32; SLOTS] = [
    tsval::<0>,
    tsval::<1>,
    tsval::<2>,
    tsval::<3>,
    tsval::<4>,
    tsval::<5>,
    tsval::<6>,
    tsval::<7>,
    tsval::<8>,
    tsval::<9>,
    tsval::<10>,
    tsval::<11>,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skew_shows_after_a_day() {
        let day_ns = 86_400_000_000_000;
        let true_clock = Clock { tick_hz: 1000.0, skew_ppm: 0.0, zero_ns: -day_ns };
        let fast = Clock { skew_ppm: 50.0, ..true_clock };
        assert_eq!(true_clock.ticks(0), 86_400_000);
        assert_eq!(fast.ticks(0) - true_clock.ticks(0), 4_320);
    }

    #[test]
    fn each_slot_has_its_own_offset() {
        install(Clock { tick_hz: 1.0, skew_ppm: 0.0, zero_ns: monotonic_ns() - 500_000_000 });
        set_offset(3, 1_000_000);
        let apart = GENERATORS[3]().wrapping_sub(GENERATORS[2]());
        // A tick may pass between the two calls.
        assert!((999_999..=1_000_000).contains(&apart), "{apart}");
    }
}
