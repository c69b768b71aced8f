//! SYNs on the ports of open connections, until they are answered.

use foldhash::quality::RandomState;
use indexmap::IndexMap;
use tmap_common::Record;

use super::side_key::SideKey;

/// The most SYNs that wait. Beyond it, one of those that waited long is forgotten: its connection is then
/// missed.
const MOST_WAITING: usize = 4_096;

/// SYNs that wait for an answer, by the side that they are of.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    syns: IndexMap<SideKey, Record, RandomState>,
    /// The place of the one that is forgotten next.
    next: usize,
}

impl Waiting {
    /// Notes a SYN; an earlier one of the same side goes.
    pub(super) fn note(&mut self, syn: &Record) {
        let key = SideKey::of(&syn.segment);
        if self.syns.len() >= MOST_WAITING && !self.syns.contains_key(&key) {
            // The newest one moves there, and its turn is then the last.
            self.syns.swap_remove_index(self.next);
            self.next = (self.next + 1) % MOST_WAITING;
        }
        self.syns.insert(key, *syn);
    }

    /// Takes out the SYN that this SYN-ACK echoes.
    pub(super) fn take_answered(&mut self, answer: &Record) -> Option<Record> {
        let asker = SideKey::of(&answer.segment).reversed();
        let syn = self.syns.get(&asker)?;
        (syn.segment.tsval == answer.segment.tsecr).then(|| self.syns.swap_remove(&asker)).flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tmap_common::{Address, Flags, Segment, record::Direction};

    fn syn(host: u32) -> Record {
        let src = Address::from_ip4(host.to_be_bytes());
        let segment = Segment { src, flags: Flags::SYN, tsval: host, ..Segment::default() };
        Record { time_ns: 0, direction: Direction::Ingress, suppressed: 0, segment }
    }

    fn answer(host: u32) -> Record {
        let dst = Address::from_ip4(host.to_be_bytes());
        Record { segment: Segment { dst, tsecr: host, ..Segment::default() }, ..syn(host) }
    }

    /// Neither low nor high addresses are forgotten before others.
    #[test]
    fn the_newest_wait_whatever_their_addresses() {
        let mut waiting = Waiting::default();
        (0..3 * MOST_WAITING as u32).for_each(|host| waiting.note(&syn(1_000_000 + host)));
        (1..100).for_each(|host| waiting.note(&syn(host)));
        assert_eq!(waiting.syns.len(), MOST_WAITING);
        assert!((1..100).all(|host| waiting.take_answered(&answer(host)).is_some()));
        assert!(waiting.take_answered(&answer(1)).is_none(), "it waits no more");
    }
}
