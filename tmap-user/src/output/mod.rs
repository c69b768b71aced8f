//! The page of a run: where it is written, and how it was made.
//!
//! The file is opened before anything is read, and its old content stays until there is a new page.

mod file;
mod source;

use std::io;

use jiff::{Timestamp, tz::TimeZone};

use crate::{
    capture::file::Location,
    config::{Config, PageConfig, TopConfig, TopSource},
    engine::{Event, Snapshot},
    page::{self, Events, Made},
    report::{
        Sink, Stats, Summary,
        number::Calendar,
        sensor::{Heartbeat, Notice},
    },
    time::WallClock,
};
pub use file::Place;
pub use source::source_of;

/// Makes the page of a run.
#[derive(Debug)]
pub struct PageWriter {
    place: Place,
    captures: Vec<Location>,
    made: Made,
    events: Events,
    zone: TimeZone,
    is_hurried: bool,
}

impl PageWriter {
    /// Opens the page's file.
    ///
    /// # Errors
    /// If it can't be written, or is one of the captures.
    pub fn open(page: &PageConfig, config: &Config) -> anyhow::Result<Self> {
        let (captures, interfaces) = match config {
            Config::Read(read) | Config::Top(TopConfig { source: TopSource::Files(read), .. }) => {
                (read.files.clone(), &[][..])
            }
            Config::Live(live) | Config::Top(TopConfig { source: TopSource::Live(live), .. }) => {
                (Vec::new(), &live.interfaces[..])
            }
        };
        let sources = interfaces.iter().map(|name| page::Source::Interface(name.clone())).collect();
        let made = Made { sources, ..Made::new(&page.command) };
        let place = Place::open("page", page.path.as_deref(), &captures)?;
        let (events, zone) = (Events::default(), config.common().zone.clone());
        Ok(Self { place, captures, made, events, zone, is_hurried: false })
    }
}

impl Sink for PageWriter {
    fn event(&mut self, event: &Event, now_ns: u64, wall: WallClock) -> io::Result<()> {
        self.events.push(event, now_ns, &Calendar { wall, zone: &self.zone });
        Ok(())
    }

    fn summary(&mut self, summary: &Summary) -> io::Result<()> {
        if !self.captures.is_empty() {
            let of = |capture| source_of(capture, !self.is_hurried);
            self.made.sources = self.captures.iter().map(of).collect();
        }
        self.made.written = Some(Timestamp::now());
        let html = page::html(summary, &self.events, &self.made, &self.zone);
        self.place
            .put(html.as_bytes())
            .map_err(|error| io::Error::new(error.kind(), format!("cannot write the page: {error}")))
    }

    fn hurry(&mut self) {
        self.is_hurried = true;
    }

    fn takes_drafts(&self) -> bool {
        self.place.is_replaced()
    }

    // Standard error tells these. What is lasting in them comes again in the summary.

    fn notice(&mut self, notice: &Notice, wall: WallClock) -> io::Result<()> {
        self.events.push_notice(notice, &Calendar { wall, zone: &self.zone });
        Ok(())
    }

    fn wants_changes(&self) -> bool {
        false
    }

    fn heartbeat(&mut self, _: &Heartbeat, _: Option<&Snapshot>, _: WallClock) -> io::Result<()> {
        Ok(())
    }

    fn stats(&mut self, _: &Stats, _: WallClock) -> io::Result<()> {
        Ok(())
    }
}
