//! Which connections two clocks stamped, one each direction. Their round trips are too long by the difference
//! in one direction and too short, or missing, in the other.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use tmap_common::Address;

use super::{connection::Connection, early::Tally};

/// What an address has to do with an echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Role {
    /// It sent the echo.
    Echoes,
    /// It sent what was echoed.
    IsEchoed,
}

/// What early echoes tell of connections. Short ones tell it together, by their addresses.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Empty where no echo was early.
    addresses: HashMap<(Address, Role), Tally, RandomState>,
}

impl Doubts {
    /// What these connections tell.
    pub(super) fn of<'a>(connections: impl Iterator<Item = &'a Connection> + Clone) -> Self {
        let mut doubts = Self::default();
        if connections
            .clone()
            .any(|connection| tallies(connection).iter().any(|(_, tally)| tally.has_early()))
        {
            for (whose, tally) in connections.flat_map(tallies) {
                let sum = doubts.addresses.entry(whose).or_default();
                *sum = sum.and(tally);
            }
        }
        doubts
    }

    /// By how much echoes of this connection, or of others of its addresses, come early, in nanoseconds,
    /// where two clocks stamped it; `None` where nothing tells that.
    pub(super) fn ahead_ns(&self, connection: &Connection) -> Option<u64> {
        let own = tallies(connection);
        let of_addresses = own.iter().filter_map(|(whose, _)| self.addresses.get(whose).copied());
        let all = own.iter().map(|(_, tally)| *tally).chain(of_addresses);
        all.filter(|tally| tally.tells_two_clocks()).map(Tally::ahead_ns).max()
    }
}

/// The echoes of both sides of a connection, by each address that has to do with them.
fn tallies(connection: &Connection) -> [((Address, Role), Tally); 4] {
    let [of_a, of_b] = [0, 1].map(|side| connection.halves[side].early_echoes());
    let [a, b] = [0, 1].map(|side| connection.key_of(side).src);
    [
        ((a, Role::IsEchoed), of_a),
        ((b, Role::Echoes), of_a),
        ((b, Role::IsEchoed), of_b),
        ((a, Role::Echoes), of_b),
    ]
}
