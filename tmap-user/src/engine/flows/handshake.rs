//! How far a connection side's handshake came.

use super::table::{Table, flag};

/// How far a connection side's handshake came, as far as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The side echoed the other side's part.
    Complete,
    /// The side began, and never echoed an answer.
    Unanswered,
    /// The side's own part was not seen: the connection is older, or forged.
    Unseen,
}

impl Handshake {
    /// Of the side at `place`.
    pub(super) fn of(table: &Table, place: u32) -> Self {
        if table.has_echoed(place) {
            Self::Complete
        } else if table.is(place, flag::CLIENT | flag::SERVER) {
            Self::Unanswered
        } else {
            Self::Unseen
        }
    }
}
