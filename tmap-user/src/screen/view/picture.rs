//! A picture of an address alone.

use ratatui::{Frame, layout::Rect, text::Span};

use crate::{
    picture::Kind,
    screen::{
        app::{App, Detail},
        chart,
        text::folded,
    },
};

/// Draws the picture on all of the area.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    match &app.detail {
        Some(detail) => one(frame, area, app, detail, 0),
        None => super::address::gone(frame, area, app),
    }
}

/// Draws the picture that is shown, or the one so many after it.
pub(super) fn one(frame: &mut Frame<'_>, area: Rect, app: &App, detail: &Detail, after: usize) {
    let count = detail.charts.len();
    let at = (detail.chart + after) % count.max(1);
    if let Some((kind, chart)) = detail.charts.get(at) {
        let of_kind = detail.charts.iter().filter(|(other, _)| other == kind).count();
        // Of several pictures of a kind, the chart's title tells which one it is.
        let which = if of_kind > 1 { format!(" ({})", chart.title) } else { String::new() };
        let title = format!("{}/{count}  {}{which}", at + 1, name(*kind));
        return chart::draw(frame, area, &title, chart, app.look);
    }
    let text = match &detail.snapshot {
        None => "The picture comes with the next snapshot of this address.",
        Some(_) => "No picture: no connection of this address shows a steady clock yet.",
    };
    for (at, line) in folded(text, usize::from(area.width)).into_iter().enumerate() {
        if (at as u16) < area.height {
            let line_area = Rect { y: area.y + at as u16, height: 1, ..area };
            frame.render_widget(Span::styled(line, app.look.quiet()), line_area);
        }
    }
}

/// A kind of picture, in words.
fn name(kind: Kind) -> &'static str {
    match kind {
        Kind::Offsets => "Counters against time",
        Kind::Phases => "Phase against time",
        Kind::Ports => "Source ports against time",
        Kind::Rtt => "Round trips",
        Kind::Load => "Load over time",
        Kind::Timeline => "When machines were seen",
    }
}
