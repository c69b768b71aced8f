//! The flow table's round trips: measured on every record, reported with the clocks of the last snapshot.

use super::state::Flows;
use crate::engine::rtt::{self, clock_directory::ClockDirectory};

impl Flows {
    /// Whether round trips are measured.
    pub fn takes_round_trips(&self) -> bool {
        self.rtt.is_some()
    }

    /// Whether machines are analysed and announced on the way.
    pub fn announces_machines(&self) -> bool {
        self.options.announces_machines()
    }

    /// New round trips at `now_ns`; `None` where there are none, or where they aren't measured.
    pub fn review_round_trips(&mut self, now_ns: u64) -> Option<rtt::News> {
        let mut news = self.rtt.as_mut()?.review(now_ns);
        for sample in &mut news.samples {
            sample.tick_hz = self.clocks.as_ref().and_then(|clocks| clocks.tick_hz(&sample.key));
        }
        let any = !news.samples.is_empty() || !news.anomalies.is_empty() || news.interval.is_some();
        any.then_some(news)
    }

    /// The report on round trips at `now_ns`, with the clocks that a snapshot found; `None` where round
    /// trips aren't measured.
    pub(super) fn round_trips(&mut self, now_ns: u64, clocks: Option<ClockDirectory>) -> Option<rtt::Report> {
        self.clocks = clocks;
        let known = self.clocks.as_ref();
        let report =
            self.rtt.as_mut()?.report(now_ns, |key| known.map(|all| all.of(key)).unwrap_or_default());
        Some(report)
    }
}
