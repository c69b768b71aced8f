//! What happened, as lines of the pane of events.

use std::collections::VecDeque;

use tmap_common::Address;

use crate::{
    engine::Event,
    report::{View, number::Calendar, text},
};

/// The most lines kept; older ones are only counted.
const MOST: usize = 1_000;

/// What kind of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A machine, or what it did.
    Machine,
    /// What limits answers.
    Doubt,
    /// Something was lost or left out.
    Loss,
    /// A line that standard error would have.
    Notice,
}

/// One thing that happened.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// When it was noticed, engine time in nanoseconds.
    pub time_ns: u64,
    /// The address that it is about.
    pub address: Option<Address>,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What it is, in a sentence.
    pub text: String,
    /// More about it.
    pub more: String,
    /// What it is, in a word or two; empty where no column shows it.
    pub short: String,
}

/// The last things that happened, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    entries: VecDeque<Entry>,
    dropped: u64,
}

impl Events {
    /// Adds one, and drops the oldest where there are too many.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.entries.len() == MOST {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
    }

    /// Adds an event of the engine. Round trips are no lines of this pane.
    pub(super) fn push_event(&mut self, event: &Event, time_ns: u64, calendar: &Calendar<'_>) {
        let (kind, short) = match event {
            Event::Rtt(_) => return,
            Event::NewMachine { machine, .. } => (Kind::Machine, format!("new #{}", machine.id)),
            Event::Reboot { after, .. } => (Kind::Machine, format!("reboot #{after}")),
            Event::ClockMoved { after, .. } => (Kind::Machine, format!("clock #{after}")),
            Event::OffsetsRandom { .. } => (Kind::Doubt, "random".to_owned()),
        };
        let (text, more) = words(event, time_ns, calendar);
        self.push(Entry { time_ns, address: event.address(), kind, text, more, short });
    }

    /// Adds a line that is about no address.
    pub(super) fn push_line(&mut self, kind: Kind, text: String, time_ns: u64) {
        self.push(Entry { time_ns, address: None, kind, text, more: String::new(), short: String::new() });
    }

    /// All that are kept, the latest first.
    pub(super) fn latest(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.entries.iter().rev()
    }

    /// How many are kept.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// An event in the words of the report: its sentence without the time before it, and the lines after that.
fn words(event: &Event, time_ns: u64, calendar: &Calendar<'_>) -> (String, String) {
    let mut out = Vec::new();
    // Memory takes everything.
    let _ = text::event(&mut out, event, time_ns, &View::default(), calendar);
    let all = String::from_utf8_lossy(&out).into_owned();
    let (first, more) = all.split_once('\n').unwrap_or((&all, ""));
    let time = calendar.local(time_ns as f64 / 1e9, 0.0);
    let first = first.strip_prefix(&time).unwrap_or(first).trim_start();
    (first.to_owned(), unfolded(more))
}

/// The lines of a report as they were before they were folded to 80 columns: what is indented further than
/// the first line goes on after the one before.
fn unfolded(text: &str) -> String {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let least = text.lines().map(indent).min().unwrap_or(0);
    let mut lines: Vec<String> = Vec::new();
    for line in text.lines() {
        match lines.last_mut() {
            Some(before) if indent(line) > least => before.push_str(&format!(" {}", line.trim())),
            _ => lines.push(line.trim().to_owned()),
        }
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_folded_is_unfolded() {
        assert_eq!(
            unfolded("      clock, 1\n        hop away\n      up since\n"),
            "clock, 1 hop away\nup since"
        );
        assert_eq!(unfolded(""), "");
    }
}
