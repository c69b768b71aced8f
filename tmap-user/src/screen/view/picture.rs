//! A picture of an address alone.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::screen::{
    app::{App, Detail},
    chart,
    text::folded,
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
    if let Some((_, chart)) = detail.charts.get((detail.chart + after) % count.max(1)) {
        let counter = format!("{}/{count} ", (detail.chart + after) % count + 1);
        chart::draw(frame, area, chart, app.look);
        if after == 0 && count > 1 && area.height > 0 {
            let columns = counter.len() as u16;
            let corner =
                Rect { x: (area.x + area.width).saturating_sub(columns), y: area.y, width: columns, height: 1 };
            frame.render_widget(Line::from(Span::styled(counter, app.look.quiet())), corner);
        }
        return;
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
