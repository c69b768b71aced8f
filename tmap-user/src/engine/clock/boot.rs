//! When a counter was zero, and how far that can be believed.

use super::fit::{Clock, SKEW_PRIOR_SIGMA};
use crate::engine::types::{Estimate, WRAP_TICKS, seconds_between};

/// When a machine's counter was zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boot {
    /// Engine time, in seconds (may be negative: before the sensor's own time zero).
    pub engine_s: Estimate,
    /// The counter wraps: the true time may be earlier by any multiple of this, in seconds.
    pub modulus_s: f64,
}

/// Long-run deviation of a clock that NTP disciplines, relative: what is left over months.
const DISCIPLINED_SIGMA: f64 = 5e-9;

/// A disciplined clock's momentary rate against a disciplined sensor's, relative.
const DISCIPLINED_SKEW_SIGMA: f64 = 0.3e-6;

/// How many hosts are taken to be disciplined, before their skew is looked at.
const DISCIPLINED_SHARE: f64 = 0.5;

/// A clock runs free for certain where being disciplined is less likely than this.
const CLEARLY_FREE: f64 = 0.02;

/// A skew near zero says how a clock runs now, and a free one can be as near by chance. That it ran so since
/// boot is never surer than this.
const MOST_CERTAIN: f64 = 0.8;

/// Boot time from a clock in the global regime, as engine time in seconds.
///
/// The counter has run since boot at a rate of which only the present is measured. A host whose
/// clock NTP disciplines has run at the nominal rate in the long run (Linux slews CLOCK_MONOTONIC,
/// which the counter follows since 4.20); one whose clock runs free keeps its skew. A skew that is
/// indistinguishable from zero therefore speaks for nominal, a clear one for itself, and between
/// the two the uncertainty covers both.
pub fn boot(clock: &Clock) -> Boot {
    let ticks = clock.offset_ticks.value.rem_euclid(WRAP_TICKS);
    let up_s = ticks / clock.hz;
    let skew = long_run_skew(clock.skew);
    let reference_s = clock.reference_ns as f64 * 1e-9;
    Boot {
        engine_s: Estimate {
            value: reference_s - up_s * (1.0 - skew.value),
            sigma: (clock.offset_ticks.sigma / clock.hz).hypot(up_s * skew.sigma),
        },
        modulus_s: WRAP_TICKS / clock.hz,
    }
}

/// The skew since boot: none unless it is clear that the clock runs free, else as measured; the
/// error covers the other case by its probability.
fn long_run_skew(measured: Estimate) -> Estimate {
    let disciplined = probability_disciplined(measured);
    let value = if disciplined >= CLEARLY_FREE { 0.0 } else { measured.value };
    let off_free = (measured.value - value).powi(2) + measured.sigma.powi(2);
    let off_disciplined = value.powi(2) + DISCIPLINED_SIGMA.powi(2);
    let square = (1.0 - disciplined) * off_free + disciplined * off_disciplined;
    Estimate { value, sigma: square.sqrt() }
}

/// How likely it is that a clock of this measured skew is disciplined.
fn probability_disciplined(skew: Estimate) -> f64 {
    let density = |sigma: f64| {
        let total = sigma.hypot(skew.sigma);
        (-0.5 * (skew.value / total).powi(2)).exp() / total
    };
    let yes = DISCIPLINED_SHARE * density(DISCIPLINED_SKEW_SIGMA);
    let no = (1.0 - DISCIPLINED_SHARE) * density(SKEW_PRIOR_SIGMA);
    (yes / (yes + no)).min(MOST_CERTAIN)
}

/// Uptime at `now_ns` in seconds.
pub fn uptime_s(boot: &Boot, now_ns: u64) -> f64 {
    seconds_between(0, now_ns) - boot.engine_s.value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock(skew: f64, sigma: f64, up_s: f64) -> Clock {
        Clock {
            hz: 100.0,
            rate_hz: Estimate { value: 100.0 * (1.0 + skew), sigma: 100.0 * sigma },
            skew: Estimate { value: skew, sigma },
            reference_ns: 1_000_000_000_000,
            offset_ticks: Estimate { value: 100.0 * (1.0 + skew) * up_s, sigma: 0.1 },
        }
    }

    #[test]
    fn a_free_clock_keeps_its_skew() {
        let boot = boot(&clock(30e-6, 0.01e-6, 1e7));
        assert!((boot.engine_s.value - (1000.0 - 1e7)).abs() < 0.1, "{boot:?}");
        assert!(boot.engine_s.sigma < 0.2);
        assert_eq!(boot.modulus_s, 42_949_672.96);
    }

    #[test]
    fn a_disciplined_clock_ran_at_the_nominal_rate() {
        // 0.2 ppm now, but the counter shows nominal ticks since boot.
        let mut clock = clock(0.2e-6, 0.02e-6, 1e7);
        clock.offset_ticks.value = 1e9;
        let boot = boot(&clock);
        assert!((boot.engine_s.value - (1000.0 - 1e7)).abs() < 1.0, "{boot:?}");
    }

    #[test]
    fn a_short_look_says_how_little_it_knows() {
        let boot = boot(&clock(0.0, 40e-6, 1e7));
        assert!(boot.engine_s.sigma > 100.0, "{boot:?}");
    }
}
