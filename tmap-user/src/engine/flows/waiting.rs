//! SYNs on the ports of open connections, until they are answered.

use std::collections::BTreeMap;

use tmap_common::Record;

use super::side_key::SideKey;

/// The most SYNs that wait. Beyond it, the one with the lowest key is forgotten: its connection is then
/// missed.
const MOST_WAITING: usize = 4_096;

/// SYNs that wait for an answer, by the side that they are of.
#[derive(Debug, Default)]
pub(super) struct Waiting(BTreeMap<SideKey, Record>);

impl Waiting {
    /// Notes a SYN; an earlier one of the same side goes.
    pub(super) fn note(&mut self, syn: &Record) {
        self.0.insert(SideKey::of(&syn.segment), *syn);
        if self.0.len() > MOST_WAITING {
            self.0.pop_first();
        }
    }

    /// Takes out the SYN that this SYN-ACK echoes.
    pub(super) fn take_answered(&mut self, answer: &Record) -> Option<Record> {
        let asker = SideKey::of(&answer.segment).reversed();
        let syn = self.0.get(&asker)?;
        (syn.segment.tsval == answer.segment.tsecr).then(|| self.0.remove(&asker)).flatten()
    }
}
