//! The clocks: the time of live records, how it maps to wall-clock time, and times as users write them.

use std::{fs, str::FromStr, sync::LazyLock};

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};
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
        // Between two readings of the one clock lies one of the other: take the middle.
        let before = now_ns().cast_signed();
        let unix = nanoseconds(clock_gettime(ClockId::Realtime));
        let after = now_ns().cast_signed();
        Self { unix_minus_engine_ns: unix - before.midpoint(after) }
    }
}

/// The sensor's clock, the kernel's `CLOCK_MONOTONIC`: the time of live records.
pub fn now_ns() -> u64 {
    // It begins at boot and is never negative.
    (nanoseconds(clock_gettime(ClockId::Monotonic)) - *NAMESPACE_OFFSET_NS).unsigned_abs()
}

/// What this process's time namespace adds to `CLOCK_MONOTONIC`, in nanoseconds. The kernel programs read the
/// clock without it (time_namespaces(7)).
static NAMESPACE_OFFSET_NS: LazyLock<i64> = LazyLock::new(|| {
    let offsets = fs::read_to_string("/proc/self/timens_offsets");
    // A kernel without time namespaces has no such file.
    offsets.ok().and_then(|text| monotonic_offset_ns(&text)).unwrap_or(0)
});

/// The offset in `/proc/PID/timens_offsets`: lines of a clock, seconds and nanoseconds.
fn monotonic_offset_ns(offsets: &str) -> Option<i64> {
    let mut words = offsets.lines().map(str::split_ascii_whitespace).find_map(|mut words| {
        // Linux before 5.7 had numbers for names; CLOCK_MONOTONIC is 1.
        words.next().is_some_and(|clock| ["monotonic", "1"].contains(&clock)).then_some(words)
    })?;
    let mut number = || words.next()?.parse::<i64>().ok();
    number()?.checked_mul(1_000_000_000)?.checked_add(number()?)
}

/// Whether the time of live records can be told from here. `/proc` tells the offset of the namespace in which
/// this process's children will be, which usually is its own.
pub fn is_namespace_known() -> bool {
    let namespace = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    namespace("time") == namespace("time_for_children")
}

/// CPU time of this process, in nanoseconds.
pub fn process_cpu_ns() -> u64 {
    nanoseconds(clock_gettime(ClockId::ProcessCPUTime)).unsigned_abs()
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// A point in time as a user writes it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// An instant: `2026-11-21T03:00:00Z`.
    At(Timestamp),
    /// A local date, or date and time: `2026-11-21 03:00`.
    Local(civil::DateTime),
    /// A local time of day: `03:00`.
    Clock(civil::Time),
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.parse().map(Self::At).or_else(|_| text.parse().map(Self::Local));
        parsed.or_else(|_| text.parse().map(Self::Clock)).map_err(|_| {
            "expected a time such as 03:00, '2026-11-21 03:00' or 2026-11-21T03:00:00Z".to_owned()
        })
    }
}

/// A time of day that is no further than this before the first packet, in hours, is of its day: whoever
/// writes `06:00` for a capture that begins at 09:00 means all of it. One before that is of the next day.
const SHORTLY_BEFORE_HOURS: i64 = 6;

impl When {
    /// Unix time in nanoseconds. A time of day is the first one at or after `not_before_ns`; without that, it
    /// is of the day of the capture's first packet, at `first_ns`, or of the night after.
    pub fn unix_ns(&self, first_ns: u64, not_before_ns: Option<u64>, zone: &TimeZone) -> Option<u64> {
        let zoned = match self {
            Self::At(timestamp) => timestamp.to_zoned(zone.clone()),
            Self::Local(local) => match local.to_zoned(zone.clone()) {
                Ok(zoned) => zoned,
                // Beyond what jiff knows as instants, which are days before the year -9999 or after 9999.
                Err(_) => return Some(if local.year() < 0 { 0 } else { u64::MAX }),
            },
            Self::Clock(clock) => {
                let of = |ns: u64| Some(Timestamp::from_nanosecond(ns.into()).ok()?.to_zoned(zone.clone()));
                let day = of(not_before_ns.unwrap_or(first_ns))?;
                let least = match not_before_ns {
                    Some(_) => day.clone(),
                    // This may be on the day before, which no time of day means.
                    None => day.checked_sub(Span::new().hours(SHORTLY_BEFORE_HOURS)).ok()?,
                };
                let same_day = day.with().time(*clock).build().ok()?;
                if same_day < least { tomorrow(&same_day)? } else { same_day }
            }
        };
        // No packet is before 1970 or after 2554: these limits are as good as any that lie further away.
        Some(u64::try_from(zoned.timestamp().as_nanosecond().max(0)).unwrap_or(u64::MAX))
    }

    /// Whether this is later than `other` in every capture. A time of day may be of any day.
    pub fn is_later(&self, other: &Self, zone: &TimeZone) -> bool {
        let unix_ns = |when: &Self| match when {
            Self::Clock(_) => None,
            when => when.unix_ns(0, None, zone),
        };
        unix_ns(self).zip(unix_ns(other)).is_some_and(|(own_ns, others_ns)| own_ns > others_ns)
    }
}

fn tomorrow(zoned: &Zoned) -> Option<Zoned> {
    zoned.checked_add(Span::new().days(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_of_a_time_namespace_is_read() {
        let offset = monotonic_offset_ns;
        assert_eq!(
            offset("monotonic      864000         5\nboottime   -1         0\n"),
            Some(864_000_000_000_005)
        );
        assert_eq!(offset("boottime  7 0\nmonotonic  -1  999999999\n"), Some(-1));
        assert_eq!(offset("boottime  7 0\n"), None);
        assert_eq!(offset("monotonic  x 0\n"), None);
    }

    #[test]
    fn times_are_instants_local_times_and_times_of_day() {
        let zone = TimeZone::get("Europe/Warsaw").expect("the zone is built in or on the system");
        let first = "2026-11-21T22:40:05+01:00".parse::<Timestamp>().unwrap().as_nanosecond() as u64;
        let ns = |text: &str, least| {
            let unix_ns = text.parse::<When>().unwrap().unix_ns(first, least, &zone).unwrap();
            Timestamp::from_nanosecond(unix_ns.into())
                .unwrap()
                .to_zoned(zone.clone())
                .strftime("%d %H:%M:%S")
                .to_string()
        };
        assert_eq!(ns("2026-11-21T22:00:00Z", None), "21 23:00:00");
        assert_eq!(ns("2026-11-21 23:30", None), "21 23:30:00");
        assert_eq!(ns("2026-11-22", None), "22 00:00:00");
        assert_eq!(ns("22:40", None), "21 22:40:00", "just before the first packet");
        assert_eq!(ns("23:10:30", None), "21 23:10:30");
        assert_eq!(ns("03:12", None), "22 03:12:00", "the night after");
        let from = "03:12".parse::<When>().unwrap().unix_ns(first, None, &zone);
        assert_eq!(ns("03:13", from), "22 03:13:00");
        assert_eq!(ns("03:11", from), "23 03:11:00");
        for text in ["", "noon", "25:00", "2026-13-01", "9999-12-31T23:59:59Z"] {
            assert!(text.parse::<When>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_is_of_the_first_packets_day_or_the_night_after() {
        let zone = TimeZone::UTC;
        let resolved = |first: &str, text: &str| {
            let first_ns = first.parse::<Timestamp>().unwrap().as_nanosecond() as u64;
            let unix_ns = text.parse::<When>().unwrap().unix_ns(first_ns, None, &zone).unwrap();
            let zoned = Timestamp::from_nanosecond(unix_ns.into()).unwrap().to_zoned(zone.clone());
            zoned.strftime("%d %H:%M").to_string()
        };
        for (first, text, expected) in [
            ("2026-11-21T00:04:00Z", "18:00", "21 18:00"),
            ("2026-11-21T00:04:00Z", "12:05", "21 12:05"),
            ("2026-11-21T00:04:00Z", "23:59", "21 23:59"),
            ("2026-11-21T00:04:00Z", "00:00", "21 00:00"),
            ("2026-11-21T14:00:00Z", "23:00", "21 23:00"),
            ("2026-11-21T14:00:00Z", "03:00", "22 03:00"),
            ("2026-11-21T14:00:30Z", "13:30", "21 13:30"),
            ("2026-11-21T09:00:00Z", "06:00", "21 06:00"),
            ("2026-11-21T22:40:05Z", "03:12", "22 03:12"),
        ] {
            assert_eq!(resolved(first, text), expected, "{text} in a capture that begins at {first}");
        }
    }

    #[test]
    fn a_time_of_day_is_later_than_no_other() {
        let is_later = |one: &str, other: &str| {
            let when = |text: &str| text.parse::<When>().unwrap();
            when(one).is_later(&when(other), &TimeZone::UTC)
        };
        assert!(is_later("2026-11-22", "2026-11-21T23:59:59Z"));
        assert!(!is_later("2026-11-21 03:00", "2026-11-21T03:00:00Z"));
        assert!(!is_later("23:00", "03:00") && !is_later("2026-11-22", "03:00"));
        assert!(!is_later("03:00", "2026-11-22"));
    }

    #[test]
    fn times_that_no_packet_can_have_are_before_or_after_all() {
        for (text, unix_ns) in [
            ("-009999-01-01", 0),
            ("1969-12-31T23:59:59Z", 0),
            ("2554-07-21T23:34:33Z", 18_446_744_073_000_000_000),
            ("2554-07-21T23:34:34Z", u64::MAX),
            ("2555-01-01", u64::MAX),
            ("9999-12-30T21:00:00Z", u64::MAX),
            ("9999-12-31 23:59:59", u64::MAX),
        ] {
            for zone in [-25, 0, 25].map(|hours| TimeZone::fixed(jiff::tz::offset(hours))) {
                let when = text.parse::<When>().unwrap();
                assert_eq!(when.unix_ns(0, None, &zone), Some(unix_ns), "{text} {zone:?}");
            }
        }
    }
}
