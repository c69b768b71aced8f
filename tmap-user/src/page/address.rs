//! One address as the page shows it.

use askama::Template;

use super::{
    events::{Events, Happened},
    figures::Figure,
    machine,
};
use crate::{
    engine::{Snapshot, snapshot::AddressReport},
    report::{
        detail,
        number::{Calendar, count, more_of, span},
        table, words,
    },
};

/// The most machines of an address that get a row.
pub(super) const MAX_MACHINES: usize = 64;

/// The most events of an address in its list.
const MAX_EVENTS: usize = 40;

/// What is known of an address, in words, rows and pictures.
#[derive(Template)]
#[template(path = "address.html")]
pub(super) struct Section<'a> {
    anchor: String,
    address: String,
    /// The count, as text reports print it.
    machines: String,
    connections: String,
    seen: String,
    /// Why this number, in sentences.
    why: Vec<String>,
    limit: Option<String>,
    /// What stands in its place where nothing limits the answer.
    no_limit: &'static str,
    help: Option<String>,
    remarks: Vec<String>,
    rows: Vec<machine::Row>,
    more_machines: Option<String>,
    figures: Vec<Figure>,
    /// Why there are no pictures, where there are none.
    no_figures: Option<String>,
    events: Vec<&'a Happened>,
    more_events: Option<String>,
    is_open: bool,
}

impl<'a> Section<'a> {
    /// The section of an address; `figures` is `None` where the pictures' budget is spent.
    pub(super) fn of(
        report: &AddressReport,
        snapshot: &Snapshot,
        events: &'a Events,
        figures: Option<Vec<Figure>>,
        calendar: &Calendar<'_>,
    ) -> Self {
        let mut own = events.of(report.address);
        let more_events = own.len().saturating_sub(MAX_EVENTS);
        // What is no discovery matters more.
        if more_events > 0 {
            own.sort_by_key(|one| !one.is_news);
            own.truncate(MAX_EVENTS);
            own.sort_by_key(|one| one.at_ns);
        }
        let shown = report.machine_list.iter().take(MAX_MACHINES);
        let more_machines = report.machine_list.len().saturating_sub(MAX_MACHINES);
        let seen_s = report.last_seen_ns.saturating_sub(report.first_seen_ns) as f64 / 1e9;
        Self {
            anchor: anchor(report),
            address: report.address.to_string(),
            machines: words::machines(report),
            connections: count(report.connections, "connection"),
            seen: format!(
                "{} to {} ({})",
                calendar.local(report.first_seen_ns as f64 / 1e9, 0.0),
                calendar.local(report.last_seen_ns as f64 / 1e9, 0.0),
                span(seen_s)
            ),
            why: why(report),
            limit: detail::limit(report, snapshot),
            no_limit: no_limit(report),
            help: words::help(report),
            remarks: remarks(report, snapshot.now_ns),
            rows: shown.map(|machine| machine::Row::of(machine, calendar)).collect(),
            more_machines: (more_machines > 0).then(|| more_of(more_machines as u64, "machine")),
            no_figures: no_figures(figures.as_deref(), report),
            figures: figures.unwrap_or_default(),
            events: own,
            more_events: (more_events > 0).then(|| more_of(more_events as u64, "event")),
            is_open: false,
        }
    }

    /// Makes a section that is open from the beginning.
    #[must_use]
    pub(super) fn opened(mut self) -> Self {
        self.is_open = true;
        self
    }
}

/// The name of an address's section in links.
pub(super) fn anchor(report: &AddressReport) -> String {
    format!("a-{}", report.address.to_string().replace([':', '.'], "-"))
}

/// What is to be said where no cause limits the answer.
fn no_limit(report: &AddressReport) -> &'static str {
    match (report.machines_low, report.machines_high) {
        (Some(low), Some(high)) if low == high => "Nothing that tmap knows of.",
        (None, _) => "Too little was seen.",
        _ => {
            "The number and the length of its connections. More of them, or longer ones, narrow the interval."
        }
    }
}

/// Why there are no pictures.
fn no_figures(figures: Option<&[Figure]>, report: &AddressReport) -> Option<String> {
    match figures {
        None => Some(format!(
            "Pictures are drawn for the addresses with the most machines only. To see this one, make a page \
             of it alone: --filter 'src host {}'",
            report.address
        )),
        Some([]) => Some("There are no pictures, because no connection here shows a clock.".to_owned()),
        Some(figures) => {
            let has_phases = figures.iter().any(|figure| figure.is_of_phases());
            let without =
                "There is no picture of phases, because no connection here shows its phase to 0.2 ticks.";
            (!has_phases).then(|| without.to_owned())
        }
    }
}

/// The evidence and the confidence, in sentences.
fn why(report: &AddressReport) -> Vec<String> {
    let mut why = Vec::new();
    if let Some(offsets) = detail::offsets(report) {
        why.push(sentence(&offsets));
    }
    why.extend(confidence(report));
    why
}

/// How sure the count is, for a reader who doesn't know intervals.
fn confidence(report: &AddressReport) -> Option<String> {
    let text = match (report.machines, report.machines_low, report.machines_high) {
        (Some(_), Some(low), Some(high)) if low == high => {
            "The data leaves no room for another number: the 90 % interval has one value.".to_owned()
        }
        (Some(best), Some(low), Some(high)) => format!(
            "The best number is {best}. In 9 of 10 such cases the true number is between {low} and {high}."
        ),
        (Some(best), Some(low), None) if best == low => {
            format!("{best} is a lower bound: nothing in the data excludes more machines.")
        }
        (Some(best), Some(low), None) => format!(
            "The best number is {best}. In 9 of 10 such cases the true number is {low} or more; nothing in \
             the data sets an upper bound."
        ),
        (None, Some(low), Some(high)) => {
            format!("There is no best number: the data allows every number from {low} to {high}.")
        }
        (None, Some(low), None) => format!("There is no best number: it is at least {low}."),
        _ => return None,
    };
    let proven = report.machines_proven.filter(|&proven| proven > 1);
    Some(match proven {
        Some(proven) => format!(
            "{text} {proven} need no statistics: so many clocks were seen at once between one pair of \
             addresses."
        ),
        None => text,
    })
}

/// What else is known: odd clocks, connections without timestamps, tunnels, the rest, the average uptime.
fn remarks(report: &AddressReport, now_ns: u64) -> Vec<String> {
    let mut remarks = detail::remarks(report);
    remarks.extend(words::unstamped(report));
    remarks.extend(words::tunnels(&report.tunnels));
    remarks.extend(report.unassigned.as_ref().map(|unassigned| table::rest(report, unassigned)));
    remarks.extend(detail::average_uptime(report, now_ns));
    remarks.iter().map(|remark| sentence(remark)).collect()
}

/// A phrase as a sentence: with a capital letter and a full stop.
pub(super) fn sentence(phrase: &str) -> String {
    let mut letters = phrase.chars();
    let mut text: String =
        letters.next().map(|first| first.to_uppercase().collect::<String>()).unwrap_or_default();
    text.push_str(letters.as_str());
    if !text.ends_with('.') {
        text.push('.');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn phrases_become_sentences() {
        assert_eq!(sentence("offsets are fixed"), "Offsets are fixed.");
        assert_eq!(sentence("12 segments."), "12 segments.");
        assert_eq!(sentence(""), ".");
    }
}
