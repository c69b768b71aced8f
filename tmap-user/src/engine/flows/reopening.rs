//! SYNs on the ports of an open connection: a new connection, or forged?
//!
//! A host that gets a SYN for an open connection answers it with an acknowledgement at most (RFC 5961,
//! section 4), and goes on. So where the sensor sees answers, a SYN that the open side's clock doesn't
//! explain, or that comes after a FIN or RST, waits until it is answered: a SYN-ACK that echoes it shows a
//! new connection. The old one stays as it was until then.

use tmap_common::Record;

use super::{
    state::Flows,
    table::{NOWHERE, flag},
};

impl Flows {
    /// Whether a SYN on the ports of the open side at `place` opens a new connection at once.
    pub(super) fn is_reopened(&mut self, place: u32, record: &Record) -> bool {
        if !self.table.is_reopened_by(place, record) {
            return false;
        }
        if self.table.has_echoed(place) || self.sees_both_directions() {
            self.waiting.note(record);
            return false;
        }
        true
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
        let is_other = self.table.is(place, flag::CLOSED) || !self.table.explains(place, record);
        is_other && self.table.has_echoed(place) && self.is_answer(record)
    }
}
