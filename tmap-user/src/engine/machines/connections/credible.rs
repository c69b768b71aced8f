//! Which connections may open a machine: at an address that completes handshakes, only those that did so.
//!
//! A connection side that echoed the other side's handshake took part in its connection. Whoever scans, or
//! forges segments of an address without seeing what it receives, leaves connections that never echo anything
//! ([`Handshake`]). They may be some machine's where an offset says so, but they are no evidence for one.
//! Half-open ones show no clock, and are none at any address: a server answers whoever scans it.
//!
//! Nor is a connection with the addresses and ports of another one, in a tunnel at the same time: anybody may
//! have sent it there.

use super::copies::{self, is_in_tunnel};
use crate::engine::flows::{connection::Connection, handshake::Handshake};

/// The fewest completed handshakes that show that the sensor sees both directions of an address's
/// connections. With fewer, all connections are taken for what they seem to be.
const FEWEST_COMPLETE: usize = 3;

/// A connection whose beginning wasn't seen may be older than the sensor if its first segment came within
/// this time after the sensor's, in nanoseconds: most that are in use send something in it.
const STARTING_NS: u64 = 60_000_000_000;

/// The most such connections that are believed, and the number of completed handshakes from which on none is:
/// they are easily forged, and then there is better evidence.
const MOST_OLDER: usize = 64;
const MANY_COMPLETE: usize = 20;

/// The connections of an address, those that may open a machine first.
pub(in crate::engine::machines) struct Credible<'a> {
    /// All connections but copies.
    pub connections: Vec<&'a Connection>,
    /// How many of them, the first ones, may open a machine.
    pub count: usize,
    /// Where each connection was in the original order.
    pub positions: Vec<usize>,
    /// Connections that [copy](copies) another one, in the original order.
    pub copies: Vec<usize>,
}

impl<'a> Credible<'a> {
    /// Sorts `connections` of one address; the sensor's first record came at `began_ns`.
    pub(in crate::engine::machines) fn sort(connections: &[&'a Connection], began_ns: u64) -> Self {
        let judge = Judge::of(connections, began_ns);
        let is_copy = copies::find(connections);
        let is_beside = copies::find_beside(connections, &is_copy);
        let (copies, seen_once): (Vec<usize>, Vec<usize>) =
            (0..connections.len()).partition(|&index| is_copy[index]);
        let (kept, others): (Vec<usize>, Vec<usize>) =
            seen_once.into_iter().partition(|&index| !is_beside[index] && judge.believes(connections[index]));
        let count = kept.len();
        let positions = [kept, others].concat();
        let connections = positions.iter().map(|&index| connections[index]).collect();
        Self { connections, count, positions, copies }
    }
}

/// What is believed at an address.
struct Judge {
    /// Whether its handshakes are seen.
    sees_handshakes: bool,
    /// Whether they are seen outside of tunnels over IP: whoever can reach the tunnel's end can send into it.
    sees_them_outside: bool,
    /// The latest beginning of a connection whose handshake wasn't seen, engine time in nanoseconds; 0 where
    /// none is believed.
    older_until_ns: u64,
    /// Whether there are no connections but half-open ones.
    is_all_half_open: bool,
}

impl Judge {
    fn of(connections: &[&Connection], began_ns: u64) -> Self {
        let are_complete = connections.iter().filter(|c| c.handshake == Handshake::Complete);
        let complete = are_complete.clone().count();
        let outside = are_complete.filter(|c| !is_in_tunnel(c)).count();
        let until_ns = began_ns.saturating_add(STARTING_NS);
        let is_older = |c: &&&Connection| c.handshake == Handshake::Unseen && c.flow.first_ns <= until_ns;
        let older = connections.iter().filter(is_older).count();
        Self {
            sees_handshakes: complete >= FEWEST_COMPLETE,
            sees_them_outside: outside >= FEWEST_COMPLETE,
            older_until_ns: if older <= MOST_OLDER && complete < MANY_COMPLETE { until_ns } else { 0 },
            is_all_half_open: connections.iter().all(|c| c.handshake == Handshake::HalfOpen),
        }
    }

    fn believes(&self, connection: &Connection) -> bool {
        if self.sees_them_outside && is_in_tunnel(connection) {
            return false;
        }
        match connection.handshake {
            Handshake::Complete => true,
            Handshake::HalfOpen => self.is_all_half_open,
            _ if !self.sees_handshakes => true,
            Handshake::Unanswered => false,
            Handshake::Unseen => connection.flow.first_ns <= self.older_until_ns,
        }
    }
}
