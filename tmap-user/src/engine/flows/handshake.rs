//! How far a connection side's handshake came.

use super::table::{Stage, Table, flag};

/// How far a connection side's handshake came, as far as it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// The side echoed the other side's part, and a server then sent more than that.
    Complete,
    /// The side answered a SYN, and sent nothing else: the other side never went on.
    HalfOpen,
    /// The side began, and never echoed an answer.
    Unanswered,
    /// The side's own part was not seen: the connection is older, or forged.
    Unseen,
}

impl Handshake {
    /// Of the side at `place`.
    pub(super) fn of(table: &Table, place: u32) -> Self {
        match table.stage(place) {
            Stage::Complete => Self::Complete,
            Stage::HalfOpen => Self::HalfOpen,
            // The SYN-ACK was sent again, and what was known of the SYN had made room.
            _ if table.is(place, flag::SERVER) && !table.is(place, flag::POINT) => Self::HalfOpen,
            _ if table.is(place, flag::CLIENT | flag::SERVER) => Self::Unanswered,
            _ => Self::Unseen,
        }
    }
}
