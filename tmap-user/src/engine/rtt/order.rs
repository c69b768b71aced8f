//! Puts records into the order of time before round trips are taken from them.
//!
//! The sensor merges its rings by time, but between two rounds of draining the two directions of a
//! connection, which may arrive on different CPUs or interfaces, can still be out of order by
//! microseconds: an echo would then come before what it echoes. Holding each record for a
//! millisecond of record time mends that.

use std::collections::VecDeque;

use tmap_common::Record;

/// How long a record is held, in nanoseconds of record time.
const HOLD_NS: u64 = 1_000_000;

/// The most records held; beyond it the earliest is let go of at once.
const MAX_HELD: usize = 4_096;

/// A short queue of records, the earliest first.
#[derive(Debug, Default)]
pub struct Order {
    held: VecDeque<Record>,
}

impl Order {
    /// Takes in a record. Records come nearly in order, so its place is near the end.
    pub fn push(&mut self, record: &Record) {
        let behind = self.held.iter().rev().take_while(|held| held.time_ns > record.time_ns).count();
        self.held.insert(self.held.len() - behind, *record);
    }

    /// The next record that no other one is likely to precede.
    pub fn pop_due(&mut self) -> Option<Record> {
        let due = self.held.back()?.time_ns.saturating_sub(HOLD_NS);
        self.pop_until(due).or_else(|| if self.held.len() > MAX_HELD { self.held.pop_front() } else { None })
    }

    /// The next record from `until_ns` or earlier.
    pub fn pop_until(&mut self, until_ns: u64) -> Option<Record> {
        if self.held.front()?.time_ns <= until_ns { self.held.pop_front() } else { None }
    }

    /// Heap memory held, in bytes.
    pub fn heap_bytes(&self) -> usize {
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
