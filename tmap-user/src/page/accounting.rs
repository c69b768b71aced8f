//! What became of every frame, what was lost, and what that means for the answer.

use tmap_common::Skip;

use crate::report::{
    Summary,
    number::{Calendar, bytes, count, grouped},
    stats,
    style::Styles,
    text,
};

/// A row of the accounting: what, how many, and their share of all frames.
pub(super) struct Row {
    pub what: String,
    pub count: String,
    /// The share in percent, for a bar and in words.
    pub percent: f64,
    pub share: String,
    /// Whether this is a loss.
    pub is_loss: bool,
}

/// What became of every frame: the rows add up to the frames seen.
pub(super) fn rows(summary: &Summary) -> Vec<Row> {
    let counters = &summary.counters;
    let all = counters.seen;
    let row = |what: &str, count: u64, is_loss: bool| {
        let percent = 100.0 * count as f64 / all.max(1) as f64;
        Row { what: what.to_owned(), count: grouped(count), percent, share: share(percent), is_loss }
    };
    let mut rows = vec![row("TCP segments with timestamps, taken in", counters.emitted, false)];
    if counters.suppressed > 0 {
        rows.push(row("repeats that tell nothing new, left in the kernel", counters.suppressed, false));
    }
    let mut skipped: Vec<(Skip, u64)> =
        Skip::ALL.iter().map(|&skip| (skip, counters.skipped[skip as usize])).collect();
    skipped.sort_by_key(|&(_, count)| std::cmp::Reverse(count));
    for (skip, count) in skipped.into_iter().filter(|&(_, count)| count > 0) {
        rows.push(row(&format!("skipped: {}", stats::in_words(skip)), count, false));
    }
    rows.push(row("lost, because a ring buffer was full", counters.ring_full, counters.ring_full > 0));
    rows
}

/// `12 %`, `less than 0.1 %`, `0 %`.
fn share(percent: f64) -> String {
    match percent {
        0.0 => "0 %".to_owned(),
        few if few < 0.1 => "less than 0.1 %".to_owned(),
        few if few < 10.0 => format!("{few:.1} %"),
        most if most > 99.9 && most < 100.0 => "more than 99.9 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// The sentences of the text report's last lines: coverage, what was skipped and lost, and what helps.
/// Warnings have a place of their own.
pub(super) fn sentences(summary: &Summary, calendar: &Calendar<'_>) -> Vec<String> {
    let mut text = Vec::new();
    // Writing into memory can't fail.
    let _ = text::totals(&mut text, summary, calendar, &Styles::new(false));
    let text = String::from_utf8_lossy(&text);
    text.lines().filter(|line| !line.starts_with("warning: ")).map(str::to_owned).collect()
}

/// What the engine held in the end.
pub(super) fn holdings(summary: &Summary) -> String {
    let held = &summary.holdings;
    format!(
        "{} taken in; {} and {} held in {} of memory",
        count(held.records, "record"),
        count(held.connections as u64, "connection"),
        count(held.addresses as u64, "address"),
        bytes(held.memory_bytes as u64)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_something_is_neither_nothing_nor_all() {
        let texts = [0.0, 0.000_1, 0.25, 33.3, 99.95, 100.0].map(share);
        assert_eq!(texts, ["0 %", "less than 0.1 %", "0.2 %", "33 %", "more than 99.9 %", "100 %"]);
    }
}
