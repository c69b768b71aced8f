//! All addresses, ranked.

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};

use crate::{
    engine::snapshot::AddressReport,
    report::{
        detail,
        number::{count, grouped, span},
        table, words,
    },
    screen::{
        app::App,
        ranking::Order,
        text::{compact, folded, left, right, width},
    },
};

/// The columns between two cells.
const GAP: usize = 2;

/// The fewest rows under the list that are worth a few words on the chosen address.
const LEAST_PREVIEW: u16 = 4;

/// A column.
struct Column {
    title: &'static str,
    /// The order that this column shows.
    order: Option<Order>,
    is_number: bool,
    /// The narrowest and the widest it may be, without its title.
    columns: (usize, usize),
    cell: fn(&App, &AddressReport) -> String,
}

/// All columns, from left to right, each with its rank: where there is little room, the first ranks stay.
const COLUMNS: [(usize, Column); 10] = [
    (0, column("Address", Some(Order::Address), false, (15, 39), |_, one| one.address.to_string())),
    (1, column("Machines", Some(Order::Machines), false, (9, 16), |_, one| words::machines_in_short(one))),
    (2, column("Conns", Some(Order::Connections), true, (6, 12), |_, one| grouped(one.connections))),
    (4, column("Seg/s", Some(Order::Rate), true, (5, 6), rate)),
    (3, column("RTT", Some(Order::RoundTrip), true, (7, 9), round_trip)),
    (5, column("System", None, false, (12, 26), |_, one| table::systems(one))),
    (7, column("Offsets", None, false, (7, 7), |_, one| words::regime_in_short(one.regime).to_owned())),
    (6, column("News", Some(Order::News), false, (9, 24), news)),
    (
        8,
        column("Up since", Some(Order::Uptime), false, (15, 18), |app, one| {
            table::boots(one, &app.calendar())
        }),
    ),
    (
        9,
        column("Last seen", Some(Order::Seen), false, (14, 14), |app, one| {
            app.calendar().day_and_second(one.last_seen_ns)
        }),
    ),
];

const fn column(
    title: &'static str,
    order: Option<Order>,
    is_number: bool,
    columns: (usize, usize),
    cell: fn(&App, &AddressReport) -> String,
) -> Column {
    Column { title, order, is_number, columns, cell }
}

/// Segments a second.
fn rate(app: &App, report: &AddressReport) -> String {
    app.rates.of(report, app.is_over()).map_or_else(|| "-".to_owned(), compact)
}

/// The median round trip.
fn round_trip(app: &App, report: &AddressReport) -> String {
    app.round_trips.get(&report.address).map_or_else(|| "-".to_owned(), |median_s| span(*median_s))
}

/// The last event.
fn news(app: &App, report: &AddressReport) -> String {
    let last = app.events.latest().find(|entry| entry.address == Some(report.address));
    last.map(|entry| entry.short.clone()).unwrap_or_default()
}

/// Draws the list, and a few words on the chosen address where there is room.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    app.page.set(usize::from(area.height.saturating_sub(1)));
    if app.listed.is_empty() {
        return empty(frame, area, app);
    }
    let wanted = app.listed.len() as u16 + 1;
    let list_rows = wanted.min(area.height);
    let rest = area.height - list_rows;
    let chosen = app.chosen_at().unwrap_or(0);
    let rows = usize::from(list_rows.saturating_sub(1));
    // The chosen one stays in the middle, so that one sees what is before and after it.
    let top = chosen.saturating_sub(rows / 2).min(app.listed.len().saturating_sub(rows));
    app.top.set(top);
    let shown: Vec<&AddressReport> = (top..top + rows).filter_map(|at| app.report_at(at)).collect();
    list(frame, Rect { height: list_rows, ..area }, app, &shown, chosen - top);
    if rest > LEAST_PREVIEW {
        preview(frame, Rect { y: area.y + list_rows + 1, height: rest - 1, ..area }, app);
    }
}

fn empty(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let text = match &app.summary {
        None if app.is_paused => "Paused before the first snapshot. Press p to go on.".to_owned(),
        None => "Waiting for the first snapshot ...".to_owned(),
        Some(_) if !app.filter.is_empty() => {
            format!("No address contains '{}'. Press Esc to list all.", app.filter)
        }
        Some(_) if app.counters().seen == 0 && !app.setup.is_live => {
            "No packets so far. The pane Events (Tab) says what is wrong, if anything is.".to_owned()
        }
        Some(_) if app.counters().seen == 0 => {
            "No frames so far. Is there traffic? Incoming segments are watched; --egress adds outgoing ones."
                .to_owned()
        }
        Some(_) => format!(
            "{} so far, and none with TCP timestamps. The pane Health (Tab) says what they were.",
            count(app.counters().seen, "frame")
        ),
    };
    for (at, line) in folded(&text, usize::from(area.width)).into_iter().enumerate() {
        frame.render_widget(Span::raw(line), Rect { y: area.y + at as u16, height: 1, ..area });
    }
}

/// The cells of the shown addresses, and how wide each column is; 0 for those that have no room.
fn widths(app: &App, shown: &[&AddressReport], room: usize) -> Vec<(usize, Vec<String>)> {
    let cells = |(_, column): &(usize, Column)| {
        let cells: Vec<String> = shown.iter().map(|report| (column.cell)(app, report)).collect();
        let widest = cells.iter().map(|cell| width(cell)).max().unwrap_or(0);
        let (least, most) = column.columns;
        let title = title(app, column).len();
        (least.max(title), widest.clamp(least, most).max(title), cells)
    };
    let all: Vec<(usize, usize, Vec<String>)> = COLUMNS.iter().map(cells).collect();
    let mut by_rank: Vec<usize> = (0..COLUMNS.len()).collect();
    by_rank.sort_by_key(|&at| COLUMNS[at].0);
    by_rank.retain(|&at| COLUMNS[at].1.order != Some(Order::RoundTrip) || !app.round_trips.is_empty());
    let mut columns = vec![0; COLUMNS.len()];
    let mut free = room;
    // First as many columns as fit at their least, then each as wide as it likes to be.
    for (place, &at) in by_rank.iter().enumerate() {
        let needs = all[at].0 + if place == 0 { 0 } else { GAP };
        if needs > free {
            break;
        }
        (columns[at], free) = (all[at].0, free - needs);
    }
    for at in by_rank.into_iter() {
        let more = if columns[at] > 0 { free.min(all[at].1.saturating_sub(columns[at])) } else { 0 };
        (columns[at], free) = (columns[at] + more, free - more);
    }
    columns.into_iter().zip(all).map(|(columns, (.., cells))| (columns, cells)).collect()
}

/// A column's title, with a mark where it is the one by which addresses are sorted.
fn title(app: &App, column: &Column) -> String {
    let mark = if column.order == Some(app.order) { "*" } else { "" };
    format!("{}{mark}", column.title)
}

fn list(frame: &mut Frame<'_>, area: Rect, app: &App, shown: &[&AddressReport], chosen: usize) {
    let columns = widths(app, shown, usize::from(area.width));
    let line = |cell: &dyn Fn(usize) -> String| {
        let cells = columns.iter().enumerate().filter(|(_, (columns, _))| *columns > 0);
        let padded: Vec<String> = cells
            .map(|(at, (columns, _))| match COLUMNS[at].1.is_number {
                true => right(&cell(at), *columns),
                false => left(&cell(at), *columns),
            })
            .collect();
        left(&padded.join(&" ".repeat(GAP)), usize::from(area.width))
    };
    let heading = line(&|at| title(app, &COLUMNS[at].1));
    frame.render_widget(Span::styled(heading, app.look.heading()), Rect { height: 1, ..area });
    for (row, report) in shown.iter().enumerate() {
        let text = line(&|at| columns[at].1[row].clone());
        let style = match (row == chosen, report.doubt.is_some() && report.machines.is_none()) {
            (true, _) => app.look.chosen(),
            (_, true) => app.look.quiet(),
            _ => Style::new(),
        };
        let row_area = Rect { y: area.y + 1 + row as u16, height: 1, ..area };
        frame.render_widget(Span::styled(text, style), row_area);
    }
}

/// What is known of the chosen address, in words.
fn preview(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let Some(summary) = &app.summary else { return };
    let Some(report) = app.chosen_at().and_then(|at| app.report_at(at)) else { return };
    let mut text = detail::about(report, &summary.snapshot);
    for machine in report.machine_list.iter().take(usize::from(area.height)) {
        text.push_str(&format!("  #{}  {}\n", machine.id, super::address::of_machine(machine)));
    }
    let lines = folded(&text, usize::from(area.width));
    let rows = usize::from(area.height);
    for (at, line) in lines.iter().take(rows).enumerate() {
        // What doesn't fit is one key away.
        let text = if at + 1 == rows && lines.len() > rows { "  ... (Enter)" } else { line };
        let style = if at == 0 { app.look.strong() } else { Style::new() };
        let row = Rect { y: area.y + at as u16, height: 1, ..area };
        frame.render_widget(Line::from(Span::styled(text.to_owned(), style)), row);
    }
}
