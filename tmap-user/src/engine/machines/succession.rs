//! Lines that follow one another: where one ends before another begins, both may be one machine's.
//!
//! A machine whose clock stood still (a paused virtual machine, a laptop that slept) or that started anew
//! goes on with another phase, and so do all machines behind a path that became longer. Machines that were
//! there all along take turns: that all connections of one come before all of another's is hardly chance
//! where both have several.

use crate::engine::types::{Estimate, joint};

/// That one line's connections all come before another's is no chance where it happens less often than this.
const NO_CHANCE: f64 = 1e-3;

/// Skews of one machine differ by no more than this many joint standard errors, and this.
const MAX_DEVIATION: f64 = 3.0;
const WANDER_PPM: f64 = 0.2;

/// Clocks whose skew is larger than this, in ppm, run free, so that hardly any two of them have one skew;
/// those that NTP disciplines all have.
const FREE_PPM: f64 = 1.5;

/// What a line's connections show.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// When they began, engine time in nanoseconds, in ascending order.
    pub starts_ns: Vec<u64>,
    /// The line's skew, in ppm.
    pub skew_ppm: Estimate,
}

/// Lines of which one follows the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Succession {
    /// The line that ends.
    pub before: usize,
    /// The line that begins.
    pub after: usize,
    /// Whether both clearly are one machine's, not only perhaps.
    pub is_clear: bool,
}

/// The lines that follow one another, each with at most one before and one after it.
pub(super) fn find(lives: &[Life]) -> Vec<Succession> {
    let pairs = (lives.len() * lives.len()) as f64;
    let follows = |a: &Life, b: &Life| is_before(a, b, ON_EITHER) && pairs * chance(a, b) < NO_CHANCE;
    let all = (0..lives.len()).flat_map(|a| (0..lives.len()).map(move |b| (a, b)));
    let candidates: Vec<(usize, usize)> =
        all.filter(|&(a, b)| a != b && follows(&lives[a], &lives[b])).collect();
    let matched = by_rank(lives, &candidates).unwrap_or_else(|| one_by_one(lives, candidates));
    let is_clear = |&(before, after): &(usize, usize)| {
        let (a, b) = (&lives[before], &lives[after]);
        let goes_on = a.skew_ppm.value.abs() > FREE_PPM && agree(a.skew_ppm, b.skew_ppm);
        is_before(a, b, FEW_ON_EITHER) && (goes_on || happens_with_another(lives, &matched, (before, after)))
    };
    let succession =
        |pair: &(usize, usize)| Succession { before: pair.0, after: pair.1, is_clear: is_clear(pair) };
    matched.iter().map(succession).collect()
}

/// Where all that end are followed by as many that begin, those of the same rank by skew: whatever happened
/// to the clock that stamps them all left their order.
fn by_rank(lives: &[Life], candidates: &[(usize, usize)]) -> Option<Vec<(usize, usize)>> {
    let ranked = |mut lines: Vec<usize>| {
        lines.sort_by(|&x, &y| lives[x].skew_ppm.value.total_cmp(&lives[y].skew_ppm.value));
        lines.dedup();
        lines
    };
    let before = ranked(candidates.iter().map(|&(a, _)| a).collect());
    let after = ranked(candidates.iter().map(|&(_, b)| b).collect());
    let pairs: Vec<(usize, usize)> = before.iter().copied().zip(after.iter().copied()).collect();
    let are_candidates = pairs.iter().all(|pair| candidates.contains(pair));
    (before.len() == after.len() && are_candidates).then_some(pairs)
}

/// Those whose skews agree best, first.
fn one_by_one(lives: &[Life], mut candidates: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let apart = |&(a, b): &(usize, usize)| (lives[a].skew_ppm.value - lives[b].skew_ppm.value).abs();
    candidates.sort_by(|x, y| apart(x).total_cmp(&apart(y)).then(x.cmp(y)));
    let (mut has_next, mut has_former) = (vec![false; lives.len()], vec![false; lives.len()]);
    candidates.retain(|&(a, b)| {
        let is_free = !has_next[a] && !has_former[b];
        (has_next[a], has_former[b]) = (has_next[a] || is_free, has_former[b] || is_free);
        is_free
    });
    candidates
}

/// The share of a line's connections that may come on the wrong side of the moment of change: where lines
/// meet, a connection may lie on either.
const ON_EITHER: f64 = 0.1;

/// The share where it is clear that one line follows the other.
const FEW_ON_EITHER: f64 = 0.02;

/// Whether the connections of one line come before those of another, but for this share of each.
fn is_before(a: &Life, b: &Life, but_for: f64) -> bool {
    let left_out = |life: &Life| (but_for * life.starts_ns.len() as f64) as usize;
    a.starts_ns.iter().nth_back(left_out(a)) < b.starts_ns.get(left_out(b)) && !a.starts_ns.is_empty()
}

/// The probability that the connections of two lines are in such an order by chance.
fn chance(a: &Life, b: &Life) -> f64 {
    let of = |life: &Life| ((1.0 - ON_EITHER) * life.starts_ns.len() as f64).floor();
    let (of_one, of_other) = (of(a), of(b));
    let ways: f64 = (1..=of_other as usize).map(|k| (of_one + k as f64) / k as f64).product();
    2.0 / ways
}

/// Whether two skews may be one clock's.
fn agree(a: Estimate, b: Estimate) -> bool {
    (a.value - b.value).abs() <= MAX_DEVIATION * joint(a.sigma, b.sigma) + WANDER_PPM
}

/// Whether another succession may have happened at the same moment, with the same change of skew: then all
/// have one cause.
fn happens_with_another(lives: &[Life], pairs: &[(usize, usize)], (a, b): (usize, usize)) -> bool {
    let change = |(before, after): (usize, usize)| {
        let (from, to) = (lives[before].skew_ppm, lives[after].skew_ppm);
        Estimate { value: to.value - from.value, sigma: joint(from.sigma, to.sigma) }
    };
    let middle = |starts_ns: &[u64]| starts_ns[starts_ns.len() / 2];
    let moment =
        |(before, after): (usize, usize)| (middle(&lives[before].starts_ns), middle(&lives[after].starts_ns));
    let (from, to) = moment((a, b));
    let meets = |&pair: &(usize, usize)| {
        let (others_from, others_to) = moment(pair);
        pair != (a, b) && from < others_to && others_from < to && agree(change((a, b)), change(pair))
    };
    pairs.iter().any(meets)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line with a connection in each of these seconds.
    fn life(seconds: std::ops::Range<u64>, skew_ppm: f64) -> Life {
        let starts_ns = seconds.map(|s| s * 1_000_000_000).collect();
        Life { starts_ns, skew_ppm: Estimate { value: skew_ppm, sigma: 0.1 } }
    }

    fn found(lives: &[Life]) -> Vec<(usize, usize, bool)> {
        find(lives).iter().map(|s| (s.before, s.after, s.is_clear)).collect()
    }

    #[test]
    fn a_line_that_begins_where_another_ends_may_be_its_machine_s() {
        assert_eq!(found(&[life(0..20, 12.0), life(30..50, 12.1)]), [(0, 1, true)]);
        assert_eq!(found(&[life(0..20, 0.0), life(30..50, 0.1)]), [(0, 1, false)], "NTP gives all one skew");
        assert_eq!(found(&[life(0..20, 12.0), life(30..50, 14.0)]), [(0, 1, false)]);
        assert_eq!(found(&[life(0..20, 12.0), life(18..50, 12.0)]), [(0, 1, false)], "some on either");
        assert!(found(&[life(0..20, 12.0), life(8..50, 12.0)]).is_empty());
    }

    #[test]
    fn few_connections_follow_one_another_by_chance() {
        assert!(found(&[life(0..4, 12.0), life(30..34, 12.0)]).is_empty());
    }

    #[test]
    fn what_happens_to_all_lines_has_one_cause() {
        let lives = [life(0..20, 0.0), life(0..21, 0.0), life(30..50, 0.0), life(30..51, 0.0)];
        let found = found(&lives);
        assert!(found.len() == 2 && found.iter().all(|&(_, _, is_clear)| is_clear), "{found:?}");
    }

    #[test]
    fn a_sensor_whose_clock_changes_bends_all_lines_alike() {
        let skews = [-11.0, 3.0, 20.0];
        let before = skews.map(|skew| life(0..30, skew));
        let after = skews.map(|skew| life(31..60, skew - 30.0));
        let found = found(&before.into_iter().chain(after).collect::<Vec<_>>());
        assert_eq!(found, [(0, 3, true), (1, 4, true), (2, 5, true)]);
    }
}
