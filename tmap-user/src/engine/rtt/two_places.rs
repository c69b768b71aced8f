//! Which connections were captured at two places on their path, each segment twice. A round trip then mixes
//! what is known at one place with what is known at the other.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{connection::Connection, sights::Sights};

/// What repeated segments tell of connections. Short ones tell it together, by the address that sent them.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Empty where no segment was seen again.
    senders: HashMap<Address, Sights, RandomState>,
}

impl Places {
    /// What these connections tell.
    pub(super) fn of<'a>(connections: impl Iterator<Item = &'a Connection> + Clone) -> Self {
        let mut places = Self::default();
        let has_any = |connection| sights(connection).iter().any(|(_, seen)| seen.has_any_again());
        if connections.clone().any(has_any) {
            for (sender, seen) in connections.flat_map(sights) {
                let sum = places.senders.entry(sender).or_default();
                *sum = sum.and(seen);
            }
        }
        places
    }

    /// Whether segments of this connection, or of others of its addresses, were seen at two places.
    pub(super) fn are_two(&self, connection: &Connection) -> bool {
        let of_sender = |sender| self.senders.get(&sender).copied().unwrap_or_default();
        sights(connection).iter().any(|&(sender, seen)| {
            seen.has_any_again() && (seen.tell_two_places() || of_sender(sender).tell_two_places())
        })
    }
}

/// What both sides of a connection sent, by their addresses.
fn sights(connection: &Connection) -> [(Address, Sights); 2] {
    [0, 1].map(|side| (connection.key_of(side).src, connection.halves[side].sights))
}
