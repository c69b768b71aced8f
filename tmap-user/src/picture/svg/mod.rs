//! Charts as SVG: for files, and for pages that restyle them.
//!
//! Every mark of machine 3 has `class="m m3"` and `data-machine="3"`; marks of connections that are no
//! machine's have `class="m n"`, those of the whole address `class="m a"`. Each has a `<title>`. In
//! [`Theme::Page`], colours are CSS variables with a fallback: `--m3`, `--nobody`, `--all`, `--chart-ink`,
//! `--chart-muted`, `--chart-grid`, `--chart-frame`; [`style`] has values for both themes.

mod layout;
mod legend;
mod marks;
mod sign;
mod text;

use std::fmt::Write as _;

use super::{
    chart::{Chart, Owner},
    palette::{hex, rgb},
};
use layout::Layout;
use text::{Anchor, Words, escaped};

/// How charts look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Theme {
    /// On white.
    Light,
    /// On a dark background.
    Dark,
    /// In a page that decides: no background, colours as CSS variables, the page's font.
    Page,
}

/// What else than marks has a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Ink,
    Muted,
    Grid,
    Frame,
}

impl Part {
    const ALL: [Self; 4] = [Self::Ink, Self::Muted, Self::Grid, Self::Frame];

    /// The CSS variable, and the colours on light and on dark.
    fn values(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Ink => ("--chart-ink", "#1f2328", "#e6e8eb"),
            Self::Muted => ("--chart-muted", "#57606a", "#a3abb5"),
            Self::Grid => ("--chart-grid", "#e4e7eb", "#2d323a"),
            Self::Frame => ("--chart-frame", "#8c959f", "#6b7480"),
        }
    }
}

impl Theme {
    fn part(self, part: Part) -> String {
        let (variable, light, dark) = part.values();
        match self {
            Self::Light => light.to_owned(),
            Self::Dark => dark.to_owned(),
            Self::Page => format!("var({variable},{light})"),
        }
    }

    fn owner(self, owner: Owner) -> String {
        match self {
            Self::Light => hex(rgb(owner, false)),
            Self::Dark => hex(rgb(owner, true)),
            Self::Page => format!("var({},{})", variable(owner), hex(rgb(owner, false))),
        }
    }

    /// The background; `None` in a page.
    fn background(self) -> Option<&'static str> {
        match self {
            Self::Light => Some("#ffffff"),
            Self::Dark => Some("#16181d"),
            Self::Page => None,
        }
    }
}

/// The CSS variable of an owner's colour.
fn variable(owner: Owner) -> String {
    match owner {
        Owner::Machine(number) => format!("--m{number}"),
        Owner::Nobody => "--nobody".to_owned(),
        Owner::All => "--all".to_owned(),
    }
}

/// The CSS declarations (`--m1:#0072b2;...`) of all variables that [`Theme::Page`] uses, for charts of
/// machines up to number `last`: for a light or for a dark page.
pub fn style(last: u32, is_dark: bool) -> String {
    let owners = (1..=last).map(Owner::Machine).chain([Owner::Nobody, Owner::All]);
    let mut css: String =
        owners.map(|owner| format!("{}:{};", variable(owner), hex(rgb(owner, is_dark)))).collect();
    for (variable, light, dark) in Part::ALL.map(Part::values) {
        let _ = write!(css, "{variable}:{};", if is_dark { dark } else { light });
    }
    css
}

/// A chart as one `<svg>`.
pub fn svg(chart: &Chart, theme: Theme) -> String {
    stack(std::slice::from_ref(chart), theme)
}

/// Charts below each other in one `<svg>`, all as wide and with their axes in line.
pub fn stack(charts: &[Chart], theme: Theme) -> String {
    let layouts = Layout::of_all(charts);
    let height: f64 = layouts.iter().map(|layout| layout.height).sum();
    let (width, height) = (layout::WIDTH, height.max(layout::LEAST_HEIGHT));
    let titles: Vec<String> = charts.iter().map(|chart| escaped(&chart.title)).collect();
    let font = match theme {
        Theme::Page => "",
        Theme::Light | Theme::Dark => " font-family=\"DejaVu Sans, Verdana, sans-serif\"",
    };
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\"{font} font-size=\"{}\" role=\"img\" aria-label=\"{}\">\n",
        text::SIZE,
        titles.join("; "),
    );
    if let Some(background) = theme.background() {
        let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"{background}\"/>");
    }
    if charts.is_empty() {
        let muted = theme.part(Part::Muted);
        Words::plain(&muted).at(&mut out, layout::GAP, layout::TITLE_Y, Anchor::Start, "Nothing to draw");
    }
    let mut y = 0.0;
    for (chart, layout) in charts.iter().zip(&layouts) {
        let _ = writeln!(out, "<g transform=\"translate(0 {y})\">");
        Drawing { chart, layout, theme }.draw(&mut out);
        let _ = writeln!(out, "</g>");
        y += layout.height;
    }
    out + "</svg>\n"
}

/// One chart on its way to SVG.
struct Drawing<'a> {
    chart: &'a Chart,
    layout: &'a Layout,
    theme: Theme,
}

impl Drawing<'_> {
    fn draw(&self, out: &mut String) {
        self.heading(out);
        self.grid(out);
        marks::draw(out, self.chart, self.layout, self.theme);
        self.frame(out);
        legend::draw(out, &self.chart.series, self.layout, self.theme);
    }

    fn heading(&self, out: &mut String) {
        let Layout { left, title, subtitle, .. } = self.layout;
        let words = Words { size: text::TITLE_SIZE, is_bold: true, fill: &self.theme.part(Part::Ink) };
        words.at(out, *left, layout::TITLE_Y, Anchor::Start, title);
        let muted = self.theme.part(Part::Muted);
        for (row, line) in subtitle.iter().enumerate() {
            let y = layout::SUBTITLE_Y + row as f64 * layout::SUBTITLE_STEP;
            Words::plain(&muted).at(out, *left, y, Anchor::Start, line);
        }
    }

    /// Lines at marks of both scales, and what the marks say.
    fn grid(&self, out: &mut String) {
        let Layout { left, right, top, bottom, .. } = *self.layout;
        let (grid, ink) = (self.theme.part(Part::Grid), self.theme.part(Part::Ink));
        for (at, label) in &self.chart.y.ticks {
            let y = self.layout.y(&self.chart.y, *at);
            let _ = writeln!(out, "<path d=\"M{left} {y:.1}H{right}\" stroke=\"{grid}\"/>");
            Words::plain(&ink).at(out, left - 8.0, y + 4.5, Anchor::End, label);
        }
        let mut free_from = f64::NEG_INFINITY;
        for (at, label) in &self.chart.x.ticks {
            let x = self.layout.x(&self.chart.x, *at);
            let _ = writeln!(out, "<path d=\"M{x:.1} {top}V{bottom}\" stroke=\"{grid}\"/>");
            // A label that would touch the one before it is left out; its line is there.
            let half = text::width(label, text::SIZE) / 2.0;
            if x - half >= free_from {
                Words::plain(&ink).at(out, x, bottom + 20.0, Anchor::Middle, label);
                free_from = x + half + 6.0;
            }
        }
        let middle = (left + right) / 2.0;
        Words::plain(&ink).at(out, middle, bottom + 44.0, Anchor::Middle, &self.chart.x.label);
    }

    /// The frame lies above the marks, so that none covers it.
    fn frame(&self, out: &mut String) {
        let Layout { left, right, top, bottom, .. } = *self.layout;
        let (frame, ink) = (self.theme.part(Part::Frame), self.theme.part(Part::Ink));
        let _ = writeln!(
            out,
            "<rect x=\"{left}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"{frame}\"/>\n\
             <text transform=\"translate(20 {}) rotate(-90)\" text-anchor=\"middle\" fill=\"{ink}\">{}</text>",
            right - left,
            bottom - top,
            (top + bottom) / 2.0,
            escaped(&self.chart.y.label),
        );
    }
}
