//! SYNs on the ports of open connections, until they are answered.

use std::collections::BTreeMap;

use tmap_common::Record;

/// The most SYNs that wait. Beyond it, the one at the lowest place is forgotten: its connection is then
/// missed.
const MOST_WAITING: usize = 4_096;

/// SYNs that wait for an answer, by the place of the open side whose ports they have.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<u32, Record>);

impl Waiting {
    /// Notes a SYN on the ports of the side at `place`; an earlier one goes.
    pub(super) fn note(&mut self, place: u32, record: &Record) {
        self.0.insert(place, *record);
        if self.0.len() > MOST_WAITING {
            self.0.pop_first();
        }
    }

    /// Takes out the SYN that waits at this place, if the answer echoes it.
    pub(super) fn take_answered(&mut self, place: u32, answer: &Record) -> Option<Record> {
        let syn = self.0.get(&place)?;
        (syn.segment.tsval == answer.segment.tsecr).then(|| self.0.remove(&place)).flatten()
    }
}
