//! SYNs on the ports of an open connection: a new connection, or forged?
//!
//! A host that gets a SYN for an open connection answers it with an acknowledgement at most (RFC 5961,
//! section 4), and goes on. So where the sensor sees answers, a SYN that the open side's clock doesn't
//! explain, that comes after a FIN or RST, or after segments without a SYN, waits until it is answered: a
//! SYN-ACK that echoes it shows a new connection. The old one stays as it was until then.

use tmap_common::Record;

use super::{
    state::Flows,
    table::{NOWHERE, Stage, flag},
};

/// What a SYN on the ports of an open side means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reopening {
    /// It belongs to the open connection: it was sent again, or overtaken by a later segment.
    No,
    /// It may open a new connection, and waits until it is answered. Until then it changes nothing.
    Waits,
    /// It opens a new connection.
    Yes,
}

/// The fewest handshakes that an address completed where its SYNs wait: the sensor sees the answers.
const FEWEST_COMPLETED: u32 = 3;

impl Flows {
    /// What a SYN on the ports of the open side at `place` means.
    pub(super) fn reopening(&mut self, place: u32, record: &Record) -> Reopening {
        if !self.table.is_reopened_by(place, record) {
            return Reopening::No;
        }
        let source = self.ids.get(&record.segment.src).map(|&id| &self.sources[id as usize]);
        let is_answered = source.is_some_and(|source| source.completed >= FEWEST_COMPLETED);
        if self.table.stage(place) == Stage::Complete || is_answered {
            self.waiting.note(record);
            return Reopening::Waits;
        }
        Reopening::Yes
    }

    /// Opens the connection of the open side at `asker` whose SYN waits, where `answer` is the SYN-ACK to it.
    /// Returns the place of the side that was answered.
    pub(super) fn reopen_answered(&mut self, asker: u32, answer: &Record) -> u32 {
        let Some(syn) = self.waiting.take_answered(answer) else { return asker };
        let hash = self.table.prepare(&syn.segment);
        self.table.finish(asker);
        let place = self.open(hash, &syn);
        if place != NOWHERE {
            self.take_in(place, &syn);
        }
        place
    }

    /// Whether a SYN-ACK of the open side at `place` answers a new connection's SYN.
    pub(super) fn answers_anew(&self, place: u32, record: &Record) -> bool {
        let is_known = self.table.stage(place) != Stage::Unknown || self.table.is_overtaken(place, record);
        let is_other = !is_known || self.table.is(place, flag::CLOSED) || !self.table.explains(place, record);
        is_other && self.is_answer(record)
    }
}
