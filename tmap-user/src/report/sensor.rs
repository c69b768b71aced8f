//! What is watched, as it changes, and signs of life.

use std::io::{self, Write};

use serde::Serialize;
use tmap_common::Counters;

use super::{
    Format,
    number::{self, Calendar, grouped},
};
use crate::{engine::Holdings, printable};

/// Longest list of interfaces in a line of text; the others are only counted.
const MAX_NAMES: usize = 8;

/// A change of a watched interface.
#[derive(Clone, Debug)]
pub struct Notice {
    /// Engine time at which it was noticed, in nanoseconds.
    pub now_ns: u64,
    /// The interface.
    pub interface: String,
    /// What changed, in a word.
    pub change: &'static str,
    /// What changed, in a sentence.
    pub text: String,
}

/// A sign of life: what is watched, and how much came in.
#[derive(Clone, Debug, Default)]
pub struct Heartbeat {
    /// Engine time at the end of the interval, in nanoseconds.
    pub now_ns: u64,
    /// Length of the interval in seconds.
    pub interval_s: f64,
    /// All frames since the start.
    pub counters: Counters,
    /// Frames seen in the interval.
    pub seen: u64,
    /// What the engine holds.
    pub holdings: Holdings,
    /// The interfaces that are watched.
    pub watched: Vec<String>,
    /// The interfaces that should be watched and aren't.
    pub unwatched: Vec<String>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Interface { time: Option<String>, interface: &'a str, change: &'a str, text: &'a str },
    Heartbeat(HeartbeatLine<'a>),
}

#[derive(Serialize)]
struct HeartbeatLine<'a> {
    time: Option<String>,
    interval_s: f64,
    watched: &'a [String],
    unwatched: &'a [String],
    packets_per_s: f64,
    seen: u64,
    ring_full: u64,
    flows: usize,
    addresses: usize,
    memory_bytes: usize,
}

/// Writes a change: in JSON only, because people read it on standard error.
pub(super) fn notice(
    out: &mut impl Write,
    notice: &Notice,
    format: Format,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    let Notice { now_ns, interface, change, text } = notice;
    match format {
        Format::Text => Ok(()),
        Format::Json => {
            line(out, &Line::Interface { time: calendar.rfc3339(*now_ns), interface, change, text })
        }
    }
}

/// Writes a sign of life.
pub(super) fn heartbeat(
    out: &mut impl Write,
    beat: &Heartbeat,
    format: Format,
    calendar: &Calendar<'_>,
) -> io::Result<()> {
    match format {
        Format::Text => writeln!(out, "{}", in_words(beat, calendar)),
        Format::Json => line(
            out,
            &Line::Heartbeat(HeartbeatLine {
                time: calendar.rfc3339(beat.now_ns),
                interval_s: beat.interval_s,
                watched: &beat.watched,
                unwatched: &beat.unwatched,
                packets_per_s: beat.per_s(),
                seen: beat.counters.seen,
                ring_full: beat.counters.ring_full,
                flows: beat.holdings.flows,
                addresses: beat.holdings.addresses,
                memory_bytes: beat.holdings.memory_bytes,
            }),
        ),
    }
}

impl Heartbeat {
    /// Frames per second in the interval.
    fn per_s(&self) -> f64 {
        self.seen as f64 / self.interval_s.max(1e-9)
    }
}

/// `2026-11-27 13:07:51 UTC  wan, lan: 12 frames/s, 720 frames so far, none lost; 2 addresses, 8 flows`.
fn in_words(beat: &Heartbeat, calendar: &Calendar<'_>) -> String {
    let time = calendar.local(beat.now_ns as f64 / 1e9, 0.0);
    let watched = if beat.watched.is_empty() { "nothing".to_owned() } else { names(&beat.watched) };
    let missing = match &beat.unwatched[..] {
        [] => String::new(),
        missing => format!(" (NOT WATCHED: {})", names(missing)),
    };
    let lost = match beat.counters.ring_full {
        0 => "none lost".to_owned(),
        lost => format!("{} LOST", grouped(lost)),
    };
    format!(
        "{time}  {watched}{missing}: {} frames/s, {} so far, {lost}; {}, {}",
        grouped(beat.per_s().round() as u64),
        number::count(beat.counters.seen, "frame"),
        number::count(beat.holdings.addresses as u64, "address"),
        number::count(beat.holdings.flows as u64, "flow"),
    )
}

/// `wan, lan`, `a, b, c, d, e, f, g, h and 3 more`.
fn names(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(MAX_NAMES).map(|name| printable(name)).collect();
    number::first_of(&shown, names.len())
}

fn line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallClock;

    #[test]
    fn a_sign_of_life_says_what_is_missing() {
        let calendar = Calendar { wall: WallClock::default(), zone: &jiff::tz::TimeZone::UTC };
        let beat = Heartbeat {
            now_ns: 1_000_000_000,
            interval_s: 60.0,
            counters: Counters { seen: 7_200, ..Counters::default() },
            seen: 720,
            watched: vec!["wan".to_owned(), "lan".to_owned()],
            ..Heartbeat::default()
        };
        assert_eq!(
            in_words(&beat, &calendar),
            "1970-01-01 00:00:01 UTC  wan, lan: 12 frames/s, 7,200 frames so far, none lost; 0 addresses, \
             0 flows"
        );
        let broken = Heartbeat {
            watched: Vec::new(),
            unwatched: (0..10).map(|number| format!("v{number}")).collect(),
            counters: Counters { ring_full: 3, ..Counters::default() },
            ..beat
        };
        let words = in_words(&broken, &calendar);
        assert!(
            words.contains("nothing (NOT WATCHED: v0, v1, v2, v3, v4, v5, v6, v7 and 2 more)"),
            "{words}"
        );
        assert!(words.contains("3 LOST"), "{words}");
    }
}
