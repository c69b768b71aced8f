//! A clock that a machine stamps its segments by, while time goes by.

/// Ticks a second of every clock here, but for its skew.
const TICK_HZ: f64 = 1_000.0;

/// A machine's clock. Time is counted from the beginning of the siege.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// The counter at the beginning, with its fraction: the phase of its ticks.
    pub(super) ticks: f64,
    /// Deviation of its rate, in ppm.
    pub(super) skew_ppm: f64,
}

impl Clock {
    /// What it shows at a time.
    pub(super) fn tsval(&self, time_ns: u64) -> u32 {
        let ticks = self.ticks + TICK_HZ * (1.0 + 1e-6 * self.skew_ppm) * (time_ns as f64 * 1e-9);
        ticks.floor() as u64 as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_ticks_at_its_phase_and_its_rate() {
        let clock = Clock { ticks: 7.75, skew_ppm: 20.0 };
        // A quarter of a tick to the first one; a million seconds bring 20 s of skew.
        assert_eq!([0, 249_000, 251_000].map(|ns| clock.tsval(ns)), [7, 7, 8]);
        assert_eq!(clock.tsval(1_000_000_000_000_000), 1_000_020_007);
    }
}
