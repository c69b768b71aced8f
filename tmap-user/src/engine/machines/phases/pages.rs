//! Pages: connections that an address opened at about the same time.
//!
//! Who opens a page of the web opens several connections within a tenth of a second, and so do many programs
//! that ask several servers at once. So where connections come in bursts, those of a burst are most likely
//! one machine's. Whether they come so is told by the gaps from one connection to the next: where they come
//! at random, or where many machines open pages at once, hardly more gaps are short than somewhat longer
//! ones.

/// Gaps within a page may be as long as one of these, in nanoseconds: the longest that gaps allow.
const LONGEST_GAPS_NS: [u64; 6] = [100_000_000, 60_000_000, 30_000_000, 15_000_000, 7_000_000, 3_000_000];

/// Short gaps are compared with those between so many times their length.
const LONGER: [u64; 2] = [5, 10];

/// The fewest short gaps that show pages.
const FEWEST: usize = 8;

/// The largest share of short gaps that lie between connections of two machines.
const MOST_BY_CHANCE: f64 = 0.05;

/// The smallest share of the other gaps that are clearly longer than short ones. Where connections come so
/// fast that few are, chance alone makes gaps short.
const LEAST_PAUSES: f64 = 0.5;

/// The links of items that an address opened in one page, each to the one before it. `opened` has these items
/// with the times in nanoseconds when they begin.
///
/// O(n log n) for n items.
pub(super) fn links(mut opened: Vec<(u64, usize)>) -> Vec<(usize, usize)> {
    opened.sort_unstable();
    let pairs = || opened.iter().zip(opened.iter().skip(1));
    let gaps_ns = pairs().map(|(before, next)| next.0 - before.0);
    let Some(longest_ns) = longest_gap_ns(gaps_ns.collect()) else { return Vec::new() };
    let within = pairs().filter(|(before, next)| next.0 - before.0 < longest_ns);
    within.map(|(before, next)| (before.1, next.1)).collect()
}

/// Gaps within pages are shorter than this, in nanoseconds; `None` where gaps show no pages.
fn longest_gap_ns(mut gaps_ns: Vec<u64>) -> Option<u64> {
    gaps_ns.sort_unstable();
    let shorter_than = |length_ns: u64| gaps_ns.partition_point(|gap_ns| *gap_ns < length_ns);
    LONGEST_GAPS_NS.into_iter().find(|&longest_ns| {
        let within = shorter_than(longest_ns);
        let [from, to] = LONGER.map(|times| shorter_than(times * longest_ns));
        // Of random gaps, as many are short as there are longer ones for each such length.
        let by_chance = (to - from) as f64 / (LONGER[1] - LONGER[0]) as f64;
        let (pauses, others) = (gaps_ns.len() - to, gaps_ns.len() - within);
        within >= FEWEST
            && by_chance <= MOST_BY_CHANCE * within as f64
            && pauses > 0
            && pauses as f64 >= LEAST_PAUSES * others as f64
    })
}

#[cfg(test)]
mod tests {
    use rand::{RngExt as _, SeedableRng as _};
    use rand_pcg::Pcg64;

    use super::*;

    const MS: u64 = 1_000_000;

    /// Pages of `of` connections, some milliseconds apart, that begin at random times in four minutes.
    fn pages(random: &mut Pcg64, count: usize, of: u64) -> Vec<u64> {
        let begins: Vec<u64> = (0..count).map(|_| random.random_range(0..240_000 * MS)).collect();
        let page = |begin_ns: u64| (0..of).map(move |number| begin_ns + 9 * MS * number);
        begins.into_iter().flat_map(page).collect()
    }

    fn linked(begins_ns: Vec<u64>) -> usize {
        links(begins_ns.into_iter().enumerate().map(|(item, begin_ns)| (begin_ns, item)).collect()).len()
    }

    #[test]
    fn connections_of_a_page_are_linked() {
        let mut random = Pcg64::seed_from_u64(1);
        let begins_ns = pages(&mut random, 40, 5);
        assert!((160..165).contains(&linked(begins_ns)));
        let (minute_ns, first) = (60_000 * MS, vec![0; FEWEST]);
        assert_eq!(linked([first.clone(), vec![minute_ns; 2]].concat()), FEWEST, "at the same moment");
        assert_eq!(linked([first.clone(), vec![minute_ns]].concat()), 0, "too few");
        assert_eq!(linked(first), 0, "no pauses");
    }

    #[test]
    fn random_times_show_no_pages() {
        for seed in 0..20 {
            let mut random = Pcg64::seed_from_u64(seed);
            for count in [20, 200, 2_000, 20_000, 200_000] {
                assert_eq!(linked(pages(&mut random, count, 1)), 0, "{count} of {seed}");
            }
        }
    }

    #[test]
    fn pages_of_very_many_machines_are_not_told_apart() {
        let mut random = Pcg64::seed_from_u64(2);
        assert_eq!(linked(pages(&mut random, 20_000, 4)), 0);
    }
}
