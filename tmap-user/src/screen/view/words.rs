//! An address in words: why this count and no other, and everything on each machine.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
};

use crate::{
    engine::snapshot::AddressReport,
    report::{detail, words},
    screen::{app::App, text::folded},
};

/// The most machines told in words; the report that `s` writes has all.
const MOST_MACHINES: usize = 256;

/// Draws the words.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let Some((_, report, snapshot)) = app.shown() else {
        return super::address::gone(frame, area, app);
    };
    let (look, columns) = (app.look, usize::from(area.width));
    let mut lines = vec![Line::from(Span::styled(question(report), look.strong()))];
    let mut add = |text: &str| lines.extend(folded(text, columns).into_iter().map(Line::from));
    add(&detail::about(report, snapshot));
    for line in reasons(report) {
        add(&format!("  {line}"));
    }
    for machine in report.machine_list.iter().take(MOST_MACHINES) {
        add("");
        add(&format!("#{}  {}", machine.id, super::address::of_machine(machine)));
        add(&detail::about_machine(machine, &app.calendar()));
    }
    if report.machine_list.len() > MOST_MACHINES {
        add("... and more machines: s saves a page of all");
    }
    super::lines(frame, area, app, lines);
}

/// What a reader wants to know: `Why 5 and not 6?`
fn question(report: &AddressReport) -> String {
    match (report.machines, report.machines_low) {
        (Some(machines), _) => format!("Why {machines} and not {}?", machines + 1),
        (None, Some(low)) => format!("Why at least {low}, and no count?"),
        (None, None) => "Why is there no count?".to_owned(),
    }
}

/// What the interval and the lower bound mean.
fn reasons(report: &AddressReport) -> Vec<String> {
    let mut reasons = Vec::new();
    let short = words::machines_in_short(report);
    match (report.machines, report.machines_low, report.machines_high) {
        (Some(best), Some(low), Some(high)) if low < high => reasons.push(format!(
            "{short}: {best} explains best what was seen. By the model, the truth is between {low} and {high} \
             in nine of ten such cases"
        )),
        (Some(best), Some(low), Some(high)) if low == high => reasons.push(format!(
            "{short}: the 90 % interval holds no other count than {best}"
        )),
        (_, Some(low), None) => {
            reasons.push(format!("{short}: at least {low}; the data sets no upper bound"));
        }
        _ => {}
    }
    if let Some(proven) = report.machines_proven.filter(|proven| *proven > 1) {
        reasons.push(format!(
            "{proven} clocks were seen at once within one pair of addresses, which needs no statistics"
        ));
    }
    reasons
}
