//! What is drawn: one file a view.

mod address;
mod addresses;
mod events;
mod health;
mod help;
mod picture;
mod words;

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use super::{
    app::{App, Pane, Part},
    text::{fit, row},
};
use crate::report::number::{count, grouped, span};

/// The smallest screen on which something useful fits.
const LEAST: (u16, u16) = (40, 10);

/// Draws the screen.
pub fn draw(frame: &mut Frame<'_>, app: &App) {
    let area = frame.area();
    if area.width < LEAST.0 || area.height < LEAST.1 {
        return too_small(frame, area);
    }
    let line = |at: u16| Rect { y: area.y + at, height: 1, ..area };
    let body = Rect { y: area.y + 2, height: area.height - 3, ..area };
    frame.render_widget(status(app, area.width), line(0));
    frame.render_widget(tabs(app, area.width), line(1));
    match (app.has_help, app.pane, &app.detail) {
        (true, ..) => help::draw(frame, body, app),
        (_, Pane::Events, _) => events::draw(frame, body, app),
        (_, Pane::Health, _) => health::draw(frame, body, app),
        (_, Pane::Addresses, None) => addresses::draw(frame, body, app),
        (_, Pane::Addresses, Some(detail)) => match detail.part {
            Part::Machines => address::draw(frame, body, app),
            Part::Picture => picture::draw(frame, body, app),
            Part::Words => words::draw(frame, body, app),
        },
    }
    frame.render_widget(footer(app, area.width), line(area.height - 1));
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let text = format!("too small: {}x{}, needs {}x{}", area.width, area.height, LEAST.0, LEAST.1);
    frame.render_widget(Span::raw(fit(&text, usize::from(area.width))), area);
}

/// The first line: what is watched, when, how much comes in, and what was lost.
fn status(app: &App, columns: u16) -> Line<'static> {
    let look = app.look;
    let mut words = vec![("tmap top".to_owned(), look.strong()), (app.setup.source.clone(), Style::new())];
    if app.is_paused {
        words.push((" PAUSED ".to_owned(), look.chosen()));
    }
    words.push((progress(app), Style::new()));
    if app.now_ns() > 0 {
        words.push((app.calendar().day_and_second(app.now_ns()), Style::new()));
    }
    let lost = app.counters().ring_full;
    if app.setup.is_live {
        if let Some(health) = &app.health {
            let frames_per_s = health.stats.rate(|counters| counters.seen).round() as u64;
            words.push((format!("{} frames/s", grouped(frames_per_s)), Style::new()));
        }
        words.push(match lost {
            0 => ("none lost".to_owned(), look.fine()),
            lost => (format!("{} LOST", grouped(lost)), look.alarm()),
        });
    } else {
        words.push((count(app.counters().seen, "frame"), Style::new()));
    }
    row(&words, "  ", usize::from(columns))
}

/// How far a capture was read; nothing for what is live.
fn progress(app: &App) -> String {
    match (app.setup.is_live, app.progress.is_over, app.progress.share) {
        (true, ..) => String::new(),
        (_, true, _) => "read to its end".to_owned(),
        (_, _, Some(share)) => format!("{:.0} % read", 100.0 * share),
        _ => "reading".to_owned(),
    }
}

/// The second line: the panes, the chosen one marked, and what all of it is about.
fn tabs(app: &App, columns: u16) -> Line<'static> {
    let look = app.look;
    let addresses = app.summary.as_ref().map_or(0, |summary| summary.snapshot.addresses.len());
    let tab = |(pane, name): (Pane, &str)| {
        let name = match (pane, &app.detail) {
            (Pane::Addresses, Some(detail)) => format!("{name} > {}", detail.address),
            (Pane::Addresses, None) => format!("{name} {}", grouped(addresses as u64)),
            (Pane::Events, _) => format!("{name} {}", grouped(app.events.len() as u64)),
            (Pane::Health, _) => name.to_owned(),
        };
        let style = if pane == app.pane && !app.has_help { look.chosen() } else { Style::new() };
        (format!(" {name} "), style)
    };
    let mut words: Vec<_> = Pane::ALL.into_iter().map(tab).collect();
    words.extend(age(app).map(|age| (age, look.quiet())));
    if app.has_help {
        words.push((" Help ".to_owned(), look.chosen()));
    }
    row(&words, " ", usize::from(columns))
}

/// From this age on, the list says how old it is, in nanoseconds.
const OLD_NS: u64 = 5_000_000_000;

/// How old the list is, where snapshots are rare: `list 40 s old, r renews it`.
fn age(app: &App) -> Option<String> {
    let taken_ns = app.summary.as_ref()?.snapshot.now_ns;
    let age_ns = app.now_ns().saturating_sub(taken_ns);
    let is_old = app.setup.is_live && age_ns >= OLD_NS;
    is_old.then(|| format!("list {} old, r renews it", span((age_ns / 1_000_000_000) as f64)))
}

/// The last line: what one can type, or what is typed.
fn footer(app: &App, columns: u16) -> Line<'static> {
    let columns = usize::from(columns);
    let look = app.look;
    if app.is_typing {
        let text = format!("list addresses that contain: {}_  (Enter keeps, Esc lists all)", app.filter);
        return Line::from(Span::raw(fit(&text, columns)));
    }
    if !app.saved.is_empty() {
        return Line::from(Span::styled(fit(&app.saved, columns), look.strong()));
    }
    let keys: &[(&str, &str)] = match (app.has_help, app.pane, app.detail.as_ref().map(|one| one.part)) {
        (true, ..) => &[("any key", "back"), ("↑↓", "scroll"), ("q", "quit")],
        (_, Pane::Addresses, None) => {
            &[("Enter", "open"), ("/", "filter"), ("m c t a n u l o", "sort"), ("Tab", "pane")]
        }
        (_, Pane::Addresses, Some(Part::Machines)) => {
            &[("Esc", "back"), ("↑↓", "machine"), ("←→", "picture"), ("v", "larger"), ("w", "why")]
        }
        (_, Pane::Addresses, Some(Part::Picture)) => {
            &[("Esc", "back"), ("←→", "picture"), ("v", "smaller"), ("w", "why")]
        }
        (_, Pane::Addresses, Some(Part::Words)) => &[("Esc", "back"), ("↑↓", "scroll"), ("v", "picture")],
        _ => &[("Esc", "addresses"), ("↑↓", "scroll"), ("Tab", "pane")],
    };
    let always: &[(&str, &str)] = if app.has_help {
        &[]
    } else {
        &[("?", "help"), ("q", "quit"), ("p", if app.is_paused { "go on" } else { "pause" }), ("s", "save")]
    };
    let mut spans: Vec<Span<'static>> = Vec::new();
    let mut used = 0;
    for (key, does) in keys.iter().chain(always) {
        let more = key.chars().count() + 1 + does.chars().count() + if used > 0 { 2 } else { 0 };
        if used + more > columns {
            break;
        }
        spans.push(Span::raw(if used > 0 { "  " } else { "" }));
        spans.push(Span::styled((*key).to_owned(), look.strong()));
        spans.push(Span::raw(format!(" {does}")));
        used += more;
    }
    Line::from(spans)
}

/// Draws lines from the one to which the user scrolled, and notes how far that goes.
fn lines(frame: &mut Frame<'_>, area: Rect, app: &App, lines: Vec<Line<'static>>) {
    let rows = usize::from(area.height);
    let last = lines.len().saturating_sub(rows);
    app.page.set(rows);
    app.last_line.set(last);
    for (at, line) in lines.into_iter().skip(app.scroll.min(last)).take(rows).enumerate() {
        frame.render_widget(line, Rect { y: area.y + at as u16, height: 1, ..area });
    }
}
