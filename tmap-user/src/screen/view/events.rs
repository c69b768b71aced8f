//! What happened, the latest first.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use crate::{
    report::number::count,
    screen::{app::App, events::Kind, text::folded},
};

/// The columns of a time: `02-16 11:40:00`.
const TIME: usize = 14;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let (look, calendar) = (app.look, app.calendar());
    let room = usize::from(area.width).saturating_sub(TIME + 2);
    let mut lines = Vec::new();
    if app.events.len() == 0 {
        let text = "Nothing happened so far. New machines, reboots, clocks that moved and losses come here.";
        lines.extend(folded(text, usize::from(area.width)).into_iter().map(Line::from));
    }
    for entry in app.events.latest() {
        let style = match entry.kind {
            Kind::Machine => Style::new(),
            Kind::Doubt => look.doubt(),
            Kind::Loss => look.alarm(),
            Kind::Notice => look.quiet(),
        };
        let time = calendar.day_and_second(entry.time_ns);
        for (at, part) in folded(&entry.text, room).into_iter().enumerate() {
            let time = if at == 0 { format!("{time:TIME$}  ") } else { " ".repeat(TIME + 2) };
            lines.push(Line::from(vec![Span::styled(time, look.quiet()), Span::styled(part, style)]));
        }
        let indent = " ".repeat(TIME + 2);
        for more in entry.more.lines().flat_map(|line| folded(line.trim_start(), room.saturating_sub(2))) {
            lines.push(Line::from(Span::styled(format!("{indent}  {more}"), look.quiet())));
        }
    }
    if app.events.dropped() > 0 {
        lines.push(Line::from(format!(
            "... and {} before, no longer kept",
            count(app.events.dropped(), "event")
        )));
    }
    super::lines(frame, area, app, lines);
}
