//! Reports: snapshots as text and JSON lines. This room only formats; the engine computes.

mod connections;
pub(crate) mod coverage;
pub(crate) mod detail;
pub(crate) mod fold;
pub mod json;
pub(crate) mod losses;
pub mod number;
pub(crate) mod outages;
pub mod rtt_json;
pub mod rtt_text;
pub mod sensor;
pub mod siblings;
pub mod stats;
pub(crate) mod style;
pub(crate) mod table;
pub mod text;
pub(crate) mod view;
mod watch;
pub(crate) mod words;

use std::io::{self, Write};

use jiff::tz::TimeZone;
use tmap_common::Counters;

use crate::{
    engine::{Event, Holdings, Snapshot},
    time::WallClock,
};

pub use losses::Capturing;
pub use outages::Outage;
pub use stats::Stats;
pub use view::{End, Sort, View};
use watch::Watch;

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
    /// What is known of packets that never came to tmap.
    pub capturing: Capturing,
    /// What the engine holds.
    pub holdings: Holdings,
    /// The interfaces that were down while they were watched.
    pub outages: Vec<Outage>,
    /// The mapping from engine time to wall-clock time.
    pub wall: WallClock,
    /// Warnings so far, in words; they are on standard error too.
    pub warnings: Vec<String>,
}

/// What takes the reports of a run: a [`Reporter`], or what makes something else of them.
///
/// Each method fails if what it makes can't be written.
pub trait Sink {
    /// Takes an event that was noticed at engine time `now_ns`.
    fn event(&mut self, event: &Event, now_ns: u64, wall: WallClock) -> io::Result<()>;

    /// Takes everything known: at the end, or on request.
    fn summary(&mut self, summary: &Summary) -> io::Result<()>;

    /// Has later summaries leave out what takes long beside them: somebody waits.
    fn hurry(&mut self) {}

    /// Whether a summary may come before the final one although nobody asked for one.
    fn takes_drafts(&self) -> bool;

    /// Takes a change of a watched interface.
    fn notice(&mut self, notice: &sensor::Notice, wall: WallClock) -> io::Result<()>;

    /// Whether a sign of life comes with what changed since the one before, which costs a snapshot.
    fn wants_changes(&self) -> bool;

    /// Takes a sign of life, and a snapshot where it wants changes.
    fn heartbeat(
        &mut self,
        beat: &sensor::Heartbeat,
        snapshot: Option<&Snapshot>,
        wall: WallClock,
    ) -> io::Result<()>;

    /// Takes the sensor's own counters.
    fn stats(&mut self, stats: &Stats, wall: WallClock) -> io::Result<()>;
}

/// Writes reports in one format to one place.
#[derive(Debug)]
pub struct Reporter<W> {
    out: W,
    format: Format,
    zone: TimeZone,
    view: View,
    watch: Watch,
}

impl<W: Write> Reporter<W> {
    /// A reporter to `out`, with local times in `zone`.
    pub fn new(out: W, format: Format, zone: TimeZone) -> Self {
        Self { out, format, zone, view: View::default(), watch: Watch::default() }
    }

    /// Makes a reporter that shows things as `view` says.
    #[must_use]
    pub fn with_view(mut self, view: View) -> Self {
        self.view = view;
        self
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

impl<W: Write> Sink for Reporter<W> {
    fn event(&mut self, event: &Event, now_ns: u64, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, view, calendar| match format {
            Format::Text => text::event(out, event, now_ns, view, calendar),
            Format::Json => json::event(out, event, now_ns, calendar),
        })
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        self.write(summary.wall, |out, format, view, calendar| match format {
            Format::Text => text::summary(out, summary, view, calendar),
            Format::Json => json::summary(out, summary, view, calendar),
        })
    }

    fn takes_drafts(&self) -> bool {
        // A program that reads JSON expects one summary at the end.
        self.format == Format::Text
    }

    fn notice(&mut self, notice: &sensor::Notice, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, _, calendar| sensor::notice(out, notice, format, calendar))
    }

    fn wants_changes(&self) -> bool {
        // Programs get events as they come, and addresses at the end or on request.
        self.format == Format::Text
    }

    fn heartbeat(
        &mut self,
        beat: &sensor::Heartbeat,
        snapshot: Option<&Snapshot>,
        wall: WallClock,
    ) -> io::Result<()> {
        let mut watch = std::mem::take(&mut self.watch);
        let written = self.write(wall, |out, format, view, calendar| {
            sensor::heartbeat(out, beat, format, calendar)?;
            let styles = style::Styles::new(view.colour);
            snapshot.map_or(Ok(()), |snapshot| watch.write(out, snapshot, view, &styles))
        });
        self.watch = watch;
        written
    }

    fn stats(&mut self, stats: &Stats, wall: WallClock) -> io::Result<()> {
        self.write(wall, |out, format, _, calendar| match format {
            Format::Text => stats::write(out, stats, calendar),
            Format::Json => json::stats(out, stats, calendar),
        })
    }
}
