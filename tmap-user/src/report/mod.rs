//! From snapshots to text and JSON lines: formatting only, nothing is estimated here.

pub mod json;
pub mod number;
pub mod plot;
pub mod rtt_json;
pub mod rtt_text;
pub mod siblings;
pub mod stats;
pub mod text;

use std::io::{self, Write};

use jiff::tz::TimeZone;
use tmap_common::Counters;

use crate::{
    engine::{Event, Holdings, Snapshot},
    time::WallClock,
};

pub use stats::Stats;

/// How to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line, for programs.
    Json,
}

/// Everything that a summary tells.
#[derive(Clone, Debug)]
pub struct Summary {
    /// What the engine found.
    pub snapshot: Snapshot,
    /// What happened to the packets, over all CPUs or files.
    pub counters: Counters,
    /// What the engine holds.
    pub holdings: Holdings,
    /// Engine time to wall-clock time.
    pub wall: WallClock,
    /// What went wrong on the way, in words; also said on standard error.
    pub warnings: Vec<String>,
}

/// Writes reports in one format to one place.
#[derive(Debug)]
pub struct Reporter<W> {
    out: W,
    format: Format,
    zone: TimeZone,
}

impl<W: Write> Reporter<W> {
    /// A reporter to `out` that tells local time in `zone`.
    pub fn new(out: W, format: Format, zone: TimeZone) -> Self {
        Self { out, format, zone }
    }

    /// Something happened at engine time `now_ns`.
    ///
    /// # Errors
    /// Those of writing, as in all methods here.
    pub fn event(&mut self, event: &Event, now_ns: u64, wall: WallClock) -> io::Result<()> {
        let clock = number::Clock { wall, zone: &self.zone };
        match self.format {
            Format::Text => text::event(&mut self.out, event, &clock)?,
            Format::Json => json::event(&mut self.out, event, now_ns, &clock)?,
        }
        self.out.flush()
    }

    /// The state of things: at the end, or on request.
    pub fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        let clock = number::Clock { wall: summary.wall, zone: &self.zone };
        match self.format {
            Format::Text => text::summary(&mut self.out, summary, &clock)?,
            Format::Json => json::summary(&mut self.out, summary, &clock)?,
        }
        self.out.flush()
    }

    /// The sensor's own health.
    pub fn stats(&mut self, stats: &Stats, wall: WallClock) -> io::Result<()> {
        let clock = number::Clock { wall, zone: &self.zone };
        match self.format {
            Format::Text => stats::write(&mut self.out, stats, &clock)?,
            Format::Json => json::stats(&mut self.out, stats, &clock)?,
        }
        self.out.flush()
    }
}
