//! The order in which connections make room for new ones.

use std::collections::VecDeque;

use slab::Slab;

use super::connection::Connection;

/// The place and the serial of a connection.
pub(super) type Entry = (usize, u64);

/// A queue is tidied once it has this many entries more than twice the number of connections.
const SLACK: usize = 8;

/// Connections by what they showed, and whether they are over.
///
/// A connection is in the queue of unproven ones first. It goes to that of proven ones once it is proven, and
/// to one of the finished ones once it is finished. Its old entry stays until it is reached or tidied away:
/// see [`Queues::is_open`].
#[derive(Debug, Default)]
pub(super) struct Queues {
    /// Open connections that are unproven and proven, the next to be considered first.
    open: [VecDeque<Entry>; 2],
    /// Finished connections that are unproven and proven, the oldest first.
    finished: [VecDeque<Entry>; 2],
    /// The number of open connections that are unproven.
    pub newcomers: usize,
}

impl Queues {
    /// Takes in a new connection.
    pub(super) fn open(&mut self, place: usize, connections: &Slab<Connection>) {
        self.newcomers += 1;
        self.list(place, connections);
    }

    /// Takes in that an open connection is proven from now on.
    pub(super) fn prove(&mut self, place: usize, connections: &Slab<Connection>) {
        self.newcomers -= 1;
        self.list(place, connections);
    }

    /// Takes in that an open connection is finished from now on.
    pub(super) fn finish(&mut self, place: usize, connection: &Connection) {
        self.newcomers -= usize::from(!connection.is_proven);
        self.finished[usize::from(connection.is_proven)].push_back((place, connection.serial));
    }

    /// The next finished connection.
    pub(super) fn pop_finished(&mut self, is_proven: bool) -> Option<Entry> {
        self.finished[usize::from(is_proven)].pop_front()
    }

    /// The next open connection.
    pub(super) fn pop_open(&mut self, is_proven: bool, connections: &Slab<Connection>) -> Option<Entry> {
        let queue = &mut self.open[usize::from(is_proven)];
        // Each turn takes an entry away, which was put in once.
        while let Some(entry) = queue.pop_front() {
            if Self::is_open(entry, is_proven, connections) {
                return Some(entry);
            }
        }
        None
    }

    /// Puts an open connection, which came from [`Queues::pop_open`], behind the others.
    pub(super) fn put_back(&mut self, is_proven: bool, entry: Entry) {
        self.open[usize::from(is_proven)].push_back(entry);
    }

    /// Estimated heap memory held, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let queues = self.open.iter().chain(&self.finished);
        queues.map(VecDeque::capacity).sum::<usize>() * size_of::<Entry>()
    }

    /// The number of entries, old ones included, and the number of finished connections.
    #[cfg(test)]
    pub(super) fn lengths(&self) -> (usize, usize) {
        let sum = |queues: &[VecDeque<Entry>]| queues.iter().map(VecDeque::len).sum();
        (sum(&self.open), sum(&self.finished))
    }

    /// Puts the open connection at `place` at the end of its queue.
    fn list(&mut self, place: usize, connections: &Slab<Connection>) {
        let Connection { serial, is_proven, .. } = connections[place];
        let queue = &mut self.open[usize::from(is_proven)];
        queue.push_back((place, serial));
        if queue.len() > 2 * connections.len() + SLACK {
            queue.retain(|&entry| Self::is_open(entry, is_proven, connections));
        }
    }

    /// Whether an entry is that of an open connection, and not an old one.
    fn is_open((place, serial): Entry, is_proven: bool, connections: &Slab<Connection>) -> bool {
        connections.get(place).is_some_and(|connection| {
            connection.serial == serial && !connection.finished && connection.is_proven == is_proven
        })
    }
}
