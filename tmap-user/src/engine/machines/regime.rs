//! The regime of offsets: one per machine, one per pair of addresses, or one per connection.
//!
//! The data itself shows the regime. With 2^32 possible counter values, two connections share an offset
//! only if their machine gave them the same one. In the global regime that happens across peers; in the
//! per-pair regime only within a pair of addresses; with an offset per connection never.

use tmap_common::Address;

use crate::engine::types::Regime;

/// Clocks slower than this nearly all have no random offsets. Linux randomises since 4.10, and ticks once
/// per millisecond since 4.13. Windows at 10 and 100 Hz and Solaris never randomised. NetBSD and OpenBSD
/// at 2 Hz are the exception.
const FIRST_RANDOM_HZ: f64 = 1000.0;

/// The fewest connections of a slow clock that are taken for random because no two share an offset
/// (Linux 4.10, or an unknown stack): as many machines, each seen once, are less likely. Fewer leave it open.
const MIN_RANDOM_SLOW: usize = 8;

/// Up to this rate, clocks are those of BSDs that do randomise.
const LAST_BSD_HZ: f64 = 2.0;

/// The fewest connections that can show that offsets are drawn at random.
const MIN_RANDOM: usize = 3;

/// The judgement on the connections of one address and one tick rate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    /// The regime.
    pub regime: Regime,
    /// The counts that decided the regime, as a sentence.
    pub evidence: String,
    /// Clusters that are one machine each, by offset.
    pub machines: Vec<usize>,
    /// Clusters (often of one connection) whose offsets are random, for an analysis by phase.
    pub random: Vec<usize>,
}

/// Judges the clusters of one tick rate; `peers` holds each cluster's peers, one per member.
pub(super) fn judge(hz: f64, peers: &[Vec<Address>]) -> Judgement {
    let all: Vec<usize> = (0..peers.len()).collect();
    let tally = Tally::of(peers);
    let all_differ = tally.shared.is_empty() && tally.connections >= MIN_RANDOM_SLOW;
    let may_be_random = hz >= FIRST_RANDOM_HZ || hz <= LAST_BSD_HZ || all_differ;
    let judgement = |regime, machines: Vec<usize>, random: Vec<usize>| Judgement {
        regime,
        evidence: tally.describe(hz, regime),
        machines,
        random,
    };
    if tally.connections < 2 {
        return judgement(Regime::Undetermined, all, Vec::new());
    }
    let singles_are_random =
        tally.singles.len() >= MIN_RANDOM && tally.singles.len() > 2 * tally.shared.len() && may_be_random;
    if tally.shared.is_empty() {
        return if singles_are_random || (may_be_random && tally.connections < MIN_RANDOM) {
            let regime = if tally.repeated_pairs > 0 { Regime::PerConnection } else { Regime::Undetermined };
            judgement(regime, Vec::new(), all)
        } else {
            // Several machines that were seen once each, or one with random offsets: nothing tells.
            judgement(Regime::Undetermined, Vec::new(), all)
        };
    }
    if tally.across > 0 || !may_be_random {
        return if singles_are_random {
            judgement(Regime::Mixed, tally.shared.clone(), tally.singles.clone())
        } else {
            judgement(Regime::Global, all, Vec::new())
        };
    }
    if tally.peers == 1 {
        return if singles_are_random {
            judgement(Regime::Mixed, tally.shared.clone(), tally.singles.clone())
        } else {
            judgement(Regime::Undetermined, all, Vec::new())
        };
    }
    judgement(Regime::PerPair, Vec::new(), all)
}

/// Counts of clusters, connections and peers.
struct Tally {
    connections: usize,
    peers: usize,
    /// Clusters of at least two connections.
    shared: Vec<usize>,
    /// Clusters of one.
    singles: Vec<usize>,
    /// Clusters with at least two peers.
    across: usize,
    /// Pairs of addresses with at least two connections.
    repeated_pairs: usize,
}

impl Tally {
    fn of(clusters: &[Vec<Address>]) -> Self {
        let (shared, singles): (Vec<usize>, Vec<usize>) =
            (0..clusters.len()).partition(|&index| clusters[index].len() >= 2);
        let mut all: Vec<Address> = clusters.iter().flatten().copied().collect();
        all.sort_unstable();
        let per_pair: Vec<usize> = all.chunk_by(|a, b| a == b).map(<[Address]>::len).collect();
        Self {
            connections: all.len(),
            peers: per_pair.len(),
            across: shared.iter().filter(|&&index| distinct(&clusters[index]).len() >= 2).count(),
            repeated_pairs: per_pair.iter().filter(|&&count| count >= 2).count(),
            shared,
            singles,
        }
    }

    fn describe(&self, hz: f64, regime: Regime) -> String {
        let Self { connections, peers, repeated_pairs, .. } = self;
        let (shared, singles) = (connections - self.singles.len(), self.singles.len());
        match regime {
            _ if *connections < 2 => "only one connection shows a clock".to_owned(),
            Regime::Global if self.across > 0 => format!(
                "{shared} of {connections} connections share an offset (offsets seen by several peers: {})",
                self.across
            ),
            Regime::Global => format!("{hz} Hz clocks predate random offsets"),
            Regime::Mixed => {
                format!("{shared} of {connections} connections share an offset, {singles} have their own")
            }
            Regime::PerPair => format!(
                "{shared} of {connections} connections share an offset, \
                 but never across peers ({peers} peers)"
            ),
            Regime::PerConnection => format!(
                "no two of {connections} connections share an offset \
                 (peers with several connections: {repeated_pairs})"
            ),
            Regime::Undetermined if *peers == 1 && shared > 0 => {
                format!("{shared} of {connections} connections share an offset, but there is only one peer")
            }
            Regime::Undetermined if *repeated_pairs > 0 => {
                format!("no two of {connections} connections share an offset, which are too few to tell why")
            }
            Regime::Undetermined => {
                format!("no two of {connections} connections share an offset, but each has another peer")
            }
        }
    }
}

fn distinct(peers: &[Address]) -> Vec<Address> {
    let mut peers = peers.to_vec();
    peers.sort_unstable();
    peers.dedup();
    peers
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clusters from peers' last octets.
    fn judge_at(hz: f64, clusters: &[&[u8]]) -> Judgement {
        let peers: Vec<Vec<Address>> = clusters
            .iter()
            .map(|cluster| cluster.iter().map(|&host| Address::from_ip4([203, 0, 113, host])).collect())
            .collect();
        judge(hz, &peers)
    }

    #[test]
    fn offsets_shared_across_peers_are_global() {
        let judgement = judge_at(1000.0, &[&[1, 2, 3], &[2, 3], &[4]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Global, 3));
    }

    #[test]
    fn offsets_shared_within_pairs_only_are_per_pair() {
        let judgement = judge_at(1000.0, &[&[1, 1], &[2, 2, 2], &[1], &[3]]);
        assert_eq!((judgement.regime, judgement.random.len()), (Regime::PerPair, 4));
    }

    #[test]
    fn offsets_never_shared_are_random() {
        let judgement = judge_at(1000.0, &[&[1], &[1], &[2], &[2]]);
        assert_eq!((judgement.regime, judgement.random.len()), (Regime::PerConnection, 4));
    }

    #[test]
    fn machines_without_and_with_random_offsets_are_mixed() {
        let judgement = judge_at(1000.0, &[&[1, 2, 3], &[1], &[1], &[2], &[4]]);
        assert_eq!(judgement.regime, Regime::Mixed);
        assert_eq!((judgement.machines.len(), judgement.random.len()), (1, 4));
    }

    #[test]
    fn slow_clocks_predate_random_offsets() {
        let judgement = judge_at(100.0, &[&[1, 1, 1], &[1], &[1], &[1]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Global, 4));
    }

    #[test]
    fn slow_clocks_that_never_agree_are_random_after_all() {
        let judgement = judge_at(100.0, &[&[1], &[1], &[2], &[2], &[3], &[3], &[4], &[4]]);
        assert_eq!((judgement.regime, judgement.random.len()), (Regime::PerConnection, 8));
        let few = judge_at(100.0, &[&[1], &[1], &[2], &[2]]);
        assert_eq!((few.regime, few.random.len()), (Regime::Undetermined, 4), "too few to tell");
    }

    #[test]
    fn one_peer_leaves_it_open_but_counts() {
        let judgement = judge_at(1000.0, &[&[1, 1, 1], &[1, 1], &[1]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Undetermined, 3));
    }

    #[test]
    fn a_single_connection_is_one_machine() {
        let judgement = judge_at(1000.0, &[&[1]]);
        assert_eq!((judgement.regime, judgement.machines.len()), (Regime::Undetermined, 1));
    }
}
