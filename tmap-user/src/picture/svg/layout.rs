//! Where the parts of a chart are, in pixels.

use super::text::{self, cut, wrapped};
use crate::{
    picture::chart::{Axis, Chart, Series},
    report::number::grouped,
};

/// The width of a picture.
pub(super) const WIDTH: f64 = 1000.0;

/// The height of a picture without a chart.
pub(super) const LEAST_HEIGHT: f64 = 44.0;

/// The base lines of the title and of the subtitle's first line, and the distance of its lines.
pub(super) const TITLE_Y: f64 = 26.0;
pub(super) const SUBTITLE_Y: f64 = 47.0;
pub(super) const SUBTITLE_STEP: f64 = 17.0;

/// The usual height of the part with the marks, and the least height of a row that has a name.
const HEIGHT: f64 = 344.0;
const ROW: f64 = 20.0;

/// Room for the name of the vertical axis, and for what is below the marks.
const LABEL_ROOM: f64 = 40.0;
const FOOT: f64 = 62.0;

/// Distance of the legend from the marks, and of both from the edge.
pub(super) const GAP: f64 = 20.0;

/// The most entries of a legend; the rest is counted.
pub(super) const MOST_NAMED: usize = 16;

/// Distance of two entries of a legend, and from an entry's sign to its words.
pub(super) const LEGEND_STEP: f64 = 19.0;
pub(super) const INDENT: f64 = 30.0;

/// The least and the most room for words of a legend.
const LEGEND_WORDS: (f64, f64) = (70.0, 250.0);

/// Where the parts of one chart are.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
    pub(super) height: f64,
    pub(super) title: String,
    pub(super) subtitle: Vec<String>,
}

impl Layout {
    /// Layouts of charts below each other: the widest labels decide for all.
    pub(super) fn of_all(charts: &[Chart]) -> Vec<Self> {
        let labels = charts.iter().flat_map(|chart| &chart.y.ticks);
        let widest = labels.map(|(_, label)| text::width(label, text::SIZE)).fold(30.0, f64::max);
        let legend = charts.iter().map(|chart| legend_width(&chart.series)).fold(0.0, f64::max);
        let (left, right) = ((LABEL_ROOM + widest).round(), (WIDTH - GAP - legend).round());
        charts.iter().map(|chart| Self::of(chart, left, right)).collect()
    }

    fn of(chart: &Chart, left: f64, right: f64) -> Self {
        let subtitle = wrapped(&chart.subtitle, text::SIZE, WIDTH - GAP - left);
        let lines = subtitle.len() as f64;
        let top = if subtitle.is_empty() { TITLE_Y + 14.0 } else { TITLE_Y + 12.0 + lines * SUBTITLE_STEP };
        // Marks of a scale of numbers are far apart already.
        let bottom = top + HEIGHT.max(ROW * chart.y.ticks.len() as f64);
        let bottom = bottom.max(top + legend_height(&chart.series));
        // Bold letters are wider.
        let title = cut(&chart.title, 1.1 * text::TITLE_SIZE, WIDTH - GAP - left);
        Self { left, right, top, bottom, height: bottom + FOOT, title, subtitle }
    }

    /// The place of a value on the horizontal axis.
    pub(super) fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + (self.right - self.left) * share(axis, value)
    }

    /// The place of a value on the vertical axis.
    pub(super) fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - (self.bottom - self.top) * share(axis, value)
    }
}

/// How far along its axis a value is; what is far beyond the ends stays within what renderers hold.
fn share(axis: &Axis, value: f64) -> f64 {
    ((value - axis.from) / (axis.to - axis.from)).clamp(-10.0, 10.0)
}

/// How wide a legend is, with its distance from the marks.
fn legend_width(series: &[Series]) -> f64 {
    let words = series.iter().take(MOST_NAMED).map(|series| text::width(&series.name, text::SIZE));
    let more = not_named(series.len()).map_or(0.0, |more| text::width(&more, text::SIZE));
    GAP + INDENT + words.fold(more, f64::max).clamp(LEGEND_WORDS.0, LEGEND_WORDS.1)
}

/// How high a legend is.
fn legend_height(series: &[Series]) -> f64 {
    (series.len().min(MOST_NAMED) + 1) as f64 * LEGEND_STEP
}

/// The words for the series that have no entry in the legend.
pub(super) fn not_named(all: usize) -> Option<String> {
    let more = all.checked_sub(MOST_NAMED).filter(|more| *more > 0)?;
    Some(format!("and {} more", grouped(more as u64)))
}
