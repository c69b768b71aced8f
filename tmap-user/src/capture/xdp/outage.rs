//! How often, and for how long, a watched interface was down.

use std::time::{Duration, Instant};

/// An interface that was down while it was watched.
#[derive(Clone, Debug, PartialEq)]
pub struct Outage {
    /// The interface's name, as it was last.
    pub interface: String,
    /// How often it was down.
    pub times: u64,
    /// How long it was down in all, in seconds.
    pub down_s: f64,
    /// Whether it still is.
    pub is_down: bool,
}

/// When an interface was down, as far as checks noticed.
#[derive(Clone, Debug, Default)]
pub(super) struct Downtime {
    times: u64,
    /// How long it was down before it came up last.
    before: Duration,
    /// Since when it is down.
    since: Option<Instant>,
}

impl Downtime {
    /// Notes whether the interface is up.
    pub(super) fn note(&mut self, is_up: bool, now: Instant) {
        if is_up {
            self.end(now);
        } else if self.since.is_none() {
            self.times += 1;
            self.since = Some(now);
        }
    }

    /// Notes that the interface is up, or not there: then it isn't down any more.
    pub(super) fn end(&mut self, now: Instant) {
        self.before = self.sum(now);
        self.since = None;
    }

    /// What became of the interface of this name until `now`; `None` where it was never down.
    pub(super) fn told(&self, name: &str, now: Instant) -> Option<Outage> {
        (self.times > 0).then(|| Outage {
            interface: name.to_owned(),
            times: self.times,
            down_s: self.sum(now).as_secs_f64(),
            is_down: self.since.is_some(),
        })
    }

    fn sum(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_time_counts_once_and_the_last_may_go_on() {
        let began = Instant::now();
        let at = |second: u64| began + Duration::from_secs(second);
        let mut down = Downtime::default();
        assert_eq!(down.told("wan", at(1)), None);
        for (second, is_up) in [(0, true), (10, false), (12, false), (13, true), (20, true), (30, false)] {
            down.note(is_up, at(second));
        }
        let told =
            |times, down_s, is_down| Some(Outage { interface: "wan".to_owned(), times, down_s, is_down });
        assert_eq!(down.told("wan", at(34)), told(2, 7.0, true));
        down.end(at(35));
        assert_eq!(down.told("wan", at(99)), told(2, 8.0, false));
    }
}
