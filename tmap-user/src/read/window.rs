//! Segments of packets that are a little out of order, in the order of their times.
//!
//! A capture program writes the packets of one interface up to its timeout later than those of another:
//! 250 ms in dumpcap. All times are right, but in the order of the file a SYN-ACK may come before its SYN. So
//! segments are held for a second of capture time. Segments in order take a queue; the others take a heap
//! beside it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use tmap_common::Record;

/// How long a segment is held, in nanoseconds of capture time.
const SPAN_NS: u64 = 1_000_000_000;

/// The most segments held. Where more come within [`SPAN_NS`], the earliest is handed on sooner.
const MOST: usize = 1 << 14;

/// Where nothing more comes from a pipe for so long, nothing is held any further.
const REST: Duration = Duration::from_secs(1);

/// Segments that are held.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Those that came in order, the earliest first.
    ordered: VecDeque<Record>,
    /// The time of the last one that came in order, in nanoseconds.
    last_ns: u64,
    /// Those that came after later ones.
    late: BinaryHeap<Reverse<Late>>,
    /// How many came so far.
    came: u64,
    /// How many had come at the last look at the pipe, and since when.
    rest: Option<(u64, Instant)>,
}

/// A segment that came after later ones: compared by its place alone.
#[derive(Debug)]
struct Late {
    /// The time at which it is handed on, and its number, which keeps those of one time in the file's order.
    place: (u64, u64),
    record: Record,
}

impl PartialEq for Late {
    fn eq(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Eq for Late {}

impl PartialOrd for Late {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Late {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.place.cmp(&other.place)
    }
}

impl Window {
    /// Holds a segment that came at engine time `now_ns`. One whose time isn't believed, because it is later
    /// than that, keeps its place among the others.
    #[inline(always)]
    pub(super) fn push(&mut self, record: Record, now_ns: u64) {
        self.came += 1;
        if (self.last_ns..=now_ns).contains(&record.time_ns) {
            self.last_ns = record.time_ns;
            self.ordered.push_back(record);
        } else {
            self.push_late(record, now_ns);
        }
    }

    #[cold]
    fn push_late(&mut self, record: Record, now_ns: u64) {
        if now_ns < self.last_ns {
            // The time before was absurd.
            self.last_ns = 0;
            let absurd = (0..).zip(self.ordered.drain(..));
            self.late
                .extend(absurd.map(|(number, record)| Reverse(Late { place: (now_ns, number), record })));
        }
        let place = (record.time_ns.min(now_ns), self.came);
        self.late.push(Reverse(Late { place, record }));
    }

    /// Hands on the earliest segment, and the time of its place, if it was held long enough at engine time
    /// `now_ns`.
    #[inline(always)]
    pub(super) fn pop(&mut self, now_ns: u64) -> Option<(u64, Record)> {
        if !self.late.is_empty() {
            return self.pop_of_both(now_ns);
        }
        let time_ns = self.ordered.front()?.time_ns;
        self.is_due(time_ns, now_ns).then(|| self.ordered.pop_front())?.map(|record| (time_ns, record))
    }

    #[cold]
    fn pop_of_both(&mut self, now_ns: u64) -> Option<(u64, Record)> {
        let late_ns = self.late.peek().map_or(u64::MAX, |Reverse(late)| late.place.0);
        let ordered_ns = self.ordered.front().map_or(u64::MAX, |record| record.time_ns);
        let time_ns = late_ns.min(ordered_ns);
        if !self.is_due(time_ns, now_ns) {
            return None;
        }
        // Of one time, those in the queue came first.
        let record = if ordered_ns <= late_ns {
            self.ordered.pop_front()
        } else {
            self.late.pop().map(|Reverse(late)| late.record)
        };
        record.map(|record| (time_ns, record))
    }

    /// Whether the earliest segment, of this time, was held long enough.
    #[inline(always)]
    fn is_due(&self, time_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(time_ns) >= SPAN_NS || self.ordered.len() + self.late.len() > MOST
    }

    /// Whether nothing is held.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.ordered.is_empty() && self.late.is_empty()
    }

    /// Whether nothing more came for [`REST`] to what is held. To be asked at each silence.
    pub(super) fn is_at_rest(&mut self, now: Instant) -> bool {
        let since = self.rest.filter(|(came, _)| *came == self.came).map_or(now, |(_, since)| since);
        self.rest = Some((self.came, since));
        !self.is_empty() && now.duration_since(since) >= REST
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::{Segment, record::Direction};

    const MS: u64 = 1_000_000;
    const START: u64 = 1_700_000_000_000 * MS;

    /// A segment so long after the start, with a number.
    fn record(at_ms: u64, number: u32) -> Record {
        let segment = Segment { tsval: number, ..Segment::default() };
        Record { time_ns: START + at_ms * MS, direction: Direction::Ingress, suppressed: 0, segment }
    }

    /// The numbers of the segments in the order in which they are handed on, where the first `before_end` are
    /// handed on before the end.
    fn handed_on(times_ms: &[u64]) -> (Vec<u32>, usize) {
        let (mut window, mut now_ns, mut numbers) = (Window::default(), 0, Vec::new());
        for (number, &at_ms) in (0..).zip(times_ms) {
            let record = record(at_ms, number);
            now_ns = record.time_ns.max(now_ns);
            window.push(record, now_ns);
            numbers.extend(std::iter::from_fn(|| window.pop(now_ns)).map(|(_, record)| record.segment.tsval));
        }
        let before_end = numbers.len();
        numbers.extend(std::iter::from_fn(|| window.pop(u64::MAX)).map(|(_, record)| record.segment.tsval));
        assert!(window.is_empty());
        (numbers, before_end)
    }

    #[test]
    fn what_is_late_by_less_than_a_second_gets_its_place() {
        let (numbers, before_end) = handed_on(&[100, 200, 150, 400, 150, 200, 1_200, 700]);
        assert_eq!(numbers, [0, 2, 4, 1, 5, 3, 7, 6]);
        assert_eq!(before_end, 5);
    }

    #[test]
    fn what_is_later_comes_where_the_file_has_it() {
        let (numbers, _) = handed_on(&[0, 500, 2_000, 600, 100, 2_100]);
        assert_eq!(numbers, [0, 1, 3, 4, 2, 5]);
    }

    #[test]
    fn a_time_that_is_not_believed_holds_nothing_up() {
        let mut window = Window::default();
        // The engine's time was absurd, and went back.
        for number in 0..4 {
            window.push(record(9_000_000, number), START + 9_000_000 * MS);
        }
        window.push(record(10, 4), START + 10 * MS);
        window.push(record(8_000_000, 5), START + 10 * MS);
        window.push(record(20, 6), START + 20 * MS);
        assert!(window.pop(START + 1_000 * MS).is_none());
        let numbers = std::iter::from_fn(|| window.pop(START + 1_020 * MS));
        let numbers: Vec<u32> = numbers.map(|(_, record)| record.segment.tsval).collect();
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn so_many_are_held_and_no_more() {
        let times_ms = vec![7; MOST + 5];
        assert_eq!(handed_on(&times_ms).1, 5);
    }

    #[test]
    fn a_silent_pipe_holds_nothing_up() {
        let (mut window, began) = (Window::default(), Instant::now());
        window.push(record(0, 0), START);
        let mut at_rest = |after_ms| window.is_at_rest(began + Duration::from_millis(after_ms));
        assert_eq!([0, 950, 1_000].map(&mut at_rest), [false, false, true]);
        window.push(record(1, 1), START + MS);
        assert!(!window.is_at_rest(began + Duration::from_millis(1_050)));
        assert!(window.is_at_rest(began + Duration::from_millis(2_100)));
    }
}
