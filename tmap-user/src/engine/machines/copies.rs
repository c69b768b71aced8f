//! Connections that were seen twice. They count once.
//!
//! Mirrors copy segments into tunnels. And where both sides of a NAT or of a balancer are watched, a
//! connection is seen before and after its addresses are rewritten: with another peer, but with the same
//! TSvals, at the same time.

use std::collections::HashMap;

use crate::engine::{
    flows::{connection::Connection, handshake::Handshake},
    types::FlowKey,
};

/// How much later the copy of a connection whose handshake was seen may begin, in nanoseconds: what holds
/// segments back between the two places.
const LATEST_NS: u64 = 1_000_000_000;

/// How much later the copy of a connection whose handshake was not seen whole may begin and end, in
/// nanoseconds. Little else tells it.
const LATEST_OLDER_NS: u64 = 20_000_000;

/// Which connections copy another one. All are of one address.
pub(super) fn find(connections: &[&Connection]) -> Vec<bool> {
    let mut is_copy = vec![false; connections.len()];
    let begins_within = |a: &Connection, b: &Connection, latest_ns: u64| {
        is_elsewhere(a, b) && a.flow.first_ns.abs_diff(b.flow.first_ns) <= latest_ns
    };
    let is_same_course = |a: &Connection, b: &Connection| {
        begins_within(a, b, LATEST_OLDER_NS) && a.flow.last_ns.abs_diff(b.flow.last_ns) <= LATEST_OLDER_NS
    };
    mark(connections, &mut is_copy, handshake_of, |a, b| begins_within(a, b, LATEST_NS));
    mark(connections, &mut is_copy, course_of, is_same_course);
    mark(connections, &mut is_copy, attempt_of, is_same_course);
    is_copy
}

/// Which connections have the addresses and ports of another one at the same time, in another tunnel, beside
/// those that copy it: whoever can reach the end of a tunnel can send them.
pub(super) fn find_beside(connections: &[&Connection], is_copy: &[bool]) -> Vec<bool> {
    let mut is_beside = is_copy.to_vec();
    if connections.iter().any(|connection| is_in_tunnel(connection)) {
        mark(
            connections,
            &mut is_beside,
            |connection| Some(connection.key),
            |a, b| {
                let overlap = a.flow.first_ns <= b.flow.last_ns && b.flow.first_ns <= a.flow.last_ns;
                overlap && is_elsewhere(a, b)
            },
        );
    }
    is_beside
}

/// Marks connections that copy an original with the same value of `of`. Those that are marked already take no
/// part.
///
/// The original has a complete handshake; of several the one outside of tunnels, and then the one with most
/// segments, and the earliest.
fn mark<K: Eq + std::hash::Hash>(
    connections: &[&Connection],
    is_copy: &mut [bool],
    of: impl Fn(&Connection) -> Option<K>,
    copies: impl Fn(&Connection, &Connection) -> bool,
) {
    let mut same: HashMap<K, Vec<usize>> = HashMap::new();
    for (index, connection) in connections.iter().enumerate().filter(|(index, _)| !is_copy[*index]) {
        if let Some(value) = of(connection) {
            same.entry(value).or_default().push(index);
        }
    }
    for mut group in same.into_values().filter(|group| group.len() > 1) {
        group.sort_by_key(|&index| {
            let Connection { handshake, flow, .. } = connections[index];
            let is_complete = *handshake == Handshake::Complete;
            let is_inside = is_complete && is_in_tunnel(connections[index]);
            (!is_complete, is_inside, u64::MAX - flow.segments, flow.first_ns)
        });
        for (at, &index) in group.iter().enumerate() {
            let mut originals = group[..at].iter().filter(|&&original| !is_copy[original]);
            is_copy[index] = originals.any(|&original| copies(connections[index], connections[original]));
        }
    }
}

/// The first TSvals of both sides. Of two connections, both are equal only by chance, once in 2^64; where
/// both ends have fixed offsets, they have two connections with each other that begin at once, from
/// different addresses.
fn handshake_of(connection: &Connection) -> Option<(u32, u32)> {
    let first = connection.flow.envelope.points().first()?;
    Some((connection.peers_opening?, first.ticks as u32))
}

/// The first and the last TSval, and the number of segments, of a connection that shows several TSvals and is
/// older than the sensor.
fn course_of(connection: &Connection) -> Option<(u32, u32, u64)> {
    let [first, .., last] = connection.flow.envelope.points() else { return None };
    let is_told = connection.handshake == Handshake::Unseen && first.ticks != last.ticks;
    is_told.then_some((first.ticks as u32, last.ticks as u32, connection.flow.segments))
}

/// The ports, the first TSval and the number of segments of a connection that nobody answered.
fn attempt_of(connection: &Connection) -> Option<(u16, u16, u32, u64)> {
    let FlowKey { src_port, dst_port, .. } = connection.key;
    let first = connection.flow.envelope.points().first()?;
    let is_told = matches!(connection.handshake, Handshake::Unanswered | Handshake::HalfOpen);
    is_told.then_some((src_port, dst_port, first.ticks as u32, connection.flow.segments))
}

/// Whether two connections may be one, seen at two places: with different peers, or one of them in a tunnel.
fn is_elsewhere(a: &Connection, b: &Connection) -> bool {
    a.peer() != b.peer() || (a.key == b.key && (is_in_tunnel(a) || is_in_tunnel(b)))
}

/// Whether a connection came in a tunnel over IP.
pub(super) fn is_in_tunnel(connection: &Connection) -> bool {
    connection.flow.tunnel.is_some_and(|tunnel| tunnel.is_over_ip)
}
