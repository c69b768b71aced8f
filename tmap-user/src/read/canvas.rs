//! Where a picture goes: a file, or standard output.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;

use crate::{
    capture::file::Location,
    config::Picture,
    engine::{Event, Snapshot},
    output::Place,
    picture::{Kind, MOST_STACKED, charts, png::png, svg, timeline},
    report::number::Calendar,
    say,
};

/// A picture to be drawn, with its place, which is made before hours are spent on the content.
pub(super) struct Canvas<'a> {
    picture: &'a Picture,
    place: Place,
}

impl<'a> Canvas<'a> {
    /// Makes the place; a picture without a file goes to standard output.
    ///
    /// # Errors
    /// If the file can't be made or is one of the captures, or if standard output is a terminal, which shows
    /// no picture.
    pub(super) fn open(picture: &'a Picture, captures: &[Location]) -> anyhow::Result<Self> {
        if picture.out.is_none() && io::stdout().is_terminal() {
            anyhow::bail!("a terminal shows no picture; name a file for it: -o plot.svg or -o plot.png");
        }
        Ok(Self { picture, place: Place::open("plot", picture.out.as_deref(), captures)? })
    }

    /// Whether the picture takes the place of the report.
    pub(super) fn is_alone(&self) -> bool {
        self.picture.is_alone
    }

    /// Whether a picture may be drawn before the final one, which then takes its place.
    pub(super) fn takes_drafts(&self) -> bool {
        self.place.is_replaced()
    }

    /// Draws what a snapshot shows and what happened; the result is a warning where there is nothing to draw.
    ///
    /// # Errors
    /// If the picture can't be written.
    pub(super) fn draw(
        &mut self,
        snapshot: &Snapshot,
        events: &[Event],
        calendar: &Calendar<'_>,
    ) -> anyhow::Result<Option<String>> {
        let Picture { kind, address, theme, .. } = *self.picture;
        let mut charts = match kind {
            Kind::Timeline => timeline(snapshot, address, calendar, events),
            _ => charts(kind, snapshot, address, calendar),
        };
        if charts.len() > MOST_STACKED {
            say(&format!("drew {MOST_STACKED} of {} charts; --address chooses another", charts.len()));
            charts.truncate(MOST_STACKED);
        }
        if charts.is_empty() {
            return Ok(Some(format!("there is no plot, because {}", self.lacks(snapshot))));
        }
        let drawn = svg::stack(&charts, theme);
        let bytes = if self.picture.is_png() { png(&drawn)? } else { drawn.into_bytes() };
        self.place.put(&bytes).context("cannot write the plot")?;
        Ok(None)
    }

    /// Why there is nothing to draw.
    fn lacks(&self, snapshot: &Snapshot) -> String {
        let Some(address) = self.picture.address else { return lacks(self.picture.kind).to_owned() };
        match snapshot.addresses.iter().any(|report| report.address == address) {
            true => format!("{} of {address}", lacks(self.picture.kind)),
            false => format!("{address} sent no segment with timestamps"),
        }
    }
}

/// Why there is nothing to draw, up to the address.
fn lacks(kind: Kind) -> &'static str {
    match kind {
        Kind::Offsets => "no connection shows a counter",
        Kind::Phases => "no connection shows its phase to 0.2 ticks",
        Kind::Ports => "there is no client connection",
        Kind::Rtt => "there is no round trip",
        Kind::Load => "there is no connection with timestamps",
        Kind::Timeline => "there is no machine",
    }
}
