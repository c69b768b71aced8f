//! Pipes from which nothing comes, and what is said of them.

use std::{
    collections::HashSet,
    mem,
    time::{Duration, Instant},
};

use crate::capture::file::{Capture, Location};

/// A pipe is said to keep others waiting after this time.
const LONG: Duration = Duration::from_secs(1);

/// A pipe whose next packet must come before anything else can be read.
pub(super) struct Awaited<'a> {
    pub source: &'a Location,
    /// Which of the captures it is.
    pub index: usize,
    /// Whether its file header has come.
    pub has_begun: bool,
    /// Packets that came from it.
    pub packets: u64,
    /// Whether other captures wait for it.
    pub keeps_others: bool,
}

impl<'a> Awaited<'a> {
    /// Something that comes from `source`, of which this much was read.
    pub(super) fn of(source: &'a Location, index: usize, capture: &Capture, keeps_others: bool) -> Self {
        let (has_begun, packets) = (capture.has_begun(), capture.packets());
        Self { source, index, has_begun, packets, keeps_others }
    }

    /// What is waited for.
    fn text(&self) -> String {
        let source = self.source;
        let what = match (self.has_begun, self.packets) {
            (false, _) => format!("waiting for {source}, which has not begun"),
            (true, 0) => format!("waiting for the first packet of {source}"),
            (true, _) => format!("waiting for the next packet of {source}"),
        };
        if self.keeps_others {
            format!(
                "{what}; the other captures wait, too, as packets are read by time; ^C reads them without it"
            )
        } else {
            what
        }
    }
}

/// Which pipe is awaited, and what was said.
#[derive(Default)]
pub(super) struct Silence {
    /// The pipe that is awaited, how many packets had come from it, and since when no more came.
    last: Option<(usize, u64, Instant)>,
    /// The pipes that were told of: each is told once, unless somebody asks.
    told: HashSet<usize>,
    /// Whether somebody got a summary, and may ask why it has no more.
    is_asked: bool,
}

impl Silence {
    /// Somebody got a summary.
    pub(super) fn ask(&mut self) {
        self.is_asked = true;
    }

    /// Takes in that nothing came for a moment. Returns what is to be said, if anything is.
    pub(super) fn hear(&mut self, awaited: &Awaited<'_>, now: Instant) -> Option<String> {
        let Awaited { index, packets, keeps_others, .. } = *awaited;
        let same = self.last.filter(|(last, before, _)| (*last, *before) == (index, packets));
        let since = same.map_or(now, |(_, _, since)| since);
        self.last = Some((index, packets, since));
        let is_asked = mem::take(&mut self.is_asked);
        let keeps_long = keeps_others && now.duration_since(since) >= LONG;
        let is_due = keeps_long || is_asked && packets == 0;
        let is_new = is_due && self.told.insert(index);
        (is_new || is_due && is_asked).then(|| awaited.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of a pipe after these times in milliseconds, by the number of its packets.
    fn said(silence: &mut Silence, keeps_others: bool, heard: &[(u64, u64)]) -> Vec<bool> {
        let began = Instant::now();
        let mut hear = |&(after_ms, packets): &(u64, u64)| {
            let source = &Location::Stdin;
            let awaited = Awaited { source, index: 0, has_begun: true, packets, keeps_others };
            silence.hear(&awaited, began + Duration::from_millis(after_ms)).is_some()
        };
        heard.iter().map(&mut hear).collect()
    }

    #[test]
    fn a_pipe_that_keeps_others_is_told_once_after_a_second() {
        let heard =
            [(0, 0), (950, 0), (1_000, 1), (1_950, 1), (2_000, 1), (2_050, 1), (9_000, 2), (10_000, 2)];
        let expected = [false, false, false, false, true, false, false, false];
        assert_eq!(said(&mut Silence::default(), true, &heard), expected);
        assert_eq!(said(&mut Silence::default(), false, &heard), [false; 8]);
    }

    #[test]
    fn who_asks_is_told_why_there_is_nothing() {
        for (keeps_others, packets, expected) in
            [(false, 0, [true, false]), (false, 1, [false; 2]), (true, 0, [true, false])]
        {
            let mut silence = Silence::default();
            silence.ask();
            assert_eq!(said(&mut silence, keeps_others, &[(0, packets), (2_000, packets)]), expected);
        }
    }
}
