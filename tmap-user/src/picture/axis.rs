//! Axes: where marks of a scale go, and what they say.

use jiff::{Timestamp, Zoned};

use super::chart::Axis;
use crate::report::number::{Calendar, span};

/// The most marks of a scale of numbers.
const MOST_TICKS: f64 = 8.0;

/// From this span on, in seconds, marks say the time of day instead of the time since the start.
const TIME_OF_DAY_FROM_S: f64 = 600.0;

/// Room on both sides of the first and the last moment, as a share of their distance.
const PADDING: f64 = 0.02;

/// The shortest span that an axis of time shows, in seconds.
const SHORTEST_S: f64 = 1e-3;

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;
const DAY_S: i64 = 24 * HOUR_S;

/// Steps of wall-clock time, in seconds.
const CLOCK_STEPS_S: [i64; 18] = [
    MINUTE_S,
    2 * MINUTE_S,
    5 * MINUTE_S,
    10 * MINUTE_S,
    15 * MINUTE_S,
    30 * MINUTE_S,
    HOUR_S,
    2 * HOUR_S,
    3 * HOUR_S,
    6 * HOUR_S,
    12 * HOUR_S,
    DAY_S,
    2 * DAY_S,
    7 * DAY_S,
    14 * DAY_S,
    30 * DAY_S,
    91 * DAY_S,
    365 * DAY_S,
];

/// An axis of numbers, with marks at round ones.
pub(super) fn numbers(label: String, from: f64, to: f64) -> Axis {
    let to = if to > from { to } else { from + 1.0 };
    let step = nice_step(to - from);
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as usize;
    let first = (from / step).ceil();
    let ticks = (0..=MOST_TICKS as u32)
        // Without the addition, zero from below prints as -0.
        .map(|i| (first + f64::from(i)) * step + 0.0)
        .take_while(|at| *at <= to + step * 1e-6)
        .map(|at| (at, format!("{at:.decimals$}")))
        .collect();
    Axis { label, from, to, ticks }
}

/// An axis of whole numbers from 1 that are names, such as rows; the first is at the top.
pub(super) fn rows(label: String, names: Vec<String>) -> Axis {
    let last = names.len() as f64;
    let place = |i: usize| last - i as f64;
    let mut ticks: Vec<(f64, String)> =
        names.into_iter().enumerate().map(|(i, name)| (place(i), name)).collect();
    ticks.reverse();
    Axis { label, from: 0.4, to: last.max(1.0) + 0.6, ticks }
}

/// An axis of spans of time on a logarithmic scale: its values are decimal logarithms of seconds.
pub(super) fn log_time(label: String, from_s: f64, to_s: f64) -> Axis {
    let (from, to) = (from_s.log10(), to_s.log10());
    let decades = to - from;
    let steps: &[f64] = match decades {
        d if d <= 2.0 => &[1.0, 2.0, 5.0],
        d if d <= 4.0 => &[1.0, 3.0],
        _ => &[1.0],
    };
    let ticks = (from.floor() as i32..=to.ceil() as i32)
        .flat_map(|power| steps.iter().map(move |step| step * 10f64.powi(power)))
        .filter(|s| (from..=to).contains(&s.log10()))
        .map(|s| (s.log10(), span(s)))
        .collect();
    Axis { label, from, to, ticks }
}

/// The unit in which a span of time is told: its length in seconds, and its name.
pub(super) fn unit(span_s: f64) -> (f64, &'static str) {
    match span_s.abs() {
        s if s < 2e-3 => (1e-6, "µs"),
        s if s < 2.0 => (1e-3, "ms"),
        s if s < 300.0 => (1.0, "s"),
        s if s < 3.0 * HOUR_S as f64 => (60.0, "min"),
        s if s < 3.0 * DAY_S as f64 => (3600.0, "h"),
        _ => (86_400.0, "days"),
    }
}

/// Steps of 1, 2 or 5 times a power of ten that make four to eight of them.
fn nice_step(length: f64) -> f64 {
    let power = 10_f64.powf((length / MOST_TICKS).log10().floor());
    [1.0, 2.0, 5.0].map(|m| m * power).into_iter().find(|s| length / s <= MOST_TICKS).unwrap_or(10.0 * power)
}

/// An axis of time under construction: its values are seconds since `origin_ns`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    origin_ns: u64,
    from_s: f64,
    to_s: f64,
}

impl Time {
    /// An axis that shows both moments, with some room beside them.
    pub(super) fn new(first_ns: u64, last_ns: u64) -> Self {
        let span_s = (last_ns.saturating_sub(first_ns) as f64 * 1e-9).max(SHORTEST_S);
        // The label says the origin to the second, or to the millisecond.
        let grain_ns = if span_s >= 5.0 { 1_000_000_000 } else { 1_000_000 };
        let origin_ns = first_ns - first_ns % grain_ns;
        let begins_s = (first_ns - origin_ns) as f64 * 1e-9;
        Self { origin_ns, from_s: begins_s - PADDING * span_s, to_s: begins_s + (1.0 + PADDING) * span_s }
    }

    /// The value of a moment.
    pub(super) fn x(&self, at_ns: u64) -> f64 {
        (i128::from(at_ns) - i128::from(self.origin_ns)) as f64 * 1e-9
    }

    /// The value of a moment in seconds of engine time.
    pub(super) fn x_of_s(&self, at_s: f64) -> f64 {
        at_s - self.origin_ns as f64 * 1e-9
    }

    /// The values at both ends.
    pub(super) fn ends(&self) -> (f64, f64) {
        (self.from_s, self.to_s)
    }

    /// How long it is, in seconds.
    pub(super) fn span_s(&self) -> f64 {
        self.to_s - self.from_s
    }

    /// The moment of a value, engine time in seconds.
    pub(super) fn engine_s(&self, x: f64) -> f64 {
        self.origin_ns as f64 * 1e-9 + x
    }

    /// The axis, with times as a calendar has them.
    pub(super) fn axis(&self, calendar: &Calendar<'_>) -> Axis {
        let (from, to) = self.ends();
        let zoned = |x: f64| Some(calendar.timestamp(self.engine_s(x))?.to_zoned(calendar.zone.clone()));
        if self.span_s() >= TIME_OF_DAY_FROM_S
            && let (Some(first), Some(last)) = (zoned(from), zoned(to))
        {
            return Axis { label: days(&first, &last), from, to, ticks: self.clock_ticks(&first) };
        }
        let (unit_s, unit) = unit(self.span_s());
        let start = self.start(calendar).map_or("the start".to_owned(), |start| start);
        let scaled = numbers(format!("time since {start} ({unit})"), from / unit_s, to / unit_s);
        let ticks = scaled.ticks.into_iter().map(|(at, text)| (at * unit_s, text)).collect();
        Axis { label: scaled.label, from, to, ticks }
    }

    /// The origin in words.
    fn start(&self, calendar: &Calendar<'_>) -> Option<String> {
        let zoned = calendar.microsecond(self.origin_ns)?.to_zoned(calendar.zone.clone());
        let is_whole = self.origin_ns.is_multiple_of(1_000_000_000);
        let format = if is_whole { "%Y-%m-%d %H:%M:%S %Z" } else { "%Y-%m-%d %H:%M:%S.%3f %Z" };
        Some(zoned.strftime(format).to_string())
    }

    /// Marks at round times of day.
    fn clock_ticks(&self, first: &Zoned) -> Vec<(f64, String)> {
        let most = MOST_TICKS * CLOCK_STEPS_S[0] as f64;
        let steps = CLOCK_STEPS_S.into_iter();
        let step_s = steps.clone().find(|step| self.span_s() / *step as f64 <= MOST_TICKS);
        // Beyond all steps, marks become many years apart.
        let step_s = step_s.unwrap_or_else(|| 365 * DAY_S * (self.span_s() / most).ceil() as i64);
        let east_s = i64::from(first.offset().seconds());
        let from_s = first.timestamp().as_second();
        let begin_s = (from_s + east_s).div_euclid(step_s) * step_s - east_s;
        let zero_s = first.timestamp().as_nanosecond() as f64 * 1e-9 - self.from_s;
        (0..=MOST_TICKS as i64 + 1)
            .map(|i| begin_s + i * step_s)
            .filter_map(|unix_s| {
                let time = Timestamp::from_second(unix_s).ok()?.to_zoned(first.time_zone().clone());
                let is_day = step_s >= DAY_S || (time.hour(), time.minute()) == (0, 0);
                let text = time.strftime(if is_day { "%m-%d" } else { "%H:%M" }).to_string();
                Some((unix_s as f64 - zero_s, text))
            })
            .filter(|(x, _)| (self.from_s..=self.to_s).contains(x))
            .collect()
    }
}

/// The label of an axis of times of day: their days and their zone.
fn days(first: &Zoned, last: &Zoned) -> String {
    let [from, to] = [first, last].map(|time| time.strftime("%Y-%m-%d").to_string());
    let zone = last.strftime("%Z");
    if from == to {
        format!("time of day, {from} ({zone})")
    } else {
        format!("time, {from} to {to} ({zone})")
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::time::WallClock;

    const S: u64 = 1_000_000_000;
    const CALENDAR: Calendar<'_> =
        Calendar { wall: WallClock { unix_minus_engine_ns: 0 }, zone: &TimeZone::UTC };

    fn texts(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn numbers_are_round_and_within() {
        assert_eq!(texts(&numbers(String::new(), 0.0, 1.0)), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts(&numbers(String::new(), -3.0, 61.0)), ["0", "10", "20", "30", "40", "50", "60"]);
        for (from, to) in [(0.0, 1e-9), (-5.0, 3.0), (32_768.0, 60_999.0), (1e9, 1e9 + 3.0), (7.0, 7.0)] {
            let axis = numbers(String::new(), from, to);
            assert!((2..=9).contains(&axis.ticks.len()), "{axis:?}");
            assert!(axis.ticks.iter().all(|(at, _)| (from - 1e-9..=axis.to + 1e-9).contains(at)), "{axis:?}");
        }
    }

    #[test]
    fn short_spans_count_from_the_start_and_long_ones_tell_the_time() {
        let start_ns = 1_700_000_000 * S;
        let short = Time::new(start_ns, start_ns + 60 * S).axis(&CALENDAR);
        assert_eq!(short.label, "time since 2023-11-14 22:13:20 UTC (s)");
        assert_eq!(texts(&short), ["0", "10", "20", "30", "40", "50", "60"]);
        let long = Time::new(start_ns, start_ns + 7_200 * S).axis(&CALENDAR);
        assert_eq!(long.label, "time, 2023-11-14 to 2023-11-15 (UTC)");
        assert_eq!(texts(&long), ["22:30", "23:00", "23:30", "11-15"]);
        assert!((long.ticks[0].0 - 1_000.0).abs() < 1e-3, "{long:?}");
        for years in [1, 5, 40] {
            let axis = Time::new(start_ns, start_ns + years * 365 * 86_400 * S).axis(&CALENDAR);
            assert!((1..=9).contains(&axis.ticks.len()), "{axis:?}");
        }
    }

    #[test]
    fn logarithmic_scales_have_round_times() {
        assert_eq!(texts(&log_time(String::new(), 0.008, 0.11)), ["10 ms", "20 ms", "50 ms", "100 ms"]);
        assert!(texts(&log_time(String::new(), 1e-6, 30.0)).contains(&"1 ms"));
    }

    #[test]
    fn rows_read_from_the_top() {
        let axis = rows(String::new(), vec!["first".to_owned(), "second".to_owned()]);
        assert_eq!(axis.ticks, [(1.0, "second".to_owned()), (2.0, "first".to_owned())]);
    }
}
