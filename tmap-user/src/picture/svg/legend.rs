//! The legend: what each colour is.

use std::fmt::Write as _;

use super::{
    Part, Theme,
    layout::{GAP, INDENT, LEGEND_STEP, Layout, MOST_NAMED, WIDTH, not_named},
    sign::{class, point},
    text::{self, Anchor, Words, cut},
};
use crate::picture::chart::{Mark, Series};

/// Draws the legend beside the marks.
pub(super) fn draw(out: &mut String, series: &[Series], layout: &Layout, theme: Theme) {
    let (ink, x) = (theme.part(Part::Ink), layout.right + GAP);
    let room = WIDTH - x - INDENT;
    let mut y = layout.top + 12.0;
    for series in series.iter().take(MOST_NAMED) {
        let class = class(series.owner);
        let _ = write!(out, "<g {class} transform=\"translate({x:.1} {y:.1})\">");
        sign(out, series, theme);
        Words::plain(&ink).at(out, INDENT, 4.5, Anchor::Start, &cut(&series.name, text::SIZE, room));
        let _ = writeln!(out, "</g>");
        y += LEGEND_STEP;
    }
    if let Some(more) = not_named(series.len()) {
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
