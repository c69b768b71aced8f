//! The legend: what each colour is.

use std::fmt::Write as _;

use super::{
    Part, Theme,
    layout::{GAP, Layout, WIDTH},
    marks::point,
    text::{self, Anchor, Words, cut},
};
use crate::{
    picture::chart::{Mark, Series},
    report::number::grouped,
};

/// The most entries; the rest is counted.
const MOST: usize = 16;

/// Distance of two entries, and from an entry's mark to its words, in pixels.
const STEP: f64 = 19.0;
const INDENT: f64 = 30.0;

/// The least and the most room for words, in pixels.
const WORDS: (f64, f64) = (70.0, 250.0);

/// How wide a legend is, with its distance from the marks.
pub(super) fn width(series: &[Series]) -> f64 {
    let words = series.iter().take(MOST).map(|series| text::width(&series.name, text::SIZE));
    let more = more(series.len()).map_or(0.0, |more| text::width(&more, text::SIZE));
    GAP + INDENT + words.fold(more, f64::max).clamp(WORDS.0, WORDS.1)
}

/// How high a legend is.
pub(super) fn height(series: &[Series]) -> f64 {
    (series.len().min(MOST) + 1) as f64 * STEP
}

/// The words for what has no entry.
fn more(all: usize) -> Option<String> {
    let more = all.checked_sub(MOST).filter(|more| *more > 0)?;
    Some(format!("and {} more", grouped(more as u64)))
}

/// Draws the legend beside the marks.
pub(super) fn draw(out: &mut String, series: &[Series], layout: &Layout, theme: Theme) {
    let (ink, x) = (theme.part(Part::Ink), layout.right + GAP);
    let room = WIDTH - x - INDENT;
    let mut y = layout.top + 12.0;
    for series in series.iter().take(MOST) {
        let class = super::marks::class(series.owner);
        let _ = write!(out, "<g {class} transform=\"translate({x:.1} {y:.1})\">");
        sign(out, series, theme);
        Words::plain(&ink).at(out, INDENT, 4.5, Anchor::Start, &cut(&series.name, text::SIZE, room));
        let _ = writeln!(out, "</g>");
        y += STEP;
    }
    if let Some(more) = more(series.len()) {
        Words::plain(&ink).at(out, x + INDENT, y + 4.5, Anchor::Start, &more);
    }
}

/// A small picture of a series' marks.
fn sign(out: &mut String, series: &Series, theme: Theme) {
    let colour = theme.owner(series.owner);
    let has = |wanted: fn(&Mark) -> bool| series.marks.iter().any(wanted);
    if has(|mark| matches!(mark, Mark::Bar { .. })) {
        let _ = write!(out, "<rect x=\"3\" y=\"-6\" width=\"16\" height=\"12\" fill=\"{colour}\"/>");
        return;
    }
    if has(|mark| matches!(mark, Mark::Line { .. })) {
        let _ = write!(out, "<path d=\"M0 0H22\" stroke=\"{colour}\" stroke-width=\"1.8\"/>");
    }
    if has(|mark| matches!(mark, Mark::Point { .. })) {
        let _ = write!(out, "<path d=\"{}\" fill=\"{colour}\"/>", point(series.owner, (11.0, 0.0), 4.2));
    }
    if has(|mark| matches!(mark, Mark::Event { .. })) {
        let _ = write!(out, "<path d=\"M11 -7V7\" stroke=\"{colour}\" stroke-dasharray=\"4 3\"/>");
    }
}
