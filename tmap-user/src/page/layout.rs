//! The parts of the page, put together within its budget of bytes.

use askama::Template;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};

use super::{
    accounting,
    address::{self, MAX_MACHINES, Section},
    colours,
    events::{Events, Happened},
    figures::Illustrator,
    made::{Made, Source},
    overview, words,
};
use crate::{
    engine::{coverage::Coverage, snapshot::AddressReport},
    report::{
        Capturing, Summary, View, coverage,
        number::{Calendar, count, grouped, more_of, span},
        siblings,
    },
};

const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The most addresses in the table.
const MAX_ROWS: usize = 4_000;

/// The bytes that sections of addresses may take without their pictures.
const SECTIONS_BYTES: usize = 3 << 20;

/// The most events in the list of all.
const MAX_EVENTS: usize = 300;

/// The most machines with a colour of their own in both themes; further ones keep the pictures' fallback.
const MAX_COLOURS: u32 = 256;

/// With at most so many addresses, all are open from the beginning; with more, the first one.
const FEW: usize = 3;

/// A figure at a glance.
struct Tile {
    value: String,
    label: &'static str,
    is_alarm: bool,
}

/// The page.
#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    css: &'static str,
    colours: String,
    script: &'static str,
    script_hash: String,
    names: String,
    span: Option<String>,
    written: Option<String>,
    version: &'a str,
    in_short: [String; 3],
    tiles: Vec<Tile>,
    warnings: &'a [String],
    rows: Vec<overview::Row>,
    left_out: Option<String>,
    sections: Vec<String>,
    without_section: Option<String>,
    siblings: Vec<String>,
    events: Vec<&'a Happened>,
    more_events: Option<String>,
    accounting: Vec<accounting::Row>,
    seen: String,
    sentences: Vec<String>,
    holdings: String,
    command: String,
    sources: &'a [Source],
    has_rtt: bool,
}

/// The page of a run.
pub(super) fn page(summary: &Summary, events: &Events, made: &Made, calendar: &Calendar<'_>) -> String {
    let snapshot = &summary.snapshot;
    let chosen = View { top: Some(MAX_ROWS), ..View::default() }.of_text(&snapshot.addresses);
    let mut rows: Vec<overview::Row> =
        chosen.listed.iter().map(|report| overview::Row::of(report, snapshot, calendar)).collect();
    let mut sections = Vec::new();
    let mut illustrator = Illustrator::new(snapshot, events.reboots());
    let mut left_bytes = SECTIONS_BYTES;
    for (row, report) in rows.iter_mut().zip(&chosen.listed) {
        let figures = illustrator.draw(report, calendar);
        let drawn: usize = figures.iter().flatten().map(|figure| figure.svg.len()).sum();
        let section = Section::of(report, snapshot, events, figures, calendar);
        let is_open = sections.is_empty() || chosen.listed.len() <= FEW;
        let section = if is_open { section.opened() } else { section };
        let html = rendered(&section);
        let own = html.len().saturating_sub(drawn);
        if own > left_bytes {
            break;
        }
        left_bytes -= own;
        row.anchor = address::anchor(report);
        sections.push(html);
    }
    let without_section = rows.len() - sections.len();
    let news = news(events);
    rendered(&Page {
        css: CSS,
        colours: colours::variables(last_machine(&chosen.listed)),
        script: SCRIPT,
        script_hash: STANDARD.encode(Sha256::digest(SCRIPT.as_bytes())),
        names: made.names(),
        span: time_span(summary, calendar),
        written: made.written(calendar),
        version: &made.version,
        in_short: words::in_short(summary, calendar),
        tiles: tiles(summary),
        warnings: &summary.warnings,
        rows,
        left_out: (chosen.more > 0).then(|| more_of(chosen.more as u64, "address")),
        sections,
        without_section: (without_section > 0).then(|| count(without_section as u64, "address")),
        siblings: sibling_lines(summary),
        more_events: more_events(events, news.len()),
        events: news,
        accounting: accounting::rows(summary),
        seen: grouped(summary.counters.seen),
        sentences: accounting::sentences(summary, calendar),
        holdings: accounting::holdings(summary),
        command: made.command_line(),
        sources: &made.sources,
        has_rtt: snapshot.rtt.is_some(),
    })
}

/// A template as text. Its values are plain, so that it can't fail.
fn rendered(template: &impl Template) -> String {
    template.render().unwrap_or_else(|error| format!("<p>This part is missing: {error}</p>"))
}

/// The highest number of a machine that has a colour on the page.
fn last_machine(listed: &[&AddressReport]) -> u32 {
    let shown = listed.iter().flat_map(|report| report.machine_list.iter().take(MAX_MACHINES));
    shown.map(|machine| machine.id).max().unwrap_or(0).min(MAX_COLOURS)
}

/// The time that the page is about; `None` where no packet told one.
fn time_span(summary: &Summary, calendar: &Calendar<'_>) -> Option<String> {
    let (from_ns, to_ns) = (summary.began_ns, summary.snapshot.now_ns);
    let time = |ns: u64| calendar.local(ns as f64 / 1e9, 0.0);
    let lasted_s = to_ns.saturating_sub(from_ns) as f64 / 1e9;
    (to_ns > 0).then(|| format!("{} to {} ({})", time(from_ns), time(to_ns), span(lasted_s)))
}

/// The figures at a glance.
fn tiles(summary: &Summary) -> Vec<Tile> {
    let addresses = &summary.snapshot.addresses;
    let Coverage { connections, .. } = Coverage::of(addresses);
    let machines: u64 = addresses.iter().map(|report| u64::from(report.machines_low.unwrap_or(0))).sum();
    let machines = match &addresses[..] {
        [only] => crate::report::words::machines_in_short(only),
        _ => format!("{}+", grouped(machines)),
    };
    let tile = |value: String, label| Tile { value, label, is_alarm: false };
    vec![
        tile(machines, "machines"),
        tile(grouped(addresses.len() as u64), "addresses"),
        tile(grouped(connections.all), "connection sides"),
        tile(coverage::percent(connections), "of them given to a machine"),
        tile(grouped(summary.counters.seen), "packets"),
        lost(summary),
    ]
}

/// What was lost: by tmap's sensor, or by what captured before, as far as that tells.
fn lost(summary: &Summary) -> Tile {
    match summary.capturing {
        Capturing::BySensor { .. } => {
            let lost = summary.counters.ring_full;
            Tile { value: grouped(lost), label: "records lost", is_alarm: lost > 0 }
        }
        Capturing::Before { dropped, is_whole } => {
            let value = match (dropped, is_whole) {
                (_, true) => grouped(dropped),
                (0, false) => "not told".to_owned(),
                (_, false) => format!("{}+", grouped(dropped)),
            };
            Tile { value, label: "dropped while capturing", is_alarm: dropped > 0 }
        }
    }
}

/// The events of all addresses: reboots and the like first choice, then machines found, in order of time.
fn news(events: &Events) -> Vec<&Happened> {
    let mut list: Vec<&Happened> = events.all().iter().collect();
    list.sort_by_key(|one| !one.is_news);
    list.truncate(MAX_EVENTS);
    list.sort_by_key(|one| one.at_ns);
    list
}

fn more_events(events: &Events, shown: usize) -> Option<String> {
    let more = events.all().len().saturating_sub(shown) as u64 + events.left_out();
    (more > 0).then(|| more_of(more, "event"))
}

/// The lines on machines behind several addresses.
fn sibling_lines(summary: &Summary) -> Vec<String> {
    let mut text = Vec::new();
    // Writing into memory can't fail.
    let _ =
        siblings::text(&mut text, &summary.snapshot.siblings, summary.snapshot.losses.machines_uncompared);
    let text = String::from_utf8_lossy(&text);
    // The first line is the heading.
    text.lines().filter(|line| line.starts_with(' ')).map(|line| line.trim().to_owned()).collect()
}
