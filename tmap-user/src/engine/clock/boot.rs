//! When a counter was zero, and how far that can be believed.

use std::f64::consts::SQRT_2;

use super::fit::{Clock, SKEW_PRIOR_SIGMA};
use crate::engine::types::{Estimate, WRAP_TICKS};

/// When a machine's counter was zero: in the global regime, its boot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Boot {
    /// Engine time, in seconds. It is negative for a boot before the sensor's own time zero.
    pub engine_s: Estimate,
    /// The time in which the counter wraps, in seconds: the true boot may be earlier by any multiple.
    pub modulus_s: f64,
    /// The boot may also be this much earlier, in seconds; 0 where it can't. [`JIFFIES_AHEAD_S`] where the
    /// counter may be jiffies; more where it is taken for jiffies, and may be none.
    pub or_earlier_s: f64,
}

impl Boot {
    /// Whether the time is that of jiffies, and the earlier one is not.
    pub fn is_of_jiffies(&self) -> bool {
        self.or_earlier_s > JIFFIES_AHEAD_S
    }
}

/// Linux sets jiffies to 300 s before their wrap at boot (`INITIAL_JIFFIES` in `include/linux/jiffies.h`), so
/// that errors at the wrap show early. Up to 4.12 TSval is jiffies: it is zero five minutes after boot.
pub const JIFFIES_AHEAD_S: f64 = 300.0;

/// A counter is taken for jiffies, or for none, where it is so with this probability.
const CERTAIN: f64 = 0.9;

/// Long-run deviation of a clock that NTP disciplines, relative: what remains over months.
const DISCIPLINED_SIGMA: f64 = 5e-9;

/// A disciplined clock's rate against a disciplined sensor's over hours, relative.
pub(in crate::engine) const DISCIPLINED_SKEW_SIGMA: f64 = 0.3e-6;

/// How far NTP lets a clock stray for minutes, in seconds. Half of all clocks are assumed to stray by less
/// than a tenth of a millisecond, as on a wired network, and half by milliseconds, as behind a radio or far
/// from their servers. It steers them back within minutes.
const STRAYS_S: [f64; 2] = [0.1e-3, 2e-3];

/// NTP steers no faster than within such a time, in seconds.
const STEERED_WITHIN_S: f64 = 64.0;

/// The share of machines that are assumed to be disciplined, before their skew is known.
pub(in crate::engine) const DISCIPLINED_SHARE: f64 = 0.5;

/// A clock is taken for free-running where the probability of discipline is below this.
const LIKELY_FREE: f64 = 0.5;

/// The highest probability of discipline. A skew near zero shows only how the clock runs now, and a
/// free-running clock can be as near to zero by chance.
const MOST_CERTAIN: f64 = 0.8;

/// Boot time from a clock in the global regime, as engine time in seconds.
///
/// Only the counter's present rate is measured, not its rate since boot. A clock that NTP disciplines
/// has run at the nominal rate in the long run (Linux slews CLOCK_MONOTONIC, which the counter follows
/// since 4.20), though it may run otherwise for minutes. A free-running clock keeps its skew. So a skew near
/// zero is taken for nominal, a clear skew is taken as it is, and between the two the standard error covers
/// both cases. What is near depends on `seen_s`, the time in which the clock was seen, in seconds.
///
/// `jiffies` is the probability that the counter is Linux's jiffies. Where it leaves that open, the later of
/// the two boot times is given, and [`Boot::or_earlier_s`] says how much earlier the other is.
pub fn boot(clock: &Clock, seen_s: f64, jiffies: f64) -> Boot {
    // In the first five minutes, jiffies are about to wrap; another counter is so for five minutes, too.
    let until_wrap_s = (WRAP_TICKS - clock.offset_ticks.value.rem_euclid(WRAP_TICKS)) / clock.hz;
    let is_before_wrap = until_wrap_s <= JIFFIES_AHEAD_S;
    let least = if is_before_wrap { 1.0 - CERTAIN } else { CERTAIN };
    let ahead_s = if jiffies >= least { JIFFIES_AHEAD_S } else { 0.0 };
    let is_open = (1.0 - CERTAIN..CERTAIN).contains(&jiffies);
    let or_earlier_s = if is_before_wrap { WRAP_TICKS / clock.hz - JIFFIES_AHEAD_S } else { JIFFIES_AHEAD_S };
    let ticks = (clock.offset_ticks.value + ahead_s * clock.hz).rem_euclid(WRAP_TICKS);
    let up_s = ticks / clock.hz;
    let skew = long_run_skew(clock.skew, seen_s);
    let reference_s = clock.reference_ns as f64 * 1e-9;
    Boot {
        engine_s: Estimate {
            value: reference_s - up_s / (1.0 + skew.value),
            sigma: (clock.offset_ticks.sigma / clock.hz).hypot(up_s * skew.sigma),
        },
        modulus_s: WRAP_TICKS / (clock.hz * (1.0 + skew.value)),
        or_earlier_s: if is_open { or_earlier_s } else { 0.0 },
    }
}

/// The skew since boot: the measured one if the clock likely runs free, else zero. The standard error
/// includes the other case, weighted by its probability.
fn long_run_skew(measured: Estimate, seen_s: f64) -> Estimate {
    let disciplined = probability_disciplined(measured, seen_s);
    let value = if disciplined >= LIKELY_FREE { 0.0 } else { measured.value };
    let off_free = (measured.value - value).powi(2) + measured.sigma.powi(2);
    let off_disciplined = value.powi(2) + DISCIPLINED_SIGMA.powi(2);
    let square = (1.0 - disciplined) * off_free + disciplined * off_disciplined;
    Estimate { value, sigma: square.sqrt() }
}

/// The probability that a clock of this measured skew is disciplined.
fn probability_disciplined(skew: Estimate, seen_s: f64) -> f64 {
    let density = |sigma: f64| {
        let total = sigma.hypot(skew.sigma);
        (-0.5 * (skew.value / total).powi(2)).exp() / total
    };
    let of_stray = |stray_s: f64| {
        let by_strays = SQRT_2 * stray_s / seen_s.max(STEERED_WITHIN_S);
        density(DISCIPLINED_SKEW_SIGMA.hypot(by_strays)) / STRAYS_S.len() as f64
    };
    let yes = DISCIPLINED_SHARE * STRAYS_S.map(of_stray).iter().sum::<f64>();
    let no = (1.0 - DISCIPLINED_SHARE) * density(SKEW_PRIOR_SIGMA);
    (yes / (yes + no)).min(MOST_CERTAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A time in which no clock that NTP steers seems to run free.
    const DAY_S: f64 = 86_400.0;

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
        let boot = boot(&clock(30e-6, 0.01e-6, 1e7), DAY_S, 0.0);
        assert!((boot.engine_s.value - (1000.0 - 1e7)).abs() < 0.1, "{boot:?}");
        assert!(boot.engine_s.sigma < 0.2);
        assert!((boot.modulus_s - 42_949_672.96 * (1.0 - 30e-6)).abs() < 0.1, "{boot:?}");
    }

    #[test]
    fn a_disciplined_clock_ran_at_the_nominal_rate() {
        // 0.2 ppm now, but the counter shows nominal ticks since boot.
        let mut clock = clock(0.2e-6, 0.02e-6, 1e7);
        clock.offset_ticks.value = 1e9;
        let boot = boot(&clock, DAY_S, 0.0);
        assert!((boot.engine_s.value - (1000.0 - 1e7)).abs() < 1.0, "{boot:?}");
    }

    #[test]
    fn what_ntp_steers_for_minutes_may_have_run_at_the_nominal_rate() {
        let up_s = 3e6;
        let errors = [300.0, 600.0, 6_000.0, DAY_S]
            .map(|seen_s| boot(&clock(6e-6, 0.5e-6, up_s), seen_s, 0.0).engine_s.sigma);
        assert!(errors[1] > 0.3 * 6e-6 * up_s, "it may stray by 4 ms in ten minutes: {errors:?}");
        assert!(errors[3] < 0.6e-6 * up_s, "but not by half a second in a day: {errors:?}");
        assert!(errors.is_sorted_by(|a, b| a >= b), "{errors:?}");
    }

    #[test]
    fn a_short_measurement_has_a_large_error() {
        let boot = boot(&clock(0.0, 40e-6, 1e7), DAY_S, 0.0);
        assert!(boot.engine_s.sigma > 100.0, "{boot:?}");
    }

    #[test]
    fn jiffies_are_zero_five_minutes_after_boot() {
        let hour = clock(0.0, 1e-8, 3300.0);
        let at = |jiffies: f64| boot(&hour, DAY_S, jiffies).engine_s.value;
        assert!((at(1.0) - (1000.0 - 3600.0)).abs() < 0.1);
        assert!((at(0.0) - (1000.0 - 3300.0)).abs() < 0.1);
        assert_eq!(boot(&hour, DAY_S, 0.5).or_earlier_s, 300.0, "both are told");
        // One minute after boot, the counter is 240 s before its wrap.
        let minute = boot(&clock(0.0, 1e-8, WRAP_TICKS / 100.0 - 240.0), DAY_S, 1.0);
        assert!((minute.engine_s.value - (1000.0 - 60.0)).abs() < 0.1, "{minute:?}");
        let likely = boot(&clock(0.0, 1e-8, WRAP_TICKS / 100.0 - 240.0), DAY_S, 0.5);
        assert_eq!((likely.engine_s, minute.or_earlier_s), (minute.engine_s, 0.0));
        let earlier_s = likely.engine_s.value - likely.or_earlier_s;
        assert!((earlier_s - (1000.0 - (WRAP_TICKS / 100.0 - 240.0))).abs() < 0.1, "{likely:?}");
    }
}
