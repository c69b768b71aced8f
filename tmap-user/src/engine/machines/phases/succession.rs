//! Lines that follow one another: where one ends before another begins, both may be one machine's.
//!
//! A machine whose clock stood still (a paused virtual machine, a laptop that slept), started anew or changed
//! its rate goes on along another line, and so do all machines behind a path that became longer. So may two
//! machines, one of which left before the other came. Machines that were there all along take turns: that all
//! connections of one come before all of another's is hardly chance where both have several.

/// That one line's connections all come before another's is no chance where it happens less often than this.
const NO_CHANCE: f64 = 1e-3;

/// The share of a line's connections that may come on the wrong side of the moment of change: where lines
/// meet, a connection may lie on either.
const ON_EITHER: f64 = 0.1;

/// How many of these lines follow another one, each at most one, and each followed by at most one. `lives`
/// tells when the connections of each began, in nanoseconds, in ascending order.
pub(super) fn count(lives: &[Vec<u64>]) -> usize {
    let pairs = (lives.len() * lives.len()) as f64;
    let mut has_next = vec![false; lives.len()];
    let mut follow = 0;
    for after in 0..lives.len() {
        let follows = |&before: &usize| {
            let (a, b) = (&lives[before], &lives[after]);
            before != after && !has_next[before] && is_before(a, b) && pairs * chance(a, b) < NO_CHANCE
        };
        // The last to end leaves the others to lines that began earlier.
        if let Some(before) = (0..lives.len()).filter(follows).max_by_key(|&before| lives[before].last()) {
            has_next[before] = true;
            follow += 1;
        }
    }
    follow
}

/// Whether the connections of one line come before those of another, but for a few of each.
fn is_before(a: &[u64], b: &[u64]) -> bool {
    let left_out = |starts_ns: &[u64]| (ON_EITHER * starts_ns.len() as f64) as usize;
    !a.is_empty() && a.iter().nth_back(left_out(a)) < b.get(left_out(b))
}

/// The probability that the connections of two lines are in such an order by chance.
fn chance(a: &[u64], b: &[u64]) -> f64 {
    let of = |starts_ns: &[u64]| ((1.0 - ON_EITHER) * starts_ns.len() as f64).floor();
    let (of_one, of_other) = (of(a), of(b));
    let ways: f64 = (1..=of_other as usize).map(|k| (of_one + k as f64) / k as f64).product();
    2.0 / ways
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of the lines that have a connection in each of these seconds follow another one.
    fn follow(lines: &[std::ops::Range<u64>]) -> usize {
        count(&lines.iter().map(|seconds| seconds.clone().collect()).collect::<Vec<_>>())
    }

    #[test]
    fn a_line_that_begins_where_another_ends_may_be_its_machine_s() {
        assert_eq!(follow(&[0..20, 30..50]), 1);
        assert_eq!(follow(&[0..20, 18..50]), 1, "some lie on either");
        assert_eq!(follow(&[0..20, 8..50]), 0);
        assert_eq!(follow(&[0..20, 30..50, 60..80]), 2);
        assert_eq!(follow(&[0..20, 0..21, 30..50, 30..51]), 2);
        assert_eq!(follow(&[0..20, 30..50, 30..51]), 1, "one can't go on along two");
    }

    #[test]
    fn few_connections_follow_one_another_by_chance() {
        assert_eq!(follow(&[0..4, 30..34]), 0);
    }
}
