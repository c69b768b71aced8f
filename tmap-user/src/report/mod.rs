//! Reports: snapshots as text and JSON lines. This room only formats; the engine computes.

mod connections;
mod coverage;
pub(crate) mod detail;
pub(crate) mod fold;
pub mod json;
pub(crate) mod losses;
pub mod number;
pub mod rtt_json;
pub mod rtt_text;
pub mod sensor;
pub mod siblings;
pub mod stats;
mod style;
pub(crate) mod table;
pub mod text;
mod view;
pub(crate) mod words;

use std::io::{self, Write};

use jiff::tz::TimeZone;
use tmap_common::Counters;

use crate::{
    engine::{Event, Holdings, Snapshot},
    time::WallClock,
};

pub use stats::Stats;
pub use view::{End, Sort, View};

/// The format of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Everything in a summary.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What the engine found.
    pub snapshot: Snapshot,
    /// Engine time when watching began, or of the first packet read, in nanoseconds; 0 where there was none.
    pub began_ns: u64,
    /// What happened to the frames, over all CPUs or files.
    pub counters: Counters,
    /// What the engine holds.
    pub holdings: Holdings,
    /// The mapping from engine time to wall-clock time.
    pub wall: WallClock,
    /// Warnings so far, in words; they are on standard error too.
    pub warnings: Vec<String>,
}

/// Writes reports in one format to one place.
#[derive(Debug)]
pub struct Reporter<W> {
    out: W,
    format: Format,
    zone: TimeZone,
    view: View,
}

impl<W: Write> Reporter<W> {
    /// A reporter to `out`, with local times in `zone`.
    pub fn new(out: W, format: Format, zone: TimeZone) -> Self {
        Self { out, format, zone, view: View::default() }
    }

    /// Makes a reporter that shows things as `view` says.
    #[must_use]
    pub fn with_view(mut self, view: View) -> Self {
        self.view = view;
        self
    }

    /// Reports an event that was noticed at engine time `now_ns`.
    ///
    /// # Errors
    /// If `out` can't be written; this holds for all methods here.
    pub fn event(&mut self, event: &Event, now_ns: u64, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, view, calendar| match format {
            Format::Text => text::event(out, event, now_ns, view, calendar),
            Format::Json => json::event(out, event, now_ns, calendar),
        })
    }

    /// Reports everything known: at the end, or on request.
    pub fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        self.write(summary.wall, |out, format, view, calendar| match format {
            Format::Text => text::summary(out, summary, view, calendar),
            Format::Json => json::summary(out, summary, view, calendar),
        })
    }

    /// Reports a change of a watched interface.
    pub fn notice(&mut self, notice: &sensor::Notice<'_>, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, _, calendar| sensor::notice(out, notice, format, calendar))
    }

    /// Reports a sign of life.
    pub fn heartbeat(&mut self, beat: &sensor::Heartbeat, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, _, calendar| sensor::heartbeat(out, beat, format, calendar))
    }

    /// The time of a moment, as text reports write it.
    pub fn time(&self, now_ns: u64, wall: WallClock) -> String {
        number::Calendar { wall, zone: &self.zone }.local(now_ns as f64 / 1e9, 0.0)
    }

    /// Reports the sensor's own counters.
    pub fn stats(&mut self, stats: &Stats, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, _, calendar| match format {
            Format::Text => stats::write(out, stats, calendar),
            Format::Json => json::stats(out, stats, calendar),
        })
    }

    /// Writes and flushes; an error says what could not be written.
    fn write(
        &mut self,
        wall: WallClock,
        report: impl FnOnce(&mut W, Format, &View, &number::Calendar<'_>) -> io::Result<()>,
    ) -> io::Result<()> {
        let calendar = number::Calendar { wall, zone: &self.zone };
        let written =
            report(&mut self.out, self.format, &self.view, &calendar).and_then(|()| self.out.flush());
        written.map_err(|error| io::Error::new(error.kind(), format!("cannot write the report: {error}")))
    }
}
