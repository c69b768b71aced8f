//! Segments of packets that are a little out of order, in the order of their times.
//!
//! A capture program writes the packets of one interface up to its timeout later than those of another:
//! 250 ms in dumpcap. All times are right, but in the order of the file a SYN-ACK may come before its SYN. So
//! segments are held for a second of capture time, packed as in the kernel's rings. Segments in order take a
//! queue; the others take a heap beside it.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::{Duration, Instant},
};

use tmap_common::{
    Record,
    record::{MAX_SLOTS, Slot, Tells},
};

use crate::engine::shard::Route;

/// How long a segment is held, in nanoseconds of capture time.
const SPAN_NS: u64 = 1_000_000_000;

/// The most segments held. Where more come within [`SPAN_NS`], the earliest is handed on sooner.
const MOST: usize = 1 << 14;

/// Where nothing more comes from a pipe for so long, nothing is held any further.
const REST: Duration = Duration::from_secs(1);

/// Where segments go from here.
pub(super) trait Onward {
    /// Takes in the slots of one record.
    fn take(&mut self, route: Route, slots: &[Slot]);
}

/// Segments that are held.
#[derive(Debug)]
pub(super) struct Window {
    tells: Tells,
    /// The slots of those that came in order, the earliest first, and where each goes.
    ordered: VecDeque<Slot>,
    routes: VecDeque<Route>,
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
    route: Route,
    slots: Vec<Slot>,
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
    pub(super) fn new(tells: Tells) -> Self {
        let (ordered, routes, late) = (VecDeque::new(), VecDeque::new(), BinaryHeap::new());
        Self { tells, ordered, routes, last_ns: 0, late, came: 0, rest: None }
    }

    /// Holds a segment that came at engine time `now_ns`. One whose time isn't believed, because it is later
    /// than that, keeps its place among the others.
    #[inline(always)]
    pub(super) fn push(&mut self, record: &Record, route: Route, now_ns: u64) {
        self.came += 1;
        if !(self.last_ns..=now_ns).contains(&record.time_ns) {
            return self.push_late(record, route, now_ns);
        }
        self.last_ns = record.time_ns;
        self.routes.push_back(route);
        self.ordered.push_back(record.first_slot(self.tells));
        if record.slot_count() > 1 {
            self.ordered.extend(record.further_slots());
        }
    }

    #[cold]
    fn push_late(&mut self, record: &Record, route: Route, now_ns: u64) {
        if now_ns < self.last_ns {
            // The time before was absurd.
            self.last_ns = 0;
            for number in 0.. {
                let Some((route, slots)) = self.pop_ordered() else { break };
                self.late.push(Reverse(Late { place: (now_ns, number), route, slots }));
            }
        }
        let place = (record.time_ns.min(now_ns), self.came);
        let slots = std::iter::once(record.first_slot(self.tells)).chain(record.further_slots()).collect();
        self.late.push(Reverse(Late { place, route, slots }));
    }

    /// The earliest segment that came in order.
    #[cold]
    fn pop_ordered(&mut self) -> Option<(Route, Vec<Slot>)> {
        let count = Record::slots_of(self.ordered.front()?);
        Some((self.routes.pop_front()?, self.ordered.drain(..count).collect()))
    }

    /// Hands on the earliest segment, if it was held long enough at engine time `now_ns`, and returns the
    /// time of its place.
    #[inline(always)]
    pub(super) fn hand_on(&mut self, now_ns: u64, onward: &mut impl Onward) -> Option<u64> {
        if !self.late.is_empty() {
            return self.hand_on_either(now_ns, onward);
        }
        let first = *self.ordered.front()?;
        let time_ns = first.time_ns();
        if !self.is_due(time_ns, now_ns) {
            return None;
        }
        let route = self.routes.pop_front()?;
        self.ordered.pop_front();
        match Record::slots_of(&first) {
            1 => onward.take(route, &[first]),
            count => {
                let mut slots = [first; MAX_SLOTS];
                slots[1..count]
                    .iter_mut()
                    .zip(self.ordered.drain(..count - 1))
                    .for_each(|(to, slot)| *to = slot);
                onward.take(route, &slots[..count]);
            }
        }
        Some(time_ns)
    }

    /// Hands on the earliest segment where some came late, as [`Window::hand_on`].
    #[cold]
    fn hand_on_either(&mut self, now_ns: u64, onward: &mut impl Onward) -> Option<u64> {
        let late_ns = self.late.peek().map_or(u64::MAX, |Reverse(late)| late.place.0);
        let ordered_ns = self.ordered.front().map_or(u64::MAX, Slot::time_ns);
        let time_ns = late_ns.min(ordered_ns);
        if !self.is_due(time_ns, now_ns) {
            return None;
        }
        // Of one time, those in the queue came first.
        let (route, slots) = if ordered_ns <= late_ns {
            self.pop_ordered()?
        } else {
            self.late.pop().map(|Reverse(late)| (late.route, late.slots))?
        };
        onward.take(route, &slots);
        Some(time_ns)
    }

    /// Whether the earliest segment, of this time, was held long enough.
    #[inline(always)]
    fn is_due(&self, time_ns: u64, now_ns: u64) -> bool {
        now_ns.saturating_sub(time_ns) >= SPAN_NS || self.routes.len() + self.late.len() > MOST
    }

    /// Whether nothing is held.
    #[inline(always)]
    pub(super) fn is_empty(&self) -> bool {
        self.routes.is_empty() && self.late.is_empty()
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

    const ROUTE: Route = Route { own: 0, other: 0 };

    /// The numbers of the segments that were handed on.
    #[derive(Default)]
    struct Numbers(Vec<u32>);

    impl Onward for Numbers {
        fn take(&mut self, _: Route, slots: &[Slot]) {
            let mut further = slots[1..].iter().copied();
            let record = Record::from_slots(&slots[0], || further.next().expect("a slot"));
            assert!(further.next().is_none());
            self.0.push(record.segment.tsval);
        }
    }

    /// The numbers of all segments that are due, in the order in which they are handed on.
    fn due(window: &mut Window, now_ns: u64) -> Vec<u32> {
        let mut numbers = Numbers::default();
        while window.hand_on(now_ns, &mut numbers).is_some() {}
        numbers.0
    }

    /// The numbers of the segments in the order in which they are handed on, where the first `before_end` are
    /// handed on before the end.
    fn handed_on(times_ms: &[u64]) -> (Vec<u32>, usize) {
        let (mut window, mut now_ns, mut numbers) = (Window::new(Tells::PayloadBytes), 0, Vec::new());
        for (number, &at_ms) in (0..).zip(times_ms) {
            let record = record(at_ms, number);
            now_ns = record.time_ns.max(now_ns);
            window.push(&record, ROUTE, now_ns);
            numbers.extend(due(&mut window, now_ns));
        }
        let before_end = numbers.len();
        numbers.extend(due(&mut window, u64::MAX));
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
        let mut window = Window::new(Tells::PayloadBytes);
        // The engine's time was absurd, and went back.
        for number in 0..4 {
            window.push(&record(9_000_000, number), ROUTE, START + 9_000_000 * MS);
        }
        window.push(&record(10, 4), ROUTE, START + 10 * MS);
        window.push(&record(8_000_000, 5), ROUTE, START + 10 * MS);
        window.push(&record(20, 6), ROUTE, START + 20 * MS);
        assert!(due(&mut window, START + 1_000 * MS).is_empty());
        assert_eq!(due(&mut window, START + 1_020 * MS), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn so_many_are_held_and_no_more() {
        let times_ms = vec![7; MOST + 5];
        assert_eq!(handed_on(&times_ms).1, 5);
    }

    #[test]
    fn a_silent_pipe_holds_nothing_up() {
        let (mut window, began) = (Window::new(Tells::PayloadBytes), Instant::now());
        window.push(&record(0, 0), ROUTE, START);
        let mut at_rest = |after_ms| window.is_at_rest(began + Duration::from_millis(after_ms));
        assert_eq!([0, 950, 1_000].map(&mut at_rest), [false, false, true]);
        window.push(&record(1, 1), ROUTE, START + MS);
        assert!(!window.is_at_rest(began + Duration::from_millis(1_050)));
        assert!(window.is_at_rest(began + Duration::from_millis(2_100)));
    }
}
