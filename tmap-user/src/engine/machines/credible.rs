//! Which connections may open a machine: at an address that completes handshakes, only those that did so.
//!
//! A connection side that echoed the other side's handshake took part in its connection. Whoever scans, or
//! forges segments of an address without seeing what it receives, leaves connections that never echo anything
//! ([`Handshake`]). They may be some machine's where an offset says so, but they are no evidence for one.
//! Half-open ones show no clock, and are none at any address: a server answers whoever scans it.
//!
//! Nor is a connection that was seen twice, in different tunnels: mirrors copy segments, and a forger may
//! send another connection's addresses and ports into a tunnel.

use std::collections::HashMap;

use crate::engine::{
    flows::{connection::Connection, handshake::Handshake},
    types::FlowKey,
};

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
pub(super) struct Credible<'a> {
    /// All connections.
    pub connections: Vec<&'a Connection>,
    /// How many of them, the first ones, may open a machine.
    pub count: usize,
    /// Where each connection was in the original order.
    pub positions: Vec<usize>,
}

impl<'a> Credible<'a> {
    /// Sorts `connections` of one address; the sensor's first record came at `began_ns`.
    pub(super) fn sort(connections: &[&'a Connection], began_ns: u64) -> Self {
        let judge = Judge::of(connections, began_ns);
        let is_copy = copies(connections);
        let (kept, others): (Vec<usize>, Vec<usize>) =
            (0..connections.len()).partition(|&index| !is_copy[index] && judge.believes(connections[index]));
        let count = kept.len();
        let positions = [kept, others].concat();
        Self { connections: positions.iter().map(|&index| connections[index]).collect(), count, positions }
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

/// Which connections copy another one: the same addresses and ports at the same time, in another tunnel. The
/// original has a complete handshake; of several the one outside of tunnels, and then the one with most
/// segments.
fn copies(connections: &[&Connection]) -> Vec<bool> {
    let mut is_copy = vec![false; connections.len()];
    if !connections.iter().any(|connection| is_in_tunnel(connection)) {
        return is_copy;
    }
    let mut same: HashMap<FlowKey, Vec<usize>> = HashMap::new();
    for (index, connection) in connections.iter().enumerate() {
        same.entry(connection.key).or_default().push(index);
    }
    for mut group in same.into_values().filter(|group| group.len() > 1) {
        group.sort_by_key(|&index| {
            let connection = connections[index];
            let is_complete = connection.handshake == Handshake::Complete;
            (!is_complete, is_complete && is_in_tunnel(connection), u64::MAX - connection.flow.segments)
        });
        for (at, &index) in group.iter().enumerate() {
            let mut originals = group[..at].iter().filter(|&&original| !is_copy[original]);
            is_copy[index] =
                originals.any(|&original| is_other_way(connections[index], connections[original]));
        }
    }
    is_copy
}

/// Whether two connections with the same addresses and ports were open at the same time, one of them in a
/// tunnel.
fn is_other_way(a: &Connection, b: &Connection) -> bool {
    let overlap = a.flow.first_ns <= b.flow.last_ns && b.flow.first_ns <= a.flow.last_ns;
    overlap && (is_in_tunnel(a) || is_in_tunnel(b))
}

/// Whether a connection came in a tunnel over IP.
fn is_in_tunnel(connection: &Connection) -> bool {
    connection.flow.tunnel.is_some_and(|tunnel| tunnel.is_over_ip)
}
