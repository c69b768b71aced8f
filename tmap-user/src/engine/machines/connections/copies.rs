//! Connections that were seen twice. They count once.
//!
//! Mirrors copy segments into tunnels. And where both sides of a NAT or of a balancer are watched, a
//! connection is seen before and after its addresses are rewritten: with another peer, but with the same
//! TSvals, at the same time.

use crate::engine::{
    flows::{connection::Connection, handshake::Handshake},
    types::{FlowKey, Point},
};

/// How much later the copy of a connection whose handshake was seen may begin, in nanoseconds: a SYN that is
/// lost between the two places is sent again after a second, and then after two more (RFC 6298).
const LATEST_NS: u64 = 4_000_000_000;

/// How much later a segment may come to one place than to the other, in nanoseconds.
const LATER_NS: u64 = 20_000_000;

/// Connections that are older than the sensor copy each other where so many corners of their envelopes, and
/// half of them, are those of the same segments. Of other connections that share a counter, hardly any are.
const SAME_CORNERS: usize = 3;

/// At so many places a connection may be seen: more are other connections, such as a scan's.
const MOST_SIGHTINGS: usize = 4;

/// With so many connections after it, each is compared: a bound of cost.
const MOST_COMPARED: usize = 16;

/// Which connections copy another one. All are of one address.
///
/// O(n log n) for n connections.
pub(super) fn find(connections: &[&Connection]) -> Vec<bool> {
    let mut is_copy = vec![false; connections.len()];
    let is_same = |a: &Connection, b: &Connection| {
        let needed = if lie_apart(a, b) { 1 } else { most_corners(a, b) };
        corners_in_common(a, b) >= needed
    };
    mark(connections, &mut is_copy, |c| c.peers_opening, LATEST_NS, is_same);
    mark_older(connections, &mut is_copy);
    let end_at_once = |a: &Connection, b: &Connection| a.flow.last_ns.abs_diff(b.flow.last_ns) <= LATER_NS;
    mark(connections, &mut is_copy, attempt_of, LATER_NS, end_at_once);
    is_copy
}

/// Marks all but one of the connections that show the same, as `of` tells, and begin within `latest_ns`.
fn mark<K: Ord>(
    connections: &[&Connection],
    is_copy: &mut [bool],
    of: impl Fn(&Connection) -> Option<K>,
    latest_ns: u64,
    may_be_one: impl Fn(&Connection, &Connection) -> bool,
) {
    let begin_ns = |index: usize| connections[index].flow.first_ns;
    for group in groups(connections, is_copy, of) {
        let mut passed_ns = 0;
        for (at, &first) in group.iter().enumerate() {
            let until_ns = begin_ns(first).saturating_add(latest_ns);
            if begin_ns(first) <= passed_ns {
                // More of those that are too many.
                passed_ns = until_ns;
                continue;
            }
            if is_copy[first] {
                continue;
            }
            let later = group[at + 1..].iter().copied().take(MOST_COMPARED);
            let later = later.take_while(|&index| begin_ns(index) <= until_ns);
            let others = later.filter(|&index| {
                let (a, b) = (connections[first], connections[index]);
                !is_copy[index] && is_elsewhere(a, b) && may_be_one(a, b)
            });
            let sightings: Vec<usize> = std::iter::once(first).chain(others.take(MOST_SIGHTINGS)).collect();
            if sightings.len() > MOST_SIGHTINGS {
                passed_ns = until_ns;
                continue;
            }
            let original = sightings.iter().copied().min_by_key(|&index| order(connections[index]));
            sightings.iter().for_each(|&index| is_copy[index] |= Some(index) != original);
        }
    }
}

/// Which connections have the addresses and ports of another one at the same time, in another tunnel, beside
/// those that copy it: whoever can reach the end of a tunnel can send them.
pub(super) fn find_beside(connections: &[&Connection], is_copy: &[bool]) -> Vec<bool> {
    let mut is_beside = vec![false; connections.len()];
    if !connections.iter().any(|connection| is_in_tunnel(connection)) {
        return is_beside;
    }
    for mut group in groups(connections, is_copy, |connection| Some(connection.key)) {
        group.sort_by_key(|&index| order(connections[index]));
        for (at, &index) in group.iter().enumerate() {
            is_beside[index] = group[..at].iter().any(|&original| {
                let (a, b) = (connections[index], connections[original]);
                let overlap = a.flow.first_ns <= b.flow.last_ns && b.flow.first_ns <= a.flow.last_ns;
                !is_beside[original] && overlap && is_elsewhere(a, b)
            });
        }
    }
    is_beside
}

/// Connections that show the same, by their places, in order of time; those that are no copy, and have
/// others.
fn groups<K: Ord>(
    connections: &[&Connection],
    is_copy: &[bool],
    of: impl Fn(&Connection) -> Option<K>,
) -> Vec<Vec<usize>> {
    let seen_once = connections.iter().enumerate().filter(|(index, _)| !is_copy[*index]);
    let shown = seen_once.filter_map(|(index, c)| Some((of(c)?, c.flow.first_ns, index)));
    let mut shown: Vec<(K, u64, usize)> = shown.collect();
    shown.sort_unstable();
    let same = shown.chunk_by(|a, b| a.0 == b.0).filter(|group| group.len() > 1);
    same.map(|group| group.iter().map(|(.., index)| *index).collect()).collect()
}

/// The first in this order is the original: it has a complete handshake; of several it is the one outside of
/// tunnels, then the one with most segments, and then the earliest.
fn order(connection: &Connection) -> (bool, bool, u64, u64, u32) {
    let Connection { handshake, flow, serial, .. } = connection;
    let is_complete = *handshake == Handshake::Complete;
    let is_inside = is_complete && is_in_tunnel(connection);
    (!is_complete, is_inside, u64::MAX - flow.segments, flow.first_ns, *serial)
}

/// How many corners of the envelopes are the same segments': the same TSval at the same time.
fn corners_in_common(a: &Connection, b: &Connection) -> usize {
    let of_b = b.flow.envelope.points();
    let is_same =
        |a: &Point, b: &Point| a.ticks as u32 == b.ticks as u32 && a.time_ns.abs_diff(b.time_ns) <= LATER_NS;
    a.flow.envelope.points().iter().filter(|a| of_b.iter().any(|b| is_same(a, b))).count()
}

/// Whether a device lies between the two places: it lowers the hop limit, or puts segments into a tunnel. A
/// host that writes to two peers at once, with a counter that both see, shows both of them the same TSvals,
/// too.
fn lie_apart(a: &Connection, b: &Connection) -> bool {
    a.flow.hop_limit != b.flow.hop_limit || is_in_tunnel(a) || is_in_tunnel(b)
}

/// The share of corners that must be the same where no device shows between the two places.
const MOST: f64 = 0.75;

/// So many corners of the shorter envelope are most of them, at least two.
fn most_corners(a: &Connection, b: &Connection) -> usize {
    let fewest = shown(a).min(shown(b)) as f64;
    (MOST * fewest).ceil().max(2.0) as usize
}

/// Marks all but one of the connections that are older than the sensor and show the same segments.
///
/// O(n log n) for n connections.
fn mark_older(connections: &[&Connection], is_copy: &mut [bool]) {
    let is_older = |&index: &usize| connections[index].handshake == Handshake::Unseen;
    let older = (0..connections.len()).filter(is_older);
    let mut corners: Vec<(u32, u64, usize)> = older
        .flat_map(|index| connections[index].flow.envelope.points().iter().map(move |p| (index, p)))
        .map(|(index, point)| (point.ticks as u32, point.time_ns, index))
        .collect();
    corners.sort_unstable();
    let mut met: Vec<(usize, usize)> = Vec::new();
    for (at, &(tsval, time_ns, index)) in corners.iter().enumerate() {
        let later = corners[at + 1..].iter().take(MOST_SIGHTINGS);
        let same = later.take_while(|(other, later_ns, _)| *other == tsval && later_ns - time_ns <= LATER_NS);
        met.extend(same.map(|&(.., other)| (index.min(other), index.max(other))));
    }
    met.sort_unstable();
    for pair in met.chunk_by(|a, b| a == b) {
        let (a, b) = pair[0];
        let fewest = shown(connections[a]).min(shown(connections[b]));
        let needed = SAME_CORNERS.max(fewest / 2).min(fewest).max(2);
        let (first, second) = (connections[a], connections[b]);
        let may_be_one = is_elsewhere(first, second) && lie_apart(first, second);
        if pair.len() >= needed && !is_copy[a] && !is_copy[b] && may_be_one {
            let copy = if order(first) <= order(second) { b } else { a };
            is_copy[copy] = true;
        }
    }
}

/// The corners of a connection's envelope.
fn shown(connection: &Connection) -> usize {
    connection.flow.envelope.points().len()
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
