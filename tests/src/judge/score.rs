//! How well found machines agree with true ones.

use std::collections::HashMap;

/// One connection: its true machine, and the one it was assigned to, if any.
pub type Pairing = (usize, Option<u32>);

/// Agreement of two partitions.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Agreement {
    /// Adjusted Rand index (Hubert and Arabie 1985): 1 for the truth, 0 on average for chance.
    pub adjusted_rand: f64,
    /// Of the pairs of connections put on one machine, the share that are.
    pub precision: f64,
    /// Of the pairs that are on one machine, the share put there.
    pub recall: f64,
    /// Share of connections assigned right under the best one-to-one naming of machines.
    pub accuracy: f64,
}

/// Whether an interval, from its lower end to its upper one where there is one, holds the true number.
pub(super) fn holds((low, high): (u32, Option<u32>), truth: usize) -> bool {
    low as usize <= truth && high.is_none_or(|high| truth <= high as usize)
}

/// Compares. An unassigned connection is a machine of its own, and never right.
pub fn agreement(pairings: &[Pairing]) -> Agreement {
    let mut cells: HashMap<(usize, usize), f64> = HashMap::new();
    let (mut rows, mut columns): (HashMap<usize, f64>, HashMap<usize, f64>) = Default::default();
    for (i, (truth, found)) in pairings.iter().enumerate() {
        let column = found.map_or(usize::MAX - i, |f| f as usize);
        *cells.entry((*truth, column)).or_default() += 1.0;
        *rows.entry(*truth).or_default() += 1.0;
        *columns.entry(column).or_default() += 1.0;
    }
    let pairs = |n: &f64| n * (n - 1.0) / 2.0;
    let both: f64 = cells.values().map(pairs).sum();
    let together: f64 = rows.values().map(pairs).sum();
    let put: f64 = columns.values().map(pairs).sum();
    let all = pairs(&(pairings.len() as f64));
    let ratio = |a: f64, b: f64| if b > 0.0 { a / b } else { 1.0 };
    let by_chance = ratio(together * put, all);
    Agreement {
        adjusted_rand: ratio(both - by_chance, (together + put) / 2.0 - by_chance),
        precision: ratio(both, put),
        recall: ratio(both, together),
        accuracy: ratio(best_matching(&cells), pairings.len() as f64),
    }
}

/// Connections on the diagonal under the best one-to-one naming: the assignment problem, by
/// successive shortest augmenting paths (the Hungarian method, Kuhn 1955).
fn best_matching(cells: &HashMap<(usize, usize), f64>) -> f64 {
    let mut rows: Vec<usize> = cells.keys().map(|(r, _)| *r).collect();
    // Unassigned connections have names near the top of the range and can't be right.
    let mut columns: Vec<usize> = cells.keys().map(|(_, c)| *c).filter(|c| *c <= u32::MAX as usize).collect();
    for names in [&mut rows, &mut columns] {
        names.sort_unstable();
        names.dedup();
    }
    let n = rows.len().max(columns.len());
    let gain = |r: usize, c: usize| match (rows.get(r), columns.get(c)) {
        (Some(r), Some(c)) => cells.get(&(*r, *c)).copied().unwrap_or(0.0),
        _ => 0.0,
    };
    let matched = hungarian(n, |r, c| -gain(r, c));
    matched.iter().enumerate().map(|(r, c)| gain(r, *c)).sum()
}

/// The column of each row in the cheapest perfect matching of an `n` by `n` table. O(n^3).
pub(super) fn hungarian(n: usize, cost: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let (mut u, mut v) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    // Rows and columns count from 1; column 0 is where each search starts.
    let mut row_of = vec![0; n + 1];
    for row in 1..=n {
        row_of[0] = row;
        let (mut least, mut from, mut done) =
            (vec![f64::INFINITY; n + 1], vec![0; n + 1], vec![false; n + 1]);
        let mut column = 0;
        while row_of[column] != 0 {
            done[column] = true;
            let (r, mut next, mut delta) = (row_of[column], 0, f64::INFINITY);
            for c in 1..=n {
                if done[c] {
                    continue;
                }
                let reduced = cost(r - 1, c - 1) - u[r] - v[c];
                if reduced < least[c] {
                    (least[c], from[c]) = (reduced, column);
                }
                if least[c] < delta {
                    (delta, next) = (least[c], c);
                }
            }
            for c in 0..=n {
                if done[c] {
                    u[row_of[c]] += delta;
                    v[c] -= delta;
                } else {
                    least[c] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[from[column]];
            column = from[column];
        }
    }
    let mut matched = vec![0; n];
    for (column, row) in row_of.iter().enumerate().skip(1) {
        matched[row - 1] = column - 1;
    }
    matched
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truth_scores_one() {
        let pairings = [(0, Some(7)), (0, Some(7)), (1, Some(3)), (1, Some(3))];
        let one = Agreement { adjusted_rand: 1.0, precision: 1.0, recall: 1.0, accuracy: 1.0 };
        assert_eq!(agreement(&pairings), one);
    }

    #[test]
    fn merging_costs_precision_and_splitting_recall() {
        let merged = agreement(&[(0, Some(1)), (0, Some(1)), (1, Some(1)), (1, Some(1))]);
        assert_eq!((merged.precision, merged.recall, merged.accuracy), (1.0 / 3.0, 1.0, 0.5));
        assert_eq!(merged.adjusted_rand, 0.0);
        let split = agreement(&[(0, Some(1)), (0, Some(2)), (1, Some(3)), (1, None)]);
        assert_eq!((split.recall, split.accuracy), (0.0, 0.5));
    }

    #[test]
    fn known_adjusted_rand() {
        // Hubert and Arabie's formula by hand: cells 2, 1 / 1, 2; n = 6.
        let pairings = [(0, Some(1)), (0, Some(1)), (0, Some(2)), (1, Some(1)), (1, Some(2)), (1, Some(2))];
        let expected = (2.0 - 36.0 / 15.0) / (6.0 - 36.0 / 15.0);
        assert!((agreement(&pairings).adjusted_rand - expected).abs() < 1e-12);
    }

    #[test]
    fn matching_isn_t_greedy() {
        // Greedy would take the 3 and then 0; the best is 2 + 2.
        let mut pairings = vec![(0, Some(1)); 3];
        pairings.extend([(0, Some(2)), (0, Some(2)), (1, Some(1)), (1, Some(1))]);
        assert!((agreement(&pairings).accuracy - 4.0 / 7.0).abs() < 1e-12);
    }
}
