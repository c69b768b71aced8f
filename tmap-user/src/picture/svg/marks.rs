//! The marks of a chart, clipped to its frame.

use std::fmt::Write as _;

use super::{
    Theme,
    layout::Layout,
    sign::{class, point},
    text::escaped,
};
use crate::picture::chart::{Chart, Mark, Series};

/// The smallest and the largest radius of a point, in pixels.
const RADII: (f64, f64) = (2.0, 6.0);

/// The least and the most opacity of a point.
const OPACITY: (f64, f64) = (0.35, 0.9);

/// Bars are a little transparent, so that the grid can be read through them.
const BAR_OPACITY: f64 = 0.85;

/// Draws all series, in order. A nested `<svg>` clips them, without a name that a second chart could repeat.
pub(super) fn draw(out: &mut String, chart: &Chart, layout: &Layout, theme: Theme) {
    let (x, y) = (layout.left, layout.top);
    let (width, height) = (layout.right - layout.left, layout.bottom - layout.top);
    let _ = writeln!(
        out,
        "<svg class=\"marks\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"{x} {y} {width} {height}\" overflow=\"hidden\">"
    );
    // Lines and bars of all series lie below the points of all: each point can be pointed at.
    for series in &chart.series {
        Drawing { chart, layout, series, class: class(series.owner), colour: theme.owner(series.owner) }
            .areas(out);
    }
    for series in &chart.series {
        Drawing { chart, layout, series, class: class(series.owner), colour: theme.owner(series.owner) }
            .points(out);
    }
    let _ = writeln!(out, "</svg>");
}

struct Drawing<'a> {
    chart: &'a Chart,
    layout: &'a Layout,
    series: &'a Series,
    class: String,
    colour: String,
}

impl Drawing<'_> {
    fn place(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (self.layout.x(&self.chart.x, x), self.layout.y(&self.chart.y, y))
    }

    /// Bars and lines.
    fn areas(&self, out: &mut String) {
        let mut path = String::new();
        let mut end = None;
        for mark in &self.series.marks {
            match mark {
                Mark::Bar { x, y, text } => self.bar(out, *x, *y, text),
                Mark::Line { from, to } => {
                    let ((x1, y1), (x2, y2)) = (self.place(*from), self.place(*to));
                    // Lines that follow on each other are one stroke.
                    if end != Some(*from) {
                        let _ = write!(path, "M{x1:.1} {y1:.1}");
                    }
                    let _ = write!(path, "L{x2:.1} {y2:.1}");
                    end = Some(*to);
                }
                Mark::Point { .. } | Mark::Event { .. } => {}
            }
        }
        if !path.is_empty() {
            let (class, colour, name) = (&self.class, &self.colour, escaped(&self.series.name));
            let _ = writeln!(
                out,
                "<path {class} d=\"{path}\" stroke=\"{colour}\" stroke-width=\"1.6\" \
                 stroke-linejoin=\"round\" fill=\"none\"><title>{name}</title></path>"
            );
        }
    }

    /// Points and events.
    fn points(&self, out: &mut String) {
        let (class, colour) = (&self.class, &self.colour);
        for mark in &self.series.marks {
            match mark {
                Mark::Point { at, weight, text } => {
                    let weight = weight.clamp(0.0, 1.0);
                    let radius = RADII.0 + (RADII.1 - RADII.0) * weight;
                    let opacity = OPACITY.0 + (OPACITY.1 - OPACITY.0) * weight;
                    let (path, text) = (point(self.series.owner, self.place(*at), radius), self.title(text));
                    let _ = writeln!(
                        out,
                        "<path {class} d=\"{path}\" fill=\"{colour}\" fill-opacity=\"{opacity:.2}\">{text}</path>"
                    );
                }
                Mark::Event { x, text } => {
                    let x = self.layout.x(&self.chart.x, *x);
                    let (top, bottom) = (self.layout.top, self.layout.bottom);
                    let text = self.title(text);
                    let _ = writeln!(
                        out,
                        "<path {class} d=\"M{x:.1} {top}V{bottom}\" stroke=\"{colour}\" stroke-width=\"1.4\" \
                         stroke-dasharray=\"5 4\">{text}</path>"
                    );
                }
                Mark::Line { .. } | Mark::Bar { .. } => {}
            }
        }
    }

    fn bar(&self, out: &mut String, x: (f64, f64), y: (f64, f64), text: &str) {
        let ((left, bottom), (right, top)) = (self.place((x.0, y.0)), self.place((x.1, y.1)));
        // A bar is seen, however short its time.
        let (width, height) = ((right - left).max(1.0), (bottom - top).max(0.5));
        let (class, colour, text) = (&self.class, &self.colour, self.title(text));
        let _ = writeln!(
            out,
            "<rect {class} x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{colour}\" fill-opacity=\"{BAR_OPACITY}\">{text}</rect>"
        );
    }

    /// What a mark is, shown where one points at it.
    fn title(&self, text: &str) -> String {
        let text = if text.is_empty() { &self.series.name } else { text };
        format!("<title>{}</title>", escaped(text))
    }
}
