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
    let follows = |a: &Life, b: &Life| {
        a.starts_ns.last() < b.starts_ns.first()
            && pairs * chance(a.starts_ns.len(), b.starts_ns.len()) < NO_CHANCE
    };
    let all = (0..lives.len()).flat_map(|a| (0..lives.len()).map(move |b| (a, b)));
    let mut candidates: Vec<(f64, usize, usize)> = all
        .filter(|&(a, b)| a != b && follows(&lives[a], &lives[b]))
        .map(|(a, b)| (deviation(&lives[a], &lives[b]), a, b))
        .collect();
    candidates.sort_by(|x, y| x.0.total_cmp(&y.0).then((x.1, x.2).cmp(&(y.1, y.2))));
    let (mut has_next, mut has_former) = (vec![false; lives.len()], vec![false; lives.len()]);
    candidates.retain(|&(_, a, b)| {
        let is_free = !has_next[a] && !has_former[b];
        (has_next[a], has_former[b]) = (has_next[a] || is_free, has_former[b] || is_free);
        is_free
    });
    let pairs: Vec<(usize, usize)> = candidates.iter().map(|&(_, a, b)| (a, b)).collect();
    let is_clear = |(deviation, a, b): (f64, usize, usize)| {
        let runs_free = lives[a].skew_ppm.value.abs() > FREE_PPM;
        deviation <= MAX_DEVIATION && (runs_free || happens_with_another(lives, &pairs, (a, b)))
    };
    candidates
        .iter()
        .map(|&(d, a, b)| Succession { before: a, after: b, is_clear: is_clear((d, a, b)) })
        .collect()
}

/// The probability that all of so many connections come before so many others, or after them, by chance.
fn chance(of_one: usize, of_other: usize) -> f64 {
    let ways: f64 = (1..=of_other).map(|k| (of_one + k) as f64 / k as f64).product();
    2.0 / ways
}

/// How far apart the skews are, in joint standard errors.
fn deviation(a: &Life, b: &Life) -> f64 {
    let apart = (a.skew_ppm.value - b.skew_ppm.value).abs() - WANDER_PPM;
    apart.max(0.0) / joint(a.skew_ppm.sigma, b.skew_ppm.sigma)
}

/// Whether another succession may have happened at the same moment: then all have one cause.
fn happens_with_another(lives: &[Life], pairs: &[(usize, usize)], (a, b): (usize, usize)) -> bool {
    let moment = |(before, after): (usize, usize)| {
        Some((*lives[before].starts_ns.last()?, *lives[after].starts_ns.first()?))
    };
    let Some((from, to)) = moment((a, b)) else { return false };
    let meets = |&pair: &(usize, usize)| {
        pair != (a, b)
            && moment(pair).is_some_and(|(others_from, others_to)| from < others_to && others_from < to)
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
        assert_eq!(found(&[life(0..20, 12.0), life(19..50, 12.0)]), []);
    }

    #[test]
    fn few_connections_follow_one_another_by_chance() {
        assert_eq!(found(&[life(0..4, 12.0), life(30..34, 12.0)]), []);
    }

    #[test]
    fn what_happens_to_all_lines_has_one_cause() {
        let lives = [life(0..20, 0.0), life(0..21, 0.0), life(30..50, 0.0), life(30..51, 0.0)];
        let found = found(&lives);
        assert!(found.len() == 2 && found.iter().all(|&(_, _, is_clear)| is_clear), "{found:?}");
    }
}
