//! Numbers and times as people read them, with no more digits than their uncertainty supports.

use bytesize::ByteSize;
use indicatif::HumanCount;
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    engine::snapshot::{Boundary, Estimate, MachineReport},
    time::WallClock,
};

/// What turns engine time into wall-clock time and local time.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    /// Engine time to wall-clock time.
    pub wall: WallClock,
    /// The time zone of local times.
    pub zone: &'a TimeZone,
}

impl Calendar<'_> {
    /// Wall-clock time of an engine time in seconds; `None` where the calendar ends.
    pub fn timestamp(&self, engine_s: f64) -> Option<Timestamp> {
        let unix_ns = ((engine_s * 1e9) as i128).saturating_add(self.wall.unix_minus_engine_ns.into());
        Timestamp::from_nanosecond(unix_ns).ok()
    }

    /// Wall-clock time of an engine time in nanoseconds, rounded to the microsecond; `None` where the
    /// calendar ends.
    pub fn microsecond(&self, engine_ns: u64) -> Option<Timestamp> {
        let unix_ns = i128::from(self.wall.unix_minus_engine_ns) + i128::from(engine_ns);
        Timestamp::from_nanosecond((unix_ns + 500).div_euclid(1_000) * 1_000).ok()
    }

    /// When a machine's walks begin anew, modulo ten seconds of UTC, with half of the 90 % interval's length.
    pub fn boundary_s(&self, machine: &MachineReport) -> Option<(f64, f64)> {
        let Boundary { at_s, within_s } = machine.source_ports?.boundary?;
        let unix_ns = self.wall.unix_minus_engine_ns.wrapping_add_unsigned(machine.reference_ns);
        let second_s = unix_ns.rem_euclid(10_000_000_000) as f64 * 1e-9;
        Some(((second_s + at_s).rem_euclid(10.0), within_s))
    }

    /// Wall-clock time of an engine time in nanoseconds, in UTC as RFC 3339.
    pub fn rfc3339(&self, engine_ns: u64) -> Option<String> {
        Some(self.microsecond(engine_ns)?.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string())
    }

    /// As [`Calendar::rfc3339`], for the time of a report; `None` also where no frame has told a time yet.
    pub fn report_time(&self, now_ns: u64) -> Option<String> {
        if now_ns == 0 { None } else { self.rfc3339(now_ns) }
    }

    /// Local time of day of an engine time in nanoseconds, to the microsecond.
    pub fn time_of_day(&self, engine_ns: u64) -> String {
        match self.microsecond(engine_ns) {
            Some(time) => time.to_zoned(self.zone.clone()).strftime("%H:%M:%S.%6f").to_string(),
            None => BEYOND.to_owned(),
        }
    }

    /// Local time, as fine as `sigma_s` supports: to the second, the minute or the day.
    pub fn local(&self, engine_s: f64, sigma_s: f64) -> String {
        let Some(timestamp) = self.timestamp(engine_s) else {
            return BEYOND.to_owned();
        };
        let format = match sigma_s {
            sigma if sigma >= DAY_S / 2.0 => "%Y-%m-%d",
            sigma if sigma >= MINUTE_S => "%Y-%m-%d %H:%M %Z",
            _ => "%Y-%m-%d %H:%M:%S %Z",
        };
        timestamp.to_zoned(self.zone.clone()).strftime(format).to_string()
    }
}

impl Calendar<'_> {
    /// Local time to the minute, or the day where `sigma_s` supports no more: for a narrow column.
    pub fn minute(&self, engine_s: f64, sigma_s: f64) -> String {
        let format = if sigma_s >= DAY_S / 2.0 { "%Y-%m-%d" } else { "%Y-%m-%d %H:%M" };
        self.formatted(engine_s, format)
    }

    /// Local time without its zone, as fine as `sigma_s` supports: to the second, the minute or the day.
    pub fn moment(&self, engine_s: f64, sigma_s: f64) -> String {
        if sigma_s < MINUTE_S {
            self.formatted(engine_s, "%Y-%m-%d %H:%M:%S")
        } else {
            self.minute(engine_s, sigma_s)
        }
    }

    /// Local date.
    pub fn date(&self, engine_s: f64) -> String {
        self.formatted(engine_s, "%Y-%m-%d")
    }

    /// Local month, day and time of an engine time in nanoseconds, to the second.
    pub fn day_and_second(&self, engine_ns: u64) -> String {
        self.formatted(engine_ns as f64 / 1e9, "%m-%d %H:%M:%S")
    }

    fn formatted(&self, engine_s: f64, format: &str) -> String {
        match self.timestamp(engine_s) {
            Some(timestamp) => timestamp.to_zoned(self.zone.clone()).strftime(format).to_string(),
            None => "?".to_owned(),
        }
    }
}

/// What stands in place of a time where the calendar ends.
const BEYOND: &str = "a time beyond the calendar";

const MINUTE_S: f64 = 60.0;
const HOUR_S: f64 = 60.0 * MINUTE_S;
const DAY_S: f64 = 24.0 * HOUR_S;

/// `100.0012 ± 0.0003`.
pub fn measured(estimate: Estimate) -> String {
    let Estimate { value, sigma } = estimate;
    if !(sigma.is_finite() && sigma > 0.0) {
        return significant(value);
    }
    let step = step(sigma);
    let decimals = decimals(step);
    format!("{:.decimals$} ± {:.decimals$}", rounded(value, step), rounded(sigma, step))
}

/// `+12.50 ± 0.03`.
pub fn signed(estimate: Estimate) -> String {
    let text = measured(estimate);
    if text.starts_with('-') { text } else { format!("+{text}") }
}

/// The place of the last digit worth printing: two digits of a sigma that begins with 1, else one.
fn step(sigma: f64) -> f64 {
    let power = 10f64.powi(sigma.log10().floor() as i32);
    // 1.96 would round to 2.0: one digit again.
    if sigma / power < 1.95 { power / 10.0 } else { power }
}

fn decimals(step: f64) -> usize {
    // At most what a double holds.
    (-step.log10().round()).clamp(0.0, 15.0) as usize
}

fn rounded(value: f64, step: f64) -> f64 {
    // Without the addition, a small negative value prints as -0.
    (value / step).round() * step + 0.0
}

/// Six significant digits, where no uncertainty is known.
fn significant(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return value.to_string();
    }
    let decimals = (5.0 - value.abs().log10().floor()).clamp(0.0, 15.0) as usize;
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// A nominal tick rate: `1000 Hz`, `1 MHz`.
pub fn hertz(value: f64) -> String {
    if value >= 1e6 {
        format!("{} MHz", significant(value / 1e6))
    } else {
        format!("{} Hz", significant(value))
    }
}

/// A span of time in its own unit: `30 µs`, `0.3 ms`, `12 s`, `34 min`, `5.2 h`, `49.7 days`.
pub fn span(seconds: f64) -> String {
    match seconds.abs() {
        s if s < 1e-3 => format!("{} µs", brief(seconds * 1e6)),
        s if s < 1.0 => format!("{} ms", brief(seconds * 1e3)),
        s if s < 2.0 * MINUTE_S => format!("{} s", brief(seconds)),
        s if s < 2.0 * HOUR_S => format!("{} min", brief(seconds / MINUTE_S)),
        s if s < 2.0 * DAY_S => format!("{} h", brief(seconds / HOUR_S)),
        _ => format!("{} days", brief(seconds / DAY_S)),
    }
}

/// One decimal below 100, none above.
fn brief(value: f64) -> String {
    if value.abs() >= 99.95 {
        format!("{value:.0}")
    } else {
        format!("{:.1}", value).trim_end_matches(".0").to_owned()
    }
}

/// `1,234,567`.
pub fn grouped(value: u64) -> String {
    HumanCount(value).to_string()
}

/// `1 machine`, `2 machines`.
pub fn count(value: u64, one: &str) -> String {
    let ending = match value {
        1 => "",
        _ if one.ends_with("ss") => "es",
        _ => "s",
    };
    format!("{} {one}{ending}", grouped(value))
}

/// `36 more machines`.
pub fn more_of(more: u64, one: &str) -> String {
    count(more, one).replacen(' ', " more ", 1)
}

/// The line after a list that shows `shown` of `total`: `... and 36 more machines (use --json)`.
pub fn and_more(shown: usize, total: usize, one: &str) -> Option<String> {
    let more = total.saturating_sub(shown) as u64;
    (more > 0).then(|| format!("... and {} (use --json)", more_of(more, one)))
}

/// The first names of a list that has so many in all: `wan, lan`, `a, b, c and 3 more`.
pub fn first_of(names: &[impl AsRef<str>], total: usize) -> String {
    let shown = names.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match total.saturating_sub(names.len()) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// `1.5 KiB`.
pub fn bytes(value: u64) -> String {
    ByteSize(value).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: f64, sigma: f64) -> String {
        measured(Estimate { value, sigma })
    }

    #[test]
    fn digits_follow_the_uncertainty() {
        assert_eq!(text(100.001234, 0.00031), "100.0012 ± 0.0003");
        assert_eq!(text(100.001234, 0.00013), "100.00123 ± 0.00013");
        assert_eq!(text(999.98, 2.5), "1000 ± 3");
        assert_eq!(text(559_871_915.4, 31.0), "559871920 ± 30");
        assert_eq!(text(559_871_915.4, 0.4), "559871915.4 ± 0.4");
        assert_eq!(text(-0.02, 0.3), "0.0 ± 0.3");
        assert_eq!(text(-0.02, 30.0), "0 ± 30");
        assert_eq!(text(12.5, 0.0196), "12.50 ± 0.02");
        assert_eq!(text(12.5, 0.099), "12.50 ± 0.10");
    }

    #[test]
    fn unknown_uncertainty_prints_no_plus_minus() {
        assert_eq!(text(100.0, 0.0), "100");
        assert_eq!(text(0.1234567, f64::NAN), "0.123457");
        assert_eq!(text(1e9, f64::INFINITY), "1000000000");
    }

    #[test]
    fn signs_are_explicit_where_asked() {
        assert_eq!(signed(Estimate { value: 12.5, sigma: 0.3 }), "+12.5 ± 0.3");
        assert_eq!(signed(Estimate { value: -12.5, sigma: 0.3 }), "-12.5 ± 0.3");
    }

    #[test]
    fn spans_pick_their_unit() {
        assert_eq!(span(0.000_03), "30 µs");
        assert_eq!(span(0.25), "250 ms");
        assert_eq!(span(1.0), "1 s");
        assert_eq!(span(4_294_967.296), "49.7 days");
        assert_eq!(span(42_949_672.96), "497 days");
    }

    #[test]
    fn counts_read_like_words() {
        assert_eq!(count(1, "machine"), "1 machine");
        assert_eq!(count(1_234_567, "connection"), "1,234,567 connections");
        assert_eq!(count(2, "address"), "2 addresses");
        assert_eq!(grouped(100), "100");
        assert_eq!([7, 1536, 5 << 30].map(bytes), ["7 B", "1.5 KiB", "5.0 GiB"]);
        assert_eq!(more_of(1, "machine"), "1 more machine");
        assert_eq!(and_more(64, 100, "machine").as_deref(), Some("... and 36 more machines (use --json)"));
        assert_eq!(and_more(64, 64, "machine"), None);
    }

    #[test]
    fn times_are_local_and_no_finer_than_known() {
        let zone = TimeZone::get("Europe/Warsaw").expect("the zone is built in or on the system");
        let calendar =
            Calendar { wall: WallClock { unix_minus_engine_ns: 1_140_000_000_000_000_000 }, zone: &zone };
        assert_eq!(calendar.local(0.0, 0.5), "2006-02-15 11:40:00 CET");
        assert_eq!(calendar.local(0.0, 300.0), "2006-02-15 11:40 CET");
        assert_eq!(calendar.local(0.0, 1e5), "2006-02-15");
        assert_eq!(calendar.local(1e30, 1.0), "a time beyond the calendar");
        assert_eq!(calendar.rfc3339(1_500_000).as_deref(), Some("2006-02-15T10:40:00.001500Z"));
    }

    #[test]
    fn microseconds_are_exact_and_rounded() {
        let calendar = Calendar { wall: WallClock { unix_minus_engine_ns: 0 }, zone: &TimeZone::UTC };
        let second_ns = 1_700_000_000_000_000_000;
        for us in (0..1_000_000).step_by(997) {
            assert_eq!(calendar.time_of_day(second_ns + us * 1_000), format!("22:13:20.{us:06}"));
        }
        assert_eq!(calendar.time_of_day(second_ns + 499), "22:13:20.000000");
        assert_eq!(calendar.time_of_day(second_ns + 500), "22:13:20.000001");
        assert_eq!(calendar.time_of_day(second_ns + 999_999_500), "22:13:21.000000");
        assert_eq!(calendar.rfc3339(second_ns + 999_999_500).as_deref(), Some("2023-11-14T22:13:21.000000Z"));
    }
}
