//! A chart in characters: braille dots or half blocks, one colour a machine.

use ratatui::{
    Frame,
    layout::Rect,
    style::{Color, Style},
    symbols::Marker,
    text::Span,
    widgets::canvas::{Canvas, Context, Line, Points},
};

use super::{
    look::{self, Look},
    text::{fit, right, row, width},
};
use crate::picture::chart::{Axis, Chart, Mark, Owner, Series};

/// The widest column of marks at the vertical axis.
const MOST_MARGIN: usize = 14;

/// With fewer rows than this, only the title and the marks are drawn.
const LEAST_FOR_LABELS: u16 = 8;

/// The dots of a cell, across and down.
const DOTS: (f64, f64) = (2.0, 4.0);

/// The rows and columns of a chart.
struct Places {
    title: Rect,
    /// The name of the vertical axis, and the legend; without rows where there is no room.
    above: Rect,
    plot: Rect,
    ticks: Rect,
    /// The name of the horizontal axis.
    below: Rect,
    margin: u16,
}

/// Draws a chart under a title of its own: that of the chart names the address, which the screen does too.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, title: &str, chart: &Chart, look: Look) {
    if area.height < 4 || area.width < 20 {
        return;
    }
    let places = places(area, chart);
    heading(frame, &places, title, chart, look);
    axes(frame, &places, chart, look);
    let marker = if look.half_blocks { Marker::HalfBlock } else { Marker::Braille };
    let canvas = Canvas::default()
        .marker(marker)
        .x_bounds([chart.x.from, chart.x.to])
        .y_bounds([chart.y.from, chart.y.to])
        .paint(|context| paint(context, chart, places.plot, look));
    frame.render_widget(canvas, places.plot);
    if !look.colour {
        digits(frame, &places, chart);
    }
    legend(frame, &places, chart, look);
}

fn places(area: Rect, chart: &Chart) -> Places {
    let widest = chart.y.ticks.iter().map(|(_, text)| width(text)).max().unwrap_or(0);
    let margin = (widest.min(MOST_MARGIN) + 1).min(usize::from(area.width) / 3) as u16;
    let row = |at: u16, rows: u16| Rect { y: area.y + at, height: rows, ..area };
    let labels = u16::from(area.height >= LEAST_FOR_LABELS);
    let plot_rows = area.height - 2 - 2 * labels;
    let plot = Rect { x: area.x + margin, width: area.width - margin, ..row(1 + labels, plot_rows) };
    Places {
        title: row(0, 1),
        above: row(1, labels),
        plot,
        ticks: row(1 + labels + plot_rows, 1),
        below: row(area.height - 1, labels),
        margin,
    }
}

fn heading(frame: &mut Frame<'_>, places: &Places, title: &str, chart: &Chart, look: Look) {
    let columns = usize::from(places.title.width);
    let words = [(fit(title, columns), look.strong()), (chart.subtitle.clone(), look.quiet())];
    frame.render_widget(row(&words, "  ", columns), places.title);
    if places.above.height > 0 {
        let text = fit(&chart.y.label, columns);
        frame.render_widget(Span::styled(text, look.quiet()), places.above);
    }
}

fn axes(frame: &mut Frame<'_>, places: &Places, chart: &Chart, look: Look) {
    let plot = places.plot;
    let margin = usize::from(places.margin);
    let mut free_row = i32::MAX;
    for (value, text) in &chart.y.ticks {
        let Some(share) = share(&chart.y, *value) else { continue };
        let at = ((1.0 - share) * f64::from(plot.height - 1)).round() as u16;
        // From the bottom up, and one row between two marks where there are many.
        if i32::from(at) >= free_row {
            continue;
        }
        free_row = i32::from(at);
        let area = Rect { x: places.title.x, y: plot.y + at, width: places.margin, height: 1 };
        let text = format!("{} ", right(text, margin.saturating_sub(1)));
        frame.render_widget(Span::styled(text, look.quiet()), area);
    }
    let mut line = vec![' '; usize::from(places.ticks.width)];
    let mut free = 0;
    for (value, text) in &chart.x.ticks {
        let Some(share) = share(&chart.x, *value) else { continue };
        let centre = margin + (share * f64::from(plot.width - 1)).round() as usize;
        let begin = centre.saturating_sub(width(text) / 2).min(line.len().saturating_sub(width(text)));
        if begin < free || begin + width(text) > line.len() {
            continue;
        }
        text.chars().enumerate().for_each(|(at, c)| line[begin + at] = c);
        free = begin + width(text) + 1;
    }
    let line: String = line.into_iter().collect();
    frame.render_widget(Span::styled(line, look.quiet()), places.ticks);
}

/// Where a value is on an axis, 0 to 1; `None` beyond its ends.
fn share(axis: &Axis, value: f64) -> Option<f64> {
    let share = (value - axis.from) / (axis.to - axis.from);
    (0.0..=1.0).contains(&share).then_some(share)
}

fn colour(owner: Owner, look: Look) -> Color {
    match owner {
        Owner::Machine(number) if look.colour => look::machine(number),
        _ => Color::Reset,
    }
}

fn paint(context: &mut Context<'_>, chart: &Chart, plot: Rect, look: Look) {
    let step_x = (chart.x.to - chart.x.from) / (f64::from(plot.width) * DOTS.0);
    let step_y = (chart.y.to - chart.y.from) / (f64::from(plot.height) * DOTS.1);
    for series in &chart.series {
        let color = colour(series.owner, look);
        let mut points = Vec::new();
        for mark in &series.marks {
            match mark {
                Mark::Point { at, .. } => points.push(*at),
                Mark::Line { from, to } => {
                    context.draw(&Line { x1: from.0, y1: from.1, x2: to.0, y2: to.1, color });
                }
                Mark::Bar { x, y, .. } => {
                    let lines = ((x.1 - x.0) / step_x).ceil().clamp(1.0, 2_000.0) as usize;
                    for line in 0..lines {
                        let x = x.0 + line as f64 * step_x;
                        context.draw(&Line { x1: x, y1: y.0, x2: x, y2: y.1, color });
                    }
                }
                // Every other dot, so that it is no line of data.
                Mark::Event { x, .. } => {
                    let dots = (f64::from(plot.height) * DOTS.1 / 2.0) as usize;
                    points.extend((0..dots).map(|dot| (*x, chart.y.from + 2.0 * step_y * dot as f64)));
                }
            }
        }
        context.draw(&Points { coords: &points, color });
    }
}

/// Without colours, a machine's points show the last digit of its number.
fn digits(frame: &mut Frame<'_>, places: &Places, chart: &Chart) {
    let plot = places.plot;
    for series in &chart.series {
        let symbol = match series.owner {
            Owner::Machine(number) => char::from_digit(number % 10, 10).unwrap_or('?'),
            _ => '.',
        };
        for mark in &series.marks {
            let Mark::Point { at, .. } = mark else { continue };
            if let (Some(x), Some(y)) = (share(&chart.x, at.0), share(&chart.y, at.1)) {
                let column = plot.x + (x * f64::from(plot.width - 1)).round() as u16;
                let row = plot.y + ((1.0 - y) * f64::from(plot.height - 1)).round() as u16;
                frame.buffer_mut()[(column, row)].set_char(symbol);
            }
        }
    }
}

/// The machines and their colours, beside the name of the vertical axis; the name of the horizontal one at
/// the bottom.
fn legend(frame: &mut Frame<'_>, places: &Places, chart: &Chart, look: Look) {
    let columns = usize::from(places.below.width);
    if places.below.height == 0 {
        return;
    }
    let label = right(&chart.x.label, columns);
    frame.render_widget(Span::styled(label, look.quiet()), places.below);
    let room = columns.saturating_sub(width(&chart.y.label) + 2);
    let full = entries(chart, look, |series| series.name.clone());
    let needs: usize = full.iter().map(|(name, _)| width(name) + 2).sum();
    // Where not all names fit, their numbers may.
    let short = |series: &Series| match series.owner {
        Owner::Machine(number) => format!("#{number}"),
        Owner::Nobody | Owner::All => series.name.clone(),
    };
    let line = match needs <= room + 2 {
        true => row(&full, "  ", room),
        false => row(&entries(chart, look, short), " ", room),
    };
    let used = line.width() as u16;
    let area = Rect { x: places.above.x + places.above.width - used, width: used, ..places.above };
    frame.render_widget(line, area);
}

/// Each name once, with its mark.
fn entries(chart: &Chart, look: Look, name: impl Fn(&Series) -> String) -> Vec<(String, Style)> {
    let mut entries: Vec<(String, Style)> = Vec::new();
    for series in chart.series.iter().filter(|series| !series.name.is_empty()) {
        let (sign, style) = match series.owner {
            Owner::Machine(number) => ("■", look.machine(number)),
            Owner::Nobody | Owner::All => ("·", Style::new()),
        };
        let text = format!("{sign} {}", name(series));
        if !entries.iter().any(|(known, _)| *known == text) {
            entries.push((text, style));
        }
    }
    entries
}
