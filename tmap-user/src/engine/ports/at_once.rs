//! Hosts that certainly sent SYNs at once: walks to one service that overlap in time.
//!
//! A host has one walk at a time at each service, for each of its own addresses. But its walk may seem to be
//! two. Where a new walk comes by the end of the one before it, SYNs may go on from either. And where a host
//! opens so many connections that its walk goes round all ports within seconds, or has to pass by hundreds of
//! ports that are still busy (TIME_WAIT lasts a minute, `TCP_TIMEWAIT_LEN` in include/net/tcp.h), it comes by
//! its own earlier ends again and again.

use std::collections::BTreeMap;

use tmap_common::Address;

use super::{
    opening::Opening,
    walks::{LEAST_CERTAIN, Walk, Walks},
};

/// Walks this near each other, in ports, are taken for one: some steps.
const NEAR: u16 = 128;

/// Services with more SYNs than this within [`ROUND_NS`] tell nothing: a walk's steps are nine ports wide on
/// average, so it then goes round a third of the 28,232 ports in that time, and two thirds of the ports that
/// it may have are busy after a minute.
const MOST_IN_ROUND: usize = 1_000;

/// The time in which walks are followed, in nanoseconds.
const ROUND_NS: u64 = 10_000_000_000;

/// The most hosts at once, each with an address of its own; 0 where no walk is certain.
pub(super) fn hosts(walks: &Walks, openings: &[Opening]) -> usize {
    if !walks.rule.is_per_service() {
        return 0;
    }
    let mut services: BTreeMap<(Address, u16), Vec<usize>> = BTreeMap::new();
    for (at, opening) in openings.iter().enumerate() {
        services.entry(opening.service()).or_default().push(at);
    }
    let is_crowded = |at: &[usize]| {
        let later = at.iter().zip(at.iter().skip(MOST_IN_ROUND));
        later.into_iter().any(|(&from, &to)| openings[to].time_ns - openings[from].time_ns < ROUND_NS)
    };
    let mut certain: BTreeMap<(Address, u16), Vec<Walk>> = BTreeMap::new();
    for walk in walks.walks().into_iter().filter(|walk| walk.0.len() >= LEAST_CERTAIN) {
        let service = openings[walk.0[0]].service();
        if services.get(&service).is_some_and(|at| !is_crowded(at)) {
            certain.entry(service).or_default().push(walk);
        }
    }
    certain.values().map(|walks| at_once(walks, openings)).max().unwrap_or(0)
}

/// The most of these walks to one service, in order of their first SYN, that overlap and aren't near each
/// other.
///
/// O(n m) for n walks of which m overlap.
fn at_once(walks: &[Walk], openings: &[Opening]) -> usize {
    // Walks under way, each with the number of the host that it is taken for.
    let mut under_way: Vec<(&Walk, usize)> = Vec::new();
    let mut most = 0;
    for (number, walk) in walks.iter().enumerate() {
        let first = &openings[walk.0[0]];
        under_way.retain(|(other, _)| ends_ns(other, openings) > first.time_ns);
        let near = under_way.iter().find(|(other, _)| is_near(other, first, openings));
        let host = near.map_or(number, |(_, host)| *host);
        under_way.push((walk, host));
        let mut hosts: Vec<usize> = under_way.iter().map(|(_, host)| *host).collect();
        hosts.sort_unstable();
        hosts.dedup();
        most = most.max(hosts.len());
    }
    most
}

/// When a walk ends for certain: where a SYN was lost, the next one of the same connection goes on from a
/// walk that ended a second before.
fn ends_ns(Walk(members): &Walk, openings: &[Opening]) -> u64 {
    openings[members[members.len() - 2]].time_ns
}

/// Whether a walk is near a SYN when that comes.
fn is_near(Walk(members): &Walk, opening: &Opening, openings: &[Opening]) -> bool {
    let next = members.partition_point(|&at| openings[at].time_ns <= opening.time_ns);
    let around = members[next.saturating_sub(1)..].iter().take(2);
    around.into_iter().any(|&at| openings[at].port.abs_diff(opening.port) <= NEAR)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ports::rule::Rule;

    /// The SYNs of hosts whose walks begin at these ports, one a host every `gap_ms`, in steps of eight.
    fn openings(ports: &[u16], each: u64, gap_ms: u64) -> Vec<Opening> {
        let peer = Address::from_ip4([203, 0, 113, 1]);
        let of_round = |round: u64| {
            (0..).zip(ports).map(move |(host, port)| Opening {
                time_ns: (round * gap_ms + host) * 1_000_000,
                peer,
                peer_port: 443,
                port: port + 8 * round as u16,
            })
        };
        (0..each).flat_map(of_round).collect()
    }

    fn told(openings: &[Opening]) -> usize {
        hosts(&Walks::follow(Rule::LinuxWalk, openings, |_| true), openings)
    }

    #[test]
    fn walks_near_each_other_are_one_host_s() {
        assert_eq!(told(&openings(&[34_000, 40_000, 50_000], 20, 200)), 3);
        assert_eq!(told(&openings(&[34_000, 34_001 + NEAR / 2, 50_000], 20, 200)), 2);
    }

    /// A host whose walk begins anew after twenty SYNs, and whose last SYN of before was lost once.
    #[test]
    fn a_syn_that_is_sent_again_makes_no_second_host() {
        let before = openings(&[34_000], 20, 200);
        let after = openings(&[50_000], 20, 200)
            .into_iter()
            .map(|opening| Opening { time_ns: opening.time_ns + 4_000_000_000, ..opening });
        let mut all: Vec<Opening> = before.into_iter().chain(after).collect();
        all[19].time_ns += 1_000_000_000;
        all.sort_by_key(|opening| opening.time_ns);
        assert_eq!(told(&all), 1);
    }

    #[test]
    fn a_service_with_a_hundred_syns_a_second_tells_nothing() {
        assert_eq!(told(&openings(&[34_000, 50_000], 400, 20)), 2);
        assert_eq!(told(&openings(&[34_000, 50_000], 800, 12)), 0);
    }
}
