//! The sensor's health: what came in, what was left out or lost, and what all of it costs.

use std::collections::VecDeque;

use ratatui::{
    Frame,
    layout::Rect,
    style::Style,
    text::{Line, Span},
};
use tmap_common::{Counters, Skip};

use crate::{
    report::{
        losses,
        number::{bytes, grouped, span},
        stats::{self, CpuStats},
    },
    screen::{
        app::App,
        text::{bar, folded, left, right, sparkline},
    },
};

/// The columns of names.
const NAME: usize = 12;

/// The columns of figures.
const FIGURE: usize = 13;

/// The columns of bars.
const BAR: usize = 20;

/// Draws the pane.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let columns = usize::from(area.width);
    let mut lines = Vec::new();
    traffic(&mut lines, app, columns);
    let counters = app.counters();
    lines.extend(folded(&stats::identity(&counters), columns).into_iter().map(Line::from));
    rings(&mut lines, app);
    costs(&mut lines, app);
    bounds(&mut lines, app);
    if let Some(summary) = &app.summary {
        let mut text = Vec::new();
        // Memory takes everything.
        let _ = losses::of_engine(&mut text, summary);
        let text = String::from_utf8_lossy(&text).into_owned();
        let style = app.look.doubt();
        lines.extend(folded(&text, columns).into_iter().map(|line| Line::from(Span::styled(line, style))));
    }
    left_out(&mut lines, app, &counters, columns);
    super::lines(frame, area, app, lines);
}

fn heading(app: &App, text: &str) -> Line<'static> {
    Line::from(Span::styled(text.to_owned(), app.look.heading()))
}

/// What comes in, over time.
fn traffic(lines: &mut Vec<Line<'static>>, app: &App, columns: usize) {
    let room = columns.saturating_sub(NAME + FIGURE + 2);
    let mut curve = |name: &str, figure: String, values: &VecDeque<f64>| {
        let values: Vec<f64> = values.iter().copied().collect();
        lines.push(Line::from(vec![
            Span::raw(left(name, NAME)),
            Span::styled(right(&figure, FIGURE), app.look.strong()),
            Span::raw("  "),
            Span::styled(sparkline(&values, room), app.look.fine()),
        ]));
    };
    let last = |values: &VecDeque<f64>| grouped(values.back().copied().unwrap_or(0.0).round() as u64);
    curve("frames/s", last(&app.frames_per_s), &app.frames_per_s);
    curve("records/s", last(&app.records_per_s), &app.records_per_s);
    if let Some(last_s) = app.rtt_s.back() {
        curve("round trip", span(*last_s), &app.rtt_s);
    }
}

/// How full each CPU's ring is, and what was lost there.
fn rings(lines: &mut Vec<Line<'static>>, app: &App) {
    let Some(health) = app.health.as_ref().filter(|_| app.setup.is_live) else { return };
    lines.push(heading(app, "Rings"));
    for cpu in health.stats.cpus.iter().filter(|cpu| cpu.seen > 0 || cpu.ring_full > 0) {
        lines.push(ring(app, cpu));
    }
    if health.stats.cpus.iter().all(|cpu| cpu.seen == 0) {
        lines.push(Line::from("no CPU has seen a frame"));
    }
}

fn ring(app: &App, cpu: &CpuStats) -> Line<'static> {
    let lost = match cpu.ring_full {
        0 => Span::styled("none lost", app.look.fine()),
        lost => Span::styled(format!("{} LOST", grouped(lost)), app.look.alarm()),
    };
    Line::from(vec![
        Span::raw(left(&format!("CPU {}", cpu.cpu), NAME)),
        Span::raw(right(&format!("{:.1} % full", cpu.ring_fill_percent), FIGURE)),
        Span::raw(format!("  {}  ", bar(cpu.ring_fill_percent / 100.0, BAR))),
        lost,
    ])
}

/// CPU time.
fn costs(lines: &mut Vec<Line<'static>>, app: &App) {
    let Some(health) = &app.health else { return };
    lines.push(heading(app, "Cost"));
    lines.push(Line::from(format!(
        "{}{}  of a core, of which the screen takes {:.1} %",
        left("CPU use", NAME),
        right(&format!("{:.1} %", health.cpu_percent), FIGURE),
        health.screen_percent,
    )));
    if health.snapshots > 0 {
        lines.push(Line::from(format!(
            "{}{}  the last took {}{}",
            left("snapshots", NAME),
            right(&grouped(health.snapshots), FIGURE),
            span(health.snapshot_s),
            if health.is_taking { "; one is under way" } else { "" },
        )));
    }
}

/// What is held, against the bounds.
fn bounds(lines: &mut Vec<Line<'static>>, app: &App) {
    let of_health = app.health.as_ref().map(|health| health.stats.holdings);
    let of_summary = app.summary.as_ref().map(|summary| summary.holdings);
    let Some(held) = of_health.or(of_summary) else { return };
    lines.push(heading(app, "Memory"));
    let engine = &app.setup.engine;
    let mut of = |name: &str, held: usize, most: usize, option: &str| {
        lines.push(Line::from(vec![
            Span::raw(left(name, NAME)),
            Span::raw(right(&grouped(held as u64), FIGURE)),
            Span::raw(format!("  {}  ", bar(held as f64 / most.max(1) as f64, BAR))),
            Span::styled(format!("of {} ({option})", grouped(most as u64)), Style::new()),
        ]));
    };
    of("flows", held.flows, engine.max_flows, "--max-flows");
    of("addresses", held.addresses, engine.max_addresses, "--max-addresses");
    let memory = right(&bytes(held.memory_bytes as u64), FIGURE);
    lines.push(Line::from(format!(
        "{}{memory}  held in all; histories take at most {}",
        left("memory", NAME),
        bytes(engine.max_history_bytes as u64),
    )));
}

/// The frames that yielded no record, by reason.
fn left_out(lines: &mut Vec<Line<'static>>, app: &App, counters: &Counters, columns: usize) {
    let mut reasons: Vec<(Skip, u64)> = Skip::ALL
        .iter()
        .map(|&skip| (skip, counters.skipped[skip as usize]))
        .filter(|(_, n)| *n > 0)
        .collect();
    if reasons.is_empty() {
        return;
    }
    reasons.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    lines.push(heading(app, "Skipped frames, by reason"));
    for (skip, count) in reasons {
        let share = count as f64 / counters.seen.max(1) as f64;
        let number = right(&grouped(count), NAME + FIGURE);
        let room = columns.saturating_sub(NAME + FIGURE + BAR + 4);
        lines.push(Line::from(format!(
            "{number}  {}  {}",
            bar(share, BAR),
            left(stats::in_words(skip), room)
        )));
    }
}
