//! Sorts records by time before round trips are measured.
//!
//! The sensor merges its rings by time. But the two directions of a connection may arrive on different
//! CPUs or interfaces, and between two rounds of draining they can still be out of order by
//! microseconds. An echo would then come before the segment that it echoes. Holding each record for a
//! millisecond of record time avoids that.

use std::collections::VecDeque;

use tmap_common::Record;

/// How long a record is held, in nanoseconds of record time.
const HOLD_NS: u64 = 1_000_000;

/// The most records held; beyond it, the earliest is passed on at once.
const MAX_HELD: usize = 4_096;

/// A short queue of records, the earliest first.
#[derive(Debug, Default)]
pub(super) struct Order {
    held: VecDeque<Record>,
}

impl Order {
    /// Takes in a record. Records come nearly in order, so it belongs near the end of the queue.
    pub(super) fn push(&mut self, record: &Record) {
        let behind = self.held.iter().rev().take_while(|held| held.time_ns > record.time_ns).count();
        self.held.insert(self.held.len() - behind, *record);
    }

    /// The next record that has been held long enough; `None` where there is none.
    pub(super) fn pop_due(&mut self) -> Option<Record> {
        let due = self.held.back()?.time_ns.saturating_sub(HOLD_NS);
        self.pop_until(due).or_else(|| if self.held.len() > MAX_HELD { self.held.pop_front() } else { None })
    }

    /// The next record from `until_ns` or earlier; `None` where there is none.
    pub(super) fn pop_until(&mut self, until_ns: u64) -> Option<Record> {
        if self.held.front()?.time_ns <= until_ns { self.held.pop_front() } else { None }
    }

    /// Heap memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.held.capacity() * size_of::<Record>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::rtt::testing::segment;

    #[test]
    fn records_come_out_in_order_of_time() {
        let mut order = Order::default();
        let mut out = Vec::new();
        for time_ns in [10, 30, 20, 2_000_000, 1_500_000, 25, 9_000_000] {
            order.push(&segment(time_ns, 0).record());
            while let Some(record) = order.pop_due() {
                out.push(record.time_ns);
            }
        }
        assert_eq!(out, [10, 20, 30, 25, 1_500_000, 2_000_000], "25 came too late to be helped");
        assert_eq!(order.pop_until(8_999_999), None);
        assert_eq!(order.pop_until(9_000_000).map(|record| record.time_ns), Some(9_000_000));
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut order = Order::default();
        let mut out = 0;
        for time_ns in 0..10_000 {
            order.push(&segment(time_ns, 0).record());
            while order.pop_due().is_some() {
                out += 1;
            }
        }
        assert_eq!(out, 10_000 - MAX_HELD);
    }
}
