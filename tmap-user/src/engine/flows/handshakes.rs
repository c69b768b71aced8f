//! Handshakes: which connection sides have echoed a time stamp of the other side's handshake, and went on.
//!
//! Whoever forges segments of others and doesn't see the answers can't know the other side's TSval (RFC 7323,
//! section 3.2: TSecr echoes it), as little as its sequence number. So a side that echoes the TSval of the
//! other side's SYN or SYN-ACK took part in the connection, and one that never does may be a scan, forged, or
//! answered on a path that the sensor doesn't see. A server answers any SYN, also a scanner's; it goes on
//! only once the client has acknowledged its answer.

use tmap_common::{Flags, Record};

use super::{
    side_key::SideKey,
    state::{Flows, Share},
    table::{NOWHERE, Stage},
};
use crate::engine::shard;

impl Flows {
    /// Sets the share of the addresses whose records come: the `index`-th of `count`. Records of handshakes
    /// that go to these addresses must come, too.
    pub fn set_share(&mut self, index: usize, count: usize) {
        self.share = Share { index, count };
    }

    /// Whether `record` is of an address that another shard holds.
    pub(super) fn is_foreign(&self, record: &Record) -> bool {
        shard::of(&record.segment.src, self.share.count) != self.share.index
    }

    /// Takes in what a SYN says of the side that must answer it.
    pub(super) fn await_answer(&mut self, record: &Record) {
        self.openings.note(&SideKey::of(&record.segment).reversed(), record.segment.tsval);
    }

    /// Takes in what a SYN-ACK says of the side that it answers.
    pub(super) fn await_echo(&mut self, record: &Record) {
        self.answers += u64::from(self.is_answer(record));
        let asker = self.table.find_key(&SideKey::of(&record.segment).reversed());
        let asker = if asker == NOWHERE { asker } else { self.reopen_answered(asker, record) };
        if asker != NOWHERE {
            self.table.await_echo(asker, record.segment.tsval, record.segment.tsecr);
        }
    }

    /// Whether a SYN-ACK echoes the SYN that it answers, for the first time.
    pub(super) fn is_answer(&self, record: &Record) -> bool {
        self.openings.is_echoed(&SideKey::of(&record.segment), record.segment.tsecr)
    }

    /// Notes that a SYN-ACK has answered the SYN that it echoes: no later one answers that.
    pub(super) fn note_answered(&mut self, record: &Record) {
        self.openings.answer(&SideKey::of(&record.segment), record.segment.tsecr);
    }

    /// Looks whether `record` of the side at `place` completes the side's handshake.
    #[inline(never)]
    pub(super) fn look_for_completion(&mut self, place: u32, record: &Record) {
        let segment = &record.segment;
        let completes = if segment.flags.is_syn_ack() {
            if self.is_answer(record) {
                self.table.note_answer(place, segment.tsecr);
            }
            false
        } else if self.table.stage(place) == Stage::HalfOpen {
            // A server sends nothing but its SYN-ACK, again, before the client's acknowledgement comes; a RST
            // may refuse that.
            !segment.flags.intersects(Flags::SYN | Flags::RST)
        } else {
            // Where a record tells bytes instead of the echo, that is 0.
            segment.tsecr != 0 && self.table.judge_echo(place, segment.tsecr)
        };
        if completes {
            self.table.note_complete(place);
            if let Some(&id) = self.ids.get(&segment.src) {
                let completed = &mut self.sources[id as usize].completed;
                *completed = completed.saturating_add(1);
            }
        }
    }
}
