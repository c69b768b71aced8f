//! How much of what was seen is given to a machine, in words and as a JSON object.

use std::collections::BTreeMap;

use serde::Serialize;

use super::number::{count, grouped};
use crate::engine::coverage::{Coverage, Part, Reason};

/// `Machines were counted at 27 of 30 addresses. Machines hold 110 of 120 connection sides (92 %) and 95 % of
/// their segments.`, and the connections left out, by reason. Nothing without addresses. Where connections
/// made room for others, `95 % of the segments of those that are held`.
pub(crate) fn text(coverage: &Coverage) -> String {
    let Coverage { addresses, connections, segments, forgotten, left_out } = coverage;
    if addresses.all == 0 {
        return String::new();
    }
    let whose = if *forgotten > 0 { "the segments of those that are held" } else { "their segments" };
    let mut text = format!(
        "Machines were counted at {} of {}. Machines hold {} of {} ({}) and {} of {whose}.\n",
        grouped(addresses.told),
        count(addresses.all, "address"),
        grouped(connections.told),
        count(connections.all, "connection side"),
        percent(*connections),
        percent(*segments),
    );
    if !left_out.is_empty() {
        let parts: Vec<String> = left_out
            .iter()
            .map(|(reason, connections)| format!("{} {}", grouped(*connections), words(*reason)))
            .collect();
        text.push_str(&format!("Left out: {}.\n", parts.join("; ")));
    }
    text
}

/// `92 %`; not all is never 100 %, and something is never 0 %.
pub(crate) fn percent(part: Part) -> String {
    match part {
        Part { all: 0, .. } => "none".to_owned(),
        Part { told: 0, .. } => "0 %".to_owned(),
        Part { told, all } if told == all => "100 %".to_owned(),
        Part { told, all } => {
            format!("{:.0} %", (100.0 * told as f64 / all as f64).round().clamp(1.0, 99.0))
        }
    }
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::RateOpen => "whose tick rate stays open",
        Reason::Unanswered => "that completed no handshake",
        Reason::OnlyCounted => "whose machines were counted but not told apart",
        Reason::ZeroTsvals => "whose TSvals are all 0",
        Reason::OffsetsRandom => "with random offsets that could not be told apart",
        Reason::NotAnalysed => "that were not analysed to the end",
        Reason::Forgotten => "that were forgotten for lack of room",
    }
}

/// The figures as an object.
#[derive(Serialize)]
pub(crate) struct Object {
    addresses: u64,
    addresses_told: u64,
    connections: u64,
    connections_told: u64,
    segments: u64,
    segments_told: u64,
    left_out: BTreeMap<&'static str, u64>,
}

impl Object {
    pub(crate) fn of(coverage: &Coverage) -> Self {
        let Coverage { addresses, connections, segments, forgotten: _, left_out } = coverage;
        Self {
            addresses: addresses.all,
            addresses_told: addresses.told,
            connections: connections.all,
            connections_told: connections.told,
            segments: segments.all,
            segments_told: segments.told,
            left_out: left_out.iter().map(|(reason, connections)| (name(*reason), *connections)).collect(),
        }
    }
}

fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::RateOpen => "rate_open",
        Reason::Unanswered => "unanswered",
        Reason::OnlyCounted => "only_counted",
        Reason::ZeroTsvals => "zero_tsvals",
        Reason::OffsetsRandom => "offsets_random",
        Reason::NotAnalysed => "not_analysed",
        Reason::Forgotten => "forgotten",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn part_of_something_is_neither_nothing_nor_all() {
        let percent = |told, all| percent(Part { told, all });
        assert_eq!(percent(0, 0), "none");
        assert_eq!(percent(0, 7), "0 %");
        assert_eq!(percent(7, 7), "100 %");
        assert_eq!(percent(1, 100_000), "1 %");
        assert_eq!(percent(99_999, 100_000), "99 %");
        assert_eq!(percent(1, 3), "33 %");
    }

    #[test]
    fn what_is_told_and_what_is_left_out_are_two_sentences() {
        let mut coverage = Coverage {
            addresses: Part { told: 27, all: 30 },
            connections: Part { told: 1_110, all: 1_120 },
            segments: Part { told: 95, all: 100 },
            forgotten: 0,
            left_out: BTreeMap::new(),
        };
        let told = "Machines were counted at 27 of 30 addresses. Machines hold 1,110 of 1,120 connection sides (99 %) \
                    and 95 % of their segments.\n";
        assert_eq!(text(&coverage), told);
        coverage.left_out = [(Reason::Forgotten, 3), (Reason::RateOpen, 7)].into();
        let left_out = "Left out: 7 whose tick rate stays open; 3 that were forgotten for lack of room.\n";
        assert_eq!(text(&coverage), format!("{told}{left_out}"));
        coverage.forgotten = 3;
        let of_those_held = told.replace("their segments", "the segments of those that are held");
        assert_eq!(text(&coverage), format!("{of_those_held}{left_out}"));
        assert_eq!(text(&Coverage::default()), "");
    }
}
