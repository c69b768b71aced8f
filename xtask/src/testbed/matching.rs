//! Pairs the machines that tmap found with the true ones, by the connections that they share.
//!
//! `cargo xtask eval` scores whole partitions (adjusted Rand index, precision, recall). Here plain
//! counts are enough.

use std::cmp::Reverse;
use std::collections::HashMap;

/// Numbers of connections by true machine and by found machine.
#[derive(Clone, Debug, Default)]
pub(crate) struct ContingencyTable {
    /// Connections of each true machine that tmap saw.
    pub seen: HashMap<usize, u64>,
    /// Connections by true machine and by the number of the found machine.
    pub shared: HashMap<(usize, u64), u64>,
}

impl ContingencyTable {
    /// Counts connections, given as the true machine and the machine that tmap assigned, if any.
    pub(crate) fn new(connections: impl IntoIterator<Item = (usize, Option<u64>)>) -> Self {
        let mut table = Self::default();
        for (truth, found) in connections {
            *table.seen.entry(truth).or_default() += 1;
            if let Some(found) = found {
                *table.shared.entry((truth, found)).or_default() += 1;
            }
        }
        table
    }

    /// Pairs true machines with found ones, the pair with most connections first.
    pub(crate) fn matching(&self) -> HashMap<usize, u64> {
        let mut pairs: Vec<_> = self.shared.iter().map(|(&pair, &count)| (count, pair)).collect();
        // Ties are ordered by number, so that the result is the same every time.
        pairs.sort_by_key(|&(count, pair)| (Reverse(count), pair));
        let mut matches: HashMap<usize, u64> = HashMap::new();
        for (_, (index, machine)) in pairs {
            if !matches.contains_key(&index) && !matches.values().any(|&taken| taken == machine) {
                matches.insert(index, machine);
            }
        }
        matches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unassigned_connections_are_seen_and_match_nothing() {
        let table = ContingencyTable::new([(0, Some(2)), (0, None), (1, Some(2)), (1, Some(2))]);
        assert_eq!((table.seen[&0], table.seen[&1]), (2, 2));
        assert_eq!(table.matching(), HashMap::from([(1, 2)]));
    }
}
