//! Counters that begin anew in each connection: NetBSD counts from 1 (`tcp_subr.c`, `ts_timebase`), and so do
//! some small stacks.
//!
//! Such a counter was zero when its connection began, so it tells no boot time, and no two connections share
//! one. It is an offset of the connection's own, as random ones are, and only phases tell machines apart.

use crate::engine::{
    flows::connection::Connection, machines::counters::cluster::Cluster, types::seconds_between,
};

/// How far a counter may have come when its connection begins, in seconds. No machine talks so soon after it
/// was switched on.
const JUST_BEGUN_S: f64 = 1.0;

/// As many ticks may be an offset of the stack's own.
const JUST_BEGUN_TICKS: f64 = 2.0;

/// So many counters may begin with their connections by chance: one machine may be that quick.
const BY_CHANCE: usize = 1;

/// Parts the clusters into those whose counters don't begin with their connections, and those whose counters
/// do.
pub(in crate::engine::machines) fn part(
    clusters: Vec<Cluster>,
    connections: &[&Connection],
) -> (Vec<Cluster>, Vec<Cluster>) {
    let begins = |cluster: &Cluster| {
        cluster.members.iter().all(|&member| begins_with(connections[member], cluster.clock.hz))
    };
    if clusters.iter().filter(|cluster| begins(cluster)).count() <= BY_CHANCE {
        return (clusters, Vec::new());
    }
    clusters.into_iter().partition(|cluster| !begins(cluster))
}

/// Whether a counter of this rate begins with its connection, whose beginning was seen. Its first segments
/// need not show that: a counter of 0 is no time stamp, a server's SYN-ACK may carry a cookie, and the first
/// request may come late. So what they showed is reckoned back from the first point.
fn begins_with(connection: &Connection, hz: f64) -> bool {
    let flow = &connection.flow;
    let Some(first) = flow.envelope.points().first().filter(|_| flow.side.is_some()) else { return false };
    let at_beginning = f64::from(first.ticks as u32) - hz * seconds_between(flow.first_ns, first.time_ns);
    at_beginning.abs() <= JUST_BEGUN_S * hz + JUST_BEGUN_TICKS
}
