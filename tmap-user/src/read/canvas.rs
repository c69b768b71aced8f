//! Where a picture goes: a file, or standard output.

use std::{
    fs::File,
    io::{self, BufWriter, IsTerminal as _, Write},
};

use anyhow::Context as _;

use crate::{
    config::Picture,
    engine::{Event, Snapshot},
    picture::{Kind, MOST_STACKED, charts, png::png, svg, timeline},
    report::number::Calendar,
    say,
};

/// A picture to be drawn, with its place, which is made before hours are spent on the content.
pub(super) struct Canvas<'a> {
    picture: &'a Picture,
    out: Box<dyn Write + 'a>,
}

impl<'a> Canvas<'a> {
    /// Makes the place; a picture without a file goes to `stdout`.
    ///
    /// # Errors
    /// If the file can't be made, or standard output is a terminal, which shows no picture.
    pub(super) fn open(picture: &'a Picture, stdout: Box<dyn Write + 'a>) -> anyhow::Result<Self> {
        let out: Box<dyn Write + 'a> = match &picture.out {
            Some(path) => {
                let file = File::create(path);
                Box::new(BufWriter::new(
                    file.with_context(|| format!("cannot write the plot to {}", path.display()))?,
                ))
            }
            None if io::stdout().is_terminal() => {
                anyhow::bail!("a terminal shows no picture; name a file for it: -o plot.svg or -o plot.png")
            }
            None => stdout,
        };
        Ok(Self { picture, out })
    }

    /// Whether the picture takes the place of the report.
    pub(super) fn is_alone(&self) -> bool {
        self.picture.is_alone
    }

    /// Draws what a snapshot shows and what happened; the result is a warning where there is nothing to draw.
    ///
    /// # Errors
    /// If the picture can't be written.
    pub(super) fn draw(
        mut self,
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
        let drawn = svg::stack(&charts, theme);
        let bytes = if self.picture.is_png() { png(&drawn)? } else { drawn.into_bytes() };
        self.out.write_all(&bytes).and_then(|()| self.out.flush()).context("cannot write the plot")?;
        let of = address.map(|address| format!(" of {address}")).unwrap_or_default();
        Ok(charts.is_empty().then(|| format!("the plot is empty, because {}{of}", lacks(kind))))
    }
}

/// Why there is nothing to draw, up to the address.
fn lacks(kind: Kind) -> &'static str {
    match kind {
        Kind::Offsets => "no connection shows a counter",
        Kind::Phases => "no connection shows a steady clock",
        Kind::Ports => "there is no client connection",
        Kind::Rtt => "there is no round trip",
        Kind::Load => "there is no connection with timestamps",
        Kind::Timeline => "there is no machine",
    }
}
