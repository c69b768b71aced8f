//! What each key does.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{
    app::{App, Detail, Pane, Part},
    feed::Ask,
    ranking::Order,
};

/// The longest filter: an IPv6 address has 39 characters.
const LONGEST_FILTER: usize = 40;

/// The keys, as the help lists them: a heading, or a key and what it does.
pub(super) const KEYS: [(&str, &str); 24] = [
    ("", "Everywhere"),
    ("q  ^C", "end, and print the summary"),
    ("Tab", "next pane: addresses, events, health"),
    ("p  space", "let the view stand still (a capture: stop reading)"),
    ("s", "save a page of everything to a file"),
    ("r", "take a snapshot now"),
    ("?", "this help"),
    ("↑ ↓  j k", "move by a line; PgUp PgDn by a page, g G to an end"),
    ("", "Addresses"),
    ("Enter", "open the address"),
    ("/", "list only addresses that contain a text; Esc lists all"),
    ("m c t a", "sort by machines, connections, traffic, address"),
    ("n u l o", "sort by news, uptime, last seen, round trip"),
    ("", "In an address"),
    ("Esc", "back to all addresses"),
    ("↑ ↓  j k", "choose a machine"),
    ("← →", "another picture"),
    ("v", "the picture alone, or with the machines"),
    ("w", "in words: why this count and no other"),
    ("", "What columns and marks mean"),
    ("5 (4-6)", "best count of machines, and its 90 % interval"),
    ("2+  ?", "at least two machines; nothing shows a clock"),
    ("± 0.3", "one standard error"),
    ("…", "cut for lack of room: use a wider terminal, or w"),
];

impl App {
    /// Takes in a key.
    pub fn key(&mut self, key: KeyEvent) {
        press(self, key);
    }

    /// Takes in a turn of the mouse's wheel; true where something changed.
    pub fn wheel(&mut self, down: bool) -> bool {
        let code = if down { KeyCode::Down } else { KeyCode::Up };
        self.key(code.into());
        true
    }
}

fn press(app: &mut App, key: KeyEvent) {
    if key.kind == KeyEventKind::Release {
        return;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    if control && key.code == KeyCode::Char('c') {
        app.asks.push(Ask::Quit);
        return;
    }
    if app.is_typing {
        type_filter(app, key.code);
        return;
    }
    app.saved.clear();
    if app.has_help {
        help(app, key.code);
        return;
    }
    match key.code {
        KeyCode::Char('q') => app.asks.push(Ask::Quit),
        KeyCode::Char('?') => (app.has_help, app.scroll) = (true, 0),
        KeyCode::Char('p' | ' ') => app.pause(),
        KeyCode::Char('s') => {
            app.saved = "writing the page ...".to_owned();
            app.asks.push(Ask::Save);
        }
        KeyCode::Char('r') => app.asks.push(Ask::Refresh),
        KeyCode::Tab => switch(app, true),
        KeyCode::BackTab => switch(app, false),
        code => match (app.pane, app.detail.is_some()) {
            (Pane::Addresses, false) => in_list(app, code),
            (Pane::Addresses, true) => in_address(app, code),
            _ => in_lines(app, code),
        },
    }
}

fn switch(app: &mut App, forward: bool) {
    (app.pane, app.scroll) = (app.pane.next(forward), 0);
}

fn help(app: &mut App, code: KeyCode) {
    match code {
        KeyCode::Char('q') => app.asks.push(Ask::Quit),
        _ if steps(code, app.page.get()).is_some() => in_lines(app, code),
        _ => (app.has_help, app.scroll) = (false, 0),
    }
}

fn type_filter(app: &mut App, code: KeyCode) {
    match code {
        KeyCode::Enter => app.is_typing = false,
        KeyCode::Esc => {
            app.is_typing = false;
            app.filter.clear();
        }
        KeyCode::Backspace => {
            app.filter.pop();
        }
        KeyCode::Char(typed) if app.filter.len() < LONGEST_FILTER && !typed.is_control() => {
            app.filter.push(typed.to_ascii_lowercase());
        }
        _ => return,
    }
    app.rank();
}

/// How far a key moves, in lines; `None` for keys that move nothing.
fn steps(code: KeyCode, page: usize) -> Option<isize> {
    let page = page.max(1).cast_signed();
    Some(match code {
        KeyCode::Up | KeyCode::Char('k') => -1,
        KeyCode::Down | KeyCode::Char('j') => 1,
        KeyCode::PageUp => -page,
        KeyCode::PageDown => page,
        KeyCode::Home | KeyCode::Char('g') => -isize::MAX,
        KeyCode::End | KeyCode::Char('G') => isize::MAX,
        _ => return None,
    })
}

/// A position moved, within `count` positions.
fn moved(at: usize, by: isize, count: usize) -> usize {
    at.saturating_add_signed(by).min(count.saturating_sub(1))
}

fn in_list(app: &mut App, code: KeyCode) {
    if let Some(by) = steps(code, app.page.get()) {
        let at = moved(app.chosen_at().unwrap_or(0), by, app.listed.len());
        app.selected = app.report_at(at).map(|report| report.address);
        return;
    }
    match code {
        KeyCode::Enter => {
            if let Some(address) = app.selected.filter(|_| app.chosen_at().is_some()) {
                app.open(address);
            }
        }
        KeyCode::Char('/') => app.is_typing = true,
        KeyCode::Esc => {
            app.filter.clear();
            app.rank();
        }
        KeyCode::Char(key) => {
            if let Some(order) = Order::of_key(key) {
                app.order = order;
                app.rank();
            }
        }
        _ => {}
    }
}

fn in_address(app: &mut App, code: KeyCode) {
    let machines = app.shown().map_or(0, |(_, report, _)| report.machine_list.len());
    let Some(detail) = &mut app.detail else { return };
    match code {
        KeyCode::Esc if detail.part != Part::Machines => show(app, Part::Machines),
        KeyCode::Esc | KeyCode::Backspace => app.close(),
        KeyCode::Left => turn(detail, false),
        KeyCode::Right => turn(detail, true),
        KeyCode::Char('v') if detail.part == Part::Picture => show(app, Part::Machines),
        KeyCode::Char('v') => show(app, Part::Picture),
        KeyCode::Char('w') if detail.part == Part::Words => show(app, Part::Machines),
        KeyCode::Char('w') => show(app, Part::Words),
        code if detail.part == Part::Words => in_lines(app, code),
        code => {
            if let Some(by) = steps(code, 5) {
                detail.machine = moved(detail.machine, by, machines);
            }
        }
    }
}

fn show(app: &mut App, part: Part) {
    if let Some(detail) = &mut app.detail {
        detail.part = part;
    }
    app.scroll = 0;
}

/// The next picture, or the one before.
fn turn(detail: &mut Detail, forward: bool) {
    let count = detail.charts.len().max(1);
    detail.chart = (detail.chart + if forward { 1 } else { count - 1 }) % count;
}

/// Scrolls, as far as the view has lines.
fn in_lines(app: &mut App, code: KeyCode) {
    match steps(code, app.page.get()) {
        Some(by) => app.scroll = app.scroll.saturating_add_signed(by).min(app.last_line.get()),
        None if code == KeyCode::Esc => (app.pane, app.scroll) = (Pane::Addresses, 0),
        None => {}
    }
}
