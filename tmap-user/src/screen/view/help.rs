//! The help: all keys, and what signs mean.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::screen::{
    app::App,
    keys::KEYS,
    text::{folded, left},
};

/// The columns of keys.
const KEY: usize = 10;

/// Draws the help.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut lines = Vec::new();
    for (key, text) in KEYS {
        if key.is_empty() {
            lines.push(Line::from(Span::styled(text, app.look.heading())));
            continue;
        }
        let room = usize::from(area.width).saturating_sub(KEY + 2);
        for (at, part) in folded(text, room).into_iter().enumerate() {
            let key = if at == 0 { key } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!(" {} ", left(key, KEY)), app.look.strong()),
                Span::raw(part),
            ]));
        }
    }
    super::lines(frame, area, app, lines);
}
