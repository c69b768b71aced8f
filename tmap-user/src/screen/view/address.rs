//! One address: its count and evidence, its machines, and a picture.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use crate::{
    engine::{
        Snapshot,
        snapshot::{AddressReport, MachineReport},
    },
    report::{
        detail,
        number::{count, hertz, signed, span},
        table, words,
    },
    screen::{
        app::{App, Detail},
        text::{bar, fit, folded, left, right, sparkline},
    },
};

/// From this width on, the picture is beside the machines, not below.
const WIDE: u16 = 120;

/// The rows of a picture below which the machines give way.
const LEAST_PICTURE: u16 = 8;

/// The widest histogram of round trips, in columns.
const MOST_BUCKETS: usize = 40;

/// Draws the address.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let Some((detail, report, snapshot)) = app.shown() else { return gone(frame, area, app) };
    if area.width >= WIDE {
        let left = Rect { width: area.width * 11 / 20, ..area };
        let right = Rect { x: left.x + left.width + 2, width: area.width - left.width - 2, ..area };
        column(frame, left, app, (detail, report, snapshot), area.height);
        let upper = Rect { height: area.height / 2, ..right };
        let lower = Rect { y: right.y + upper.height, height: area.height - upper.height, ..right };
        let has_two = detail.charts.len() > 1;
        super::picture::one(frame, if has_two { upper } else { right }, app, detail, 0);
        if has_two {
            super::picture::one(frame, lower, app, detail, 1);
        }
        return;
    }
    // On a small screen, the picture is one key away.
    let beside = area.height.saturating_sub(LEAST_PICTURE);
    let rows = if area.height < 2 * LEAST_PICTURE { area.height } else { beside.max(area.height / 2) };
    let used = column(frame, area, app, (detail, report, snapshot), rows);
    let rest = area.height.saturating_sub(used);
    if rest >= 5 {
        super::picture::one(frame, Rect { y: area.y + used, height: rest, ..area }, app, detail, 0);
    }
}

/// Says that there is nothing to show.
pub(super) fn gone(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let text = match &app.detail {
        Some(detail) => format!("Nothing is known of {} any more. Esc goes back.", detail.address),
        None => String::new(),
    };
    frame.render_widget(Span::raw(fit(&text, usize::from(area.width))), area);
}

/// Words and machines, in at most so many rows; returns how many were used.
fn column(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    (detail, report, snapshot): (&Detail, &AddressReport, &Snapshot),
    rows: u16,
) -> u16 {
    let columns = usize::from(area.width);
    let rows = usize::from(rows);
    let mut lines: Vec<Line<'static>> = Vec::new();
    let about = folded(&detail::about(report, snapshot), columns);
    let most_words = (rows / 3).max(2);
    for (at, text) in about.iter().take(most_words).enumerate() {
        let is_cut = at + 1 == most_words && about.len() > most_words;
        let text = if is_cut { "  ... (w: all of it, in words)" } else { text };
        let style = if at == 0 { app.look.strong() } else { Style::new() };
        lines.push(Line::from(Span::styled(text.to_owned(), style)));
    }
    lines.extend(round_trips(app, report, snapshot, columns));
    let chosen = report.machine_list.get(detail.machine);
    let words: Vec<String> = chosen.map(|one| about_chosen(app, one, columns)).unwrap_or_default();
    let free = rows.saturating_sub(lines.len() + 1);
    let listed = report.machine_list.len().min(free.saturating_sub(words.len().min(3)).max(1));
    if !report.machine_list.is_empty() {
        lines.push(heading(app, columns));
        let top = detail.machine.saturating_sub(listed / 2).min(report.machine_list.len() - listed);
        for (at, machine) in report.machine_list.iter().enumerate().skip(top).take(listed) {
            lines.push(machine_line(app, machine, at == detail.machine, columns));
        }
    }
    lines.extend(words.into_iter().map(|line| Line::from(Span::raw(line))));
    if let (Some(rest), true) = (&report.unassigned, lines.len() < rows) {
        let text = folded(&format!("  {}", table::rest(report, rest)), columns);
        lines.extend(text.into_iter().map(|line| Line::from(Span::styled(line, app.look.quiet()))));
    }
    if lines.len() + 4 < rows && area.width < frame.area().width {
        lines.extend(more(app, report, chosen, columns));
    }
    lines.truncate(rows);
    let used = lines.len() as u16;
    for (at, line) in lines.into_iter().enumerate() {
        frame.render_widget(line, Rect { y: area.y + at as u16, height: 1, ..area });
    }
    used
}

/// What else there is to tell, where there is room: all about the chosen machine, and what happened here.
fn more(
    app: &App,
    report: &AddressReport,
    chosen: Option<&MachineReport>,
    columns: usize,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(machine) = chosen {
        lines.push(Line::default());
        let title = format!("Machine #{}, in detail", machine.id);
        lines.push(Line::from(Span::styled(title, app.look.heading())));
        let about = detail::about_machine(machine, &app.calendar());
        let about: Vec<&str> = about.lines().map(str::trim_start).collect();
        lines.extend(folded(&about.join("\n"), columns).into_iter().map(Line::from));
    }
    let own: Vec<_> = app.events.latest().filter(|entry| entry.address == Some(report.address)).collect();
    if !own.is_empty() {
        lines.push(Line::default());
        lines.push(Line::from(Span::styled("What happened here", app.look.heading())));
    }
    for entry in own {
        let time = app.calendar().day_and_second(entry.time_ns);
        let text = folded(&format!("{time}  {}", entry.text), columns);
        lines.extend(text.into_iter().map(Line::from));
    }
    lines
}

/// The median and the histogram of round trips, where they are measured.
fn round_trips(
    app: &App,
    report: &AddressReport,
    snapshot: &Snapshot,
    columns: usize,
) -> Option<Line<'static>> {
    let own = snapshot.rtt.iter().flat_map(|rtt| &rtt.machines);
    let own = own.filter(|one| one.address == report.address).max_by_key(|one| one.rtt.count)?;
    let ms = |ns: u64| span(ns as f64 / 1e9);
    let p95 = own.rtt.p95.map_or_else(String::new, |p95_ns| format!(", 95 % within {}", ms(p95_ns)));
    let text = format!(
        "  round trips: median {}{p95}, {} to {} ",
        ms(own.rtt.median),
        ms(own.rtt.min),
        ms(own.rtt.max)
    );
    let room = columns.saturating_sub(text.chars().count()).min(MOST_BUCKETS);
    let counts: Vec<f64> = own.histogram.iter().map(|bucket| bucket.count as f64).collect();
    let curve = if counts.len() <= room { sparkline(&counts, room) } else { String::new() };
    Some(Line::from(vec![Span::raw(text), Span::styled(curve, app.look.fine())]))
}

/// A machine's columns: their titles, and how wide they are.
const COLUMNS: [(&str, usize); 6] =
    [("#", 4), ("Share", 12), ("Tick", 7), ("Skew, ppm", 14), ("Up since", 16), ("System", SYSTEM)];

/// The columns of systems: more where there is room, up to the longest name.
const SYSTEM: usize = 12;
const MOST_SYSTEM: usize = 26;

/// The columns of ports, where there is room for them.
const PORTS: usize = 28;

/// The widths of the columns that fit, and what is left for ports.
fn fitting(columns: usize) -> (Vec<usize>, usize) {
    let mut free = columns + 1;
    let mut widths = Vec::new();
    for (_, width) in COLUMNS {
        match free.checked_sub(width + 1) {
            Some(rest) => free = rest,
            None => break,
        }
        widths.push(width);
    }
    let has_all = widths.len() == COLUMNS.len();
    let ports = if has_all && free > PORTS + MOST_SYSTEM - SYSTEM { PORTS } else { 0 };
    free -= ports;
    if let (true, Some(system)) = (has_all, widths.last_mut()) {
        *system += free.saturating_sub(1).min(MOST_SYSTEM - SYSTEM);
    }
    (widths, ports)
}

fn heading(app: &App, columns: usize) -> Line<'static> {
    let (widths, ports) = fitting(columns);
    let titles = COLUMNS.iter().zip(&widths);
    let mut text: Vec<String> = titles.map(|((title, _), width)| left(title, *width)).collect();
    text.extend((ports > 0).then(|| left("Ports", ports)));
    Line::from(Span::styled(left(&text.join(" "), columns), app.look.heading()))
}

fn machine_line(app: &App, machine: &MachineReport, is_chosen: bool, columns: usize) -> Line<'static> {
    let (widths, ports) = fitting(columns);
    let look = app.look;
    let own = look.machine(machine.id);
    let tick = if machine.tick_hz > 0.0 { hertz(machine.tick_hz) } else { "unsteady".to_owned() };
    let skew = machine.skew_ppm.map_or_else(|| "-".to_owned(), signed);
    let boot = machine.boot.map_or_else(
        || "-".to_owned(),
        |boot| app.calendar().minute(boot.engine_s.value, boot.engine_s.sigma),
    );
    let system = match machine.os.confidence > 0.0 {
        true => table::in_short(&machine.os.name),
        false => "?".to_owned(),
    };
    let share = format!("{} {}", bar(machine.load_percent / 100.0, 6), right(&percent(machine), 5));
    let cells = [format!("#{}", machine.id), share, tick, skew, boot, system];
    let base = if is_chosen { look.chosen() } else { Style::new() };
    let mut spans: Vec<Span<'static>> = Vec::new();
    for (at, (cell, width)) in cells.iter().zip(&widths).enumerate() {
        let style = if at < 2 { base.patch(own) } else { base };
        spans.push(Span::styled(left(cell, *width), style));
        spans.push(Span::styled(" ", base));
    }
    if ports > 0 {
        spans.push(Span::styled(left(&words::ports_in_short(&machine.ports), ports), base));
    } else {
        spans.pop();
    }
    Line::from(spans)
}

/// A machine's share of the connections: `26 %`, `<1 %`.
fn percent(machine: &MachineReport) -> String {
    match machine.load_percent {
        few if few > 0.0 && few < 0.5 => "<1 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}

/// `about 11 of 38 connections (30 %), client of port 443`.
pub(super) fn of_machine(machine: &MachineReport) -> String {
    let (share, ports) = (words::share(machine), words::ports_in_short(&machine.ports));
    if ports.is_empty() { share } else { format!("{share}, {ports}") }
}

/// The chosen machine, in words.
fn about_chosen(app: &App, machine: &MachineReport, columns: usize) -> Vec<String> {
    let calendar = app.calendar();
    let [first, last] = [machine.first_seen_ns, machine.last_seen_ns].map(|ns| calendar.day_and_second(ns));
    // `02-16 11:40:00 to 11:45:00`.
    let last = match (first.split_once(' '), last.split_once(' ')) {
        (Some((day, _)), Some((same, time))) if day == same => time.to_owned(),
        _ => last,
    };
    let mut text = format!(
        "  #{}: {}; {}\n",
        machine.id,
        of_machine(machine),
        if machine.peers_total > 0 { count(machine.peers_total, "peer") } else { "no peer known".to_owned() },
    );
    text.push_str(&format!("    seen {first} to {last}; {}\n", words::system_in_short(&machine.os),));
    if let Some(boot) = machine.boot {
        text.push_str(&format!("    up since {}\n", words::up_since_in_short(boot, &calendar)));
    }
    folded(&text, columns)
}
