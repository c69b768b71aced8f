//! Whether lines are there all along, or take shares of an address's connections that change with time.
//!
//! The count by phase takes each machine to be there all along, with one clock. Where machines come and go,
//! one line may run through the short lives of several. Where a clock stands still or changes its rate, or a
//! path becomes longer, its machine goes on along another line. Either way, the lines' shares change.

/// Shares that change by this many standard deviations change by chance once in a thousand cases.
const NO_CHANCE_DEVIATIONS: f64 = 3.09;

/// Shares are compared between so many parts of the time, with equally many connections in each.
const PARTS: [usize; 4] = [2, 3, 4, 6];

/// The parts that tell how much shares vary in the short run: people's connections come in visits.
const FINE_PARTS: usize = 12;

/// Whether the shares of these lines change with time by more than visits explain. `lives` tells when the
/// connections of each began, in nanoseconds, in ascending order.
///
/// Chi-squared of the table of lines and parts, over that of finer parts by degree of freedom (an F test).
/// In simulated browsing with visits of a minute, 2 to 5 % of addresses are taken for uneven.
///
/// O(n log n) for n connections.
pub(super) fn is_uneven(lives: &[Vec<u64>]) -> bool {
    let all = || lives.iter().flatten().copied();
    let (Some(first_ns), Some(last_ns)) = (all().min(), all().max()) else { return false };
    let mean_gap_ns = (last_ns - first_ns) / all().count() as u64;
    let begin_ns = |(line, starts_ns): (usize, &Vec<u64>)| {
        bursts(starts_ns, mean_gap_ns).into_iter().map(move |at| (at, line)).collect::<Vec<_>>()
    };
    let mut events: Vec<(u64, usize)> = lives.iter().enumerate().flat_map(begin_ns).collect();
    events.sort_unstable();
    let lines: Vec<usize> = events.into_iter().map(|(_, line)| line).collect();
    let fine = Spread::of(&lines, FINE_PARTS);
    PARTS.into_iter().any(|parts| Spread::of(&lines, parts).deviations(&fine) > NO_CHANCE_DEVIATIONS)
}

/// When bursts began: connections that follow one another faster than those of all lines do on average belong
/// to one thing that somebody did.
fn bursts(starts_ns: &[u64], mean_gap_ns: u64) -> Vec<u64> {
    let mut begin_ns: Vec<u64> = Vec::new();
    for &start_ns in starts_ns {
        if begin_ns.last().is_none_or(|last_ns| start_ns - last_ns > mean_gap_ns) {
            begin_ns.push(start_ns);
        }
    }
    begin_ns
}

/// How much the shares of lines differ between parts.
struct Spread {
    chi_squared: f64,
    freedom: f64,
}

impl Spread {
    /// Of bursts in order of time, each of a line.
    fn of(bursts: &[usize], parts: usize) -> Self {
        let lines = bursts.iter().max().map_or(0, |most| most + 1);
        let mut table = vec![0.0; lines * parts];
        let (mut of_line, mut of_part) = (vec![0.0; lines], vec![0.0; parts]);
        for (place, &line) in bursts.iter().enumerate() {
            let part = place * parts / bursts.len();
            table[line * parts + part] += 1.0;
            of_line[line] += 1.0;
            of_part[part] += 1.0;
        }
        let mut chi_squared = 0.0;
        for (cell, seen) in table.into_iter().enumerate() {
            let expected: f64 = of_line[cell / parts] * of_part[cell % parts] / bursts.len() as f64;
            if expected > 0.0 {
                chi_squared += (seen - expected).powi(2) / expected;
            }
        }
        let some = |sums: &[f64]| sums.iter().filter(|sum| **sum > 0.0).count().saturating_sub(1) as f64;
        Self { chi_squared, freedom: some(&of_line) * some(&of_part) }
    }

    /// By how many standard deviations shares differ more than by chance, where they vary as `fine` parts of
    /// these show: by Paulson's approximation of the F distribution (Annals of Mathematical Statistics 13,
    /// 1942).
    fn deviations(&self, fine: &Self) -> f64 {
        let (a, b) = (self.freedom, fine.freedom - self.freedom);
        if a <= 0.0 || b <= 0.0 {
            return 0.0;
        }
        let of_visits = ((fine.chi_squared - self.chi_squared) / b).max(1.0);
        let root = (self.chi_squared / a / of_visits).cbrt();
        let (a, b) = (2.0 / (9.0 * a), 2.0 / (9.0 * b));
        ((1.0 - b) * root - (1.0 - a)) / (b * root * root + a).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The line with a connection at each of these times, in seconds.
    fn line(seconds: impl Iterator<Item = u64>) -> Vec<u64> {
        seconds.collect()
    }

    #[test]
    fn lines_that_are_there_all_along_are_even() {
        let (a, b) = (line((0..100).step_by(3)), line((1..100).step_by(4)));
        assert!(!is_uneven(&[a.clone(), b.clone()]));
        assert!(!is_uneven(&[a, b, line([50].into_iter())]), "one connection tells nothing");
        assert!(!is_uneven(&[line(0..100)]), "nothing shows when else it might be there");
        assert!(!is_uneven(&[]) && !is_uneven(&[Vec::new()]));
    }

    #[test]
    fn lines_that_follow_one_another_are_uneven() {
        assert!(is_uneven(&[line((0..60).step_by(3)), line((61..120).step_by(3))]));
    }

    #[test]
    fn a_line_that_pauses_is_uneven() {
        let paused = line((0..120).step_by(2).chain((360..480).step_by(2)));
        assert!(is_uneven(&[line((1..480).step_by(2)), paused]));
    }

    #[test]
    fn visits_are_even() {
        // Two people, in turn for ten seconds each.
        let visits = |first: u64| (0..12).flat_map(move |n| (20 * n + first..).take(10));
        assert!(!is_uneven(&[visits(0).collect(), visits(10).collect()]));
    }
}
