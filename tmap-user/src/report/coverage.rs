//! How much of what was seen is given to a machine, in words and as a JSON object.

use std::collections::BTreeMap;

use serde::Serialize;

use super::number::{count, grouped};
use crate::engine::coverage::{Coverage, Part, Reason};

/// `Machines told for 27 of 30 addresses, with 110 of 120 connections (92 %) and 95 % of segments.`, and the
/// connections left out, by reason. Nothing without addresses.
pub(super) fn text(coverage: &Coverage) -> String {
    let Coverage { addresses, connections, segments, left_out } = coverage;
    if addresses.all == 0 {
        return String::new();
    }
    let mut text = format!(
        "Machines were counted at {} of {}. They hold {} of {} ({}) and {} of their segments.\n",
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

fn percent(part: Part) -> String {
    match part {
        Part { all: 0, .. } => "none".to_owned(),
        // Not all is never 100 %, and something is never 0 %.
        Part { told, all } => {
            let percent = 100.0 * told as f64 / all as f64;
            let whole = percent.round();
            match (told, told == all) {
                (0, _) => "0 %".to_owned(),
                (_, true) => "100 %".to_owned(),
                _ => format!("{:.0} %", whole.clamp(1.0, 99.0)),
            }
        }
    }
}

fn words(reason: Reason) -> &'static str {
    match reason {
        Reason::RateOpen => "whose tick rate stays open",
        Reason::OnlyCounted => "whose machines were counted but not told apart",
        Reason::ZeroTsvals => "whose TSvals are all 0",
        Reason::OffsetsRandom => "with random offsets that could not be told apart",
        Reason::Forgotten => "that were forgotten for lack of room",
    }
}

/// The figures as an object.
#[derive(Serialize)]
pub(super) struct Object {
    addresses: u64,
    addresses_told: u64,
    connections: u64,
    connections_told: u64,
    segments: u64,
    segments_told: u64,
    left_out: BTreeMap<&'static str, u64>,
}

impl Object {
    pub(super) fn of(coverage: &Coverage) -> Self {
        let Coverage { addresses, connections, segments, left_out } = coverage;
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
        Reason::OnlyCounted => "only_counted",
        Reason::ZeroTsvals => "zero_tsvals",
        Reason::OffsetsRandom => "offsets_random",
        Reason::Forgotten => "forgotten",
    }
}
